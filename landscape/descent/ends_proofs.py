"""What stands beside the ends of a cell: steps by evaluations, exact indices, and eigenvalues of wide nets."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from landscape.descent.critical import DENSE_PARAMETERS, LANCZOS_PAIRS
from landscape.descent.proofs import plain_product
from landscape.numerics.vectors import normal
from landscape.objective.objective import Objective
from landscape.result import Check, largest_gap

# Products of a search of its own, and how often what it leaves open is more than is said here.
PRODUCTS, ONCE_IN = 30, 1e6
# Ten times the tolerance of the search.
TOLERANCE = 1e-5


def steps_check(rows: Mapping[str, np.ndarray], evaluated: np.ndarray, most: int, d: int) -> Check:
    """Of ``rows`` by restart the steps, for which ∇F was taken ``evaluated`` times, and whether an index is exact.

    A step is one evaluation; one more tells a descent that it has diverged, or come to a plateau, before its ``most``
    steps.
    """
    steps, is_exact = rows["num_steps"], rows["is_exact"]
    wrong = int((steps + (steps < most) != evaluated).sum())
    is_lost = rows["end_status"] == "diverged"
    wrong += int((is_exact & is_lost).sum())
    missed = ~is_exact & ~is_lost
    unsure = is_exact & (rows["index"] >= LANCZOS_PAIRS)
    wrong += int((missed if d <= DENSE_PARAMETERS else unsure).sum())
    meaning = "steps that are not as many as evaluations of ∇F say, and indices whose exactness is not as d and k say"
    return Check("steps of the ends", float(wrong), 0.0, meaning)


def wide_check(wide: Objective, theta: Tensor, said: Mapping[str, float]) -> Check:
    """Smallest and largest eigenvalue at θ (d,) against Lanczos on the module, from a start of its own.

    Its values lie within the spectrum, and miss an end by more than a part of it that goes by d and the number of
    products once in a million starts (Kuczyński and Woźniakowski 1992, theorem 4.2).
    """
    d = len(theta)
    generator = torch.Generator().manual_seed(PRODUCTS)
    basis = [normal(theta, generator).double().cpu()]
    basis[0] /= basis[0].norm()
    product, diagonal, beside = plain_product(wide, theta), list[float](), list[float]()
    for _ in range(PRODUCTS):
        image = product(basis[-1].to(theta)).double().cpu()
        diagonal.append(float(image @ basis[-1]))
        for _ in range(2):
            for one in basis:
                image -= (one @ image) * one
        beside.append(float(image.norm()))
        if not beside[-1] > 1e-10 * max(map(abs, (*diagonal, *beside))):
            break
        basis.append(image / beside[-1])
    count = len(diagonal)
    values = np.linalg.eigvalsh(
        np.diag(diagonal) + np.diag(beside[: count - 1], 1) + np.diag(beside[: count - 1], -1)
    )
    # Of the whole range, which itself is known to as much.
    open_part = (math.log(1.648 * math.sqrt(d) * ONCE_IN) / (2 * count - 1)) ** 2
    low, high = float(said["smallest_eigenvalue"]), float(said["largest_eigenvalue"])
    span = max(float(values[-1] - values[0]), 1e-300)
    scale = max(abs(low), abs(high), *np.abs(values).tolist(), 1e-300)
    inside = max(values[-1] - high, low - values[0], 0.0) / scale
    beyond = max(high - values[-1], values[0] - low, 0.0) / span - open_part / max(1 - 2 * open_part, 1e-3)
    meaning = "smallest and largest of a wide net against 30 steps of Lanczos on the module, beyond what is left open"
    return Check("ends of the spectrum", float(largest_gap(inside, max(beyond, 0.0))), TOLERANCE, meaning)
