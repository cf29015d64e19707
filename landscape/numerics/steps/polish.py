"""From near a stationary point to it: L-BFGS, then Newton's method in a trust region, and past kinks."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from landscape.numerics.spectra.inertia import STATIONARY
from landscape.numerics.steps.kinks import ValueAndGradient, down

# Why some minima of piecewise smooth functions have no gradient that vanishes, and where that is not shown.
KINK = "a kink: ∇F jumps here"
OPEN = "∇F jumps here, and F may fall on"
# Where Newton's steps do not end: gradients for each that it may take, and half as many as parameters.
GRADIENTS = 30


class Polished(NamedTuple):
    """Where it ended: θ (d,), F and ‖∇F‖ there, and in words why ‖∇F‖ is not below the tolerance ('' if it is)."""

    theta: Tensor
    value: float
    gradient_norm: float
    reason: str


def polished(
    value_and_gradient: ValueAndGradient,
    hessian: Callable[[Tensor], Tensor] | None,
    theta: Tensor,
    *,
    tolerance: float = 1e-9,
    quasi_newton_steps: int = 500,
    newton_steps: int = 200,
) -> Polished:
    """Go on from ``theta`` (d,), float64, until ‖∇F‖ ≤ ``tolerance``; F never rises beyond rounding.

    ``hessian`` maps θ to the matrix (d, d); None, where d is too large for it, leaves L-BFGS alone (Liu and
    Nocedal 1989). The trust region is that of Moré and Sorensen 1983, solved through the eigenvectors, so
    that it descends from saddles too. Where ∇F jumps it goes on by :func:`~landscape.numerics.steps.kinks.down`, and
    the reason is ``KINK`` where F was shown to fall no further: gradients around combine to one of ``STATIONARY``.
    """
    value, slope = value_and_gradient(theta)
    found = _quasi_newton(value_and_gradient, theta, tolerance, quasi_newton_steps)
    if found is not None and found[1] <= value:
        theta, value, slope = found
    norm = float(torch.linalg.vector_norm(slope))
    if hessian is None:
        reason = "L-BFGS ended, and d is too large for Newton's method"
        return Polished(theta, value, norm, reason if norm > tolerance else "")
    found = _by_newton(value_and_gradient, hessian, theta, tolerance, newton_steps)
    if found.reason != OPEN and found.gradient_norm <= max(STATIONARY, tolerance):
        return found
    lower, is_stationary = down(
        value_and_gradient,
        found.theta,
        stationary=STATIONARY,
        smooth=tolerance,
        gradients=newton_steps * (GRADIENTS + len(theta) // 2),
    )
    norm = float(torch.linalg.vector_norm(lower.slope))
    if is_stationary and norm > STATIONARY:
        return Polished(lower.theta, lower.value, norm, KINK)
    found = _by_newton(value_and_gradient, hessian, lower.theta, tolerance, newton_steps)
    return found._replace(reason=KINK) if is_stationary and found.reason == OPEN else found


def _by_newton(
    value_and_gradient: ValueAndGradient,
    hessian: Callable[[Tensor], Tensor],
    theta: Tensor,
    tolerance: float,
    num_steps: int,
) -> Polished:
    """Newton's method in a trust region; ``OPEN`` is the reason where its steps shrink and the model still falls."""
    value, slope = value_and_gradient(theta)
    norm = float(torch.linalg.vector_norm(slope))
    radius = 0.1 * max(1.0, float(torch.linalg.vector_norm(theta)))
    for _ in range(num_steps):
        if norm <= tolerance:
            return Polished(theta, value, norm, "")
        values, vectors = torch.linalg.eigh(hessian(theta))
        turned = vectors.T @ slope
        while True:
            step, gain = _model_step(values, turned, radius, tolerance)
            trial = theta + vectors @ step
            trial_value, trial_slope = value_and_gradient(trial)
            trial_norm = float(torch.linalg.vector_norm(trial_slope))
            rounding = 8 * torch.finfo(theta.dtype).eps * abs(value)
            ratio = (value - trial_value) / max(gain, 1e-300)
            # Where F no longer resolves the gain, a smaller gradient is what tells.
            is_better = ratio > 0.05 or (trial_value <= value + rounding and trial_norm < norm)
            length = float(torch.linalg.vector_norm(step))
            if is_better:
                radius = max(radius, 2 * length) if ratio > 0.7 else radius
                theta, value, slope, norm = trial, trial_value, trial_slope, trial_norm
                break
            radius = length / 4
            if radius <= 1e-13 * max(1.0, float(torch.linalg.vector_norm(theta))):
                jumps = gain > rounding or norm > STATIONARY
                reason = OPEN if jumps else "float64 resolves F no further"
                return Polished(theta, value, norm, reason if norm > tolerance else "")
    return Polished(theta, value, norm, "out of steps" if norm > tolerance else "")


def _quasi_newton(
    value_and_gradient: ValueAndGradient, theta: Tensor, tolerance: float, num_steps: int
) -> tuple[Tensor, float, Tensor] | None:
    """The best point L-BFGS saw; None where it only met values that are not finite."""
    leaf = torch.nn.Parameter(theta.clone())
    stepper = torch.optim.LBFGS(
        [leaf],
        max_iter=num_steps,
        tolerance_grad=tolerance / len(theta) ** 0.5,
        tolerance_change=0.0,
        history_size=20,
        line_search_fn="strong_wolfe",
    )
    best: tuple[Tensor, float, Tensor] | None = None

    def closure() -> float:
        nonlocal best
        value, slope = value_and_gradient(leaf.detach())
        leaf.grad = slope
        if best is None or value < best[1]:
            best = leaf.detach().clone(), value, slope
        return value

    stepper.step(closure)
    return best


def _model_step(values: Tensor, slope: Tensor, radius: float, tolerance: float) -> tuple[Tensor, float]:
    """The step p, |p| ≤ ``radius``, that is least in gᵀp + ½pᵀΛp, and by how much that lies below 0.

    In the axes of the eigenvectors: ``values`` (d,) ascending, ``slope`` (d,).
    """
    # Along a direction that no sample sees, what is left of the gradient is rounding.
    is_flat = values.abs() <= 1e-12 * values.abs().max()
    slope = slope.masked_fill(is_flat & (slope.abs() <= tolerance / len(slope) ** 0.5), 0.0)
    lowest = min(0.0, float(values[0]))

    def step_at(shift: float) -> Tensor:
        return torch.where(slope == 0, 0.0, -slope / (values + shift))

    low, high = -lowest, -lowest + float(torch.linalg.vector_norm(slope)) / radius + 1e-300
    step = step_at(low)
    if not bool(torch.isfinite(step).all()) or float(torch.linalg.vector_norm(step)) > radius:
        for _ in range(100):
            middle = (low + high) / 2
            is_long = not float(torch.linalg.vector_norm(step_at(middle))) <= radius
            low, high = (middle, high) if is_long else (low, middle)
        step = step_at(high)
    elif lowest < 0:
        # The hard case: ∇F does not see the most negative curvature, so add what the radius leaves.
        step = step.clone()
        step[0] += max(0.0, radius**2 - float(step.square().sum())) ** 0.5
    return step, -float(slope @ step + 0.5 * (values * step.square()).sum())
