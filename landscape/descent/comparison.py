"""Methods beside one another: every method and step size from every start, on subsets, within one budget."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape.descent.budgets import Budget, Recorded, bytes_of, recorded
from landscape.descent.efficiency_proofs import baselines_check, recorded_check, steps_check
from landscape.descent.replay import Stated, draws, stack_checks
from landscape.descent.stacked import key_of, threads_of
from landscape.errors import BadInput
from landscape.numerics.averages import mean_and_spread
from landscape.numerics.steps.replicas import Plan, stacks
from landscape.numerics.steps.sampling import Sampler
from landscape.objective import Objective, checks
from landscape.objective.losses import LOSSES
from landscape.objective.precision import in_float64
from landscape.objective.tasks import Task, ahead, is_shared
from landscape.progress import Journal, Progress, silent

# Replicas of the small stack that is taken again in float64: of each method one.
NEIGHBOURS = 3


class Every(NamedTuple):
    """Every method and step size from each of the points ``thetas`` (S, d), on whatever subset."""

    thetas: Tensor
    methods: Sequence[str]
    step_sizes: Sequence[float]
    seed: int
    memory_limit: float

    @property
    def replicas(self) -> list[tuple[float, int, int]]:
        """Step size, number of the point, number of the method."""
        # Methods alternate, so that every stack, where there are several, holds its share of each.
        return list(product(self.step_sizes, range(len(self.thetas)), range(len(self.methods))))

    def plans(self, budgets: Sequence[Budget]) -> list[Plan]:
        """Of each replica, its method within the budget of it."""
        return [_plan(budgets[m], self.methods[m], alpha, self.seed + s) for alpha, s, m in self.replicas]

    def recorded(
        self,
        part: Objective,
        budgets: Sequence[Budget],
        journal: Journal,
        progress: Progress,
        notes: list[str],
        only: int | None = None,
    ) -> Recorded:
        """On a subset, or one stack of it: see :func:`~landscape.descent.budgets.recorded`."""
        return recorded(
            part,
            self.thetas[[s for _, s, _ in self.replicas]],
            self.plans(budgets),
            np.array([budgets[m].steps for _, _, m in self.replicas]),
            name=_named(part.num_samples),
            seed=self.seed,
            memory_limit=self.memory_limit,
            journal=journal,
            progress=progress,
            notes=notes,
            only=only,
        )


class Grid:
    """``every`` method and step size from every point, trained on one subset after another; what was found so far.

    ``costs`` are arrays (method, step, point, record), ``rows`` (replica, record) what they are made of, ``baselines``
    those of :func:`baseline_costs`, by subset.
    """

    def __init__(self, every: Every):
        self.every = every
        self.costs: list[np.ndarray] = []
        self.rows: list[np.ndarray] = []
        self.baselines: list[tuple[float, float]] = []
        self.checks: list[checks.Check] = []
        self.notes: list[str] = []

    def train(self, part: Objective, budgets: Sequence[Budget], journal: Journal, progress: Progress) -> None:
        """On the subset of ``part``, each method within its budget."""
        every, grid, n = self.every, self.every.replicas, part.num_samples
        self.baselines.append(baseline_costs(part))
        found = every.recorded(part, budgets, journal, progress, self.notes)
        shape = len(every.step_sizes), len(every.thetas), len(every.methods), -1
        self.rows.append(found.costs)
        self.costs.append(np.moveaxis(found.costs.reshape(shape), 2, 0))
        if found.best is not None:
            meaning = "lowest cost against a plain loop over model.eval()"
            lowest = float(np.nanmin(found.costs[:, -1]))
            self.checks.append(checks.agreement(f"cost at n = {n}", part, lowest, found.best, meaning))
            if len(self.costs) == 1:
                self.checks += checks.meaning(part, found.best)
        due = np.array([budgets[m].steps for _, _, m in grid])
        self.checks += [
            replace(one, name=f"{one.name} at n = {n}")
            for one in (
                steps_check(found.steps, np.isfinite(found.costs[:, -1]), due[:, -1]),
                *baselines_check(part, self.baselines[-1]),
                *recorded_check(part, found.seen, found.costs, due, every.seed),
            )
        ]
        wide = in_float64(part)
        if not draws(wide, every.thetas[0].double()):
            stated = [self._stated(budgets[m], m, alpha, s) for alpha, s, m in grid]
            # Recording the gradients of a stack takes seconds: once is enough.
            count = NEIGHBOURS if len(self.costs) == 1 else 0
            stack = stack_checks(
                part, wide, found.seen, stated, every.thetas[[s for _, s, _ in grid[:count]]]
            )
            self.checks += [replace(one, name=f"{one.name} at n = {n}") for one in stack]

    def _stated(self, budget: Budget, method: int, alpha: float, point: int) -> Stated:
        if self.every.methods[method] == "gd":
            return Stated(alpha)
        size = budget.batch_size if self.every.methods[method] == "minibatch" else 1
        return Stated(alpha, budget.sampling, size, self.every.seed + point)


def trained_ahead(
    objective: Objective,
    subsets: Sequence[tuple[np.ndarray, Sequence[Budget]]],
    every: Every,
    journal: Journal,
    progress: Progress,
) -> None:
    """Have the stacks of all subsets, rows of the data with their budgets, trained by others, where there are any.

    Raises BadInput where there is one stack.
    """
    if not is_shared():
        return
    found = list[Task]()
    # The largest takes longest.
    for rows, budgets in sorted(subsets, key=lambda one: -len(one[0])):
        part, plans = part_of(objective, rows), every.plans(budgets)
        for number in range(len(stacks(len(plans), bytes_of(part, plans), every.memory_limit))):
            key = key_of(_named(len(rows)), number)
            work = partial(_train, objective, rows, every, budgets, number)
            found.append(Task((threads_of(key), key), work))
    if len(found) == 1:
        raise BadInput(
            "several processes for one stack of runs, which are those of a size",
            "several `sizes`, each of which has one",
            "leave out `workers`, and torchrun, or give several `sizes`",
        )
    ahead(journal, lambda: found, progress, "stacks of runs")


def _train(
    objective: Objective,
    rows: np.ndarray,
    every: Every,
    budgets: Sequence[Budget],
    number: int,
    journal: Journal,
) -> None:
    """Keep what one stack of a subset costs."""
    every.recorded(part_of(objective, rows), budgets, journal, silent, [], number)


def _named(num_samples: int) -> str:
    return f"n = {num_samples}"


def part_of(objective: Objective, drawn: np.ndarray) -> Objective:
    """The same objective on the samples ``drawn``."""
    rows = torch.from_numpy(drawn).to(objective.device)
    return objective.on(objective.samples.picked(rows))


def _plan(budget: Budget, method: str, alpha: float, seed: int) -> Plan:

    sampler = None
    if method != "gd":
        sampler = Sampler(budget.sampling, budget.num_samples, budget.batch_size, seed)
    return Plan(step_size=alpha, num_steps=budget.num_steps, sampler=sampler)


def selected(replica_cost: np.ndarray, step_sizes: Sequence[float]) -> dict[str, Any]:
    """Means, spreads and the best step sizes from ``replica_cost`` (size, method, step, seed, record).

    The best step is that of the lowest mean final cost among those at which no seed diverged, the first one where
    several are equal, and NaN where there is none. Keys are fields of the result.
    """
    num_seeds = replica_cost.shape[3]
    cost, spread = mean_and_spread(replica_cost[..., -1])
    is_known = np.isfinite(cost)
    best = np.where(is_known, cost, np.inf).argmin(-1)
    is_chosen = is_known.any(-1)

    def at_best(values: np.ndarray) -> np.ndarray:
        index = best.reshape(*best.shape, *[1] * (values.ndim - 2))
        return np.take_along_axis(values, index, 2).squeeze(2)

    curve, curve_spread = mean_and_spread(np.moveaxis(at_best(replica_cost), 2, -1))
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
    if objective.loss is not LOSSES["mse"] or not targets.is_floating_point():
        return math.nan, math.nan
    y = targets.flatten(1).double().cpu().numpy()
    zero = float(np.square(y).mean())
    if len(inputs) != 1 or not isinstance(inputs[0], Tensor) or not inputs[0].is_floating_point():
        return zero, math.nan
    x = inputs[0].flatten(1).double().cpu().numpy()
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    return zero, float(np.square(x @ np.linalg.lstsq(x, y)[0] - y).mean())
