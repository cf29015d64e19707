"""What kind of point a descent ended at: a minimum, a saddle, or a descent cut short."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.descent.gradients import value_and_gradient
from landscape.numerics.arrays import array_of
from landscape.numerics.spectra.inertia import (
    STATIONARY,
    Dense,
    dense_matrix,
    error_at,
    inertia,
)
from landscape.numerics.spectra.lanczos import top_eigenpairs
from landscape.numerics.steps.polish import KINK, Polished, polished
from landscape.objective.differences import Differences
from landscape.objective.objective import Objective
from landscape.objective.products import Product
from landscape.objective.zeros import zero_threshold
from landscape.progress import Progress, silent

# Above this number of parameters the whole spectrum takes too long.
DENSE_PARAMETERS = 2000
LANCZOS_PAIRS = 16
MEMORY = 2**34
# Parameters times samples beyond which an examination takes seconds.
LONG = 2**23
# ‖∇F‖ of a polished end.
POLISHED = 1e-9


@dataclass(frozen=True)
class End:
    """F, ‖∇F‖ and the Hessian's signs at one point.

    ``index`` counts the eigenvalues below zero by more than their error, and near a critical point more
    (:func:`~landscape.numerics.spectra.zeros.zero_thresholds`); ``is_exact`` says that none can have been missed.
    ``status`` is ``minimum``, ``degenerate`` (no negative eigenvalue, but some that are zero to their error),
    ``saddle`` or, where ‖∇F‖ is above the tolerance, ``cut short``.
    """

    cost: float
    gradient_norm: float
    smallest_eigenvalue: float
    largest_eigenvalue: float
    index: int
    is_exact: bool
    status: str


def examined(
    objective: Objective,
    theta: Tensor,
    *,
    tolerance: float = STATIONARY,
    seed: int = 0,
    progress: Progress = silent,
    what: str = "products",
) -> End:
    """The kind of point ``theta`` (d,) is for an objective in float64.

    All eigenvalues where d ≤ 2000; beyond, the ends of the spectrum by Lanczos, which give the index where
    not all of the smallest eigenvalues found are negative. Of a long one ``progress`` is told the products,
    called ``what``.
    """
    value, slope = objective.value_and_gradient(theta)
    product = objective.hessian_operator(theta)
    report = partial(named, progress if _is_long(objective) else silent, what)
    size = float(torch.linalg.vector_norm(slope))
    if objective.num_parameters <= DENSE_PARAMETERS:
        dense = _dense(objective, product, report)
        eigenvalues, vectors = torch.linalg.eigh(dense.matrix)
        values = array_of(eigenvalues)
        threshold = zero_threshold(objective, theta, dense, eigenvalues, vectors, slope, tolerance=tolerance)
        signs = inertia(values, threshold)
        index, num_zero, is_exact = signs.num_negative, signs.num_zero, True
    else:
        pairs = top_eigenpairs(
            product,
            objective.num_parameters,
            1,
            bottom=LANCZOS_PAIRS,
            product_error=lambda: product.error,
            generator=torch.Generator().manual_seed(seed),
            device=objective.device,
            progress=report,
        )
        values = np.sort(pairs.values)
        error = float(pairs.residuals.max()) + 1e-12 * pairs.scale + error_at(size, tolerance)
        index = int((values < -error).sum())
        num_zero = int((np.abs(values) <= error).sum())
        is_exact = bool(pairs.converged.all()) and index < LANCZOS_PAIRS
    kind = "saddle" if index else "degenerate" if num_zero else "minimum"
    return End(
        cost=value,
        gradient_norm=size,
        smallest_eigenvalue=float(values[0]),
        largest_eigenvalue=float(values[-1]),
        index=index,
        is_exact=is_exact,
        status=kind if size <= tolerance else "cut short",
    )


def perfected(
    objective: Objective,
    theta: Tensor,
    *,
    tolerance: float,
    quasi_newton_steps: int = 500,
    newton_steps: int = 200,
) -> Polished:
    """``theta`` (d,) brought to ‖∇F‖ ≤ ``tolerance`` for an objective in float64, or as near as it goes."""
    is_small = objective.num_parameters <= DENSE_PARAMETERS

    def hessian(theta: Tensor) -> Tensor:
        return _dense(objective, objective.hessian_operator(theta), partial(named, silent, "")).matrix

    return polished(
        value_and_gradient(objective),
        hessian if is_small else None,
        theta,
        tolerance=tolerance,
        quasi_newton_steps=quasi_newton_steps,
        newton_steps=newton_steps,
    )


def end_of(wide: Objective, theta: Tensor, polish: bool, progress: Progress, what: str) -> dict[str, Any]:
    """What there is to say of one end, by field, and ``theta``: the point its Hessian was taken at."""
    end = examined(wide, theta, progress=progress, what=what)
    found: dict[str, Any] = {"cost": end.cost, "gradient_norm": end.gradient_norm}
    if polish:
        better = perfected(wide, theta, tolerance=POLISHED)
        theta = better.theta
        end = examined(wide, theta, progress=progress, what=what)
        found |= {"polished_cost": end.cost, "polished_gradient_norm": end.gradient_norm}
        found |= {"polish_reason": better.reason}
    about = {
        one: getattr(end, one) for one in ("index", "is_exact", "smallest_eigenvalue", "largest_eigenvalue")
    }
    is_kink = polish and found["polish_reason"] == KINK
    status = "kink" if is_kink and end.status == "cut short" else end.status
    return {**found, **about, "end_status": status, "theta": array_of(theta)}


def named(progress: Progress, what: str, done: int, total: int) -> None:
    """``progress`` of so much of ``what``."""
    progress(done, total, what)


def _is_long(objective: Objective) -> bool:
    return objective.num_parameters * objective.num_samples > LONG


def _dense(
    objective: Objective, product: Product | Differences, progress: Callable[[int, int], None]
) -> Dense:
    return dense_matrix(
        product,
        objective.num_parameters,
        device=objective.device,
        memory_limit=MEMORY,
        product_error=lambda: product.error,
        progress=progress,
    )
