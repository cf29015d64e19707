"""What do the same observations buy: in full batches, in mini-batches, or one by one?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from landscape.analyses.declare import Brought, analysis
from landscape.analyses.options import Option, Parameter
from landscape.choices import Method, Sampling
from landscape.errors import BadInput, NotFinite
from landscape.progress import Journal, Progress, silent
from landscape.result import Result, array, with_error

if TYPE_CHECKING:
    from concurrent.futures import Executor

    import numpy as np
    from torch import Tensor

    from landscape.descent.budgets import Budget
    from landscape.descent.comparison import Grid
    from landscape.objective.objective import Objective
    from landscape.objective.parameters import Point

MEMORY_LIMIT = 2.0**31
CELL = ("size", "method", "step")
CURVE = ("size", "method", "record")
# Fleischmann 2021, section 5.2: standardised on all 20640 rows; before the sizes, ten rows were drawn.
PRESETS: dict[str, dict[str, Any]] = {
    "thesis-5.2": {
        "model": "mlp",
        "model_arg": {"widths": (12, 12, 12, 12, 12), "activation": "relu", "init": "glorot"},
        "data": "housing",
        "data_arg": {"test_size": 0},
        "loss": "mse",
        "methods": ("gd", "minibatch", "sgd"),
        "sizes": (100, 1000, 10000),
        "step_sizes": (1.0, 0.5, 0.1, 0.05, 0.01, 0.005, 0.001, 5e-4, 1e-4, 5e-5),
        "batch_size": 50,
        "sampling": "uniform",
        "observations_per_sample": 20.0,
        "draw_seed": 42,
        "discarded": 10,
    }
}


@dataclass(kw_only=True, eq=False)
class Efficiency(Result):
    """Costs by training-set size n, method and step size, each given the same number of observations.

    The cost is F over the n samples. A replica diverged where its cost is NaN; a mean over seeds is NaN where one
    of them diverged.
    """

    kind: ClassVar[str] = "efficiency"
    size: np.ndarray = array("size", long_name="samples n")
    method: np.ndarray = array("method", long_name="method")
    step: np.ndarray = array("step", long_name="step size α")
    seed: np.ndarray = array("seed", long_name="seed of the initial point and of the samples")
    record: np.ndarray = array("record", long_name="observations per sample")
    cost: np.ndarray = array(*CELL, long_name="final cost, mean over seeds")
    cost_spread: np.ndarray | None = array(
        *CELL, long_name="final cost, standard deviation over seeds", optional=True
    )
    num_diverged: np.ndarray = array(*CELL, long_name="replicas that diverged")
    best_step: np.ndarray = array("size", "method", long_name="step size of lowest final cost")
    best_cost: np.ndarray = array("size", "method", long_name="lowest final cost, mean over seeds")
    best_cost_error: np.ndarray | None = array(
        "size", "method", long_name="standard error of best_cost over seeds", optional=True
    )
    observations: np.ndarray = array(*CURVE, long_name="observations used")
    cost_curve: np.ndarray = array(*CURVE, long_name="cost at the best step size, mean over seeds")
    cost_curve_spread: np.ndarray | None = array(
        *CURVE, long_name="cost at the best step size, standard deviation over seeds", optional=True
    )
    replica_cost: np.ndarray = array(*CELL, "seed", "record", long_name="cost of each replica")
    zero_predictor: np.ndarray | None = array(
        "size", long_name="square loss of the outputs zero", optional=True
    )
    least_squares: np.ndarray | None = array(
        "size", long_name="square loss of linear least squares with intercept", optional=True
    )

    @property
    def headline(self) -> str:
        """What was found, in a few words."""
        import numpy as np

        i, j = divmod(int(np.nanargmin(self.best_cost)), len(self.method))
        return f"{self.method[j]} {self.best_cost[i, j]:.3g} at n = {self.size[i]}"


def _starts(work: Any, count: int) -> list[Tensor]:
    """The initial points of ``count`` seeds."""
    return [work.variant(work.seed + number, {}).theta for number in range(count)]


@analysis(
    source="recipe",
    needs="batches of samples",
    points=0,
    paper="Fleischmann 2021; Bottou et al. 2018",
    examples=(
        "--preset thesis-5.2 --seeds 5 -o thesis.h5",
        "--model my_net.py:build --data digits --sizes 100,1000 -o mine.h5",
    ),
    brought=Brought(
        model_arg_help="Arguments of the model: widths=100,100 activation=tanh.",
        data_arg_help="Arguments of the data: classes=3,6 test_size=0.",
    ),
    opens=(Parameter("seeds", int, 3, Option("Initial points, from `seed` on.", least=1, is_how=True)),),
    presets=PRESETS,
    places=lambda work, options: (work.objective, _starts(work, options["seeds"])),
    deals=True,
)
def efficiency(
    objective: Objective,
    points: Sequence[Tensor | Point],
    *,
    sizes: Annotated[
        tuple[int, ...] | None,
        Option("Training-set sizes, drawn from the data [default: all of them].", least=1),
    ] = None,
    methods: Annotated[tuple[Method, ...], "Some of these."] = ("gd", "minibatch", "sgd"),
    step_sizes: Annotated[
        tuple[float, ...], Option("For each method and size, the best of these.", above=0)
    ] = (1.0, 0.5, 0.1, 0.05, 0.01, 0.005, 0.001, 5e-4, 1e-4, 5e-5),
    batch_size: Annotated[int, Option("Samples of a mini-batch.", least=1)] = 50,
    sampling: Annotated[
        Sampling, "With replacement, one order for ever, or a new order each epoch."
    ] = "uniform",
    observations_per_sample: Annotated[float, Option("The budget, over the size.", least=1)] = 20.0,
    num_records: Annotated[
        int, Option("Costs recorded within the budget.", least=1, called="records", is_how=True)
    ] = 20,
    draw_seed: Annotated[int, Option("NumPy's seed of the drawn sizes.", least=0, is_how=True)] = 0,
    discarded: Annotated[
        int, Option("Draw so many samples before, for nothing.", least=0, called="discard", is_how=True)
    ] = 0,
    seed: int = 0,
    memory_limit: float = MEMORY_LIMIT,
    journal: Journal | None = None,
    executor: Executor | None = None,
    progress: Progress = silent,
) -> Efficiency:
    """Train from each of ``points`` by every method and step size, on subsets of the data, within one budget.

    ``sizes`` are the subsets' (default: all samples), drawn one after another without replacement by
    ``numpy.random.default_rng(draw_seed)``, after a draw of ``discarded`` samples where that is not 0.
    ``gd`` takes all n samples a step, ``minibatch`` ``batch_size`` of them, ``sgd`` one; each takes
    ⌊observations_per_sample · n / batch⌋ steps, so that all use the same observations to within a batch. Point s
    goes with samples drawn by ``seed`` + s, the same ones at every step size. F over the subset is measured
    ``num_records`` times, evenly over the observations, and at the start.

    All replicas of one size are one stack, or several where that would take more than ``memory_limit`` bytes; it is
    resumable through ``journal``. The question and the default step sizes are those of Fleischmann 2021, section
    5.2. Raises BadInput for options out of range, and NotFinite where everything diverges.
    """
    import numpy as np
    import torch

    from landscape.descent.budgets import Budget
    from landscape.descent.comparison import Every, Grid, part_of, trained_ahead
    from landscape.descent.efficiency_proofs import subsets_check
    from landscape.numerics.steps.sampling import isolated_rng
    from landscape.objective import checks
    from landscape.objective.tasks import computed_by

    counts = [objective.num_samples] if sizes is None else list(sizes)
    _check(objective, points, counts, methods, step_sizes, discarded)
    budgets = [
        [
            Budget(
                num_samples=n,
                batch_size={"gd": n, "minibatch": min(batch_size, n), "sgd": 1}[method],
                sampling="cycle" if method == "gd" else sampling,
                observations_per_sample=observations_per_sample,
                num_records=num_records,
            )
            for method in methods
        ]
        for n in counts
    ]
    thetas = torch.stack([objective.as_point(point).theta for point in points])
    grid = Grid(Every(thetas, methods, step_sizes, seed, memory_limit))
    journal = {} if journal is None else journal
    draw = np.random.default_rng(draw_seed)
    if discarded:
        draw.choice(objective.num_samples, discarded, replace=False)
    drawn = [draw.choice(objective.num_samples, n, replace=False) for n in counts]
    with (
        computed_by(executor),
        checks.untouched(objective, grid.checks),
        isolated_rng(seed, objective.device),
    ):
        parts = list(zip(drawn, budgets, strict=True))
        trained_ahead(objective, parts, grid.every, journal, progress)
        subsets = [part_of(objective, rows) for rows in drawn]
        for part, own in zip(subsets, budgets, strict=True):
            grid.train(part, own, journal, progress)
        grid.checks.append(subsets_check(objective, subsets, draw_seed, discarded))
    result = _result(grid, budgets, sampling, observations_per_sample, num_records)
    if np.isnan(result.best_step).all():
        # Nothing is worth going on from: another grid may take this one's place.
        journal.clear()
        raise NotFinite(
            f"training diverges at every step size, down to {min(step_sizes):g}, for every method and size",
            "a step size at which the cost stays finite for every seed",
            "take smaller `step_sizes`",
        )
    _conclude(result)
    return result


def _result(
    grid: Grid,
    budgets: Sequence[Sequence[Budget]],
    sampling: str,
    observations_per_sample: float,
    num_records: int,
) -> Efficiency:
    import numpy as np

    from landscape.descent.comparison import selected
    from landscape.descent.efficiency_proofs import observations_check, places_check, table_check

    every = grid.every
    zero, least = (np.array(column, dtype=float) for column in zip(*grid.baselines, strict=True))
    table, steps = selected(np.stack(grid.costs), every.step_sizes), np.array(every.step_sizes, dtype=float)
    observations = np.array([[budget.observations for budget in own] for own in budgets])
    sizes = [own[0].num_samples for own in budgets]
    batches = np.array([[budget.batch_size for budget in own] for own in budgets])
    result = Efficiency(
        size=np.array(sizes),
        method=np.array(every.methods),
        step=steps,
        seed=every.seed + np.arange(len(every.thetas)),
        record=np.linspace(0, observations_per_sample, num_records + 1),
        observations=observations,
        zero_predictor=None if np.isnan(zero).all() else zero,
        least_squares=None if np.isnan(least).all() else least,
        checks=[
            *grid.checks,
            observations_check(observations, sizes, batches, sampling, observations_per_sample),
            table_check(table["replica_cost"], steps, table),
        ],
        notes=grid.notes,
        **table,
    )
    result.checks.append(places_check(result, every, grid.rows, observations_per_sample))
    return result


def _check(
    objective: Objective,
    points: Sequence[Tensor | Point],
    sizes: Sequence[int],
    methods: Sequence[str],
    step_sizes: Sequence[float],
    discarded: int,
) -> None:
    from landscape import distributed

    distributed.require_one_process("replicas")
    if not points:
        raise BadInput("no initial point", "one for each seed", "take at least one seed")
    for n in sizes:
        if not 1 <= n <= objective.num_samples:
            raise BadInput(f"size {n}", f"between 1 and the {objective.num_samples} samples there are")
    if not 0 <= discarded <= objective.num_samples:
        raise BadInput(f"{discarded} samples to discard", f"between 0 and {objective.num_samples}")
    for name, values in (("sizes", sizes), ("methods", methods), ("step sizes", step_sizes)):
        if not values or len(set(values)) < len(values):
            raise BadInput(f"{name} {', '.join(map(str, values)) or '(none)'}", "at least one, each once")


def _conclude(result: Efficiency) -> None:
    """Outcome and notes."""
    import numpy as np

    alphas = result.step
    for i, n in enumerate(result.size):
        found, edges, lost = [], [], []
        for j in np.argsort(result.best_cost[i]):
            method, alpha = str(result.method[j]), float(result.best_step[i, j])
            if math.isnan(alpha):
                lost.append(method)
                continue
            cost, errors = float(result.best_cost[i, j]), result.best_cost_error
            told = f"{cost:.4g}" if errors is None else with_error(cost, float(errors[i, j]))
            found.append(f"{method} {told} (α = {alpha:g})")
            if len(alphas) > 1 and alpha in (alphas.min(), alphas.max()):
                edges.append(method)
        how = "" if result.best_cost_error is None else " (± standard error over seeds)"
        result.notes.append(f"n = {n}, lowest cost first{how}: {', '.join(found) or 'nothing'}")
        if edges:
            result.notes.append(
                f"n = {n}: the best step of {', '.join(edges)} is an end of the grid, so another may be better"
            )
        if lost:
            result.notes.append(f"n = {n}: every step size of {', '.join(lost)} diverges for some seed")
            result.outcome = "diverged"
    num_diverged = int(result.num_diverged.sum())
    if num_diverged:
        count = num_diverged, int(np.prod(result.replica_cost.shape[:4]))
        result.notes.append(f"{count[0]} of {count[1]} replicas diverged and are NaN; the others went on")
