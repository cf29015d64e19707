"""What do the same observations buy: in full batches, in mini-batches, or one by one?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from landscape import distributed
from landscape.descent.budgets import Budget, recorded
from landscape.descent.replay import replayed
from landscape.descent.training import METHODS
from landscape.errors import BadInput, NotFinite
from landscape.numerics.steps.replicas import Plan
from landscape.numerics.steps.sampling import SAMPLINGS, Sampler, isolated_rng
from landscape.objective import checks
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.precision import in_float64
from landscape.progress import Journal, Progress, silent
from landscape.result import Result, array

STEP_SIZES = (1.0, 0.5, 0.1, 0.05, 0.01, 0.005, 0.001, 5e-4, 1e-4, 5e-5)
MEMORY_LIMIT = 2.0**31
CELL = ("size", "method", "step")
CURVE = ("size", "method", "record")


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


def efficiency(
    objective: Objective,
    points: Sequence[Tensor | Point],
    *,
    sizes: Sequence[int] | None = None,
    methods: Sequence[str] = METHODS,
    step_sizes: Sequence[float] = STEP_SIZES,
    batch_size: int = 50,
    sampling: str = "uniform",
    observations_per_sample: float = 20.0,
    num_records: int = 20,
    draw_seed: int = 0,
    discarded: int = 0,
    seed: int = 0,
    memory_limit: float = MEMORY_LIMIT,
    journal: Journal | None = None,
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
    sizes = [objective.num_samples] if sizes is None else list(sizes)
    _check(objective, points, sizes, methods, step_sizes, batch_size, sampling, discarded)
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
        for n in sizes
    ]
    grid = _Grid(objective, points, methods, step_sizes, seed)
    journal = {} if journal is None else journal
    draw = np.random.default_rng(draw_seed)
    if discarded:
        draw.choice(objective.num_samples, discarded, replace=False)
    with checks.untouched(objective, grid.checks), isolated_rng(seed, objective.device):
        for n, own in zip(sizes, budgets, strict=True):
            part = _part(objective, draw.choice(objective.num_samples, n, replace=False))
            grid.train(part, own, memory_limit, journal, progress)
    result = _result(grid, budgets, observations_per_sample, num_records)
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


class _Grid:
    """Every method and step size from every point, trained on one subset after another; what was found so far.

    ``costs`` are arrays (method, step, point, record), ``baselines`` those of :func:`baseline_costs`, by subset.
    """

    def __init__(
        self,
        objective: Objective,
        points: Sequence[Tensor | Point],
        methods: Sequence[str],
        step_sizes: Sequence[float],
        seed: int,
    ):
        self.methods, self.step_sizes, self.seed = methods, step_sizes, seed
        self.thetas = torch.stack([objective.as_point(point).theta for point in points])
        self.costs: list[np.ndarray] = []
        self.baselines: list[tuple[float, float]] = []
        self.checks: list[checks.Check] = []
        self.notes: list[str] = []

    def train(
        self,
        part: Objective,
        budgets: Sequence[Budget],
        memory_limit: float,
        journal: Journal,
        progress: Progress,
    ) -> None:
        """On the subset of ``part``, each method within its budget."""
        # Methods alternate, so that every stack, where there are several, holds its share of each.
        grid = list(product(self.step_sizes, range(len(self.thetas)), range(len(self.methods))))
        self.baselines.append(baseline_costs(part))
        n = part.num_samples
        found = recorded(
            part,
            self.thetas[[s for _, s, _ in grid]],
            [_plan(budgets[m], self.methods[m], alpha, self.seed + s) for alpha, s, m in grid],
            np.array([budgets[m].steps for _, _, m in grid]),
            name=f"n = {n}",
            seed=self.seed,
            memory_limit=memory_limit,
            journal=journal,
            progress=progress,
            notes=self.notes,
        )
        curves = found.costs.reshape(len(self.step_sizes), len(self.thetas), len(self.methods), -1)
        self.costs.append(np.moveaxis(curves, 2, 0))
        if found.best is not None:
            meaning = "lowest cost against a plain loop over model.eval()"
            lowest = float(np.nanmin(found.costs[:, -1]))
            self.checks.append(checks.agreement(f"cost at n = {n}", part, lowest, found.best, meaning))
        if len(self.costs) == 1:
            few = self.thetas[:1].double().expand(len(self.methods), -1)
            least = min(self.step_sizes)
            check = replayed(
                in_float64(part), few, lambda m: _plan(budgets[m], self.methods[m], least, self.seed)
            )
            self.checks += [check] if check else []


def _result(
    grid: _Grid, budgets: Sequence[Sequence[Budget]], observations_per_sample: float, num_records: int
) -> Efficiency:
    short = max(
        (budget.total - budget.observations[-1]) / budget.batch_size for own in budgets for budget in own
    )
    meaning = "observations that a method has less than asked for, in batches"
    zero, least = (np.array(column, dtype=float) for column in zip(*grid.baselines, strict=True))
    return Efficiency(
        size=np.array([own[0].num_samples for own in budgets]),
        method=np.array(grid.methods),
        step=np.array(grid.step_sizes, dtype=float),
        seed=grid.seed + np.arange(len(grid.thetas)),
        record=np.linspace(0, observations_per_sample, num_records + 1),
        observations=np.array([[budget.observations for budget in own] for own in budgets]),
        zero_predictor=None if np.isnan(zero).all() else zero,
        least_squares=None if np.isnan(least).all() else least,
        checks=[*grid.checks, checks.Check("observations", float(short), 1.0, meaning)],
        notes=grid.notes,
        **selected(np.stack(grid.costs), grid.step_sizes),
    )


def selected(replica_cost: np.ndarray, step_sizes: Sequence[float]) -> dict[str, Any]:
    """Means, spreads and the best step sizes from ``replica_cost`` (size, method, step, seed, record).

    The best step is that of the lowest mean final cost among those at which no seed diverged, the first one where
    several are equal, and NaN where there is none. Keys are fields of :class:`Efficiency`.
    """
    num_seeds = replica_cost.shape[3]
    cost, spread = _mean_and_spread(replica_cost[..., -1])
    is_known = np.isfinite(cost)
    best = np.where(is_known, cost, np.inf).argmin(-1)
    is_chosen = is_known.any(-1)

    def at_best(values: np.ndarray) -> np.ndarray:
        index = best.reshape(*best.shape, *[1] * (values.ndim - 2))
        return np.take_along_axis(values, index, 2).squeeze(2)

    curve, curve_spread = _mean_and_spread(np.moveaxis(at_best(replica_cost), 2, -1))
    has_spread = num_seeds > 1
    return {
        "replica_cost": replica_cost,
        "cost": cost,
        "cost_spread": spread if has_spread else None,
        "num_diverged": (~np.isfinite(replica_cost[..., -1])).sum(-1),
        "best_step": np.where(is_chosen, np.asarray(step_sizes, dtype=float)[best], np.nan),
        "best_cost": at_best(cost),
        "best_cost_error": at_best(spread) / math.sqrt(num_seeds) if has_spread else None,
        "cost_curve": curve,
        "cost_curve_spread": curve_spread if has_spread else None,
    }


def baseline_costs(objective: Objective) -> tuple[float, float]:
    """The square loss of outputs that are zero, and of linear least squares with intercept, in float64.

    NaN for another loss than ``mse``, for classes, and for inputs that are not one tensor of numbers.
    """
    inputs, targets = objective.samples
    if objective.loss.name != "mse" or not targets.is_floating_point():
        return math.nan, math.nan
    y = targets.flatten(1).double().cpu().numpy()
    zero = float(np.square(y).mean())
    if len(inputs) != 1 or not inputs[0].is_floating_point():
        return zero, math.nan
    x = inputs[0].flatten(1).double().cpu().numpy()
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    return zero, float(np.square(x @ np.linalg.lstsq(x, y)[0] - y).mean())


def _check(
    objective: Objective,
    points: Sequence[Tensor | Point],
    sizes: Sequence[int],
    methods: Sequence[str],
    step_sizes: Sequence[float],
    batch_size: int,
    sampling: str,
    discarded: int,
) -> None:
    distributed.require_one_process("replicas")
    if not points:
        raise BadInput("no initial point", "one for each seed", "take at least one seed")
    for n in sizes:
        if not 1 <= n <= objective.num_samples:
            raise BadInput(f"size {n}", f"between 1 and the {objective.num_samples} samples there are")
    if not 0 <= discarded <= objective.num_samples:
        raise BadInput(f"{discarded} samples to discard", f"between 0 and {objective.num_samples}")
    for method in methods:
        if method not in METHODS:
            raise BadInput(f"unknown method {method!r}", f"some of {', '.join(METHODS)}")
    for alpha in step_sizes:
        if not 0 < alpha < math.inf:
            raise BadInput(f"step size {alpha:g}", "a positive number")
    for name, values in (("sizes", sizes), ("methods", methods), ("step sizes", step_sizes)):
        if not values or len(set(values)) < len(values):
            raise BadInput(f"{name} {', '.join(map(str, values)) or '(none)'}", "at least one, each once")
    if batch_size < 1:
        raise BadInput(f"{batch_size} samples a batch", "at least 1")
    if sampling not in SAMPLINGS:
        raise BadInput(f"unknown sampling {sampling!r}", f"one of {', '.join(SAMPLINGS)}")


def _part(objective: Objective, drawn: np.ndarray) -> Objective:
    """The same objective on the samples ``drawn``."""
    inputs, targets = objective.samples
    rows = torch.from_numpy(drawn).to(objective.device)
    return objective.on((tuple(one[rows] for one in inputs), targets[rows]))


def _plan(budget: Budget, method: str, alpha: float, seed: int) -> Plan:
    sampler = None
    if method != "gd":
        sampler = Sampler(budget.sampling, budget.num_samples, budget.batch_size, seed)
    return Plan(step_size=alpha, num_steps=budget.num_steps, sampler=sampler)


def _mean_and_spread(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Over the last axis; the spread of a single value is 0."""
    spread = values.std(-1, ddof=1) if values.shape[-1] > 1 else np.zeros(values.shape[:-1])
    return values.mean(-1), spread


def _conclude(result: Efficiency) -> None:
    """Outcome and notes."""
    alphas = result.step
    for i, n in enumerate(result.size):
        found, edges, lost = [], [], []
        for j in np.argsort(result.best_cost[i]):
            method, alpha = str(result.method[j]), float(result.best_step[i, j])
            if math.isnan(alpha):
                lost.append(method)
                continue
            error = "" if result.best_cost_error is None else f" ± {result.best_cost_error[i, j]:.2g}"
            found.append(f"{method} {result.best_cost[i, j]:.4g}{error} (α = {alpha:g})")
            if len(alphas) > 1 and alpha in (alphas.min(), alphas.max()):
                edges.append(method)
        result.notes.append(f"n = {n}, lowest cost first: {', '.join(found) or 'nothing'}")
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
