"""What rounding leaves of a vector that is computed, told by others so near that nothing else moves it much."""

from collections.abc import Iterable

import torch
from torch import Tensor

# Places along a way, in units of rounding of the point, at which the vectors are had.
PLACES = tuple(2.0**10 * number for number in range(8))
# A vector no longer than so many σ is rounding and nothing else.
NOTHING = 64.0


def roughness(near: Iterable[Tensor]) -> float:
    """σ of vectors (d,) at equal distances, by their third and fourth differences: γₖ ‖Δᵏ‖², γₖ = (k!)²/(2k)!.

    What is smooth has next to none (Moré and Wild 2011). Of at least five vectors no more than five stand at a time.

    >>> roughness([torch.tensor([k * k / 2.0]) for k in range(8)])
    0.0
    """
    # The last vector, and the last differences of each order.
    last: list[Tensor] = []
    squares: dict[int, list[float]] = {3: [], 4: []}
    for vector in near:
        for order, before in enumerate(last[:4]):
            last[order] = vector
            vector = vector - before
            if order + 1 in squares:
                squares[order + 1].append(_norm(vector) ** 2)
        if len(last) < 4:
            last.append(vector)
    return max((sum(squares[k]) / (count * len(squares[k]))) ** 0.5 for k, count in ((3, 20), (4, 70)))


def _norm(vectors: Tensor) -> float:
    return float(torch.linalg.vector_norm(vectors))
