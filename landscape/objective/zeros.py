"""Which eigenvalues of the Hessian of an objective count as zero at one point, by the rule for all."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from landscape import distributed
from landscape.numerics.spectra.inertia import STATIONARY, Dense, dense_matrix, stated_error
from landscape.numerics.spectra.zeros import zero_thresholds
from landscape.objective.objective import Objective
from landscape.objective.stacked import Derivatives
from landscape.result import Check

# Of a norm that thirty steps of a power iteration find from a random start.
FOUND = 0.05


def zero_threshold(
    objective: Objective,
    theta: Tensor,
    dense: Dense,
    values: Tensor,
    vectors: Tensor | None,
    slope: Tensor,
    *,
    fixed: Mapping[str, Tensor] | None = None,
    tolerance: float = STATIONARY,
) -> float:
    """|λ| that counts as zero at ``theta`` (d,): :func:`~landscape.numerics.spectra.zeros.zero_thresholds` for one.

    ``dense`` is H there, ``values`` and ``vectors`` (d, d), one a column, its eigenvalues and eigenvectors, and
    ``slope`` ∇F. A matrix more, where ‖∇F‖ ≤ ``tolerance``, in float64; in less, and without ``vectors``, how far
    eigenvalues move is not told, and the threshold is the stated error and ‖∇F‖.
    """
    values, slope = values.double(), slope.double().to(values.device)
    stated = torch.tensor([stated_error(dense, values.cpu().numpy())], dtype=torch.float64).to(values.device)

    def beyond(steps: Tensor) -> tuple[Tensor, Tensor]:
        there = theta + steps[0].to(theta)
        slope, matrix = _bent(objective, there, fixed)
        norm = torch.linalg.vector_norm(slope.double())
        if not bool(torch.isfinite(matrix).all()):
            return torch.full_like(stated, float("nan")), values[None]
        return norm[None].to(values), torch.linalg.eigvalsh(matrix)[None].to(values)

    axes = None if vectors is None or dense.matrix.dtype != torch.float64 else vectors[None]
    return float(zero_thresholds(values[None], axes, slope[None], stated, beyond, tolerance)[0])


def threshold_check(dense: Dense, values: np.ndarray, threshold: float, gradient: float) -> Check:
    """What counts as zero against the error of the eigenvalues ``values`` (d,), term by term.

    ``gradient`` is ‖∇F‖ if it counts. The norm of the antisymmetric part lies between its largest entry and d times
    that, but for the rounding of products.
    """
    largest = max(abs(float(one)) for one in (values.min(), values.max()))
    eps, d = torch.finfo(dense.matrix.dtype).eps, len(dense.matrix)
    terms = [dense.rounding, dense.rounding, dense.product_error, gradient, eps * max(100, d) * largest]
    stated, entry = sum(terms), dense.asymmetry / 2
    gap = abs(threshold - stated) / max(stated, 1e-300)
    if not FOUND * entry <= dense.rounding <= d * (entry + eps * largest):
        gap = math.inf
    meaning = "what counts as zero against asymmetry, solver, products and ‖∇F‖ together, relative"
    return Check("threshold", gap, 1e-9, meaning)


def _bent(objective: Objective, theta: Tensor, fixed: Mapping[str, Tensor] | None) -> tuple[Tensor, Tensor]:
    """∇F and H, at once where one process has all of it."""
    if objective.is_double and distributed.num_processes() == 1:
        _, slope, dense = Derivatives(objective, fixed).dense(theta, memory_limit=float("inf"))
        return slope, dense.matrix
    product = objective.hessian_operator(theta, fixed)
    how = {"dtype": torch.float64, "device": objective.device, "memory_limit": float("inf")}
    return objective.gradient(theta, fixed), dense_matrix(product, len(theta), **how).matrix
