"""Whether the second derivative by autograd is there, and right: tried on a few samples before it is relied on.

A framework may have none for an operation, one that is not symmetric, or one that leaves a part out without a word.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from landscape.errors import NotDifferentiable, NotFinite
from landscape.numerics.roughness import NOTHING, PLACES, roughness
from landscape.objective.cancelled import TIMES, curvature_elsewhere, gradient_elsewhere

Vector = Callable[[Tensor], Tensor]

# The samples of a trial hold about this many activations: a ReLU crosses its kink once in about 1/τ of them
# within a relative step τ, so that none does at the smallest steps.
ACTIVATIONS = 2**14
# Relative steps of a difference quotient in float64, and up to where ∇F bends no more than a smooth one.
STEPS = (1e-4, 1e-5, 1e-6, 1e-7)
BENT = 1e-3
# Where it bends more, a kink at θ moves a quotient by about as much: a departure so many times that is no kink's.
KINKED = 10.0
# Numbers of a vector that are widened at a time.
BLOCK = 2**20
# By the coarsest dtype of a trial: what uᵀHv − vᵀHu may be over ‖Hv‖, the steps, and the departure from a quotient.
# Well above rounding, since products by differences that replace a double backward have an error as well.
BOUNDS = {
    torch.float64: (1e-7, STEPS, 1e-5),
    # The last steps are for what bends within the first ones, as norms of small embeddings do.
    torch.float32: (1e-2, (3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5), 2e-2),
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
    try:
        image = product(_unit(theta, 1))
        axis = _unit(theta, 0)
        skew, size = _dot(axis, image), _norm(image)
        del image  # two of them would be more than any later product holds
        image = product(axis)
        skew, size = abs(skew - _dot(_unit(theta, 1), image)), max(size, _norm(image), 1e-300)
    except NotDifferentiable as error:
        gradient(theta)
        return error.seen
    if dtype not in BOUNDS:
        return None
    symmetric, steps, near = BOUNDS[dtype]

    reason = None
    if skew > symmetric * size:
        reason = f"the double backward of autograd is not symmetric, uᵀHv and vᵀHu differ by {skew / size:.2g} ‖Hv‖"
        eps = torch.finfo(dtype).eps
        if _is_rounding(gradient, image, theta, axis, eps):
            return None
        # Where F is next to nothing so is H, but for the rounding of terms that cancel in it.
        if skew <= TIMES * eps * curvature_elsewhere(gradient, theta, axis):
            reason = None
    try:
        first = departure(gradient, image, theta, axis, steps=steps, bound=near)
        if reason is None and first.has_limit and first.gap > near:
            reason = f"the double backward of autograd departs from them by {first.gap:.2g} ‖Hv‖"
        if reason is None:
            return None
        other = _unit(theta, 1)
        second = departure(gradient, product(other), theta, other, steps=steps, bound=near)
    except (NotDifferentiable, NotFinite):
        return reason
    # Behind a detach ∇F is not the gradient of anything, and has no symmetric derivative either.
    is_known = first.has_limit and second.has_limit
    if is_known:
        of_axis, of_other = first.quotient, second.quotient
        skew = abs(_dot(other, of_axis) - _dot(axis, of_other))
        if skew > 10 * near * max(_norm(of_axis), _norm(of_other), 1e-300):
            return None
    return reason


def _is_rounding(gradient: Vector, image: Tensor, theta: Tensor, axis: Tensor, eps: float) -> bool:
    """Whether a product is no more than the rounding of ∇F, over ‖θ‖: that of a constant is not symmetric either."""
    size = float(torch.linalg.vector_norm(theta)) or 1.0
    near = [gradient(torch.add(theta, axis, alpha=step * eps * size)) for step in PLACES]
    return _norm(image) * size <= NOTHING * roughness(near)


def _unit(theta: Tensor, seed: int) -> Tensor:
    """A random unit vector like ``theta`` (d,); drawn again where it is wanted again, as none is to be kept."""
    draw = torch.randn(len(theta), generator=torch.Generator().manual_seed(seed), dtype=theta.dtype)
    return draw.div_(_norm(draw)).to(theta)


def _dot(a: Tensor, b: Tensor) -> float:
    """Added in float64, a block at a time."""
    blocks = zip(a.split(BLOCK), b.split(BLOCK), strict=True)
    return sum(float(torch.dot(one.double(), other.double())) for one, other in blocks)


def _norm(a: Tensor) -> float:
    return math.sqrt(_dot(a, a))


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
    ``bound`` (kinks crossed, rounding), or ∇F changes otherwise on one side than on the other; nor where they are
    within the rounding of terms that cancel in ∇F, which has steps there, and quotients of a step that agree.
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
            if bend <= max(BENT, min(least, 1.0) / KINKED) * float((upper - lower).norm()):
                rounding = TIMES * torch.finfo(theta.dtype).eps * gradient_elsewhere(gradient, theta)
                has_limit = least * scale > rounding / (2 * step * unit)
                return Departure(least, has_limit, quotient)
        before = quotient
    return Departure(least, False, quotient)
