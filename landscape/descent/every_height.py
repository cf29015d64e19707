"""Starts at every height: each goes down for a number of steps of its own, which some steps written out prove."""

import math

import torch
from torch import Tensor

from landscape.numerics.steps.downhill import FIRST, NARROWER, WIDER, descended
from landscape.objective import plain
from landscape.objective.objective import Objective
from landscape.objective.stacked import Derivatives
from landscape.result import Check, largest_gap

# Steps that are taken once more at most; a move of the start, relative, that shows what rounding grows to on the way,
# and how many times that is allowed, beside a part of the way.
AGAIN, ASIDE, TIMES, PART = 64, 1e-13, 1e3, 1e-6
# Halves are rounded either way.
HALF = 1e-3


def fallen(derivatives: Derivatives, starts: Tensor, most: int) -> tuple[Tensor, list[Check]]:
    """``starts`` (R, d), float64, after none to ``most`` steps of gradient descent each; and proofs."""
    if not most:
        return starts, []
    counts = torch.linspace(0, most, len(starts)).round().long()
    found = descended(derivatives.slopes, starts, counts)
    return found, [_way_check(derivatives.objective, starts, found, most)]


def _way_check(objective: Objective, starts: Tensor, found: Tensor, most: int) -> Check:
    """The first start at rest, and the last of those that go few steps where these lead, on the module itself."""
    wanted = [most * k / max(1, len(starts) - 1) for k in range(len(starts))]
    gaps = [0.0 if torch.equal(found[0].nan_to_num(), starts[0].nan_to_num()) else math.inf]
    short = [k for k, one in enumerate(wanted) if 0.5 < one <= AGAIN and abs(one % 1 - 0.5) > HALF]
    if short and objective.is_mean and not objective.doubts:
        start, end, count = starts[short[-1]], found[short[-1]], round(wanted[short[-1]])
        there, near = (_down(objective, one, count) for one in (start, start * (1 + ASIDE)))
        if bool(torch.isfinite(there).all()):
            allowed = PART * float((there - start).norm() + start.norm()) + TIMES * float(
                (near - there).norm()
            )
            gaps.append(float((end - there).norm()) / max(allowed, 1e-300))
    meaning = (
        "the first start at rest, and another against its steps written out on the module, over what rounding of the "
        "start grows to on the way"
    )
    return Check("descents of starts", largest_gap(*gaps), 1.0, meaning)


def _down(objective: Objective, theta: Tensor, count: int) -> Tensor:
    """After ``count`` tries of a step, each of which is taken if F falls."""

    def looked(theta: Tensor) -> tuple[float, Tensor]:
        tensors = plain.by_name(objective, objective.as_point(theta))
        measured, slope = plain.measure_with_gradient(objective, tensors)
        return measured.loss, slope.to(theta)

    size, (value, slope) = FIRST, looked(theta)
    for _ in range(count):
        trial = theta - size * slope
        new, turned = looked(trial)
        size *= WIDER if new < value else NARROWER
        if new < value:
            theta, value, slope = trial, new, turned
    return theta
