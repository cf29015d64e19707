"""Which of several solutions are in one valley?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from landscape.errors import BadInput
from landscape.numerics.curves.barriers import spanning_tree
from landscape.objective import checks
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.sweep import Sweep, bare
from landscape.paths.connection import connected, straight_line
from landscape.paths.curve_training import GARIPOV, Training
from landscape.paths.profile import require_profile
from landscape.progress import Journal, Progress, silent
from landscape.result import Result, array, scalar
from landscape.symmetry.alignment import aligned


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


def modes(
    objective: Objective,
    points: Sequence[Tensor | Point],
    *,
    method: str = "bezier",
    bends: int = 1,
    epochs: int | None = None,
    steps: int | None = None,
    lr: float = 0.1,
    momentum: float = 0.9,
    batch_size: int = 128,
    schedule: str = GARIPOV,
    schedule_arguments: Mapping[str, Any] | None = None,
    restarts: int = 1,
    num_points: int = 61,
    tolerance: float = 1e-4,
    batchnorm: str = "recalibrate",
    align: bool = False,
    seed: int = 0,
    journal: Journal | None = None,
    progress: Progress = silent,
) -> Modes:
    """Connect every two of three or more ``points``; options as in :func:`~landscape.analyses.connect.connect`.

    The minimum spanning tree of the curved barriers (Kruskal 1956) joins all points over the lowest passes:
    between any two of them no path along other edges has a lower highest barrier. With ``align`` the second
    of every pair is first aligned with the first, and the curve joins these. Resumable through ``journal``,
    pair by pair and within one. Raises BadInput for fewer than three points.
    """
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
    require_profile(num_points, tolerance, restarts)
    if len(points) < 3:
        raise BadInput(f"{len(points)} points", "at least three", "connect joins two")
    ends = [objective.as_point(point) for point in points]
    count = len(ends)
    journal = {} if journal is None else journal
    tables = {
        f"{name}{error}": np.zeros((count, count))
        for name in ("straight", "aligned", "curved")
        for error in ("", " error")
    }
    sweep = Sweep(bare(objective), None, batchnorm, journal, progress, is_line=True)
    losses = np.zeros(count)
    proofs: list[checks.Check] = []
    changes: list[checks.Check] = []
    remarks: dict[str, list[str]] = {}
    diverged = False
    with checks.untouched(objective, proofs):
        for i, j in combinations(range(count), 2):
            pair, paths = (ends[i], ends[j]), {}
            if align:
                moved = aligned(objective, *pair, seed=seed, progress=progress)
                changes.append(moved.check)
                paths["straight"] = straight_line(sweep, f"{i} {j} straight", pair, num_points, tolerance)
                pair = ends[i], moved.point
            found = connected(
                objective,
                pair,
                training,
                batchnorm=batchnorm,
                num_points=num_points,
                tolerance=tolerance,
                restarts=restarts,
                seed=seed,
                journal=journal,
                name=f"{i} {j} ",
                progress=progress,
            )
            paths |= {"aligned" if align else "straight": found.line, "curved": found.path}
            for name, path in paths.items():
                summary = path.summary(seed)
                tables[name][i, j] = tables[name][j, i] = summary.height.chord
                tables[f"{name} error"][i, j] = tables[f"{name} error"][j, i] = summary.height_error.chord
            losses[i], losses[j] = found.line.loss[0], found.line.loss[-1]
            diverged = diverged or found.trained.diverged
            for note in found.notes:
                remarks.setdefault(note, []).append(f"{i}–{j}")
    if changes:
        proofs.append(max(changes, key=lambda one: one.value))
    for i, point in enumerate(ends):
        own, meaning = sweep.reference(point), "loss against the model itself"
        proofs.append(checks.agreement(f"point {i}", sweep.objective, losses[i], own, meaning))
    proofs.append(checks.finite(np.stack([tables["straight"], tables["curved"]])))
    thetas = torch.stack([point.theta for point in ends]).double()
    edges = spanning_tree(tables["curved"])
    labels = np.array([point.label or f"point {i}" for i, point in enumerate(ends)])
    over = np.array([tables["curved"][i, j] for i, j in edges])
    return Modes(
        mode=labels,
        other=labels,
        mode_loss=losses,
        barrier_straight=tables["straight"],
        barrier_curved=tables["curved"],
        barrier_aligned=tables["aligned"] if align else None,
        barrier_aligned_error=tables["aligned error"] if align else None,
        barrier_straight_error=tables["straight error"],
        barrier_curved_error=tables["curved error"],
        distance=torch.cdist(thetas, thetas, compute_mode="donot_use_mm_for_euclid_dist").cpu().numpy(),
        tree_from=edges[:, 0],
        tree_to=edges[:, 1],
        tree_barrier=over,
        largest_barrier=float(over.max()),
        notes=[f"{note} ({', '.join(pairs)})" for note, pairs in remarks.items()],
        checks=proofs,
        outcome="diverged" if diverged else "complete",
    )
