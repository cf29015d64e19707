"""Which of several solutions are in one valley?"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, ClassVar

from landscape.analyses.declare import analysis
from landscape.analyses.options import Option, Parameter
from landscape.analyses.shared import (
    AlignFirst,
    Bends,
    CurveBatch,
    CurveEpochs,
    CurveFall,
    CurveFallArguments,
    CurveKind,
    CurveMomentum,
    CurveRestarts,
    CurveSteps,
    CurveStepSize,
    LineStatistics,
    ProfilePoints,
    ProfileTolerance,
)
from landscape.errors import BadInput
from landscape.progress import Journal, Progress, silent
from landscape.result import Check, Result, array, scalar

if TYPE_CHECKING:
    from concurrent.futures import Executor

    import numpy as np
    from torch import Tensor

    from landscape.objective.objective import Objective
    from landscape.objective.parameters import Point
    from landscape.objective.tasks import Task
    from landscape.paths.connection import Connection, Connector
    from landscape.paths.profile import PathLoss


@dataclass(kw_only=True, eq=False)
class Modes(Result):
    """Barriers over the chord between every two of several points, straight and along trained curves.

    Matrices are symmetric with zeros on the diagonal; a curved barrier is an upper bound for its budget.
    """

    kind: ClassVar[str] = "modes"
    mode: np.ndarray = array("mode", long_name="point")
    other: np.ndarray = array("other", long_name="other point")
    mode_loss: np.ndarray = array("mode", long_name="training loss at the point")
    barrier_straight: np.ndarray = array(
        "mode", "other", printed=True, long_name="barrier over the chord, straight line"
    )
    barrier_curved: np.ndarray = array(
        "mode", "other", printed=True, long_name="barrier over the chord, trained curve"
    )
    barrier_straight_error: np.ndarray = array(
        "mode", "other", long_name="standard error of barrier_straight from the data"
    )
    barrier_curved_error: np.ndarray = array(
        "mode", "other", long_name="standard error of barrier_curved from the data"
    )
    barrier_aligned: np.ndarray | None = array(
        "mode",
        "other",
        printed=True,
        long_name="barrier over the chord, straight line to the aligned point",
        optional=True,
    )
    barrier_aligned_error: np.ndarray | None = array(
        "mode", "other", long_name="standard error of barrier_aligned from the data", optional=True
    )
    distance: np.ndarray = array("mode", "other", long_name="distance between the points")
    tree_from: np.ndarray = array("edge", long_name="one end of an edge of the spanning tree, counted from 0")
    tree_to: np.ndarray = array("edge", long_name="other end of that edge")
    tree_barrier: np.ndarray = array("edge", long_name="curved barrier along that edge")
    largest_barrier: float = scalar(
        "largest curved barrier on the spanning tree: all points are joined below it"
    )

    @property
    def headline(self) -> str:
        """What was found, in a few words."""
        return f"{len(self.mode)} points joined below {self.largest_barrier:.3g} over chord"


@analysis(
    command="connect",
    points=range(3, sys.maxsize),
    metavar="A B C [D ...]",
    paper="Garipov et al. 2018; Kruskal 1956",
    examples=("a.h5 b.h5 c.h5 d.h5",),
    opens=(Parameter("l2", float, 0.0, Option("Train with (l2/2)‖θ(t)‖² on the curve; given apart.")),),
    deals=True,
    takes_parts=True,
)
def modes(
    objective: Objective,
    points: Sequence[Tensor | Point],
    *,
    method: CurveKind = "bezier",
    bends: Bends = 1,
    epochs: CurveEpochs = None,
    steps: CurveSteps = None,
    lr: CurveStepSize = 0.1,
    momentum: CurveMomentum = 0.9,
    batch_size: CurveBatch = 128,
    schedule: CurveFall = "garipov",
    schedule_arguments: CurveFallArguments = None,
    restarts: CurveRestarts = 1,
    num_points: ProfilePoints = 61,
    tolerance: ProfileTolerance = 1e-4,
    batchnorm: LineStatistics = "recalibrate",
    align: AlignFirst = False,
    seed: int = 0,
    journal: Journal | None = None,
    executor: Executor | None = None,
    progress: Progress = silent,
) -> Modes:
    """Connect every two of three or more ``points``; options as in :func:`~landscape.analyses.connect.connect`.

    The minimum spanning tree of the curved barriers (Kruskal 1956) joins all points over the lowest passes:
    between any two of them no path along other edges has a lower highest barrier. With ``align`` the second
    of every pair is first aligned with the first, and the curve joins these. Resumable through ``journal``,
    pair by pair and within one. Raises BadInput for fewer than three points.
    """
    import numpy as np

    from landscape.objective import checks
    from landscape.objective.tasks import ahead, computed_by
    from landscape.paths.connection import Connector
    from landscape.paths.curve_training import Training
    from landscape.paths.line_proofs import distance_check

    training = Training(
        method=method,
        bends=bends,
        epochs=60 if epochs is None and steps is None else epochs,
        steps=steps,
        lr=lr,
        momentum=momentum,
        batch_size=batch_size,
        schedule=schedule,
        schedule_arguments=schedule_arguments or {},
    )
    if len(points) < 3:
        raise BadInput(f"{len(points)} points", "at least three", "connect joins two")
    connector = Connector(
        objective,
        training,
        batchnorm=batchnorm,
        num_points=num_points,
        tolerance=tolerance,
        restarts=restarts,
        seed=seed,
        journal=journal,
        progress=progress,
    )
    ends = [objective.as_point(point) for point in points]
    tables = _Tables(len(ends), seed)
    proofs: list[Check] = []
    pairs = list(combinations(range(len(ends)), 2))
    seeded = pairs[int(np.random.default_rng(seed).integers(len(pairs)))]
    shown: Connection | None = None
    unaligned: PathLoss | None = None
    with computed_by(executor), checks.untouched(objective, proofs):
        ahead(
            connector.journal,
            lambda: [_task(connector, ends[i], ends[j], f"{i} {j} ", align) for i, j in pairs],
            progress,
            "pairs",
        )
        for i, j in pairs:
            found, straight, change = _joined(connector, ends[i], ends[j], f"{i} {j} ", align)
            tables.changes += [change] if change else []
            tables.add(i, j, found, straight)
            if (i, j) == seeded:
                shown, unaligned = found, straight
        result = _result(ends, tables, connector, proofs)
        result.checks += _stated_checks(result, shown, unaligned, connector, *seeded)
        first, second = (ends[k] for k in seeded)
        result.checks.append(distance_check((first, second), float(result.distance[seeded])))
    return result


def _joined(
    connector: Connector, first: Point, second: Point, name: str, align: bool
) -> tuple[Connection, PathLoss | None, Check | None]:
    """A pair connected; where it is aligned first, the line to the point as it was, and what proves the alignment."""
    from landscape.paths.path import Path

    chord = Path.chord(first, second)
    if not align:
        return connector.connected(chord, name), None, None
    from landscape.symmetry.alignment import aligned

    moved = aligned(connector.objective, *chord.ends, seed=connector.seed, progress=connector.progress)
    straight = connector.straight_line(f"{name}straight", chord)
    return connector.connected(chord.to(moved.point), name, straight), straight, moved.check


def _task(connector: Connector, first: Point, second: Point, name: str, align: bool) -> Task:
    """A pair for another process, which keeps what is under its name, and that it is done."""
    from functools import partial

    from landscape.objective import tasks

    work = partial(_join, connector.alone({}), first, second, name, align)
    return tasks.Task((f"{name}joined",), work, (name,))


def _join(
    connector: Connector, first: Point, second: Point, name: str, align: bool, journal: Journal
) -> None:
    _joined(connector.alone(journal), first, second, name, align)
    journal[f"{name}joined"] = {}


def _stated_checks(
    result: Modes,
    found: Connection | None,
    unaligned: PathLoss | None,
    connector: Connector,
    i: int,
    j: int,
) -> list[Check]:
    """One pair, drawn by the seed, proven like the two points of connect; and the spanning tree."""
    import numpy as np

    from landscape.paths import connect_proofs as roads

    assert found is not None
    path, line, seed = found.path, found.line, connector.seed
    curved = {"chord": result.barrier_curved[i, j], "chord_error": result.barrier_curved_error[i, j]}
    heights, errors = result.barrier_straight, result.barrier_straight_error
    if result.barrier_aligned is not None and result.barrier_aligned_error is not None:
        heights, errors = result.barrier_aligned, result.barrier_aligned_error
    straight = {"chord": heights[j, i], "chord_error": errors[j, i]}
    columns = {"loss": path.loss, "loss_straight": line.loss}
    control = found.trained.path.control[1:-1].double()
    # Of a sharded module it stays in parts.
    control = control if connector.objective.is_sharded else control.cpu().numpy()
    return [
        *roads.curve_checks(found, connector, path.t, columns, control),
        *roads.summary_checks(path, {key: float(one) for key, one in curved.items()}, seed),
        *roads.summary_checks(line, {key: float(one) for key, one in straight.items()}, seed, "straight "),
        *([] if unaligned is None else _unaligned_checks(result, unaligned, connector, i, j)),
        roads.tree_check(
            result.barrier_curved,
            np.stack([result.tree_from, result.tree_to], 1),
            result.tree_barrier,
            result.largest_barrier,
        ),
    ]


def _unaligned_checks(result: Modes, line: PathLoss, connector: Connector, i: int, j: int) -> list[Check]:
    """The line to the point as it was, of a pair that was aligned."""
    from landscape.paths import connect_proofs as roads

    stated = {
        "chord": float(result.barrier_straight[i, j]),
        "chord_error": float(result.barrier_straight_error[i, j]),
    }
    return roads.unaligned_checks(line, connector, stated)


class _Tables:
    """What every pair was found to be: barriers and their errors (count, count) by kind of path, and remarks."""

    def __init__(self, count: int, seed: int):
        import numpy as np

        self.seed, self.diverged = seed, False
        self.height = {name: np.zeros((count, count)) for name in ("straight", "aligned", "curved")}
        self.error = {name: np.zeros((count, count)) for name in self.height}
        self.losses = np.zeros(count)
        self.changes: list[Check] = []
        self._remarks: dict[str, list[str]] = {}

    def add(self, i: int, j: int, found: Connection, straight: PathLoss | None) -> None:
        """``straight`` is the line to the point as it was, where ``found`` goes to it aligned."""
        paths = {"aligned" if straight else "straight": found.line, "curved": found.path}
        for name, path in (paths | ({"straight": straight} if straight else {})).items():
            summary = path.summary(self.seed)
            self.height[name][i, j] = self.height[name][j, i] = summary.height.chord
            self.error[name][i, j] = self.error[name][j, i] = summary.height_error.chord
        self.losses[i], self.losses[j] = found.line.loss[0], found.line.loss[-1]
        self.diverged = self.diverged or found.trained.diverged
        for note in found.notes:
            self._remarks.setdefault(note, []).append(f"{i}–{j}")

    @property
    def notes(self) -> list[str]:
        return [f"{note} ({', '.join(pairs)})" for note, pairs in self._remarks.items()]


def _result(ends: Sequence[Point], tables: _Tables, connector: Connector, proofs: list[Check]) -> Modes:
    import numpy as np
    import torch

    from landscape.numerics.curves.barriers import spanning_tree
    from landscape.objective import checks

    height, error, sweep = tables.height, tables.error, connector.line_sweep
    if tables.changes:
        proofs.append(max(tables.changes, key=lambda one: one.value))
    for i, point in enumerate(ends):
        own, meaning = sweep.reference(point), "loss against the model itself"
        proofs.append(checks.agreement(f"point {i}", sweep.objective, tables.losses[i], own, meaning))
    proofs += checks.meaning(sweep.objective, sweep.reference(ends[0]))
    proofs.append(checks.finite(np.stack([height["straight"], height["curved"]])))
    thetas = [point.theta.double() for point in ends]
    edges = spanning_tree(height["curved"])
    labels = np.array([point.label or f"point {i}" for i, point in enumerate(ends)])
    over = np.array([height["curved"][i, j] for i, j in edges])
    return Modes(
        mode=labels,
        other=labels,
        mode_loss=tables.losses,
        barrier_straight=height["straight"],
        barrier_curved=height["curved"],
        barrier_aligned=height["aligned"] if tables.changes else None,
        barrier_aligned_error=error["aligned"] if tables.changes else None,
        barrier_straight_error=error["straight"],
        barrier_curved_error=error["curved"],
        distance=np.array([[float(torch.linalg.vector_norm(a - b)) for b in thetas] for a in thetas]),
        tree_from=edges[:, 0],
        tree_to=edges[:, 1],
        tree_barrier=over,
        largest_barrier=float(over.max()),
        notes=tables.notes,
        checks=proofs,
        outcome="diverged" if tables.diverged else "complete",
    )
