"""What rounding leaves of a vector that is computed, told by others so near that nothing else moves it much."""

from collections.abc import Sequence

import torch
from torch import Tensor

# Places along a way, in units of rounding of the point, at which the vectors are had.
PLACES = tuple(2.0**10 * number for number in range(8))
# A vector no longer than so many σ is rounding and nothing else.
NOTHING = 64.0


def roughness(near: Sequence[Tensor]) -> float:
    """σ of vectors (d,) at equal distances, by their third and fourth differences: γₖ ‖Δᵏ‖², γₖ = (k!)²/(2k)!.

    What is smooth has next to none (Moré and Wild 2011).

    >>> roughness([torch.tensor([k * k / 2.0]) for k in range(8)])
    0.0
    """
    third = torch.diff(torch.stack(list(near)), n=3, dim=0)
    fourth = torch.diff(third, dim=0)
    return max(_norm(third) / (20 * len(third)) ** 0.5, _norm(fourth) / (70 * len(fourth)) ** 0.5)


def _norm(vectors: Tensor) -> float:
    return float(torch.linalg.vector_norm(vectors))
