"""How curved is the loss here, and along what?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from landscape.analyses.declare import Options, analysis
from landscape.analyses.options import Option, Parameter
from landscape.analyses.shared import AT, Block
from landscape.choices import Basis, OperatorName, ProductBy, Residuals, Which
from landscape.errors import BadInput
from landscape.progress import Journal, Progress, silent
from landscape.result import Check, Result, array, scalar

if TYPE_CHECKING:
    from concurrent.futures import Executor

    import numpy as np
    from torch import Tensor

    from landscape.curvature.limit_proofs import Stepping
    from landscape.curvature.places import Survey
    from landscape.curvature.question import Question
    from landscape.objective import Objective
    from landscape.objective.parameters import Point

PROVES = "residual ‖Hv − λv‖ by a further product: proves that some eigenvalue lies within it of λ"
ASSUMES = "error min(r, r²/gap) of λ, assuming that no eigenvalue was missed"


@dataclass(kw_only=True, eq=False)
class Hessian(Result):
    """Extreme eigenvalues of the Hessian of F, each with the interval its residual proves.

    With several points every array has a leading dimension ``point``. ``num_outliers`` are counted by the eigenvalue
    ratio of Ahn and Horenstein (2013): see :func:`landscape.numerics.spectra.outliers.outliers`.
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
    gradient_curvature: np.ndarray = array(
        "point", long_name="Rayleigh quotient gᵀHg/gᵀg of the gradient g (by P^½θ: P^-½∇F)"
    )
    gradient_share: np.ndarray | None = array(
        "point", "rank", long_name="part of ‖∇F‖² along the Ritz vector", optional=True
    )
    gradient_in_span: np.ndarray = array("point", long_name="part of ‖∇F‖² in the span of the Ritz vectors")
    num_outliers: np.ndarray | None = array(
        "point", long_name="eigenvalues before the widest gap, by factors, of the largest ones", optional=True
    )
    outlier_gap: np.ndarray | None = array("point", long_name="that gap λ_m/λ_(m+1)", optional=True)
    overlap: np.ndarray | None = array(
        "point", long_name="overlap ‖VᵀV′‖²/k of the Ritz spaces here and at the point before", optional=True
    )
    stability_limit: np.ndarray | None = array(
        "point", long_name="largest λ at which the run's step size is stable (2/α; Adam: 38/α)", optional=True
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
    mass_near_zero_error: np.ndarray | None = array(
        "point", long_name="standard error of that share", optional=True
    )
    zero_band: np.ndarray | None = array("point", long_name="half width of that band", optional=True)
    spectrum: np.ndarray | None = array(
        "point", "eigenvalue", long_name="all eigenvalues, of the dense matrix in float64", optional=True
    )
    index: np.ndarray | None = array("point", long_name="number of negative eigenvalues", optional=True)
    nullity: np.ndarray | None = array("point", long_name="number of zero eigenvalues", optional=True)
    zero_threshold: np.ndarray | None = array(
        "point", long_name="|λ| that counts as zero: their error, and ‖∇F‖ where it is small", optional=True
    )
    counts_nearby: np.ndarray | None = array(
        "point",
        "threshold",
        "sign",
        long_name="negative, zero and positive eigenvalues at a tenth and at ten times that",
        optional=True,
    )
    verdict: np.ndarray | str | None = array("point", long_name="what the point is", optional=True)
    num_classes: int | None = scalar("classes, by the largest label", optional=True)
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
    product_error: float | None = scalar(
        "stated error of a product by differences of the gradient, over the largest |λ|", optional=True
    )

    @property
    def headline(self) -> str:
        """What was found, in a few words."""
        values, errors = self.eigenvalues.ravel(), self.residuals
        return f"λ {values[0]:.3g} … {values[-1]:.3g} ± {errors.max():.0e}"


def _from_run(run: Any, labels: Sequence[str], options: Options) -> dict[str, Any]:
    """The largest λ at which the step sizes of a run are stable at its points; of Adam for the preconditioned Hessian.

    And of that the preconditioner at each point. No limit is given at one point, nor where none is known.
    """
    from landscape.curvature.places import adaptive_stability_limit, stability_limit

    found: dict[str, Any] = {}
    is_divided = options["operator"] == "preconditioned"
    if run.options.get("optimizer"):
        found["steppings"] = _steppings(run, labels, is_divided)
    decay = float(run.options.get("weight_decay", 0.0))
    if is_divided:
        found["preconditioners"] = [run.preconditioner_at(label) for label in labels]
        # Adam's own decay, unlike AdamW's, is divided by P as well: no number of λ is its limit.
        if run.options["optimizer"] == "adamw" or not decay:
            found["stability_limits"] = [
                adaptive_stability_limit(size, weight_decay=decay) for size in map(run.step_size_at, labels)
            ]
    elif run.options.get("optimizer") == "sgd":
        how = {"momentum": float(run.options["momentum"]), "nesterov": bool(run.options["nesterov"])}
        found["stability_limits"] = [
            stability_limit(size, weight_decay=decay, **how) for size in map(run.step_size_at, labels)
        ]
    if len(labels) == 1:
        found.pop("stability_limits", None)
    return found


def _steppings(run: Any, labels: Sequence[str], is_divided: bool) -> dict[str, Stepping]:
    """By label how the run stepped there: by the formula of its schedule, or where that follows the loss as logged."""
    from landscape.curvature.limit_proofs import Stepping

    names = ("optimizer", "momentum", "nesterov", "weight_decay")
    how = {name: run.options[name] for name in names if name in run.options}
    sizes = {run.label(label): run.scheduled_at(label) or run.step_size_at(label) for label in labels}
    divisors = run.divisors if is_divided else {}
    return {label: Stepping(size, **how, divisor=divisors.get(label)) for label, size in sizes.items()}


@analysis(
    points=1,
    paper="Lanczos 1950; Pearlmutter 1994; Parlett 1998",
    examples=(
        "a.h5 --top-k 10",
        "a.h5 --top-k 5 --bottom-k 5 --trace --density",
        "a.h5 --at all --top-k 1",
    ),
    opens=(
        Parameter(
            "subsets", int, 5, Option("With `subset` N: on so many random subsets, for the spread.", least=1)
        ),
        Parameter("l2", float, 0.0, Option("Add (l2/2)‖θ‖² to F.")),
        AT,
    ),
    from_run=_from_run,
)
def hessian(
    objective: Objective,
    theta: Tensor | Point | Sequence[Tensor | Point],
    *,
    top_k: Annotated[int, Option("Number of largest eigenvalues.", least=0)] = 10,
    bottom_k: Annotated[int, Option("Number of smallest ones, from the same basis.", least=0)] = 0,
    which: Annotated[
        Which,
        "What `top_k` counts: algebraically largest, smallest, so many of both, or largest in magnitude.",
    ] = "largest",
    operator: Annotated[OperatorName, "Which matrix."] = "hessian",
    product: Annotated[ProductBy, Option("How Hv is taken [auto: by a trial].", is_how=True)] = "auto",
    block: Block = None,
    per_layer: Annotated[bool, "The diagonal block of every layer."] = False,
    others: Sequence[Objective] = (),
    split: Annotated[bool, "The Gauss–Newton part of each eigenvalue, and the rest."] = False,
    tol: Annotated[
        float,
        Option(
            "Error of an eigenvalue relative to the largest |λ|; with `residuals` each ‖Hv − λv‖.",
            above=0,
            is_how=True,
        ),
    ] = 1e-6,
    max_products: Annotated[
        int | None, Option("Products in the search at most [default: by k].", least=1, is_how=True)
    ] = None,
    memory_limit: Annotated[
        float,
        Option(
            "GiB for the basis, which restarts where it would not fit, and for kept graphs (half at most).",
            least=0,
            unit=2**30,
            is_how=True,
        ),
    ] = 2**32,
    basis_device: Annotated[
        Basis,
        Option(
            "Where the basis is kept: with the data, or on the CPU, which has more room.",
            called="basis",
            is_how=True,
        ),
    ] = "device",
    search: Annotated[
        bool, Option("Look for eigenvalues that are multiple or were missed.", is_how=True)
    ] = True,
    certify: Annotated[
        bool | None,
        Option("In float32 a trial of the pairs in float64 [default: on one process].", is_how=True),
    ] = None,
    residuals: Annotated[
        Residuals, Option("Tried by one product of all pairs together, or of each.", is_how=True)
    ] = "together",
    trace: Annotated[bool, "The trace, with its standard error."] = False,
    trace_error: Annotated[float, Option("Relative error to reach.", above=0, is_how=True)] = 0.01,
    density: Annotated[
        bool, "The spectral density, with its error bars; the index to 2 % of d where it can be."
    ] = False,
    num_probes: Annotated[
        int | None, Option("Probes of the density [default: enough].", least=2, called="probes", is_how=True)
    ] = None,
    num_steps: Annotated[int, Option("Lanczos steps from each.", least=2, called="steps", is_how=True)] = 40,
    exact: Annotated[bool, "All eigenvalues of the dense matrix: index, nullity, verdict."] = False,
    stability_limits: Sequence[float] | None = None,
    preconditioners: Sequence[Tensor] | None = None,
    steppings: Mapping[str, Stepping] | None = None,
    save_vectors: Annotated[bool, "Store the Ritz vectors too."] = False,
    seed: int = 0,
    journal: Journal | None = None,
    executor: Executor | None = None,
    progress: Progress = silent,
) -> Hessian:
    """Eigenvalues of the Hessian of F at θ, or at several points, by Lanczos with full reorthogonalisation.

    The ``top_k`` largest and ``bottom_k`` smallest come from one basis, which grows until the errors
    min(r, r²/gap) of the residuals r are below ``tol`` max|λ|. Two products with all pairs at random signs, on another
    cut of the samples and in float64, then show their rounding, which r and errors contain; where it leaves no room for
    the tolerance, and with ``residuals`` each, there is a product of each pair in float64 instead; without ``certify``
    nothing is. ``search``: a second random start excludes hidden copies of multiple eigenvalues, but for a chance of
    1 %, or finds them. ``others`` are the same objective on other samples. ``per_layer`` takes the block of every layer
    as a ``point``, filled up with NaN. ``trace`` and ``density`` are deflated by the pairs found. ``preconditioners``:
    P (d,) of P^-½HP^-½, beside which the gradient is P^-½∇F; points where it is NaN are left out, if others are given.
    ``steppings`` prove ``stability_limits``. ``journal`` keeps products. Raises BadInput, NotDifferentiable, NotFinite.
    """
    from landscape.curvature.places import Where, surveyed
    from landscape.curvature.question import Question
    from landscape.objective import checks
    from landscape.objective.tasks import computed_by

    question = Question(
        top_k=top_k,
        bottom_k=bottom_k,
        which=which,
        operator=operator,
        product=product,
        tol=tol,
        max_products=max_products,
        memory_limit=memory_limit,
        basis_device=None if basis_device == "device" else basis_device,
        search=search,
        certify=certify,
        residuals=residuals,
        trace=trace,
        trace_error=trace_error,
        density=density,
        num_probes=num_probes,
        num_steps=num_steps,
        exact=exact,
        seed=seed,
    )
    _require(objective, per_layer=per_layer, save_vectors=save_vectors, exact=exact)
    where, proofs = Where(block, per_layer, preconditioners, stability_limits), list[Check]()
    with computed_by(executor), checks.untouched(objective, proofs):
        survey = surveyed(objective, theta, question, where, others, split, progress, journal)
        proofs += survey.meaning()
        result = _proven(survey, question, objective, block, save_vectors, steppings or {})
    result.checks = proofs + result.checks
    return result


def _require(objective: Objective, *, per_layer: bool, save_vectors: bool, exact: bool) -> None:
    """Refuses vectors of several sizes in one array, and what is as large as a θ that lies in parts, or larger."""
    if per_layer and save_vectors:
        raise BadInput("vectors of every layer", "those of one", "give the layer as `block`")
    if objective.is_sharded and (save_vectors or exact):
        what, option = ("vectors", "save_vectors") if save_vectors else ("all eigenvalues", "exact")
        wanted = "its largest or smallest eigenvalues"
        raise BadInput(f"{what} of a sharded module", wanted, f"leave out `{option}`")


def _proven(
    survey: Survey,
    question: Question,
    objective: Objective,
    block: str | None,
    save_vectors: bool,
    steppings: Mapping[str, Stepping],
) -> Hessian:
    """The result with its proofs, which go by the numbers as they stand in it."""
    from landscape.curvature.limit_proofs import divisors_check, limits_check
    from landscape.curvature.proofs import proven, subset_checks
    from landscape.objective.accuracy import classes_check

    columns = survey.columns(question, save_vectors)
    result = _result(survey, question, block, columns)
    found, notes = proven({name: getattr(result, name) for name in columns}, survey, question)
    found += subset_checks(result.subset_eigenvalues, result.subset_spread, survey, question)
    found += [*limits_check(result, steppings), *divisors_check(objective, survey, steppings)]
    found.append(classes_check(survey.places[0].objective, result.num_classes))
    result.checks, result.notes = survey.checks + found, result.notes + notes
    return result


def _result(survey: Survey, question: Question, block: str | None, columns: dict[str, Any]) -> Hessian:
    import numpy as np

    from landscape.curvature.outcome import concluded
    from landscape.objective.accuracy import num_classes

    on_subsets, roundings = survey.subset_eigenvalues, [one.rounding for one in survey.found]
    stated = [one.product_error for one in survey.found]
    result = Hessian(
        **columns,
        rank=np.arange(1, max(len(one.pairs.values) for one in survey.found) + 1),
        subset_eigenvalues=on_subsets,
        subset_spread=None if on_subsets is None else on_subsets.std(axis=0, ddof=1),
        num_classes=num_classes(survey.places[0].objective),
        num_products=sum(one.num_products for one in survey.all),
        num_chunks=max(one.num_chunks for one in survey.found),
        num_kept=min(one.num_kept for one in survey.found),
        tolerance=question.tol,
        operator=question.operator,
        block=block,
        product_rounding=max((one for one in roundings if one is not None), default=None),
        product_error=max((one for one in stated if one is not None), default=None),
        parameters=survey.places[0].objective.pieces if "eigenvectors" in columns else (),
    )
    result.outcome, notes = concluded(result, survey, question)
    result.notes += notes
    return result
