"""A width and a depth: its restarts as descents, their ends examined one by one and counted."""

import math
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from landscape.descent import input_plane
from landscape.descent.counts import Counts, counted
from landscape.descent.critical import DENSE_PARAMETERS, end_of
from landscape.descent.ends_proofs import steps_check, wide_check
from landscape.descent.proofs import distinct_check, end_checks, prediction_check
from landscape.descent.replay import Stated, draws, stack_checks
from landscape.descent.stacked import key_of, threads_of
from landscape.descent.starts import Family, bytes_of, descended, stack_name, starts
from landscape.descent.told_apart import row_of
from landscape.descent.witness import seen_of
from landscape.numerics.steps.replicas import Plan, stacks
from landscape.objective import checks
from landscape.objective.objective import Objective
from landscape.objective.precision import required_in_float64, told
from landscape.objective.tasks import Task
from landscape.progress import Journal, Progress, silent
from landscape.result import Check

# Replicas of the small stack that is taken again in float64.
NEIGHBOURS = 3
# Ends that one task examines: each begins with making the module.
ENDS = 8


@dataclass(frozen=True)
class Cell:
    """One width and depth: ``rows`` by field and restart, and what is counted over them; whether its module draws."""

    name: str
    rows: dict[str, np.ndarray]
    counts: Counts
    num_parameters: int
    num_samples: int
    prediction: np.ndarray | None
    checks: list[Check]
    draws: bool = False


@dataclass(frozen=True, kw_only=True)
class Descents:
    """How the ``count`` restarts of a cell begin and descend, and how their ends are examined.

    ``bounds`` are those of uniform starts (None: the module's own), ``plan`` is that of each restart.
    """

    family: Family
    count: int
    bounds: tuple[float, float] | None
    plan: Plan
    polish: bool
    seed: int
    memory_limit: float
    max_threads: int
    journal: Journal
    progress: Progress

    def cell(
        self,
        width: int,
        depth: int,
        axes: tuple[np.ndarray, np.ndarray] | None,
        notes: list[str],
        of: str = "",
    ) -> Cell:
        """Everything of one width and depth, ``of`` what else; ``notes`` are told what was cut to fit memory."""
        name, objective = _named(width, depth, of), self.family(width, depth, self.seed)
        wide = required_in_float64(objective, "local minima")
        descent = self.descent(objective, width, depth, name, notes)
        found = _examined(wide, descent, self.polish, name, axes, self.seed, self.journal, self.progress)
        most, d = self.plan.num_steps, wide.num_parameters
        found.checks.append(steps_check(found.rows, descent["evaluated"], most, d))
        rate = self.plan.step_size
        notes += [note for note in (*wide.doubts, *told(wide)) if note not in notes]
        few = min(self.count, NEIGHBOURS)
        begins = starts(self.family, objective, width, depth, few, self.bounds, self.seed)
        if draws(wide, begins[0].double()):
            return replace(found, draws=True)
        seen, stated = seen_of([descent]), [Stated(rate)] * self.count
        proofs = stack_checks(objective, wide, seen, stated, begins)
        return replace(found, checks=[*found.checks, *proofs])

    def descent(
        self,
        objective: Objective,
        width: int,
        depth: int,
        name: str,
        notes: list[str],
        only: int | None = None,
    ) -> dict[str, np.ndarray]:
        """Where the restarts of a cell ended (:func:`~landscape.descent.starts.descended`), or one stack of them."""
        return descended(
            objective,
            lambda: starts(self.family, objective, width, depth, self.count, self.bounds, self.seed),
            self.plan,
            self.count,
            name,
            self.memory_limit,
            self.max_threads,
            self.seed,
            self.journal,
            self.progress,
            notes,
            only,
        )

    def tasks(self, width: int, depth: int, of: str = "") -> list[Task]:
        """The stacks of a cell, from each of which follow the examinations of its ends."""
        name, objective = _named(width, depth, of), self.family(width, depth, self.seed)
        alone, found = replace(self, journal={}, progress=silent), list[Task]()
        for number, rows in enumerate(stacks(self.count, bytes_of(objective), self.memory_limit)):
            key = key_of(stack_name(name), number)
            work = partial(_descend, alone, width, depth, name, number)
            then = partial(self._examinations, alone, key, rows.start, width, depth, name)
            found.append(Task((threads_of(key), key), work, then=then))
        return found

    def _examinations(
        self, alone: "Descents", key: str, first: int, width: int, depth: int, name: str
    ) -> list[Task]:
        stack = self.journal[key]
        kept = [int(k) for k in np.flatnonzero(~stack["diverged"])]
        found = []
        for start in range(0, len(kept), ENDS):
            ends = {first + k: stack["thetas"][k] for k in kept[start : start + ENDS]}
            keys = tuple(_end_of(name, k) for k in ends)
            found.append(Task(keys, partial(_examine, alone, width, depth, name, ends)))
        return found


def _descend(how: Descents, width: int, depth: int, name: str, number: int, journal: Journal) -> None:
    """Keep where one stack of a cell ends."""
    objective = how.family(width, depth, how.seed)
    replace(how, journal=journal).descent(objective, width, depth, name, [], number)


def _examine(
    how: Descents, width: int, depth: int, name: str, ends: dict[int, np.ndarray], journal: Journal
) -> None:
    """Keep what some ends of a cell are, by restart."""
    wide = required_in_float64(how.family(width, depth, how.seed), "local minima")
    for k, theta in ends.items():
        if (key := _end_of(name, k)) not in journal:
            begun = torch.from_numpy(theta).to(wide.device, torch.float64)
            journal[key] = end_of(wide, begun, how.polish, silent, "")


def _named(width: int, depth: int, of: str) -> str:
    return f"{of}depth {depth}, width {width}"


def _end_of(name: str, restart: int) -> str:
    """Where an end stands in the journal."""
    return f"end of {name}, restart {restart}"


def _examined(
    wide: Objective,
    descent: dict[str, np.ndarray],
    polish: bool,
    name: str,
    axes: tuple[np.ndarray, np.ndarray] | None,
    seed: int,
    journal: Journal,
    progress: Progress,
) -> Cell:
    """Every end of a cell examined, for an objective in float64."""
    count = len(descent["steps"])
    numbers = ["cost", "gradient_norm", "index", "smallest_eigenvalue", "largest_eigenvalue"]
    numbers += ["polished_cost", "polished_gradient_norm"] if polish else []
    rows = {one: np.full(count, math.nan) for one in numbers}
    rows |= {"done": np.ones(count, dtype=bool), "is_exact": np.zeros(count, dtype=bool)}
    rows |= {"num_steps": descent["steps"], "num_threads": descent["threads"]}
    rows |= {"end_status": np.full(count, "diverged", dtype="U32")}
    rows |= {"polish_reason": np.full(count, "", dtype="U64")} if polish else {}
    kept = np.flatnonzero(~descent["diverged"])
    begun = torch.from_numpy(descent["thetas"]).to(wide.device, torch.float64)
    thetas = begun.clone()
    for k in kept:
        key = _end_of(name, int(k))
        if key not in journal:
            journal[key] = end_of(wide, thetas[k], polish, progress, f"products at the {key}")
        for one, value in journal[key].items():
            if one == "theta":
                thetas[k] = torch.from_numpy(value).to(wide.device)
            else:
                rows[one][k] = value
        progress(int(k) + 1, count, f"ends of {name}")
    costs = rows["polished_cost" if polish else "cost"][kept]
    prediction = np.full((input_plane.GRID, input_plane.GRID), math.nan) if axes else None
    outputs = _outputs(wide, thetas[kept])
    counts = counted(outputs, costs, rows["end_status"][kept])
    proofs = []
    if len(kept):
        best = thetas[kept[np.argmin(costs)]]
        meaning = "cost of the best end against a plain loop over model.eval()"
        proofs.append(checks.agreement("cost", wide, float(costs.min()), wide.as_point(best), meaning))
        proofs += end_checks(wide, begun, thetas, rows, kept, seed)
        if wide.num_parameters > DENSE_PARAMETERS and wide.is_mean and not wide.doubts:
            k = int(np.random.default_rng(seed).choice(kept))
            said = {one: rows[one][k] for one in ("smallest_eigenvalue", "largest_eigenvalue")}
            proofs.append(wide_check(wide, thetas[k], said))
        proofs.append(distinct_check(wide, thetas[kept], costs, rows["end_status"][kept], counts))
        if axes:
            prediction = input_plane.outputs(wide, best, axes)
            proofs.append(prediction_check(wide, best, axes, prediction, seed))
    return Cell(
        name=name,
        rows=rows,
        counts=counts,
        num_parameters=wide.num_parameters,
        num_samples=sum(len(part) for part in wide.samples.target_parts()),
        prediction=prediction,
        checks=proofs,
    )


def _outputs(objective: Objective, thetas: Tensor) -> np.ndarray:
    """The module's outputs on the data at every point, (k, n·m)."""
    if not len(thetas):
        return np.empty((0, 0))
    fixed, inputs, row = objective.present_point().fixed, objective.samples[0], row_of(objective)
    with torch.no_grad():
        rows = [row(objective.outputs(theta, fixed, inputs)) for theta in thetas]
    return np.array(rows)
