"""Is what is here provably global, or provably not?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from landscape.analyses.declare import Options, analysis
from landscape.analyses.options import Option, Parameter
from landscape.analyses.shared import SmoothBy, SmoothDraws, smoothing_pairs
from landscape.choices import KernelForm
from landscape.errors import BadInput
from landscape.progress import Journal, Progress, silent
from landscape.result import Check, Result, array, scalar

if TYPE_CHECKING:
    from concurrent.futures import Executor

    import numpy as np
    from torch import Tensor

    from landscape.certificates.survey import Survey
    from landscape.objective.objective import Objective
    from landscape.objective.parameters import Point

ROOM = ("point", "layer")


@dataclass(kw_only=True, eq=False)
class Certify(Result):
    """Ranks, bounds and what follows from them, at one point or along a run, in float64 and without any penalty.

    A certificate that fails says nothing: only the ``verdict``, and the claims all of whose assumptions hold, do.
    """

    kind: ClassVar[str] = "certify"
    point: np.ndarray | None = array("point", long_name="point of the run", optional=True)
    verdict: np.ndarray | str = array("point", long_name="what is certain of the point")
    loss: np.ndarray | float = array("point", long_name="loss at the point")
    loss_bound: np.ndarray | float = array(
        "point", long_name="nk‖∇F‖²/(4 λ_min(K)) ≥ F, of square loss where K has full rank"
    )
    last_layer_bound: np.ndarray | float = array(
        "point", long_name="the same by the last layer's gradient and features alone"
    )
    gradient_norm: np.ndarray | float = array("point", long_name="gradient norm ‖∇F‖")
    ntk_rank: np.ndarray | int = array(
        "point", long_name="rank of the tangent kernel K; by Lanczos at most so much"
    )
    ntk_smallest: np.ndarray | float = array("point", long_name="smallest eigenvalue of K")
    ntk_largest: np.ndarray | float = array("point", long_name="largest eigenvalue of K")
    ntk_threshold: np.ndarray | float = array(
        "point", long_name="eigenvalue of K that counts as zero, by rounding"
    )
    num_outputs: int = scalar("n·k, samples times outputs: the size of K")
    num_parameters: int = scalar("parameters P")
    num_moving: np.ndarray | int = array("point", long_name="parameters that move some output")
    product_rank: np.ndarray | int | None = array(
        "point", long_name="rank of the product of the weights, of a linear net", optional=True
    )
    product_threshold: np.ndarray | float | None = array(
        "point", long_name="singular value of the product that counts as zero", optional=True
    )
    floor: np.ndarray | float | None = array(
        "point", long_name="least square loss of linear nets of such widths, in closed form", optional=True
    )
    pattern_rank: np.ndarray | int | None = array(
        "point", long_name="rank of the pattern's matrix aᵢ ⊗ xᵢ, of one hidden layer", optional=True
    )
    pattern_smallest: np.ndarray | float | None = array(
        "point", long_name="smallest singular value of the pattern's matrix", optional=True
    )
    num_dead: np.ndarray | int = array("point", long_name="units that no sample activates")
    num_inactive: np.ndarray | int = array("point", long_name="hidden units without any weight, in or out")
    inactive_fall: np.ndarray | float | None = array(
        "point",
        long_name="what F falls by, over ε², as a unit without weights gets some of size ε",
        optional=True,
    )
    num_patterns: np.ndarray | int = array("point", long_name="activation patterns of the samples")
    nearest_kink: np.ndarray | float = array(
        "point", long_name="distance |wᵀx|/(‖w‖‖x‖) of the nearest kink; infinite: none"
    )
    layer: np.ndarray | None = array("layer", long_name="layer that multiplies the features", optional=True)
    feature_rank: np.ndarray | None = array(
        *ROOM, long_name="rank of the features (n × width) that a layer multiplies", optional=True
    )
    feature_width: np.ndarray | None = array(*ROOM, long_name="width of the features", optional=True)
    feature_smallest: np.ndarray | None = array(
        *ROOM, long_name="their smallest singular value", optional=True
    )
    feature_last: np.ndarray | None = array(
        *ROOM, long_name="their smallest singular value that counts", optional=True
    )
    feature_threshold: np.ndarray | None = array(
        *ROOM, long_name="singular value that counts as zero, by rounding", optional=True
    )
    ntk_spectrum: np.ndarray | None = array(
        "point", "eigenvalue", long_name="eigenvalues of the tangent kernel, descending", optional=True
    )
    claim: np.ndarray = array("claim", long_name="theorem")
    conclusion: np.ndarray = array("point", "claim", long_name="what follows from it, or what is in its way")
    assumption: np.ndarray = array("assumption", long_name="assumption of a theorem")
    assumed_by: np.ndarray = array("assumption", long_name="the theorem that assumes it")
    state: np.ndarray = array("point", "assumption", long_name="holds, fails or cannot be known")
    kernel_change: np.ndarray | None = array(
        "point", long_name="‖K − K₀‖/‖K₀‖ from the first point", optional=True
    )
    weight_change: np.ndarray | None = array(
        "point", long_name="‖θ − θ₀‖/‖θ₀‖ from the first point", optional=True
    )
    linear_loss: np.ndarray | None = array(
        "point", long_name="loss of the model linearised at the first point", optional=True
    )
    decay_bound: np.ndarray | None = array(
        "point", long_name="F₀ exp(−4ct/nk), c the least λ_min(K) of the points, t = Σα", optional=True
    )
    smooth_loss: np.ndarray | float | None = array(
        "point", long_name="loss averaged over Gaussian noise on θ", optional=True
    )
    smooth_loss_error: np.ndarray | float | None = array(
        "point", long_name="standard error of that average", optional=True
    )
    t: np.ndarray | None = array("t", long_name="position s on the path of the last layer", optional=True)
    path_loss: np.ndarray | None = array("t", long_name="loss on that path", optional=True)
    path_law: np.ndarray | None = array("t", long_name="F* + (1 − s)²(F − F*)", optional=True)
    control_points: np.ndarray | None = array(
        "end", "parameter", long_name="ends of the path of the last layer", optional=True
    )
    control_t: np.ndarray | None = array("end", long_name="s of an end: 0 and 1", optional=True)
    path_floor: float | None = scalar("F*, the least loss of any last layer on these features", optional=True)
    width: np.ndarray | None = array("width", long_name="width p", optional=True)
    kernel_error: np.ndarray | None = array(
        "width", "draw", long_name="‖K − K∞‖/‖K∞‖ of a net at its start", optional=True
    )
    kernel_error_rms: np.ndarray | None = array(
        "width", long_name="root mean square of the distance from the limit", optional=True
    )
    width_exponent: float | None = scalar("exponent of the width in that distance", optional=True)
    width_exponent_interval: np.ndarray | None = array(
        "side", long_name="95 % confidence interval of the exponent", optional=True
    )
    lazy_kernel_change: np.ndarray | None = array(
        "width", "draw", long_name="‖K − K₀‖/‖K₀‖ by steps of gradient descent", optional=True
    )
    lazy_weight_change: np.ndarray | None = array(
        "width", "draw", long_name="‖θ − θ₀‖/‖θ₀‖ by these steps", optional=True
    )
    lazy_kernel_exponent: float | None = scalar("exponent of the width in that change of K", optional=True)
    lazy_kernel_exponent_error: float | None = scalar(
        "its standard error, of the spread over draws", optional=True
    )
    lazy_weight_exponent: float | None = scalar("exponent of the width in that change of θ", optional=True)
    lazy_weight_exponent_error: float | None = scalar(
        "its standard error, of the spread over draws", optional=True
    )
    tolerance: float = scalar("‖∇F‖ of a critical point")
    smooth_sigma: float | None = scalar("deviation σ of that noise", optional=True)
    smooth_pairs: int | None = scalar("pairs ±ξ of that noise", optional=True)

    @property
    def headline(self) -> str:
        """What was found, in a few words."""
        import numpy as np

        if self.width_exponent is not None:
            return f"K − K∞ ∝ width^{self.width_exponent:.3f}"
        return str(np.ravel(self.verdict)[-1])


PRESETS: dict[str, dict[str, Any]] = {
    "ntk-width": {
        "model": "ntk-net",
        "model_arg": {"num_outputs": 1, "width": 100},
        "data": "circles",
        "data_arg": {"num_samples": 10, "noise": 0.1, "factor": 0.5, "test_size": 0.0},
        "loss": "mse",
        "widths": (30, 100, 300, 1000, 3000, 10000),
        "draws": 20,
    }
}


def _from_run(run: Any, labels: Sequence[str], options: Options) -> dict[str, Any]:
    """Σα and F, as logged, at the points of a run of plain gradient descent; None of any other."""
    seen = [(run.time_at(label), run.loss_at(label)) for label in labels]
    if len(labels) == 1:
        return {}
    # Not every point has its loss logged.
    known = [(time, float("nan") if loss is None else loss) for time, loss in seen if time is not None]
    return {"descent": known if len(known) == len(seen) else None}


@analysis(
    points=1,
    needs="the outputs on samples and their gradients",
    paper="Kawaguchi 2016; Yun et al. 2018; Jacot et al. 2018",
    examples=("a.h5", "a.h5 --last-layer", "a.h5 --at all --subset 100", "--preset ntk-width -o width.h5"),
    opens=(
        Parameter("at", str | None, None, Option("Several points of the run: all, or init,final,epoch=10.")),
    ),
    presets=PRESETS,
    from_run=_from_run,
    leaves_points="last_layer",
    deals=True,
)
def certify(
    objective: Objective,
    theta: Tensor | Point | Sequence[Tensor | Point],
    *,
    kernel: Annotated[
        KernelForm,
        "The tangent kernel, n·k numbers a side: formed, or its extreme eigenvalues alone by Lanczos.",
    ] = "dense",
    tol: Annotated[float, Option("Largest ‖∇F‖ of a critical point.", above=0)] = 1e-8,
    last_layer: Annotated[
        bool,
        "The path of the last layer alone to its least loss, which never rises; its ends are init and final.",
    ] = False,
    widths: Annotated[
        tuple[int, ...] | None, Option("Widths at which K is compared with its limit, of ntk-net.", least=1)
    ] = None,
    draws: Annotated[int, Option("Nets of each width.", least=1)] = 20,
    smooth: SmoothBy = None,
    smooth_draws: SmoothDraws = None,
    variant: Callable[[int, dict[str, Any]], Objective] | None = None,
    descent: Sequence[tuple[float, float]] | None = None,
    seed: int = 0,
    journal: Journal | None = None,
    executor: Executor | None = None,
    progress: Progress = silent,
) -> Certify:
    """What theorems say of θ by ranks: of the features of its layers, of its tangent kernel, of products of weights.

    The tangent kernel K = JJᵀ (nk, nk), J the derivative of all outputs; at full rank every critical point of the
    square loss has F = 0, and F ≤ nk‖∇F‖²/(4 λ_min(K)) anywhere. Features of the last layer of rank n say the same by
    that layer alone. Linear nets are compared with the least loss of their rank, in closed form, and tested by the
    rank of their product (Yun et al. 2018). Every theorem stands with its assumptions, each of which ``holds``,
    ``fails`` or ``cannot be known``. A rank counts what is more than rounding; one that is full by less than 1e-8 of
    the largest value certifies nothing.

    Several points: how far kernel and weights have gone from the first of them, and the loss of the model linearised
    there. ``last_layer`` takes the straight line to the least squares solution of the last layer, on which F = F* + (1
    − s)²(F(θ) − F*); its ends are the points ``init`` and ``final`` of the file. ``widths``, for the model ``ntk-net``
    alone: the distance of K from its limit (Jacot et al. 2018) at the start of ``draws`` nets of each width, and its
    exponent; and how far a few steps of gradient descent take K and θ, with the exponents of these, each with the
    error that the draws give it. ``smooth`` σ: F averaged over noise N(0, σ²I) on every trainable number, by
    ``smooth_draws`` pairs ±ξ; no claim is made of it.

    ``descent``, of points of plain gradient descent on this F: t = Σα and F at each, as its run logged them. F is held
    against F₀ exp(−4ct/nk), which bounds gradient flow while λ_min(K) ≥ c (Polyak–Łojasiewicz).

    All in float64 where module, loss and device take it, and without a penalty. Raises BadInput for a kernel that is
    too large and outputs without samples, NotDifferentiable, NotFinite.
    """
    import numpy as np
    import torch

    from landscape import distributed
    from landscape.certificates.averages import averages
    from landscape.certificates.claims import KINK
    from landscape.certificates.decay import decay
    from landscape.certificates.limit import add_limit, wide
    from landscape.certificates.proofs import proven
    from landscape.certificates.run_proofs import decay_check, rows_check, run_check
    from landscape.certificates.survey import Survey
    from landscape.certificates.verdict_proofs import verdict_check
    from landscape.certificates.word_proofs import words_check
    from landscape.certificates.words import notes_of
    from landscape.objective import checks
    from landscape.objective.parameters import Point
    from landscape.objective.tasks import computed_by

    pairs = smoothing_pairs(smooth, smooth_draws)
    distributed.require_one_process("tangent kernels")
    if widths and variant is None:
        raise BadInput("`widths` at a point", "nets of several widths", "take the preset ntk-width")
    is_one = isinstance(theta, torch.Tensor | Point)
    given = [theta] if isinstance(theta, torch.Tensor | Point) else list(theta)
    if executor is not None and len(given) == 1 and not widths:
        raise BadInput(
            "several processes for the certificate of one point",
            "several points, each of which has one, or the nets of `widths`",
            "leave out `workers`, and torchrun, or look at several points by `at` all",
        )
    kept: Journal = {} if journal is None else journal
    proofs: list[Check] = []
    with computed_by(executor), checks.untouched(objective, proofs):
        here = wide(objective)
        points = [_brought(objective, here, one) for one in given]
        survey = Survey(objective, here, points, tol, kernel == "dense", proven, seed, kept, progress)
        result = _result(survey, is_one)
        result.checks += [*run_check(survey, result), *rows_check(survey, result)]
        result.checks += [verdict_check(survey, result, tol), words_check(survey, result)]
        if descent is not None:
            result.decay_bound, words = decay(result, descent)
            result.notes += words
            result.checks += decay_check(result, descent)
        if last_layer:
            _add_path(result, survey, seed)
        if smooth is not None:
            about = {"sigma": smooth, "num_pairs": pairs}
            fields, seen, words = averages(survey, np.shape(result.loss), **about)
            result = replace(result, **fields, checks=result.checks + seen, notes=result.notes + words)
        if widths and variant is not None:
            add_limit(result, variant, widths, draws, seed=seed, journal=kept, progress=progress)
        # On a kink there is no derivative that a difference could agree with.
        on_kink = bool(np.min(result.nearest_kink) <= KINK)
        about = checks.meaning(objective, objective.as_point(given[-1]))
        proofs += [one for one in about if not (on_kink and one.name == "cut, derivative")]
    result.checks = proofs + result.checks
    result.notes = notes_of(objective, here, points[-1], result) + result.notes
    return result


def _brought(objective: Objective, here: Objective, theta: Tensor | Point) -> Point:
    """A point with its numbers in the dtypes of ``here``."""
    from landscape.objective.parameters import Point

    point = objective.as_point(theta)
    return Point(*here.brought(point), point.label)


def _result(survey: Survey, is_one: bool) -> Certify:
    import numpy as np

    from landscape.certificates.proofs import linear_check
    from landscape.certificates.row_proofs import spectrum_check
    from landscape.certificates.survey import columns

    rows = survey.rows()
    found = columns(rows)
    labels = [point.label.rpartition("@")[2] or f"point {i}" for i, point in enumerate(survey.points)]
    proofs = [
        Check(name if is_one else f"{name} at {label}", value, bound, meaning)
        for label, row in zip(labels, rows, strict=True)
        for name, value, bound, meaning in row["checks"]
    ]
    if is_one:
        coordinates = ("layer", "claim", "assumption", "assumed_by")
        found = {name: one if name in coordinates else one[0] for name, one in found.items()}
        found = {name: one.item() if np.ndim(one) == 0 else one for name, one in found.items()}
    else:
        found["point"] = np.array(labels)
    if len(survey.points) > 1:
        by = survey.points[-1].theta - survey.points[0].theta
        proofs.append(linear_check(survey.objective, survey.points[0], by, survey.from_first(by)))
    for label, row in zip(labels, rows, strict=True):
        proofs += [
            one if is_one else replace(one, name=f"{one.name} at {label}") for one in spectrum_check(row)
        ]
    is_converged = all(row["is_converged"] for row in rows)
    notes = []
    if not survey.is_dense:
        notes.append("by Lanczos from a random start: that no smaller eigenvalue of K was missed is assumed")
    if not is_converged:
        notes.append(
            "the ends of the spectrum of K did not converge, as where it is 0 there: form K on a `subset`"
        )
    return Certify(
        **found,
        outcome="complete" if is_converged else "not-converged",
        notes=notes,
        num_outputs=rows[0]["num_outputs"],
        num_parameters=survey.objective.num_parameters,
        tolerance=survey.tolerance,
        checks=proofs,
        parameters=survey.objective.pieces,
    )


def _add_path(result: Certify, survey: Survey, seed: int) -> None:
    """The path of the last layer from the last of the points."""
    import numpy as np

    from landscape.certificates.last_layer import last_layer_path, states_of
    from landscape.certificates.proofs import path_checks
    from landscape.numerics.arrays import array_of

    seen = survey.measured(len(survey.points) - 1)
    path = last_layer_path(survey.objective, seen)
    if isinstance(path, str):
        result.notes.append(path)
        return
    result.t, result.path_loss, result.path_law = path.t, path.loss, path.law
    result.control_points, result.path_floor = array_of(path.ends), path.floor
    result.control_t, result.states = np.array([0.0, 1.0]), states_of(survey.objective, seen.point, path)
    result.checks += path_checks(survey.objective, seen, path, result.states["final"], seed)
    rank = seen.last
    is_full = rank is not None and rank.is_full
    result.notes.append(
        f"the last layer alone leads down to {path.floor:.3g} on a straight line that never rises: its features have "
        f"rank {rank}"
        + (", so that any targets are met" if is_full else "; of points lower than that it says nothing")
    )
