"""How curved is the loss here, and along what?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from landscape.curvature import blocks, operators
from landscape.curvature.spectrum import Question, Spectrum, spectrum
from landscape.errors import BadInput
from landscape.objective import Objective, checks
from landscape.objective.parameters import Point
from landscape.progress import Progress, silent
from landscape.result import Check, Result, array, scalar

PROVES = "residual ‖Hv − λv‖ by a further product: proves that some eigenvalue lies within it of λ"
# On other samples only the eigenvalues are asked for, as far as their spread needs them.
PLAIN = {"search": False, "certify": False, "trace": False, "density": False, "exact": False}
ASSUMES = "error min(r, r²/gap) of λ, assuming that no eigenvalue was missed"


@dataclass(kw_only=True, eq=False)
class Hessian(Result):
    """Extreme eigenvalues of the Hessian of F, each with the interval its residual proves.

    With several points every array has a leading dimension ``point``.
    """

    kind: ClassVar[str] = "hessian"
    rank: np.ndarray = array("rank", long_name="rank of the eigenvalue")
    point: np.ndarray | None = array("point", long_name="where", optional=True)
    eigenvalues: np.ndarray = array("point", "rank", long_name="Ritz value λ", printed=True)
    residuals: np.ndarray = array("point", "rank", long_name=PROVES)
    estimated_residuals: np.ndarray = array("point", "rank", long_name="residual by the recurrence")
    errors: np.ndarray = array("point", "rank", long_name=ASSUMES)
    converged: np.ndarray = array("point", "rank", long_name="error at most tolerance times the largest |λ|")
    eigenvectors: np.ndarray | None = array(
        "point", "rank", "parameter", long_name="Ritz vectors", optional=True
    )
    subset_eigenvalues: np.ndarray | None = array(
        "subset", "rank", long_name="Ritz value λ on each subset of the samples", optional=True
    )
    subset_spread: np.ndarray | None = array(
        "rank", long_name="standard deviation of λ over the subsets", optional=True
    )
    gauss_newton_part: np.ndarray | None = array(
        "point", "rank", long_name="vᵀGv, the Gauss–Newton part of λ", optional=True
    )
    remainder_part: np.ndarray | None = array(
        "point", "rank", long_name="vᵀ(H − G)v, the rest of λ", optional=True
    )
    loss: np.ndarray = array("point", long_name="loss at the point")
    gradient_norm: np.ndarray = array("point", long_name="gradient norm ‖∇F‖ at the point")
    gradient_curvature: np.ndarray = array("point", long_name="Rayleigh quotient gᵀHg/gᵀg of the gradient g")
    gradient_in_span: np.ndarray = array("point", long_name="part of ‖∇F‖² in the span of the Ritz vectors")
    overlap: np.ndarray | None = array(
        "point", long_name="overlap ‖VᵀV′‖²/k of the Ritz spaces here and at the point before", optional=True
    )
    stability_limit: np.ndarray | None = array(
        "point", long_name="largest λ at which the run's step size is stable (2/α)", optional=True
    )
    trace: np.ndarray | None = array("point", long_name="trace of the Hessian", optional=True)
    trace_error: np.ndarray | None = array("point", long_name="standard error of the trace", optional=True)
    density_nodes: np.ndarray | None = array(
        "point", "probe", "node", long_name="nodes of the spectral density", optional=True
    )
    density_weights: np.ndarray | None = array(
        "point",
        "probe",
        "node",
        long_name="their weights; every Ritz value has 1/d beside them",
        optional=True,
    )
    mass_below_zero: np.ndarray | None = array(
        "point", long_name="share of eigenvalues below zero, an estimate", optional=True
    )
    mass_below_zero_error: np.ndarray | None = array(
        "point", long_name="standard error of that share", optional=True
    )
    index_estimate: np.ndarray | None = array(
        "point", long_name="number of negative eigenvalues, an estimate from that share", optional=True
    )
    index_estimate_error: np.ndarray | None = array(
        "point", long_name="standard error of that estimate", optional=True
    )
    mass_near_zero: np.ndarray | None = array(
        "point", long_name="share of eigenvalues within the band about zero", optional=True
    )
    zero_band: np.ndarray | None = array("point", long_name="half width of that band", optional=True)
    spectrum: np.ndarray | None = array(
        "point", "eigenvalue", long_name="all eigenvalues, of the dense matrix in float64", optional=True
    )
    index: np.ndarray | None = array("point", long_name="number of negative eigenvalues", optional=True)
    nullity: np.ndarray | None = array("point", long_name="number of zero eigenvalues", optional=True)
    zero_threshold: np.ndarray | None = array(
        "point", long_name="|λ| that counts as zero: the error of the matrix", optional=True
    )
    counts_nearby: np.ndarray | None = array(
        "point",
        "threshold",
        "sign",
        long_name="negative, zero and positive eigenvalues at a tenth and at ten times that",
        optional=True,
    )
    verdict: np.ndarray | str | None = array("point", long_name="what the point is", optional=True)
    num_products: int = scalar("products in all, those for residuals and checks included")
    num_chunks: int = scalar("chunks of samples in a product")
    num_kept: int = scalar("chunks whose graph is kept between products; the others are recomputed")
    num_parameters: np.ndarray = array("point", long_name="d, the number of eigenvalues")
    tolerance: float = scalar("error that counts as converged, relative to the largest |λ|")
    operator: str = scalar("which matrix")
    block: str | None = scalar("the parameters it was restricted to", optional=True)
    product_rounding: float | None = scalar(
        "rounding ‖(H₃₂ − H₆₄)v‖ of one product, relative: the floor of uncertified values", optional=True
    )


def hessian(
    objective: Objective,
    theta: Tensor | Point | Sequence[Tensor | Point],
    *,
    top_k: int = 10,
    bottom_k: int = 0,
    which: str = "largest",
    operator: str = "hessian",
    block: str | None = None,
    per_layer: bool = False,
    others: Sequence[Objective] = (),
    split: bool = False,
    tol: float = 1e-6,
    max_products: int | None = None,
    memory_limit: float = 2**32,
    basis_device: str | None = None,
    search: bool = True,
    certify: bool | None = None,
    trace: bool = False,
    trace_error: float = 0.01,
    density: bool = False,
    num_probes: int = 2,
    num_steps: int = 40,
    exact: bool = False,
    stability_limits: Sequence[float] | None = None,
    save_vectors: bool = False,
    seed: int = 0,
    progress: Progress = silent,
) -> Hessian:
    """Eigenvalues of the Hessian of F at θ (or at several points) by Lanczos with full reorthogonalisation.

    ``top_k`` largest and ``bottom_k`` smallest from one basis; ``which``: ``largest``, ``smallest``,
    ``both`` or ``magnitude``. ``operator``: ``hessian``, ``gauss-newton``, ``fisher`` or
    ``empirical-fisher``; ``block`` restricts it to the parameters whose names match a pattern,
    ``per_layer`` takes the diagonal block of every layer (then the dimension ``point`` is that of layers, and
    a layer of fewer parameters than eigenvalues asked for is filled up with NaN); ``split`` gives the
    Gauss–Newton part of each eigenvalue. ``others`` are the same objective on other samples, among which
    the eigenvalues spread.

    Every Ritz value λ of a unit vector v comes with r = ‖Hv − λv‖, computed by a further product: it
    *proves* that some eigenvalue lies within r of λ. The error r²/gap, and that none was missed, are
    assumptions; ``search`` supports the latter by looking in the complement at random, which is how
    multiple eigenvalues are counted. The search ends at r ≤ ``tol`` max|λ|, and a value counts as converged
    at such an error. Below float64 a last Rayleigh–Ritz step in float64 removes the rounding of the
    products. Without ``certify`` (on where float64 is, on one process) there is none, and the search ends
    some products earlier, at an error r²/gap of that size.

    ``trace`` (to ``trace_error``, relative) and ``density`` (stochastic Lanczos quadrature) are deflated
    by the pairs found; ``exact`` takes all eigenvalues of the dense matrix in float64, where
    ``memory_limit`` allows, and counts their signs. ``stability_limits`` of a run at the points (2/α for the
    step size α) are stored beside the eigenvalues.

    Raises BadInput for counts, names and limits out of range, NotDifferentiable, NotFinite.
    """
    question = Question(
        top_k=top_k,
        bottom_k=bottom_k,
        which=which,
        operator=operator,
        tol=tol,
        max_products=max_products,
        memory_limit=memory_limit,
        basis_device=basis_device,
        search=search,
        certify=certify,
        trace=trace,
        trace_error=trace_error,
        density=density,
        num_probes=num_probes,
        num_steps=num_steps,
        exact=exact,
        seed=seed,
    )
    question.check()
    is_single = isinstance(theta, Tensor | Point) and not per_layer
    points = [objective.as_point(one) for one in ([theta] if isinstance(theta, Tensor | Point) else theta)]
    places = _places(objective, points, block, per_layer)
    if others and len(places) > 1:
        raise BadInput(f"the spread over subsets at {len(places)} points", "at one")
    if per_layer and save_vectors:
        raise BadInput("vectors of every layer", "those of one", "give the layer as block")
    proofs: list[Check] = []
    found: list[Spectrum] = []
    elsewhere: list[Spectrum] = []
    parts: list[tuple[Tensor, Tensor]] = []
    with checks.untouched(objective, proofs):
        for number, (_, place, here) in enumerate(places):
            report = partial(_at, progress, number, len(places))
            found.append(spectrum(place, here, question, report))
            if split:
                vectors = found[-1].pairs.vectors.to(place.dtype)
                parts.append(operators.gauss_newton_split(place, here.theta, here.fixed, vectors))
            if found[-1].pairs.is_interrupted:
                break
        for number, other in enumerate(others, 1):
            if [*found, *elsewhere][-1].pairs.is_interrupted:
                break
            ((_, place, here),) = _places(other, points, block, False)
            report = partial(_at, progress, number, len(others) + 1)
            elsewhere.append(spectrum(place, here, replace(question, **PLAIN), report))
    labels = [label for label, _, _ in places[: len(found)]]
    for one, label in zip(found, labels, strict=True):
        suffix = "" if is_single else f" at {label}"
        proofs += [Check(c.name + suffix, c.value, c.bound, c.meaning) for c in one.checks]

    def each(values: Sequence[Any], filling: Any = np.nan) -> Any:
        return values[0] if is_single else _stacked([np.asarray(value) for value in values], filling)

    pairs = [one.pairs for one in found]
    on_subsets = None
    if elsewhere:
        on_subsets = _stacked([one.pairs.values for one in [*found, *elsewhere]], np.nan)
    result = Hessian(
        rank=np.arange(1, max(len(one.values) for one in pairs) + 1),
        point=None if is_single else np.array(labels),
        eigenvalues=each([one.values for one in pairs]),
        residuals=each([one.residuals for one in pairs]),
        estimated_residuals=each([one.estimated for one in pairs]),
        errors=each([one.errors for one in pairs]),
        converged=each([one.converged for one in pairs], True),
        eigenvectors=each([one.vectors.cpu().numpy() for one in pairs]) if save_vectors else None,
        gauss_newton_part=each([part.cpu() for part, _ in parts]) if split else None,
        remainder_part=each([rest.cpu() for _, rest in parts]) if split else None,
        loss=each([one.loss for one in found]),
        gradient_norm=each([float(torch.linalg.vector_norm(one.gradient.double())) for one in found]),
        gradient_curvature=each([one.gradient_curvature for one in found]),
        gradient_in_span=each([_share(one.gradient, one.pairs.vectors) for one in found]),
        overlap=None if is_single or per_layer else _overlaps([one.vectors for one in pairs]),
        subset_eigenvalues=on_subsets,
        subset_spread=None if on_subsets is None else on_subsets.std(axis=0, ddof=1),
        stability_limit=None if stability_limits is None else each(stability_limits[: len(found)]),
        **{name: each(values) for name, values in _estimates(found).items()},
        num_products=sum(one.num_products for one in [*found, *elsewhere]),
        num_chunks=max(one.num_chunks for one in found),
        num_kept=min(one.num_kept for one in found),
        num_parameters=each([one.vectors.shape[1] for one in pairs]),
        tolerance=tol,
        operator=operator,
        block=block,
        product_rounding=max((one.rounding for one in found if one.rounding is not None), default=None),
        checks=proofs,
        parameters=places[0][1].pieces if save_vectors else (),
    )
    _conclude(result, found, elsewhere, question)
    return result


def _places(
    objective: Objective, points: list[Point], block: str | None, per_layer: bool
) -> list[tuple[str, Objective, Point]]:
    """Where to look, by label: the points as they are, a block of them, or every layer at one point."""
    if not points or (per_layer and (len(points) > 1 or block is not None)):
        raise BadInput(
            f"{len(points)} points{' by layers' if per_layer else ''}",
            "at least one, by layers one whole one",
        )
    if per_layer:
        chosen = [(name, points[0], pieces) for name, pieces in blocks.blocks(objective).items()]
    elif block is not None:
        pieces = blocks.matching(objective.pieces, block)
        chosen = [(point.label, point, pieces) for point in points]
    else:
        return [(point.label, objective, point) for point in points]
    return [(label, *blocks.restricted(objective, point, pieces)) for label, point, pieces in chosen]


def _stacked(rows: list[np.ndarray], filling: Any) -> np.ndarray:
    """Rows of one shape stacked; shorter ones of one axis filled up."""
    length = max(row.shape[0] if row.ndim == 1 else 0 for row in rows)
    if any(row.ndim == 1 and row.shape[0] != length for row in rows):
        rows = [np.concatenate([row, np.full(length - len(row), filling)]) for row in rows]
    return np.stack(rows)


def _at(progress: Progress, number: int, count: int, done: int, total: int, what: str) -> None:
    progress(done, total, what if count == 1 else f"{what}, point {number + 1} of {count}")


def _share(vector: Tensor, basis: Tensor) -> float:
    """‖Vg‖²/‖g‖² for orthonormal rows V."""
    wide = vector.double()
    size = float(torch.dot(wide, wide))
    return float((basis.double() @ wide).square().sum()) / size if size else 0.0


def _overlaps(bases: list[Tensor]) -> np.ndarray:
    """‖VᵀV′‖²/k of neighbouring bases (k, d); NaN at the first, which has none before it."""
    found = [
        float((one.double() @ other.double().T).square().sum()) / max(len(one), 1)
        for one, other in zip(bases[1:], bases, strict=False)
    ]
    return np.array([np.nan, *found])


def _estimates(found: list[Spectrum]) -> dict[str, list[Any]]:
    """What was asked for beyond the eigenvalues, by the names of the result."""
    first, columns = found[0], {}
    if first.trace is not None:
        traces = [one.trace for one in found if one.trace is not None]
        columns |= {"trace": [t.value for t in traces], "trace_error": [t.standard_error for t in traces]}
    if first.density is not None:
        densities = [one.density for one in found if one.density is not None]
        sized = list(zip((one.pairs.vectors.shape[1] for one in found), densities, strict=True))
        columns |= {
            "density_nodes": _padded([d.nodes for d in densities]),
            "density_weights": _padded([d.weights for d in densities]),
            "mass_below_zero": [d.mass_below_zero for d in densities],
            "mass_below_zero_error": [d.mass_below_zero_error for d in densities],
            "index_estimate": [n * d.mass_below_zero for n, d in sized],
            "index_estimate_error": [n * d.mass_below_zero_error for n, d in sized],
            "mass_near_zero": [d.mass_near_zero for d in densities],
            "zero_band": [d.band for d in densities],
        }
    if first.inertia is not None:
        counts = [one.inertia for one in found if one.inertia is not None]
        columns |= {
            "spectrum": [one.values for one in found],
            "index": [c.num_negative for c in counts],
            "nullity": [c.num_zero for c in counts],
            "zero_threshold": [c.threshold for c in counts],
            "counts_nearby": [np.array([c.just_below, c.just_above]) for c in counts],
            "verdict": [one.verdict for one in found],
        }
    return columns


def _padded(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Arrays (probe, node) with as many nodes each; what is added has the weight 0."""
    most = max(one.shape[1] for one in arrays)
    return [np.pad(one, ((0, 0), (0, most - one.shape[1]))) for one in arrays]


def _conclude(result: Hessian, found: list[Spectrum], elsewhere: list[Spectrum], question: Question) -> None:
    """Outcome and notes."""
    count, d = question.top_k + question.bottom_k, max(one.pairs.vectors.shape[1] for one in found)
    result.notes += [note for one in found for note in one.notes]
    if count > d:
        result.notes.append(f"asked for {count} eigenvalues, there are only d = {d}: all given")
    num_left = sum(
        max(0, min(count, one.pairs.vectors.shape[1]) - int(one.pairs.converged.sum()))
        for one in [*found, *elsewhere]
    )
    if any(one.pairs.is_interrupted for one in [*found, *elsewhere]):
        result.outcome = "interrupted"
        result.notes.append("interrupted: the Ritz values so far, with their residuals")
    elif num_left:
        result.outcome = "not-converged"
        result.notes.append(
            f"{num_left} eigenvalues did not reach the tolerance {question.tol:g}: allow more "
            "`max_products`, a larger `tol`, or float64 where rounding is the limit"
        )
    elif question.search and not all(one.pairs.is_searched for one in found):
        result.notes.append(
            "`max_products` or `memory_limit` ended the search for further eigenvalues as good: copies of "
            "multiple ones may be missing"
        )
    if any(one.inertia is not None and not one.inertia.is_robust for one in found):
        result.notes.append(
            "the index and the nullity hang on what counts as zero: see counts_nearby for a tenth of it and "
            "ten times"
        )
    if any(one.trace is not None and not one.trace.converged for one in found):
        result.notes.append(
            f"the trace did not reach the relative error {question.trace_error:g}: its standard error says "
            "what it reached"
        )
    if result.num_kept < result.num_chunks:
        result.notes.append(
            f"`memory_limit` has room for the graphs of {result.num_kept} of {result.num_chunks} chunks; the "
            "others are recomputed in each product, which takes about twice as long"
        )
    if result.subset_spread is not None:
        result.notes.append(
            "the largest eigenvalue of a subset is on average above that of all samples (a maximum is convex)"
        )
    if any(one.pairs.num_restarts for one in found):
        result.notes.append(
            "the basis was restarted to stay within `memory_limit`, which costs further products"
        )
