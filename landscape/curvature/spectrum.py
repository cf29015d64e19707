"""The curvature at one point: eigenpairs, trace, density, all of it certified and checked."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from landscape import distributed
from landscape.curvature.estimate_proofs import dense_checks
from landscape.curvature.operators import OF_GRADIENT, left_out
from landscape.curvature.order import order_test
from landscape.curvature.preconditioned import met
from landscape.curvature.question import Question, operator_of
from landscape.curvature.remembered import Kept
from landscape.curvature.searched import searched
from landscape.errors import BadInput
from landscape.numerics.spectra.density import INDEX_ERROR, Density, spectral_density
from landscape.numerics.spectra.inertia import (
    STATIONARY,
    Inertia,
    dense_matrix,
    exact_spectrum,
    inertia,
    memory_needed,
    require_memory,
    stated_error,
    verdict,
)
from landscape.numerics.spectra.lanczos import Eigenpairs
from landscape.numerics.spectra.trace import Trace, trace_estimate
from landscape.numerics.vectors import lengths
from landscape.objective import checks, plain
from landscape.objective.differences import Differences
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.penalised import identity_checks
from landscape.objective.precision import in_float64, told
from landscape.objective.zeros import threshold_check, zero_threshold
from landscape.progress import Progress
from landscape.result import Check


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """What was found at a point; ``slope`` is the gradient in the coordinates of the matrix."""

    pairs: Eigenpairs
    trace: Trace | None
    trace_product_error: float
    density: Density | None
    values: np.ndarray | None
    inertia: Inertia | None
    verdict: str | None
    loss: float
    gradient: Tensor
    slope: Tensor
    gradient_curvature: float
    rounding: float | None
    product_error: float | None
    num_products: int
    num_chunks: int
    num_kept: int
    checks: list[Check]
    notes: list[str]


def spectrum(
    objective: Objective, point: Point, question: Question, progress: Progress, kept: Kept
) -> Spectrum:
    """Answer ``question`` at ``point``, by products that are ``kept``. BadInput, NotDifferentiable and NotFinite."""
    generator = torch.Generator().manual_seed(question.seed)
    wide = in_float64(objective) if _is_certified(objective, question.certify) else None
    remarks = told(wide) if wide is not None else []
    if remarks and question.certify:
        raise BadInput(f"a certificate {remarks[0]}", "a module that takes float64", "leave `certify` away")
    wide = None if remarks else wide
    if question.exact:
        require_memory(objective.num_parameters, question.memory_limit)
    found = searched(objective, wide, point, question, generator, progress, kept)
    pairs, product, spent, notes = found.pairs, found.product, found.num_products, found.notes + remarks
    if wide is None and not objective.is_double and not isinstance(product, Differences):
        unit = torch.finfo(objective.coarsest).eps
        notes.append(
            f"without a certificate in float64 errors leave out how all products round alike, about {2 * unit:.1g} of "
            "the largest |λ|"
        )
    proofs, rounding, basis = found.checks, found.rounding, found.basis
    known = {"values": pairs.values, "vectors": pairs.vectors.to(objective.dtype), "generator": generator}
    known |= {"dtype": objective.dtype, "device": basis}
    trace = density = None
    drawn_by = 0.0
    if question.trace:
        trace = trace_estimate(
            kept(product, basis, "trace"),
            objective.num_parameters,
            relative_error=question.trace_error,
            progress=lambda done, total: progress(done, total, "products for the trace at most"),
            **known,
        )
        spent += trace.num_products
        one_rounding = torch.finfo(objective.coarsest).eps * pairs.scale
        drawn_by = trace.product_error(product.largest_error, one_rounding)
        sampled = float(np.hypot(trace.standard_error, objective.num_parameters**0.5 * drawn_by))
        trace = trace._replace(standard_error=sampled)
    if question.density:
        density = spectral_density(
            kept(product, basis, "density"),
            objective.num_parameters,
            num_probes=question.num_probes,
            num_steps=question.num_steps,
            memory_limit=question.memory_limit - product.kept_bytes,
            product_error=lambda: product.largest_error,
            progress=lambda done, total: progress(done, total, "products for the density"),
            **known,
        )
        spent += density.num_products
        notes += _left_open(density)
    values = counted = words = None
    if question.exact:
        values, counted, words, more = _exactly(wide or objective, point, question, pairs, progress)
        proofs += more
        spent += objective.num_parameters
    if objective.loss.has_price and question.operator not in OF_GRADIENT:
        notes.append(
            "the regulariser counts as an output, in which the loss is linear: its curvature is left out"
        )
    elif question.operator == "gauss-newton":
        notes += left_out(objective, point)
    value, gradient = objective.value_and_gradient(point.theta, point.fixed)
    if not np.isfinite(value):
        notes.append(
            f"F is {value} at this point, though its derivatives are finite: does the loss say what it should there?"
        )
    slope = met(objective, question.operator, gradient)
    direction = slope / lengths(slope).to(slope).clamp_min(torch.finfo(slope.dtype).tiny)
    bend = float(torch.dot(direction.double(), product(direction).double()))
    precision = 1e-12 if pairs.vectors.dtype == torch.float64 else checks.rounding(objective)
    error = max(product.largest_error, found.trial_error) / max(pairs.scale, 1e-300)
    if error:
        notes += objective.doubts
        notes.append(
            f"each of these products is known to {error:.1g} of the largest |λ|, which residuals and errors contain"
        )
    proofs += [
        checks.agreement("loss", objective, value, point, checks.PLAINLY),
        Check(
            "orthogonality", pairs.orthogonality, 100 * precision, "Ritz vectors: largest entry of VᵀV − I"
        ),
        checks.finite(pairs.values),
        *identity_checks(objective, plain.by_name(objective, point)),
    ]
    return Spectrum(
        pairs=pairs,
        trace=trace,
        trace_product_error=drawn_by,
        density=density,
        values=values,
        inertia=counted,
        verdict=words,
        loss=value,
        gradient=gradient,
        slope=slope,
        gradient_curvature=bend,
        rounding=rounding,
        product_error=error or None,
        num_products=spent + 1,
        num_chunks=product.num_chunks,
        num_kept=product.num_kept,
        checks=proofs,
        notes=notes,
    )


def _left_open(density: Density) -> list[str]:
    """What keeps the number of negative eigenvalues from being known to a share of d, in words."""
    below, near = density.below_zero, density.near_zero
    if below.error <= INDEX_ERROR:
        return []
    reasons = {
        "resolution": f"{near.value:.0%} of the eigenvalues lie within {density.band:.2g} of zero, and "
        f"{density.nodes.shape[1]} steps do not tell their signs",
        "sampling": f"{len(density.nodes)} random vectors leave so much to chance",
        "products": "products are not known any better",
    }
    return [
        f"the index is known to {below.error:.1%} of d, not to {INDEX_ERROR:.0%}, after {density.num_products} "
        f"products for the density: {reasons[below.largest_part]}"
    ]


def _is_certified(objective: Objective, wanted: bool | None) -> bool:
    """By default in lower precision than float64, on one process, where the device has float64."""
    possible = objective.device.type != "mps" and distributed.num_processes() == 1
    if wanted and not possible:
        raise BadInput(
            "a certificate in float64 on mps or on several processes", "one process on a cpu or cuda"
        )
    return not objective.is_double and possible and wanted is not False and not objective.is_sharded


def _exactly(
    objective: Objective,
    point: Point,
    question: Question,
    pairs: Eigenpairs,
    progress: Progress,
) -> tuple[np.ndarray, Inertia, str, list[Check]]:
    """All eigenvalues of the dense matrix, their signs counted, and a verdict in words.

    At a critical point the Hessian's count as zero by the rule of
    :func:`~landscape.numerics.spectra.zeros.zero_thresholds`; the gradient is taken in the precision of the matrix.
    Where no eigenvalue is negative and some are zero the loss along these decides, as far as it can be told.
    """
    dimension = objective.num_parameters
    product = operator_of(objective, point, question)
    dense = dense_matrix(
        product,
        dimension,
        dtype=objective.dtype,
        device=objective.device,
        memory_limit=question.memory_limit,
        product_error=lambda: product.error,
        progress=lambda done, total: progress(done, total, "rows of the dense matrix"),
    )
    theta, fixed = objective.brought(point)
    gradient = objective.gradient(theta, fixed)
    size = float(torch.linalg.vector_norm(gradient.double()))
    is_hessian = question.operator == "hessian"
    has_room = memory_needed(dimension, with_vectors=True) <= question.memory_limit
    found = exact_spectrum(dense.matrix, with_vectors=is_hessian and 0 < size <= STATIONARY and has_room)
    values = found.values
    scale = max(float(np.abs(values).max()), 1e-300)
    threshold = zero_threshold(
        objective,
        theta,
        dense,
        torch.from_numpy(values).to(dense.matrix.device),
        None if found.vectors is None else found.vectors.T,
        gradient if is_hessian else 0 * gradient,
        fixed=fixed,
    )
    known = threshold - stated_error(dense, values)
    counted = inertia(values, threshold)
    words = verdict(counted, size, tolerance=STATIONARY)
    if question.operator == "hessian":
        decided = order_test(objective, point, dense.matrix, counted, size)
        words += f"; {decided}" if decided else ""
    fresh = operator_of(objective, point, question, 1)
    error = 2 * dense.rounding + dense.product_error
    precision = checks.rounding(objective)
    with plain.proving(gradients=3):
        proofs = dense_checks(dense.matrix, values, fresh, error, precision, question.seed)
    proofs.append(threshold_check(dense, values, counted.threshold, known))
    best = np.sort(values)[::-1]
    top, bottom = question.top_k, question.bottom_k
    if question.which == "magnitude":
        best, bottom = best[np.argsort(-np.abs(best), kind="stable")], 0
    elif question.which != "largest":
        top, bottom = (0, max(top, bottom)) if question.which == "smallest" else (top, bottom or top)
    ends = np.concatenate([best[:top], best[::-1][:bottom]])
    if len(ends) == len(pairs.values):
        size = np.abs if question.which == "magnitude" else np.asarray
        worst = float(np.abs(size(ends) - size(pairs.values)).max()) / scale
        # What did not converge says so, and is proven within what it says.
        bound = max(question.tol, float(pairs.errors.max(initial=0)) / scale)
        proofs.append(
            Check("Lanczos", worst, bound, "Ritz values against the dense matrix, relative to max|λ|")
        )
    return values, counted, words, proofs
