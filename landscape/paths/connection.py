"""Two points connected: the trained curve and the straight line, measured on one grid, and the plane they span."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape.numerics.curves.barriers import barriers
from landscape.numerics.curves.curves import Curve, bezier
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.sweep import Sweep, bare
from landscape.paths.curve_training import Trained, Training, trained_curve
from landscape.paths.profile import PathLoss
from landscape.progress import Journal, Progress, silent

# The few t at which the barrier is watched during training, the ends beside them.
WATCHED_T = np.array([0.25, 0.5, 0.75])

# A point is called no minimum where a gradient step of this size helps.
TRIAL_STEP = 0.1


class Connection(NamedTuple):
    """A trained curve (of the restart with the lowest barrier) and the straight line, on the same t."""

    path: PathLoss
    line: PathLoss
    trained: Trained
    restart_barriers: list[float]
    notes: list[str]


def connected(
    objective: Objective,
    ends: tuple[Point, Point],
    training: Training,
    *,
    test: Objective | None = None,
    batchnorm: str = "recalibrate",
    num_points: int = 61,
    tolerance: float = 1e-4,
    restarts: int = 1,
    seed: int = 0,
    journal: Journal,
    name: str = "",
    progress: Progress = silent,
) -> Connection:
    """Train ``restarts`` curves, keep the one with the lowest barrier over the chord, measure it and the chord.

    The regulariser acts in training alone. ``repair`` is for the chord: the curve is recalibrated. Where the
    ends are one point there is nothing to train. Everything is remembered in ``journal`` under ``name``.
    """
    plain = bare(objective)
    line_sweep = Sweep(plain, test, batchnorm, journal, progress, is_line=True)
    sweep = Sweep(plain, test, "recalibrate" if batchnorm == "repair" else batchnorm, journal, progress)
    t = np.linspace(0, 1, num_points)
    same = torch.equal(ends[0].theta, ends[1].theta)

    def profile(curve: Curve, control: Tensor, at: np.ndarray) -> np.ndarray:
        seen = PathLoss(Sweep(plain, None, sweep.batchnorm), "", curve, control, ends)
        seen.measure(at)
        return seen.loss

    heights: list[float] = []

    def watch(curve: Curve, control: Tensor) -> float:
        if not heights:
            heights.extend(profile(curve, control, np.array([0.0, 1.0])))
        inside = profile(curve, control, WATCHED_T)
        return barriers(np.array([0, *WATCHED_T, 1]), np.array([heights[0], *inside, heights[1]])).chord

    tries: list[tuple[Trained, PathLoss]] = []
    for restart in range(1 if same else restarts):
        if same:
            trained = Trained(bezier(1), torch.stack([ends[0].theta] * 3), [], [], False)
        else:
            trained = trained_curve(
                objective,
                ends,
                training,
                seed=seed + restart,
                profile=profile,
                watch=watch,
                journal=journal,
                name=f"{name}training {restart}",
                progress=progress,
            )
        path = PathLoss(sweep, f"{name}curve {restart}", trained.curve, trained.control, ends)
        path.measure(np.union1d(t, trained.curve.vertices))
        tries.append((trained, path))
    found = [path.height.chord for _, path in tries]
    trained, path = tries[int(np.nanargmin(found)) if not np.isnan(found).all() else 0]
    chord = torch.stack([ends[0].theta, ends[1].theta])
    line = PathLoss(line_sweep, f"{name}line", bezier(0), chord, ends)
    line.measure(t)
    is_met = [one.refine(tolerance) for one in (path, line)]
    path.measure(line.t)
    line.measure(path.t)
    notes = line_sweep.notes(*ends)
    if batchnorm == "repair":
        notes.append("the straight line is repaired (REPAIR); on the curve batch norm is recalibrated")
    if same:
        notes.append("the two points are the same: the barrier is 0 by definition, and nothing was trained")
    if not all(is_met):
        notes.append(f"the barrier still moves by more than `tolerance` {tolerance:g} on the finest grid")
    if path.height.chord > line.height.chord and not same:
        notes.append("the trained curve lies higher than the straight line; a smaller `lr` may help")
    if trained.diverged:
        notes.append(
            f"the loss was NaN or infinite in pass {len(trained.losses)}: the best curve before that is given; "
            "a smaller `lr` may help"
        )
    return Connection(path, line, trained, found, notes)


def straight_line(
    sweep: Sweep, name: str, ends: tuple[Point, Point], num_points: int, tolerance: float
) -> PathLoss:
    """The chord alone, measured and refined around its top."""
    line = PathLoss(sweep, name, bezier(0), torch.stack([ends[0].theta, ends[1].theta]), ends)
    line.measure(np.linspace(0, 1, num_points))
    line.refine(tolerance)
    return line


def notes_on_ends(ends: tuple[Point, Point], slopes: list[float], losses: tuple[float, float]) -> list[str]:
    """A warning for an end that is no minimum: one where a gradient step would lower the loss by over 0.1 %."""
    notes = []
    for letter, point, slope, loss in zip("AB", ends, slopes, losses, strict=True):
        gain = TRIAL_STEP * slope**2
        if gain > 0.001 * abs(loss):
            share = f", {100 * gain / abs(loss):.2g} %" if loss else ""
            notes.append(
                f"{letter}{f' ({point.label})' if point.label else ''} is no minimum: ‖∇F‖ = {slope:.3g}, so a "
                f"gradient step of {TRIAL_STEP:g} would lower its loss {loss:.3g} by about {gain:.2g}{share}"
            )
    return notes
