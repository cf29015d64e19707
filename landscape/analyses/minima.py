"""How good are the minima that gradient descent finds, against the width and depth of a module?"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from landscape.analyses.declare import Brought, analysis
from landscape.analyses.options import Option
from landscape.errors import BadInput
from landscape.progress import Journal, Progress, silent
from landscape.result import Result, array, scalar

if TYPE_CHECKING:
    from concurrent.futures import Executor

    import numpy as np

    from landscape.descent.starts import Family
    from landscape.descent.table import Table
    from landscape.objective.objective import Objective

MEMORY_LIMIT = 2.0**31
WIDTHS = (1, 2, 3, 5, 10, 20)
PLATEAU = {"factor": 0.5, "threshold": 1e-4, "patience": 40, "cooldown": 10, "floor": 1e-7}
ROOM = ("depth", "width")
CELL = ("samples", *ROOM)
END = (*CELL, "restart")


@dataclass(kw_only=True, eq=False)
class Minima(Result):
    """Where many descents ended, by samples, depth, width and restart; what is not ``done`` is NaN."""

    kind: ClassVar[str] = "minima"
    samples: np.ndarray | None = array("samples", long_name="samples n of a cell", optional=True)
    depth: np.ndarray = array("depth", long_name="hidden layers")
    width: np.ndarray = array("width", long_name="width")
    restart: np.ndarray = array("restart", long_name="restart")
    done: np.ndarray = array(*END, long_name="asked for, and computed")
    quantile: np.ndarray = array("quantile", long_name="quantile over the restarts")
    cost_quantiles: np.ndarray = array(*CELL, "quantile", long_name="quantiles of the cost", printed=True)
    cost: np.ndarray = array(*END, long_name="cost at the end of the descent")
    gradient_norm: np.ndarray = array(*END, long_name="‖∇F‖ at the end of the descent")
    num_steps: np.ndarray = array(*END, long_name="steps taken")
    num_threads: np.ndarray = array(*END, long_name="threads of its stack")
    end_status: np.ndarray = array(
        *END, long_name="kind of end, where there is one of the polished end", name="status"
    )
    index: np.ndarray = array(
        *END, long_name="negative eigenvalues of the Hessian, where there is one at the polished end"
    )
    is_exact: np.ndarray = array(*END, long_name="no negative eigenvalue can have been missed")
    smallest_eigenvalue: np.ndarray = array(*END, long_name="smallest eigenvalue of that Hessian")
    largest_eigenvalue: np.ndarray = array(*END, long_name="largest eigenvalue of that Hessian")
    polished_cost_quantiles: np.ndarray | None = array(
        *CELL, "quantile", long_name="quantiles of the polished cost", printed=True, optional=True
    )
    polished_cost: np.ndarray | None = array(*END, long_name="cost after polishing", optional=True)
    polished_gradient_norm: np.ndarray | None = array(*END, long_name="‖∇F‖ after polishing", optional=True)
    polish_reason: np.ndarray | None = array(
        *END, long_name="why polishing ended above its tolerance", optional=True
    )
    num_distinct: np.ndarray = array(
        *CELL, long_name="ends that differ as functions on the data", printed=True
    )
    num_distinct_costs: np.ndarray = array(*CELL, long_name="ends that differ in their cost")
    num_minima: np.ndarray | None = array(
        *CELL, long_name="ends without a negative eigenvalue: minimum, degenerate or kink", optional=True
    )
    num_distinct_minima: np.ndarray | None = array(
        *CELL, long_name="of these, those that differ as functions on the data", optional=True, printed=True
    )
    coverage: np.ndarray | None = array(
        *CELL, long_name="share of descents to minima that end at one of those met", optional=True
    )
    axis: np.ndarray | None = array("axis", long_name="along which minima are counted", optional=True)
    exponent: np.ndarray | None = array("axis", long_name="exponent of distinct minima", optional=True)
    exponent_error: np.ndarray | None = array("axis", long_name="its error, by lack of fit", optional=True)
    growth_factor: float | None = scalar("distinct minima where every axis is 1, by the fit", optional=True)
    best_cost: np.ndarray | None = array(*CELL, long_name="F_best: floor, or lowest cost met", optional=True)
    floor: np.ndarray | None = array(*CELL, long_name="least loss of such linear nets", optional=True)
    best_share: np.ndarray | None = array(*CELL, long_name="share of the ends at F_best", optional=True)
    best_share_interval: np.ndarray | None = array(
        *CELL, "side", long_name="95 % interval of that share (Clopper and Pearson 1934)", optional=True
    )
    convergence_error: np.ndarray | None = array(*END, long_name="F − F_polished", optional=True)
    global_error: np.ndarray | None = array(*END, long_name="F_polished − F_best", optional=True)
    part: np.ndarray | None = array("part", long_name="part of the error", optional=True)
    mean_error: np.ndarray | None = array(
        *CELL, "part", long_name="F − F_best and its parts, means of the ends", optional=True, printed=True
    )
    permutations: np.ndarray | None = array(
        *ROOM, long_name="order of the group of permutations of hidden units", optional=True, printed=True
    )
    log10_permutations: np.ndarray | None = array(*ROOM, long_name="its logarithm to base 10", optional=True)
    num_scales: np.ndarray | None = array(*ROOM, long_name="units that may be rescaled", optional=True)
    num_signs: np.ndarray | None = array(*ROOM, long_name="units whose sign may change", optional=True)
    assumption: np.ndarray | None = array("assumption", long_name="of Soudry and Carmon", optional=True)
    state: np.ndarray | None = array(
        *CELL, "assumption", long_name="holds, fails or cannot be known", optional=True
    )
    num_parameters: np.ndarray = array("depth", "width", long_name="parameters d")
    is_wide: np.ndarray = array("samples", "width", long_name="n ≤ d₀d₁")
    y: np.ndarray | None = array("y", long_name="second input", optional=True)
    x: np.ndarray | None = array("x", long_name="first input", optional=True)
    prediction: np.ndarray | None = array(*CELL, "y", "x", long_name="output of the best end", optional=True)
    sample: np.ndarray | None = array("sample", long_name="sample", optional=True)
    sample_x: np.ndarray | None = array("sample", long_name="first input of a sample", optional=True)
    sample_y: np.ndarray | None = array("sample", long_name="second input of a sample", optional=True)
    sample_target: np.ndarray | None = array("sample", long_name="target of a sample", optional=True)
    num_samples: int = scalar("samples n")
    num_inputs: int = scalar("inputs d₀")

    @property
    def headline(self) -> str:
        """What was found, in a few words."""
        return f"{int(self.done.sum())} descents, lowest cost {self.cost_quantiles[..., 0].min():.3g}"


# Fleischmann 2021, section 5.1: 100 of 10000 points, 56 and 44 a class.
PRESETS: dict[str, dict[str, Any]] = {
    "thesis-5.1": {
        "model": "mlp",
        "model_arg": {"activation": "leaky_relu:0.1"},
        "data": "circles",
        "data_arg": {
            "num_samples": 10000,
            "noise": 0.35,
            "factor": 0,
            "seed": 1,
            "test_size": 0.99,
            "shuffle": False,
            "stratified": False,
        },
        "loss": "bce",
        "widths": (1, 2, 3, 4, 5, 10, 15, 20, 30, 40, 50, 75, 100),
        "depths": (1, 2, 3),
        "restarts": (50, 15, 15),
        "init": ("uniform:-100,100", "uniform:-1,1", "uniform:-1,1"),
        "lr": (1.0, 0.5, 0.1),
        "steps": 40000,
        "max_steps": 120000,
        "plateau": None,
        "stop_after": 10000,
        "stop_below": 1e-7,
    }
}
# A preset's values of one depth, where fewer depths are asked for than it has.
PER_DEPTH = ("restarts", "init", "lr")


def _settled(options: dict[str, Any], given: Container[str], preset: Mapping[str, Any]) -> dict[str, Any]:
    """Of a preset's values for each depth those of the depths that are asked for."""
    if not preset or "depths" not in given:
        return options
    places = [preset["depths"].index(depth) for depth in options["depths"] if depth in preset["depths"]]
    kept = {name: tuple(preset[name][place] for place in places) for name in PER_DEPTH if name not in given}
    return options | kept


def _family(work: Any) -> Family:
    """The session's model by width, depth and seed."""
    return lambda width, depth, seed: work.variant(seed, {"width": width, "depth": depth})


@analysis(
    source="recipe",
    deals=True,
    needs="the outputs on samples, which tell minima apart",
    points=0,
    paper="Soudry and Carmon 2016; Fleischmann 2021",
    examples=(
        "--widths 1,2,5,10 --restarts 20 --init uniform:-1,1 --lr 0.5 -o m.h5",
        "--preset thesis-5.1 --depths 1 --polish -o thesis.h5",
        "--model my_net.py:build --data digits --widths 8,16 -o mine.h5",
    ),
    brought=Brought(
        may_modify=True,
        data="circles",
        model_help="mlp, linear, or any factory that takes width and depth.",
        model_arg_help="Arguments of the model: activation=tanh.",
        data_arg_help="Arguments of the data: num_samples=200 noise=0.2.",
    ),
    presets=PRESETS,
    settled=_settled,
    places=lambda work, options: (_family(work),),
    varies={"width": "widths", "depth": "depths"},
)
def minima(
    family: Family,
    *,
    widths: Annotated[tuple[int, ...], Option("Units of every hidden layer.", least=1)] = WIDTHS,
    depths: Annotated[tuple[int, ...], Option("Hidden layers.", least=1)] = (1,),
    samples: Annotated[
        tuple[int, ...] | None,
        Option("Samples, of which the fewer are among the more [default: all].", least=1),
    ] = None,
    restarts: Annotated[
        tuple[int, ...], Option("Descents per cell; one number, or one a depth.", least=1)
    ] = (50,),
    init: Annotated[
        tuple[str, ...],
        Option(
            "own (the module's), or uniform:a,b for all weights and biases; again for each further depth.",
            is_repeated=True,
        ),
    ] = ("own",),
    lr: Annotated[tuple[float, ...], Option("Step size; one number, or one a depth.", above=0)] = (0.1,),
    steps: Annotated[int, Option("Steps of constant size.", least=0, is_how=True)] = 40000,
    max_steps: Annotated[
        int, Option("Steps at most, the further ones halved on plateaus.", least=1, is_how=True)
    ] = 120000,
    plateau: Annotated[
        Mapping[str, float] | None,
        Option("factor=0.5 threshold=1e-4 patience=40 cooldown=10 floor=1e-7, in steps.", is_how=True),
    ] = None,
    stop_after: Annotated[
        int, Option("Stop when so many further steps bring less than …", least=1, is_how=True)
    ] = 10000,
    stop_below: Annotated[float, Option("… this.", least=0, is_how=True)] = 1e-7,
    polish: Annotated[bool, "Go on to ‖∇F‖ ≤ 1e-9 by L-BFGS and Newton's method, or say why not."] = False,
    seed: int = 0,
    memory_limit: float = MEMORY_LIMIT,
    max_threads: int | None = None,
    journal: Journal | None = None,
    executor: Executor | None = None,
    progress: Progress = silent,
) -> Minima:
    """Gradient descent from many starts for every width and depth, and what kind of point each ended at.

    ``family(width, depth, seed)`` gives the objective. ``restarts``, ``init`` and ``lr`` are one for all depths
    or one for each. ``init`` is ``own`` (the module's, seeds ``seed``, ``seed + 1``, …) or ``uniform:a,b`` for
    every parameter. All samples are taken at each of ``steps`` steps of size ``lr``; then, up to
    ``max_steps``, ``plateau`` halves the step, and a descent ends when ``stop_after`` steps bring less than
    ``stop_below``. Costs, gradients and Hessians of the ends are float64.

    ``polish`` goes on to ‖∇F‖ ≤ 1e-9 by L-BFGS and Newton's method in a trust region; eigenvalues, index and
    status are then those of the polished point. A piecewise linear module may end at a ``kink``, where ∇F jumps and F
    falls no further: gradients around combine to one of at most 1e-4 (Burke, Lewis and Overton 2005).

    ``samples`` are drawn by the seed, and each number of them is a table of its own. The number of distinct minima is
    fitted by a power of samples, depth and width where there are several. F_best is the closed form of linear nets, or
    the lowest cost of a cell, and F − F_best = (F − F_polished) + (F_polished − F_best).

    The restarts of a cell train as one computation, in several where they would take more than ``memory_limit``
    bytes, on one thread, or on ``max_threads`` (default: torch's number) where these are measured to be faster.
    Question and setting are those of Soudry and Carmon 2016. Raises BadInput for options out of range, for
    several processes, and what ``family`` raises.
    """
    import torch

    from landscape import distributed
    from landscape.certificates.almost_every import settings
    from landscape.certificates.assumption_proofs import family_check
    from landscape.descent import input_plane
    from landscape.descent.cells import Descents
    from landscape.descent.minima_proofs import stated_checks
    from landscape.descent.proofs import worst_of
    from landscape.descent.starts import bounds_of, cut
    from landscape.descent.table import every, tables
    from landscape.numerics.steps.replicas import Plan
    from landscape.numerics.steps.sampling import isolated_rng
    from landscape.objective import checks
    from landscape.objective.tasks import computed_by
    from landscape.symmetry.order import orders

    distributed.require_one_process("replicas")
    _check(widths, depths, samples or (), steps, max_steps)
    per_depth = (
        _for_each(depths, name, one) for name, one in (("restarts", restarts), ("init", init), ("lr", lr))
    )
    families = {count: cut(family, count, seed) for count in samples} if samples else {0: family}
    descents = [
        Descents(
            family=family,
            count=count,
            bounds=bounds_of(begin),
            plan=Plan(
                step_size=rate,
                num_steps=max_steps,
                schedule="plateau",
                arguments={**PLATEAU, **(plateau or {})},
                begin=steps,
                patience=stop_after,
                threshold=stop_below,
            ),
            polish=polish,
            seed=seed,
            memory_limit=memory_limit,
            max_threads=max_threads or torch.get_num_threads(),
            journal={} if journal is None else journal,
            progress=progress,
        )
        for count, begin, rate in zip(*per_depth, strict=True)
    ]
    first, proofs = family(widths[0], depths[0], seed), list[checks.Check]()
    notes, axes = list(first.notes), input_plane.axes(first)
    with computed_by(executor), isolated_rng(seed, first.device), checks.untouched(first, proofs):
        table = tables(families, depths, widths, descents, axes, notes)
        about = orders(next(iter(families.values())), depths, widths, seed)
        about |= settings(families, depths, widths, seed)
        proofs += worst_of({cell.name: cell.checks for cell in every(table)})
        proofs += checks.meaning(first, first.present_point())
    result = _result(first, table, about, (samples, depths, widths), axes)
    stated = [*stated_checks(vars(result), family, table, seed), family_check(vars(result), family, seed)]
    result.checks, result.notes = [*proofs, *stated], notes
    _conclude(result, any(one.draws for one in every(table)))
    return result


def _result(
    first: Objective,
    table: Table,
    about: dict[str, Any],
    places: tuple[Sequence[int] | None, Sequence[int], Sequence[int]],
    axes: tuple[np.ndarray, np.ndarray] | None,
) -> Minima:
    import numpy as np

    from landscape.certificates.almost_every import ASSUMPTIONS
    from landscape.descent import input_plane
    from landscape.descent.table import arrays_of, errors_of, growth_of

    samples, depths, widths = places
    num_samples, num_inputs = first.num_samples, first.samples.num_inputs
    rows = arrays_of(table, samples is not None, axes is not None)
    state, floor = (about.pop(name)[slice(None) if samples else 0] for name in ("state", "floor"))
    is_wide = np.array([[n <= num_inputs * width for width in widths] for n in samples or (num_samples,)])
    return Minima(
        samples=None if samples is None else np.array(samples),
        depth=np.array(depths),
        width=np.array(widths),
        **rows,
        **errors_of(rows, floor),
        **growth_of(rows["num_distinct_minima"], samples, depths, widths),
        **about,
        floor=floor if np.isfinite(floor).any() else None,
        assumption=np.array(ASSUMPTIONS),
        state=state,
        is_wide=is_wide if samples else is_wide[0],
        x=axes[0] if axes else None,
        y=axes[1] if axes else None,
        **(input_plane.samples(first) if axes else {}),
        num_samples=num_samples,
        num_inputs=num_inputs,
    )


def _check(
    widths: Sequence[int], depths: Sequence[int], samples: Sequence[int], steps: int, max_steps: int
) -> None:
    for name, values in (("widths", widths), ("depths", depths), ("samples", samples)):
        if len(set(values)) < len(values):
            raise BadInput(f"`{name}` = {', '.join(map(str, values))}", "each once")
    if steps > max_steps:
        raise BadInput(f"{steps} steps of at most {max_steps}", "no more `steps` than `max_steps`")


def _for_each(depths: Sequence[int], name: str, values: Sequence[Any]) -> list[Any]:
    if len(values) not in (1, len(depths)):
        raise BadInput(
            f"{len(values)} values of {name} for {len(depths)} depths", "one for all, or one for each"
        )
    return list(values) * (len(depths) // len(values))


def _conclude(result: Minima, draws: bool) -> None:
    """Outcome and notes."""
    from landscape.certificates import almost_every
    from landscape.descent.ends_words import notes_of

    if (result.end_status == "diverged").any():
        result.outcome = "diverged"
    axes = {"samples": result.samples, "depth": result.depth, "width": result.width}
    axes = {name: values.tolist() for name, values in axes.items() if values is not None}
    result.notes += [*notes_of(result, axes), *almost_every.notes_of(result, axes)]
    if draws:
        result.notes.append(
            "the module draws random numbers in training, so its descent is not that of F, nor replayed"
        )
