"""Whether the second derivative by autograd is there, and right: tried on a few samples before it is relied on.

A framework may have none for an operation, one that is not symmetric, or one that leaves a part out without a word.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from landscape.errors import NotDifferentiable, NotFinite

Vector = Callable[[Tensor], Tensor]

# The samples of a trial hold about this many activations: a ReLU crosses its kink once in about 1/τ of them
# within a relative step τ, so that none does at the smallest steps.
ACTIVATIONS = 2**14
# Relative steps of a difference quotient in float64, and up to where ∇F bends no more than a smooth one.
STEPS = (1e-4, 1e-5, 1e-6, 1e-7)
BENT = 1e-3
# By the coarsest dtype of a trial: what uᵀHv − vᵀHu may be over ‖Hv‖, the steps, and the departure from a quotient.
# Well above rounding, since products by differences that replace a double backward have an error as well.
BOUNDS = {
    torch.float64: (1e-7, STEPS, 1e-5),
    torch.float32: (1e-2, (3e-2, 1e-2, 3e-3), 2e-2),
}


class Departure(NamedTuple):
    """The least distance of difference quotients of ∇F to a product, relative; whether it tells; the last of them."""

    gap: float
    has_limit: bool
    quotient: Tensor


def doubt(gradient: Vector, product: Vector, theta: Tensor, dtype: torch.dtype) -> str | None:
    """Why ``product``, v ↦ H v by a double backward at ``theta`` (d,), is not to be used, in words; None where it is.

    ``gradient`` is ∇F, and ``dtype`` the coarsest that it is computed in. Two products with random unit vectors and,
    where nothing is wrong, two gradients. Raises NotDifferentiable where there is not even a gradient, and NotFinite.
    """
    axes = _units(theta)
    try:
        image = product(axes[1])
        skew, size = float(torch.dot(axes[0].double(), image.double())), float(image.double().norm())
        image = product(axes[0])
        skew -= float(torch.dot(axes[1].double(), image.double()))
        skew = abs(skew) / max(size, float(image.double().norm()), 1e-300)
    except NotDifferentiable as error:
        gradient(theta)
        return error.seen
    if dtype not in BOUNDS:
        return None
    symmetric, steps, near = BOUNDS[dtype]

    reason = None
    if skew > symmetric:
        reason = f"the double backward of autograd is not symmetric, uᵀHv and vᵀHu differ by {skew:.2g} ‖Hv‖"
    try:
        first = departure(gradient, image, theta, axes[0], steps=steps, bound=near)
        if reason is None and first.has_limit and first.gap > near:
            reason = f"the double backward of autograd departs from them by {first.gap:.2g} ‖Hv‖"
        if reason is None:
            return None
        second = departure(gradient, product(axes[1]), theta, axes[1], steps=steps, bound=near)
    except (NotDifferentiable, NotFinite):
        return reason
    # Behind a detach ∇F is not the gradient of anything, and has no symmetric derivative either.
    is_known = first.has_limit and second.has_limit
    if is_known and _asymmetry(axes, [first.quotient, second.quotient]) > 10 * near:
        return None
    return reason


def _units(theta: Tensor) -> list[Tensor]:
    """Two random unit vectors like ``theta`` (d,), drawn in float64."""
    draws = torch.randn(2, len(theta), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return [*draws.div_(torch.linalg.vector_norm(draws, dim=1, keepdim=True)).to(theta)]


def _asymmetry(axes: Sequence[Tensor], images: Sequence[Tensor]) -> float:
    """|uᵀHv − vᵀHu| over the larger of ‖Hu‖ and ‖Hv‖."""
    (u, v), (of_u, of_v) = ([one.double() for one in pair] for pair in (axes, images))
    size = max(float(torch.linalg.vector_norm(one)) for one in (of_u, of_v))
    return abs(float(torch.dot(v, of_u) - torch.dot(u, of_v))) / max(size, 1e-300)


def departure(
    gradient: Vector,
    image: Tensor,
    theta: Tensor,
    axis: Tensor,
    *,
    steps: Sequence[float] = STEPS,
    bound: float,
) -> Departure:
    """How far central differences of ∇F are from ``image``, Hd along ``axis`` d, and whether that tells.

    It does not where ∇F has no derivative along d: where the quotients of two steps in turn, over ‖θ‖, never agree to
    ``bound`` (kinks crossed, rounding), or ∇F changes otherwise on one side than on the other.
    """
    size, length = (float(torch.linalg.vector_norm(v)) for v in (theta, axis))
    unit = (size or 1.0) / length
    least, before, quotient = math.inf, None, image
    for step in steps:
        upper = gradient(torch.add(theta, axis, alpha=step * unit))
        lower = gradient(torch.add(theta, axis, alpha=-step * unit))
        quotient = (upper - lower).div_(2 * step * unit)
        # Below a millionth of the gradient per relative step a quotient is rounding.
        scale = max(float(image.norm()), 1e-6 * float(upper.norm()) / unit, 1e-300)
        least = min(least, float(torch.dist(quotient, image.to(quotient))) / scale)
        if least <= bound:
            return Departure(least, True, quotient)
        if before is not None and float((quotient - before).norm()) <= bound * max(
            float(quotient.norm()), scale
        ):
            bend = float((upper + lower - 2 * gradient(theta)).norm())
            if bend <= BENT * float((upper - lower).norm()):
                return Departure(least, True, quotient)
        before = quotient
    return Departure(least, False, quotient)
