"""How sharp F is along its own gradient: critical sharpness, by values of F alone, and gᵀHg/gᵀg, by one product."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.numerics.steps.rising import AT_ONCE, LOST, NEVER, first_rise
from landscape.numerics.vectors import signs
from landscape.objective import checks
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point

# The first step tried and the longest, in lengths of θ.
FIRST, LONGEST = 1e-3, 1e6
# Below this part of λ_max the curvature along ∇F says little of it.
FAR_BELOW = 0.1
# A loss of its own is moved so often by so many ε of θ, to see what rounding makes of it.
SHAKES, SHAKEN = 4, 2.0
WHY_NOT = {
    AT_ONCE: "does not fall by more than rounding before it rises",
    NEVER: f"does not rise up to a step of {LONGEST:g} lengths of θ",
    LOST: "neither falls nor rises by more than rounding",
}
KEPT = ("low", "high", "steps", "rises", "why")


def critical(objective: Objective, point: Point, slope: Tensor, tolerance: float) -> dict[str, Any]:
    """The bracket of η_c = min {η > 0 : F(θ − ηg) > F(θ)} for ``slope`` g (d,) (Kalra et al. 2026).

    ``objective`` may have another loss, or other data, than that whose gradient g is: η_c is then the relative one.
    As :class:`~landscape.numerics.steps.rising.Rising`, in plain numbers; only values of F are taken.
    """
    length = float(torch.linalg.vector_norm(slope.double()))
    if not 0 < length < np.inf:
        why = "stays as it is, as ∇F is zero" if length == 0 else "is nowhere, as ∇F is not finite"
        return dict(zip(KEPT, (np.nan, np.nan, [], [], why), strict=True))
    here = objective.value(point.theta, point.fixed)
    if not np.isfinite(here):
        return dict(zip(KEPT, (np.nan, np.nan, [], [], "is not finite at θ"), strict=True))
    size = max(float(torch.linalg.vector_norm(point.theta.double())), 1e-3)
    found = first_rise(
        lambda step: objective.value(stepped(point.theta, slope, step), point.fixed) - here,
        FIRST * size / length,
        most=LONGEST * size / length,
        room=max(checks.rounding(objective) * abs(here), _shaken(objective, point, here)),
        tolerance=tolerance,
    )
    why = WHY_NOT.get(found.why, "")
    numbers = (found.low, found.high, found.steps.tolist(), found.rises.tolist(), why)
    return dict(zip(KEPT, numbers, strict=True))


def stepped(theta: Tensor, slope: Tensor, step: float) -> Tensor:
    """θ − ηg (d,), added in float64."""
    return (theta.double() - step * slope.double()).to(theta.dtype)


def of_bracket(low: float, high: float) -> tuple[float, float]:
    """(2/η_c, what the bracket leaves open of it), η_c the middle of the bracket."""
    value = 4 / (low + high)
    return value, max(2 / low - value, value - 2 / high)


def directional(objective: Objective, point: Point, slope: Tensor) -> tuple[float, float]:
    """(gᵀHg/gᵀg, its rounding) by one product; NaN where g is zero."""
    length = torch.linalg.vector_norm(slope.double())
    if not 0 < float(length) < np.inf:
        return np.nan, np.nan
    operator = objective.hessian_operator(point.theta, point.fixed, num_products=1)
    unit = (slope.double() / length).to(slope.dtype)
    image = operator(unit).double()
    room = checks.rounding(objective) * float(torch.linalg.vector_norm(image))
    return float(torch.dot(unit.double(), image)), max(room, float(operator.error))


def _shaken(objective: Objective, point: Point, here: float) -> float:
    """What a few ε of θ make of F: a loss that is nearly zero is known no better than that."""
    generator = torch.Generator().manual_seed(0)
    eps, most = SHAKEN * torch.finfo(objective.coarsest).eps, 0.0
    for _ in range(SHAKES):
        moved = point.theta.double() * (1 + eps * signs(point.theta, generator).to(point.theta.device))
        most = max(most, abs(objective.value(moved.to(point.theta.dtype), point.fixed) - here))
    return 2 * most
