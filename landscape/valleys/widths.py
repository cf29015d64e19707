"""Ends of descent by width and restart, each joined to the level of the best by the lowest path found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape.descent.critical import DENSE_PARAMETERS, POLISHED, perfected
from landscape.descent.proofs import worst_of
from landscape.descent.stacked import key_of, threads_of
from landscape.descent.starts import Family, bounds_of, bytes_of, descended, stack_name, starts
from landscape.errors import BadInput
from landscape.numerics.arrays import array_of
from landscape.numerics.steps.replicas import Plan, stacks
from landscape.objective import checks, plain
from landscape.objective.objective import Objective
from landscape.objective.precision import required_in_float64
from landscape.objective.tasks import Task, ahead
from landscape.progress import Journal, Progress, silent
from landscape.result import Check, largest_gap
from landscape.valleys.end_proofs import end_check, rank_check
from landscape.valleys.joining import ROUNDING, lowest_path
from landscape.valleys.plateau import FEW, local
from landscape.valleys.polyline import points

NUMBERS = ("loss", "path_height", "path_end", "gradient_norm", "smallest_eigenvalue", "largest_eigenvalue")
COUNTS = ("index", "nullity", "feature_rank", "num_rounds")
# What a smooth path may rise between the points at which its height was taken, over the height.
BETWEEN = 1e-4
PROBES = 16
# Ends at ‖∇F‖ ≤ 1e-9 are at one level where their losses differ by less, over the loss at the module's own start.
SAME = 1e-9


@dataclass(frozen=True, kw_only=True)
class Restarts:
    """How the ``count`` restarts of a width descend, and how a path is sought from where each ends.

    ``family(width, depth, seed)`` gives the objective; the first restart begins at the module's own start, the others
    as ``init`` says.
    """

    family: Family
    count: int
    init: str
    lr: float
    steps: int
    curve_steps: int
    seed: int
    memory_limit: float
    max_threads: int
    journal: Journal
    progress: Progress

    def wide(self, made: Objective, width: int) -> Objective:
        """In float64. Raises BadInput for more parameters than a whole Hessian is taken of."""
        if made.num_parameters > DENSE_PARAMETERS:
            raise BadInput(
                f"{made.num_parameters} parameters at width {width}",
                f"at most {DENSE_PARAMETERS}, of which the whole Hessian is taken",
                "give smaller `widths`",
            )
        return required_in_float64(made, "basins")

    def descent(
        self, made: Objective, width: int, notes: list[str], only: int | None = None
    ) -> dict[str, np.ndarray]:
        """Where the restarts end (:func:`~landscape.descent.starts.descended`), or one stack of them."""

        def begin() -> Tensor:
            drawn = starts(self.family, made, width, 1, self.count, bounds_of(self.init), self.seed)
            # The module's own start is among them, wherever the others are.
            return torch.cat([made.theta[None].to(drawn), drawn[1:]])

        return descended(
            made,
            begin,
            Plan(step_size=self.lr, num_steps=self.steps),
            self.count,
            _named(width),
            self.memory_limit,
            self.max_threads,
            self.seed,
            self.journal,
            self.progress,
            notes,
            only,
        )

    def ends(self, made: Objective, width: int, notes: list[str]) -> Ends:
        """Where they ended, those that diverged left out, polished and looked at."""
        descent, wide = self.descent(made, width, notes), self.wide(made, width)
        thetas = torch.from_numpy(descent["thetas"]).to(wide.device, torch.float64)
        found = {}
        for k in map(int, np.flatnonzero(~descent["diverged"])):
            if (key := _end_of(width, k)) not in self.journal:
                self.journal[key] = _end(wide, thetas[k])
            found[k] = self.journal[key]
            self.progress(k + 1, self.count, f"ends of {_named(width)}")
        if not found:
            return Ends(found, -1, math.nan)
        best = min(found, key=lambda k: found[k]["loss"])
        return Ends(found, best, found[best]["loss"] + SAME * abs(wide.value(wide.theta)))

    def path(self, wide: Objective, width: int, ends: Ends, k: int) -> dict[str, Any]:
        """The lowest path found from one of the ends to the level of the best."""
        if (key := _path_of(width, k)) not in self.journal:
            theta, best = (
                torch.from_numpy(ends.found[one]["theta"]).to(wide.device) for one in (k, ends.best)
            )
            found = lowest_path(
                wide, theta, best, level=ends.level, curve_steps=self.curve_steps, seed=self.seed
            )
            self.journal[key] = {
                "path_height": found.path.height,
                "path_end": found.path.end,
                "top": found.path.top,
                "way": found.path.made,
                "feature_rank": found.rank,
                "num_rounds": found.rounds,
                "plateau_length": found.plateau,
                "nodes": array_of(found.path.nodes),
            }
        return self.journal[key]

    def ends_ahead(self, width: int) -> list[Task]:
        """The stacks of a width, from each of which follow its ends."""
        made, found = self.family(width, 1, self.seed), list[Task]()
        self.wide(made, width)
        for number, rows in enumerate(stacks(self.count, bytes_of(made), self.memory_limit)):
            key = key_of(stack_name(_named(width)), number)
            work, then = partial(_descend, self._alone, width, number), partial(self._after, key, rows, width)
            found.append(Task((threads_of(key), key), work, then=then))
        return found

    def paths_ahead(self, width: int) -> list[Task]:
        """The paths from its ends, which are known."""
        ends = self.ends(self.family(width, 1, self.seed), width, [])
        return [
            Task((_path_of(width, k),), partial(_join, self._alone, width, ends.of(k), k)) for k in ends.found
        ]

    @property
    def _alone(self) -> Restarts:
        return replace(self, journal={}, progress=silent)

    def _after(self, key: str, rows: slice, width: int) -> list[Task]:
        stack = self.journal[key]
        kept = map(int, np.flatnonzero(~stack["diverged"]))
        return [
            Task(
                (_end_of(width, rows.start + k),),
                partial(_look, self._alone, width, rows.start + k, stack["thetas"][k]),
            )
            for k in kept
        ]


class Ends(NamedTuple):
    """What is known of each end by restart, which one is lowest (-1: none), and the ``level`` of that."""

    found: dict[int, dict[str, Any]]
    best: int
    level: float

    def of(self, k: int) -> Ends:
        """One of them beside the best."""
        return self._replace(found={one: self.found[one] for one in (k, self.best)})


def by_width(how: Restarts, widths: Sequence[int]) -> tuple[dict[str, Any], list[Check], list[str]]:
    """The fields of the result over width and restart, its checks and notes."""
    for what, tasks in (("descents and their ends", how.ends_ahead), ("paths", how.paths_ahead)):
        ahead(
            how.journal, lambda of=tasks: [one for width in widths for one in of(width)], how.progress, what
        )
    shape = (len(widths), how.count)
    rows: dict[str, Any] = {name: np.full(shape, math.nan) for name in NUMBERS}
    rows |= {name: np.full(shape, -1) for name in COUNTS}
    rows |= {"is_strict": np.zeros(shape, dtype=bool), "plateau_length": np.full(shape, math.nan)}
    rows["way"] = np.full(shape, "diverged", dtype="U48")
    best_loss, share = np.full(len(widths), math.nan), np.full(len(widths), math.nan)
    proofs: list[Check] = []
    seen: dict[str, list[Check]] = {}
    notes: list[str] = []
    worst = 0.0
    for i, width in enumerate(widths):
        made = how.family(width, 1, how.seed)
        objective, ends = how.wide(made, width), how.ends(made, width, notes)
        rises = []
        for k, end in ends.found.items():
            path = how.path(objective, width, ends, k)
            for name in rows:
                rows[name][i, k] = path[name] if name in path else end[name]
            nodes = torch.from_numpy(path["nodes"]).to(objective.device)
            said = {name: float(rows[name][i, k]) for name in ("path_height", "path_end")} | {
                "top": path["top"]
            }
            worst = largest_gap(worst, _rise_between(objective, nodes, said, how.seed + k))
            rises.append(path["path_height"] <= end["loss"] + 10 * ROUNDING * max(abs(end["loss"]), 1e-12))
            how.progress(k + 1, how.count, f"paths of {_named(width)}")
        if not ends.found:
            continue
        best_loss[i], share[i] = ends.found[ends.best]["loss"], float(np.mean(rises))
        lowest = objective.as_point(torch.from_numpy(ends.found[ends.best]["theta"]).to(objective.device))
        meaning = "loss of the best end against a plain loop"
        k = int(np.random.default_rng(how.seed).choice(list(ends.found)))
        place = torch.from_numpy(ends.found[k]["theta"]).to(objective.device)
        seen[_named(width)] = [
            *end_check(objective, place, {name: rows[name][i, k] for name in (*NUMBERS, *COUNTS)}),
            *rank_check(objective, place, how.path(objective, width, ends, k)),
        ]
        proofs.append(
            checks.agreement(f"lowest loss, {_named(width)}", objective, best_loss[i], lowest, meaning)
        )
        notes += [note for note in objective.doubts if note not in notes]
        if lost := how.count - len(ends.found):
            notes.append(
                f"{lost} of {how.count} descents at {_named(width)} met NaN or diverged: "
                "kept as NaN, without a path"
            )
    proofs = [_worst(proofs), _between_check(worst), *worst_of(seen)] if proofs else []
    # Words as wide as the longest, which is how they come back from a file.
    rows["way"] = np.array(rows["way"].tolist())
    return {**rows, "best_loss": best_loss, "share_joined": share}, proofs, notes


def _named(width: int) -> str:
    return f"width {width}"


def _end_of(width: int, restart: int) -> str:
    """Where an end stands in the journal."""
    return f"end of {_named(width)}, restart {restart}"


def _path_of(width: int, restart: int) -> str:
    """Where the path from it stands."""
    return f"path of {_named(width)}, restart {restart}"


def _descend(how: Restarts, width: int, number: int, journal: Journal) -> None:
    """Keep where one stack of a width ends."""
    replace(how, journal=journal).descent(how.family(width, 1, how.seed), width, [], number)


def _look(how: Restarts, width: int, restart: int, theta: np.ndarray, journal: Journal) -> None:
    """Keep what one end is."""
    wide = how.wide(how.family(width, 1, how.seed), width)
    journal[_end_of(width, restart)] = _end(wide, torch.from_numpy(theta).to(wide.device, torch.float64))


def _join(how: Restarts, width: int, ends: Ends, restart: int, journal: Journal) -> None:
    """Keep the lowest path from one end."""
    wide = how.wide(how.family(width, 1, how.seed), width)
    replace(how, journal=journal).path(wide, width, ends, restart)


def _end(objective: Objective, theta: Tensor) -> dict[str, Any]:
    """An end polished, and what its Hessian says."""
    # Where a whole Hessian takes its time, more steps without one and fewer with.
    steps = {"quasi_newton_steps": 3000, "newton_steps": 15} if len(theta) > FEW else {}
    better = perfected(objective, theta, tolerance=POLISHED, **steps)
    here = local(objective, better.theta)
    size = float(torch.linalg.vector_norm(here.gradient))
    index, num_zero = here.signs.num_negative, here.signs.num_zero
    return {
        "theta": array_of(better.theta),
        "loss": here.value,
        "gradient_norm": size,
        "index": index,
        "nullity": num_zero,
        "smallest_eigenvalue": float(here.eigenvalues[0]),
        "largest_eigenvalue": float(here.eigenvalues[-1]),
        "is_strict": size <= POLISHED and index == num_zero == 0,
    }


def _rise_between(objective: Objective, nodes: Tensor, path: Mapping[str, Any], seed: int) -> float:
    """How far the plain loss lies above the stated height of a path at places between the nodes, or off it at its top.

    Or off what is stated of its end.

    Relative to the height.
    """
    height = path["path_height"]
    if len(nodes) == 1:
        places = np.zeros(1)
    else:
        places = np.random.default_rng(seed).uniform(0, len(nodes) - 1, PROBES)
    *values, top, end = [
        plain.measure(objective, plain.by_name(objective, objective.as_point(theta))).loss
        for theta in (*points(nodes, np.array([*places, path["top"]])), nodes[-1])
    ]
    gaps = [*(value - height for value in (*values, end)), abs(end - path["path_end"])]
    gaps.append(abs(top - height) if math.isfinite(height) else 0.0)
    return largest_gap(0.0, *(gap / max(abs(height), 1e-3) for gap in gaps))


def _between_check(worst: float) -> Check:
    meaning = (
        f"plain loss at {PROBES} places of a path above its stated height, off it at its top, and that at its end, "
        "relative"
    )
    return Check("path heights", worst, BETWEEN, meaning)


def _worst(found: Sequence[Check]) -> Check:
    one = max(found, key=lambda check: largest_gap(check.value))
    return Check("lowest loss", one.value, one.bound, one.meaning)
