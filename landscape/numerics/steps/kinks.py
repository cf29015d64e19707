"""Down to where F falls no further though ∇F jumps there, and the measure of how surely it does not.

Quasi-Newton steps find the minima of functions that are smooth almost everywhere as well (Lewis and Overton 2013);
where they stall, gradients at random places around tell a kink with a way down from one without (Burke, Lewis and
Overton 2005): the shortest vector that such gradients combine to is 0 at a minimum, and where it is not, F falls along
it.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

ValueAndGradient = Callable[[Tensor], tuple[float, Tensor]]
# How far away gradients are drawn, over the length of θ or 1: first, and for the last proof.
FIRST_RADIUS, RADIUS = 1e-3, 1e-6
# Gradients drawn: twice the parameters, which any kinks leave enough of, and at most these.
MOST_DRAWN = 400
TRIALS = 25
# Draws at the last radius that may miss a piece of F, or a way down.
DRAWS = 3
# Fractions of the decrease and of the slope in the two conditions of Wolfe.
DECREASE, SLOPE = 1e-4, 0.5


class Place(NamedTuple):
    """θ (d,), F and ∇F (d,) there."""

    theta: Tensor
    value: float
    slope: Tensor


def down(
    value_and_gradient: ValueAndGradient, theta: Tensor, *, stationary: float, smooth: float, gradients: int
) -> tuple[Place, bool]:
    """From ``theta`` (d,), float64, to lower places, and whether the last is stationary; F never rises.

    It is where gradients about ``RADIUS`` away, twice drawn, combine to a vector no longer than ``stationary``; where
    ∇F itself is shorter than ``smooth`` that is for others to say. About ``gradients`` of them are taken at most.
    """
    left, generator = gradients, torch.Generator().manual_seed(0)

    def at(theta: Tensor) -> Place:
        nonlocal left
        left -= 1
        return Place(theta, *value_and_gradient(theta))

    here, radius, matrix, draws = at(theta), FIRST_RADIUS, None, DRAWS
    while left > 0 and float(torch.linalg.vector_norm(here.slope)) > smooth:
        before = here
        here, matrix = _quasi_newton_step(at, here, matrix)
        if matrix is not None and before.value - here.value > 1e-12 * abs(here.value):
            continue
        is_last = radius <= 1.1 * RADIUS
        drawn = [around(at, here, radius, generator) for _ in range(2 if is_last else 1)]
        shortest = max(drawn, key=lambda one: float(torch.linalg.vector_norm(one)))
        size = float(torch.linalg.vector_norm(shortest))
        if size <= stationary and is_last:
            return here, True
        lower = None if size <= stationary else _lower(at, here, shortest, radius / size)
        if lower is not None:
            here, matrix, draws = lower, None, DRAWS
        elif not is_last:
            radius /= 10
        elif draws := draws - 1:
            continue
        else:
            break
    return here, False


def around(at: Callable[[Tensor], Place], here: Place, radius: float, generator: torch.Generator) -> Tensor:
    """The shortest convex combination (d,) of ∇F here and at random places around.

    They are from a tenth to ten times of ``radius`` away, over the length of θ or 1.
    """
    count, d = min(2 * len(here.theta), MOST_DRAWN), len(here.theta)
    ways = torch.randn(count, d, generator=generator, dtype=torch.float64)
    lengths = radius * 10 ** (2 * torch.rand(count, 1, generator=generator, dtype=torch.float64) - 1)
    lengths *= max(1.0, float(torch.linalg.vector_norm(here.theta)))
    moves = (lengths * ways / torch.linalg.vector_norm(ways, dim=1, keepdim=True)).to(here.theta)
    slopes = [here.slope, *(at(here.theta + move).slope for move in moves)]
    return shortest_of(torch.stack(slopes))


def shortest_of(vectors: Tensor) -> Tensor:
    """The shortest vector (d,) among the convex combinations of the rows of ``vectors`` (k, d).

    By non-negative least squares: min |Vᵀa|² + (1 − Σa)² over a ≥ 0 is met along the weights of the shortest.

    >>> shortest_of(torch.tensor([[1.0, 1.0], [-3.0, 1.0], [0.0, 9.0]])).numpy().round(6) + 0.0
    array([0., 1.], dtype=float32)
    """
    from scipy.optimize import nnls

    rows = vectors[torch.isfinite(vectors).all(1)].cpu().double().numpy()
    scale = max(float(np.linalg.norm(rows, axis=1).max()), 1e-300)
    system = np.vstack([rows.T / scale, np.ones(len(rows))])
    try:
        weights = nnls(system, np.append(np.zeros(len(system) - 1), 1.0), maxiter=50 * len(rows))[0]
    except RuntimeError:
        # Out of iterations: any of them is a combination, and the first is here.
        return vectors[0]
    return torch.from_numpy(weights / weights.sum() @ rows).to(vectors)


def _quasi_newton_step(
    at: Callable[[Tensor], Place], here: Place, matrix: Tensor | None
) -> tuple[Place, Tensor | None]:
    """One step of BFGS, and the inverse Hessian (d, d) after it; None where no step meets both conditions of Wolfe."""
    way = -here.slope if matrix is None else -matrix @ here.slope
    if matrix is None or not float(way @ here.slope) < 0:
        matrix, way = None, -here.slope / max(1.0, float(torch.linalg.vector_norm(here.slope)))
    there, is_met = _searched(at, here, way)
    if there is None or not is_met:
        return there or here, None
    moved, change = there.theta - here.theta, there.slope - here.slope
    product = float(moved @ change)
    if product <= 0:
        return there, matrix
    if matrix is None:
        matrix = (
            product / float(change @ change) * torch.eye(len(moved), dtype=moved.dtype, device=moved.device)
        )
    turned = matrix @ change
    own = (1 + float(change @ turned) / product) / product * torch.outer(moved, moved)
    both = torch.outer(moved, turned)
    return there, matrix + own - (both + both.T) / product


def _searched(at: Callable[[Tensor], Place], here: Place, way: Tensor) -> tuple[Place | None, bool]:
    """A place along ``way`` (d,) that meets the weak conditions of Wolfe, or the lowest seen, and whether it does."""
    low, high, length = 0.0, float("inf"), 1.0
    slope, best = float(here.slope @ way), None
    for _ in range(TRIALS):
        there = at(here.theta + length * way)
        if not there.value <= here.value + DECREASE * length * slope or not torch.isfinite(there.slope).all():
            high = length
        elif float(there.slope @ way) < SLOPE * slope:
            low, best = length, there
        else:
            return there, True
        length = (low + high) / 2 if high < float("inf") else 2 * low
    return best, False


def _lower(at: Callable[[Tensor], Place], here: Place, shortest: Tensor, length: float) -> Place | None:
    """A place down along ``shortest`` (d,), from that ``length`` of it on, or None."""
    square = float(shortest @ shortest)
    for _ in range(TRIALS):
        there = at(here.theta - length * shortest)
        if there.value < here.value - DECREASE * length * square:
            return there
        length /= 2
    return None
