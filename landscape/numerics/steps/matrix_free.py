"""To a critical point by products with the Hessian: Newton-MR, and quasi-Newton steps on ½‖∇F‖²."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape.errors import NotFinite
from landscape.numerics.steps.newton import exponent

# θ ↦ F and ∇F; θ ↦ (v ↦ Hv).
Slopes = Callable[[Tensor], tuple[Tensor, ...]]
Products = Callable[[Tensor], Callable[[Tensor], Tensor]]
Report = Callable[[int, int], None]
# Products of one step at most, and what part of the normal equations' residual ends one.
MOST_PRODUCTS, FORCING = 200, 1e-2
FIRST, EASE, TIGHTEN, SHORTEST = 1e-3, 8.0, 4.0, 1e-15
WINDOW, STILL, ROUNDING = 12, 1e-9, 64.0
# Steps of L-BFGS between looks at whether ‖∇F‖ still falls.
RESTART = 25


class _Reached(Exception):
    """‖∇F‖ is at its rounding."""


class _Left(Exception):
    """H∇F is not finite here."""


class End(NamedTuple):
    """Where a search ended: θ (d,), F, ‖∇F‖, what it was at the start, and an estimate of ‖H‖ there.

    ``flatness`` is ‖H∇F‖/(‖H‖‖∇F‖). ``settles``: its last step is a small part of the last ones; ``stands``: ‖∇F‖
    has fallen by less than a hundredth in it; ``grows``: ‖θ‖ has grown; ``exponent``: d log‖∇F‖/d log‖θ‖
    over the last ones; ``way`` (2, WINDOW + 1): ‖∇F‖ and ‖θ‖ of these, NaN where there are fewer.
    """

    theta: Tensor
    value: float
    norm: float
    scale: float
    curvature: float
    flatness: float
    settles: bool
    stands: bool
    grows: bool
    steps: int
    exponent: float
    way: np.ndarray


class _Way:
    """The last of a search: ‖∇F‖, ‖θ‖ and the lengths of its steps."""

    def __init__(self, theta: Tensor, norm: float):
        self.norms, self.sizes = [norm], [_norm(theta)]
        self.lengths: list[float] = []

    def add(self, theta: Tensor, norm: float, length: float) -> None:
        self.norms.append(norm)
        self.sizes.append(_norm(theta))
        self.lengths.append(length)

    def end(
        self, theta: Tensor, value: float, slope: Tensor, product: Callable[[Tensor], Tensor], steps: int
    ) -> End:
        """What there is to say of it; ‖H‖ is that of ten steps of power iteration from ∇F."""
        norm, draw = _norm(slope), slope.clone()
        if not norm > 0:
            draw = torch.randn(len(theta), generator=torch.Generator().manual_seed(0), dtype=theta.dtype)
        flatness, curvature = math.nan, 0.0
        for number in range(10):
            length = _norm(draw)
            if not (length > 0 and math.isfinite(length)):
                break
            try:
                draw = product(draw / length)
            except NotFinite:
                flatness = curvature = math.nan
                break
            curvature = max(curvature, _norm(draw))
            flatness = _norm(draw) if number == 0 else flatness
        lengths, norms, sizes = self.lengths[-WINDOW:], self.norms[-WINDOW - 1 :], self.sizes[-WINDOW - 1 :]
        return End(
            theta,
            value,
            norm,
            self.norms[0],
            curvature,
            flatness / curvature if norm > 0 and curvature else 0.0 if norm > 0 else math.nan,
            len(lengths) < WINDOW // 3 or lengths[-1] <= 0.02 * sum(lengths),
            len(norms) < 2 or norms[-1] > 0.99 * norms[-2],
            len(sizes) > WINDOW and sizes[-1] > 1.01 * sizes[0],
            steps,
            exponent(norms, sizes),
            np.array([[math.nan] * (WINDOW + 1 - len(one)) + one for one in (norms, sizes)]),
        )


def by_products(
    slopes: Slopes,
    products: Products,
    theta: Tensor,
    *,
    num_steps: int = 500,
    report: Report = lambda done, total: None,
) -> End:
    """Newton-MR (Roosta et al. 2022) from ``theta`` (d,), float64, ‖∇F‖ never rising.

    The step is that of :func:`~landscape.numerics.steps.newton.searched`, −H (H² + μ‖∇F‖ I)⁻¹ ∇F, by conjugate
    gradients on the normal equations (CGLS, Hestenes and Stiefel 1952), which begin at 0 and so stay in the range of H:
    of minimum norm. They end at a residual of a hundredth, smaller as ‖∇F‖ falls, or after 200 products.
    """
    value, slope = slopes(theta)
    norm = scale = _norm(slope)
    way, product = _Way(theta, norm), products(theta)
    damping: float | None = None
    steps, curvature = 0, 0.0
    while steps < num_steps and math.isfinite(norm):
        eps = ROUNDING * torch.finfo(theta.dtype).eps
        if norm <= eps * (curvature * _norm(theta) + scale):
            break
        if len(way.norms) > WINDOW and norm > (1 - STILL) * way.norms[-WINDOW - 1]:
            break
        if damping is None:
            curvature = max(curvature, _norm(product(slope / norm)))
            damping = FIRST * curvature**2
        step, left, bend = _least_squares(product, slope, damping, min(FORCING, norm / scale))
        curvature, length = max(curvature, bend), _norm(step)
        if length <= SHORTEST * way.sizes[-1]:
            break
        trial = theta + step
        new_value, new_slope = slopes(trial)
        new = _norm(new_slope)
        ratio = (norm**2 - new**2) / max(norm**2 - left**2, 1e-300)
        steps += 1
        report(steps, num_steps)
        if not new < norm:
            damping = TIGHTEN * max(damping, 1e-12 * curvature**2)
            continue
        damping *= (1 / EASE if ratio > 0.75 else 1.0 if ratio > 0.25 else TIGHTEN) * new / norm
        theta, value, slope, norm = trial, new_value, new_slope, new
        product = products(theta)
        way.add(theta, norm, length)
    return way.end(theta, float(value), slope, product, steps)


def _least_squares(
    product: Callable[[Tensor], Tensor], slope: Tensor, damping: float, tolerance: float
) -> tuple[Tensor, float, float]:
    """The step s least in ‖Hs + ∇F‖² + damping ‖s‖², ‖Hs + ∇F‖ there, and the largest ‖Hp‖/‖p‖ seen."""
    step, left = torch.zeros_like(slope), -slope
    image = product(left)
    way, size = image.clone(), float(image @ image)
    first, bend = size, 0.0
    for _ in range(MOST_PRODUCTS if first > 0 else 0):
        bent = product(way)
        bend = max(bend, _norm(bent) / max(_norm(way), 1e-300))
        along = size / max(float(bent @ bent) + damping * float(way @ way), 1e-300)
        step, left = step + along * way, left - along * bent
        image = product(left) - damping * step
        new = float(image @ image)
        if not new > tolerance**2 * first:
            break
        way, size = image + (new / size) * way, new
    return step, _norm(left), bend


def by_gradient_norm(
    slopes: Slopes,
    products: Products,
    theta: Tensor,
    *,
    num_steps: int = 200,
    report: Report = lambda done, total: None,
) -> End:
    """L-BFGS (Liu and Nocedal 1989) on ½‖∇F‖², whose gradient is H∇F, from ``theta`` (d,), float64.

    It ends where H∇F vanishes: at critical points, and as well where ∇F lies in the kernel of H.
    """
    leaf = torch.nn.Parameter(theta.clone())
    value, slope = slopes(theta)
    way, best = _Way(theta, _norm(slope)), (theta.clone(), value, slope)
    scale, reached = _norm(slope) or 1.0, ROUNDING * torch.finfo(theta.dtype).eps

    def closure() -> float:
        nonlocal best
        here = leaf.detach()
        value, slope = slopes(here)
        norm = _norm(slope)
        if norm < way.norms[-1]:
            way.add(here, norm, _norm(here - best[0]))
            best = here.clone(), value, slope
        try:
            leaf.grad = products(here)(slope) / scale**2
        except NotFinite:
            raise _Left from None
        if not norm > reached * scale:
            raise _Reached
        return 0.5 * (norm / scale) ** 2

    steps, is_there = 0, False
    while steps < num_steps and not is_there:
        before, taken = way.norms[-1], min(RESTART, num_steps - steps)
        stepper = torch.optim.LBFGS(
            [leaf],
            max_iter=taken,
            max_eval=2 * taken,
            tolerance_grad=0.0,
            tolerance_change=0.0,
            history_size=RESTART,
            line_search_fn="strong_wolfe",
        )
        try:
            stepper.step(closure)
        except _Reached:
            is_there = True
        except _Left:
            # The line search led where F has no curvature: on from the best point, if there was a better one.
            pass
        steps += taken
        report(steps, num_steps)
        leaf.data.copy_(best[0])
        if not way.norms[-1] < (1 - 1e-6) * before:
            break
    theta, value, slope = best
    return way.end(theta, float(value), slope, products(theta), steps)


def _norm(vector: Tensor) -> float:
    return float(torch.linalg.vector_norm(vector))
