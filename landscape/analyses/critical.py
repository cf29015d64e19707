"""Which critical points are there, of what index, at what loss?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from landscape.analyses.declare import Brought, analysis
from landscape.analyses.options import Option, Parameter
from landscape.choices import Begin, Search
from landscape.errors import BadInput
from landscape.progress import Journal, Progress, silent
from landscape.result import Result, array, scalar

if TYPE_CHECKING:
    from concurrent.futures import Executor

    import numpy as np
    from torch import Tensor

    from landscape.descent.kinds import Distinct
    from landscape.descent.known_points import Kinds
    from landscape.objective.objective import Objective
    from landscape.objective.parameters import Point
    from landscape.objective.trajectory import Trajectory

# Baldi and Hornik 1989: three inputs and outputs, two units between them; a spin glass of twenty numbers; and a small
# net on digits of 10 × 10 pixels, from points along descents of different lengths as in Dauphin et al. 2014. A weight
# decay keeps minima from lying at infinity, where a net separates the digits. On the path (−1/k, √k, 1/k) of (xyz − 1)²
# F falls to 1 and nothing is critical (Sun et al. 2020).
PRESETS: dict[str, dict[str, Any]] = {
    "baldi-hornik": {
        "model": "linear",
        "model_arg": {"widths": (2,), "init": "spread"},
        "data": "point",
        "data_arg": {
            "x": ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)),
            "y": ((3, 0, 1), (0, 2, 0), (0, 0, 1), (1, -1, 0)),
        },
        "loss": "mse",
        "starts": 120,
    },
    "spin": {
        "model": "spin",
        "model_arg": {"size": 20},
        "data": "point",
        "data_arg": {},
        "loss": "output",
        "starts": 400,
    },
    "dauphin-2014": {
        "model": "mlp",
        "model_arg": {"widths": (1,), "activation": "tanh"},
        "data": "digits",
        "data_arg": {"size": 10, "limit": 50},
        "loss": "cross_entropy",
        "l2": 1e-2,
        "starts": 24,
        "descend": 60,
        "method": "hisd",
        "max_steps": 80,
    },
    "path-to-infinity": {
        "model": "toy-path",
        "model_arg": {},
        "data": "point",
        "data_arg": {},
        "loss": "mse",
        "starts": 20,
    },
}


@dataclass(kw_only=True, eq=False)
class Critical(Result):
    """Where searches for critical points ended, by start, and the distinct points among them by kind.

    Only a start whose ``status`` is ``critical`` has an ``index``, a ``nullity`` and a kind, ``distinct``; of the
    others these are NaN and −1.
    """

    kind: ClassVar[str] = "critical"
    json_limit: ClassVar[int] = 10_000
    start: np.ndarray = array("start", long_name="start")
    loss: np.ndarray = array("start", long_name="loss where the search ended")
    gradient_norm: np.ndarray = array("start", long_name="‖∇F‖ there")
    index: np.ndarray = array("start", long_name="negative eigenvalues of the Hessian, at critical points")
    nullity: np.ndarray = array("start", long_name="eigenvalues that are zero to their error")
    index_fraction: np.ndarray = array("start", long_name="index over d")
    zero_threshold: np.ndarray = array("start", long_name="|λ| that counts as zero: its error, and ‖∇F‖")
    flatness: np.ndarray = array("start", long_name="‖H∇F‖/(‖H‖‖∇F‖), 0 where ∇F lies in the kernel of H")
    end_status: np.ndarray = array("start", long_name="what the search ended at", name="status")
    distinct: np.ndarray = array("start", long_name="which distinct critical point, from 0 by loss; −1: none")
    num_steps: np.ndarray = array("start", long_name="steps tried")
    growth: np.ndarray = array("start", long_name="‖θ‖ at the end over that at the start")
    kind_loss: np.ndarray = array("kind", long_name="loss of a distinct critical point", printed=True)
    kind_index: np.ndarray = array("kind", long_name="its index", printed=True)
    kind_nullity: np.ndarray = array("kind", long_name="its nullity", printed=True)
    kind_count: np.ndarray = array("kind", long_name="starts that ended there", printed=True)
    verdict: np.ndarray = array("kind", long_name="what it is", printed=True)
    known_loss: np.ndarray | None = array("known", long_name="loss of a kind in closed form", optional=True)
    known_index: np.ndarray | None = array("known", long_name="its index", optional=True)
    known_nullity: np.ndarray | None = array("known", long_name="its nullity", optional=True)
    known_count: np.ndarray | None = array("known", long_name="starts that ended at it", optional=True)
    norm: np.ndarray | None = array("start", long_name="‖θ‖ where it ended, if any runs away", optional=True)
    exponent: np.ndarray | None = array(
        "start", long_name="d log‖∇F‖/d log‖θ‖ over the last steps of what runs to infinity", optional=True
    )
    start_norm: np.ndarray | None = array("start", long_name="‖θ‖ where it began", optional=True)
    start_loss: np.ndarray | None = array("start", long_name="loss where it began", optional=True)
    known_norm: np.ndarray | None = array("far", long_name="‖θ‖ far out", optional=True)
    known_far_loss: np.ndarray | None = array("far", long_name="loss there in closed form", optional=True)
    thetas: np.ndarray | None = array("start", "parameter", long_name="θ where it ended", optional=True)
    num_parameters: int = scalar("parameters d")
    num_critical: int = scalar("starts that ended at a critical point")
    num_distinct: int = scalar("distinct critical points found")
    lowest_loss: float = scalar("lowest loss of a critical point")
    rank_correlation: float = scalar("Spearman's correlation of index fraction and loss at critical points")
    rank_correlation_error: float = scalar("its standard error, by the bootstrap")
    rank_correlation_interval: np.ndarray = array("end", long_name="its 95 % interval, by the bootstrap")
    method: str = scalar("how they were sought")

    @property
    def headline(self) -> str:
        """What was found, in a few words."""
        low = f", lowest loss {self.lowest_loss:.3g}" if self.num_distinct else ""
        return f"{self.num_distinct} distinct critical points from {len(self.start)} starts{low}"


@analysis(
    source="either",
    deals=True,
    points=range(1, 10_000),
    metavar="POINTS",
    dtype="float64",
    needs="the outputs on samples, which tell critical points apart",
    paper="Baldi and Hornik 1989; Dauphin et al. 2014; Frye et al. 2021",
    examples=(
        "a.h5 --starts 50",
        "a.h5 b.h5 --from points --perturb 0.1",
        "--preset spin -o spin.h5",
        "--model linear --model-arg width=2 --data moons --loss mse -o linear.h5",
    ),
    brought=Brought(model=None, data=None),
    opens=(Parameter("l2", float, 0.0, Option("Add (l2/2)‖θ‖² to F.")),),
    presets=PRESETS,
)
def critical(
    objective: Objective,
    points: Sequence[Tensor | Point] | Tensor | Point = (),
    *,
    begin: Annotated[
        Begin,
        Option(
            "Where searches begin: at the module's own initialisations, at stored points of the runs, or at the points "
            "named.",
            called="from",
        ),
    ] = "random",
    starts: Annotated[int, Option("Starts; of stored points at most so many.", least=1)] = 100,
    perturb: Annotated[
        float, Option("Standard deviation of the noise on each number of a point.", least=0)
    ] = 0.0,
    descend: Annotated[
        int,
        Option("Steps of gradient descent before: none at the first start, so many at the last.", least=0),
    ] = 0,
    method: Annotated[
        Search,
        Option(
            "Regularised Newton steps on ∇F = 0, L-BFGS on ½‖∇F‖² before these, or the `index` lowest eigenvectors "
            "reflected before these."
        ),
    ] = "newton",
    index: Annotated[
        int | None, Option("The index that hisd looks for [default: at each start that of H].", least=0)
    ] = None,
    max_steps: Annotated[int, Option("Steps of a search at most.", least=1, is_how=True)] = 1000,
    save_points: Annotated[bool, "Store θ of every end too."] = False,
    trajectory: Sequence[Point] = (),
    trajectories: Callable[[], Sequence[Trajectory]] | None = None,
    fresh: Callable[[int], Mapping[str, Tensor]] | None = None,
    seed: int = 0,
    journal: Journal | None = None,
    executor: Executor | None = None,
    progress: Progress = silent,
) -> Critical:
    """Critical points of F of every index, sought from many starts, and what kind of point each search ended at.

    A search goes down ‖∇F‖ in steps −H(H² + μ‖∇F‖I)⁻¹∇F, μ following the fall that is had of what a linear model of
    ∇F promises: by the eigenvectors of H up to d = 2000, by products beyond; computed in float64. A small ‖∇F‖ alone
    makes no critical point: it has to fall to rounding in steps that shrink, or be no more than the rounding that is
    measured where the search begins (F is constant), and ∇F must not jump there. Otherwise a search ends
    ``gradient-flat`` (∇F stands still in the kernel of H), at a ``kink``, ``running-to-infinity`` (‖θ‖ grows while
    ‖∇F‖ falls, with the ``exponent`` that it falls by) or ``not-converged``.

    Distinct are points that differ in outputs on the data, loss, index or nullity, so not by a symmetry. Where
    the index is 0 and eigenvalues vanish the loss along the null space decides
    (:func:`~landscape.numerics.spectra.valley.valley`), at the first start of each kind. That some critical point was
    not found, nothing excludes. Linear nets of two layers (square loss), and modules that have a method
    ``critical_kinds``, are compared with their closed form.

    With ``descend`` starts lie along descents of different lengths, so at every height (as in Dauphin et al. 2014).
    ``fresh(seed)`` gives the tensors of the module as a seed initialises it; without it the copies of a module's layers
    reset themselves. ``trajectories()`` are all runs with their points. Raises BadInput for options that do not fit
    together, and for several processes.
    """
    import numpy as np

    from landscape.descent.beginnings import beginnings
    from landscape.descent.critical_proofs import known_check, start_checks
    from landscape.descent.every_height import fallen
    from landscape.descent.far_out import far_out
    from landscape.descent.kind_proofs import kinds_checks
    from landscape.descent.kinds import distinct, layered, matched, verdicts
    from landscape.descent.known_points import known_kinds
    from landscape.descent.search_proofs import search_checks
    from landscape.descent.seeking import CRITICAL, Seeker
    from landscape.objective import checks, threads
    from landscape.objective.precision import in_float64, told
    from landscape.objective.stacked import Derivatives
    from landscape.objective.tasks import computed_by

    given = _listed(points)
    stored: list[Point] = []
    if begin == "trajectory":
        stored = list(trajectory)
        if trajectories is not None:
            stored = [point for run in trajectories() for point in run.points]
    _check(objective, begin, perturb, given, stored, method, index)
    proofs: list[checks.Check] = []
    notes: list[str] = []
    with computed_by(executor), checks.untouched(objective, proofs), threads.using(_num_threads(objective)):
        wide = in_float64(objective)
        at = given if begin == "points" else stored
        derivatives = Derivatives(wide)
        drawn = beginnings(wide, at, begin == "random", starts, perturb, seed, fresh, notes)
        thetas, more = fallen(derivatives, drawn, descend)
        proofs += more
        seeker = Seeker(
            method=method,
            index=index,
            num_steps=max_steps,
            journal={} if journal is None else journal,
            progress=progress,
        )
        found = seeker.found(wide, thetas)
        apart = distinct(wide, found)
        words = verdicts(derivatives, found, apart.first, progress)
        proofs += checks.meaning(objective, objective.present_point())
        proofs += start_checks(wide, thetas, found, apart.of, seed)
        kinds = known_kinds(wide)
        if kinds:
            proofs.append(known_check(wide, kinds, matched(kinds, found), found, seed))
        far, more, about = far_out(derivatives, thetas, found)
        proofs += more
    result = _result(found, apart, words, kinds, wide.num_parameters, method, proofs, notes, seed)
    vars(result).update(far)
    result.checks += [*kinds_checks(vars(result), seed), *search_checks(vars(result), found, max_steps)]
    notes += [*about, *_rounded(found["noise"])]
    if kinds is None:
        notes += layered(result.rank_correlation, result.rank_correlation_interval)
    if save_points:
        result.thetas, result.parameters = found["theta"], wide.pieces
    notes += [note for note in (*wide.doubts, *told(wide)) if note not in notes]
    _conclude(result, kinds, int((~np.isfinite(found["gradient_norm"])).sum()), CRITICAL)
    return result


def _result(
    found: Mapping[str, np.ndarray],
    apart: Distinct,
    words: Sequence[str],
    kinds: Kinds | None,
    d: int,
    method: str,
    proofs: list[Any],
    notes: list[str],
    seed: int,
) -> Critical:
    import numpy as np

    from landscape.descent.critical_proofs import correlation_check
    from landscape.descent.kinds import matched, rank_correlation, rounded_losses
    from landscape.descent.seeking import CRITICAL

    rows = np.flatnonzero(found["status"] == CRITICAL)
    share, losses = found["index"][rows] / d, rounded_losses(found["loss"][rows])
    value, error, interval = rank_correlation(share, losses, seed)
    proofs.append(correlation_check(share, losses, value))
    known: dict[str, Any] = {}
    if kinds is not None:
        of = matched(kinds, found)
        counts = np.array([(of == number).sum() for number in range(len(kinds.loss))])
        known = {"known_loss": kinds.loss, "known_index": kinds.index, "known_nullity": kinds.nullity}
        known["known_count"] = counts
    first = apart.first
    return Critical(
        start=np.arange(len(found["loss"])),
        loss=found["loss"],
        gradient_norm=found["gradient_norm"],
        index=found["index"],
        nullity=found["nullity"],
        index_fraction=found["index"] / d,
        zero_threshold=found["zero_threshold"],
        flatness=found["flatness"],
        end_status=np.array(found["status"].tolist()),
        distinct=apart.of,
        num_steps=found["steps"],
        growth=found["growth"],
        kind_loss=found["loss"][first],
        kind_index=found["index"][first],
        kind_nullity=found["nullity"][first],
        kind_count=np.array([(apart.of == number).sum() for number in range(len(first))], dtype=np.int64),
        verdict=np.array(words, dtype=None if words else "U1"),
        **known,
        num_parameters=d,
        num_critical=len(rows),
        num_distinct=len(first),
        lowest_loss=float(found["loss"][rows].min()) if len(rows) else math.nan,
        rank_correlation=value,
        rank_correlation_error=error,
        rank_correlation_interval=np.array(interval),
        method=method,
        checks=proofs,
        notes=notes,
    )


def _listed(points: Any) -> list[Any]:
    return list(points) if isinstance(points, list | tuple) else [points]


def _rounded(noise: np.ndarray) -> list[str]:
    """What is to be said of starts (R,) where ∇F is its rounding, ``noise``, and no more; 0 at others."""
    if not (count := int((noise > 0).sum())):
        return []
    return [
        f"{count} of {len(noise)} starts are critical where they begin, to rounding: ‖∇F‖ is at most "
        f"{noise.max():.2g}, 64 times the deviation of ∇F between neighbours there"
    ]


def _num_threads(objective: Objective) -> int:
    """One for small nets: waking a second takes longer than its part of a small matrix."""
    import torch

    from landscape.objective.threads import SMALL_ACTIVATIONS

    return 1 if objective.activations < SMALL_ACTIVATIONS else torch.get_num_threads()


def _check(
    objective: Objective,
    begin: str,
    perturb: float,
    given: Sequence[Any],
    stored: Sequence[Any],
    method: str,
    index: int | None,
) -> None:
    if begin == "points" and not given:
        raise BadInput("no points to begin from", "points of a run file, or vectors", "take `begin` random")
    if begin == "trajectory" and not stored:
        raise BadInput("no stored points to begin from", "run files that have some", "take `begin` random")
    if begin == "random" and perturb:
        raise BadInput("noise on random starts", "`perturb` 0, or `begin` points or trajectory")
    if method != "hisd" and index is not None:
        raise BadInput(f"method {method} with an index", "hisd with `index`")
    if index is not None and index >= objective.num_parameters:
        raise BadInput(f"index {index} of d = {objective.num_parameters} parameters", "an index below d")
    if method == "hisd" and objective.num_parameters > 2000:
        raise BadInput(f"hisd with d = {objective.num_parameters} parameters", "at most 2000", "take newton")


def _conclude(result: Critical, kinds: Kinds | None, num_lost: int, critical: str) -> None:
    """Outcome and notes."""
    import numpy as np

    from landscape.descent.seeking import INFINITE, STATUSES

    tally = [f"{int((result.end_status == name).sum())} {name}" for name in STATUSES]
    result.notes.append(f"ends of {len(result.start)} starts: {', '.join(tally)}")
    if num_lost:
        result.notes.append(f"{num_lost} starts where loss, ∇F or H are not finite are kept as they are")
    if kinds is not None and result.known_count is not None:
        missing = np.flatnonzero(result.known_count == 0)
        about = f"closed form ({kinds.of}): {len(kinds.loss) - len(missing)} of {len(kinds.loss)} kinds found"
        listed = [f"loss {kinds.loss[k]:.6g} of index {kinds.index[k]}" for k in missing[:5]]
        more = ", …" if len(missing) > 5 else ""
        result.notes.append(about + (f"; not found: {', '.join(listed)}{more}" if listed else ""))
    if result.num_critical and bool(np.isnan(result.nullity[result.end_status == critical]).any()):
        result.notes.append(
            "d is too large for all eigenvalues: the index is that of Lanczos, a lower bound where it is 16, and the "
            "nullity is not known"
        )
    if not result.num_critical and not (result.end_status == INFINITE).all():
        result.outcome = "not-converged"
