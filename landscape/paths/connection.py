"""Two points connected: the trained curve and the straight line, measured on one grid, and the plane they span."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from landscape.numerics.curves.barriers import barriers
from landscape.numerics.curves.curves import bezier
from landscape.numerics.vectors import one_point
from landscape.objective import checks
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.sweep import Sweep
from landscape.objective.tasks import Task, ahead, computed_by
from landscape.paths.curve_training import Trained, Training, trained_curve
from landscape.paths.path import Path
from landscape.paths.profile import PathLoss, refine, unrefined
from landscape.progress import Journal, Progress, silent
from landscape.result import Check

# The few t at which the barrier is watched during training, the ends beside them.
WATCHED_T = np.array([0.25, 0.5, 0.75])

# A point is called no minimum where a gradient step of this size helps.
TRIAL_STEP = 0.1


@dataclass(frozen=True)
class Connection:
    """A trained curve (of the restart with the lowest barrier) and the straight line, on the same t."""

    path: PathLoss
    line: PathLoss
    trained: Trained
    restart_barriers: list[float]
    notes: list[str]

    @cached_property
    def ends(self) -> tuple[Point, Point]:
        """Both ends as their own models, under the policy of the curve."""
        first, second = self.path.path.ends
        return self.path.sweep.reference(first), self.path.sweep.reference(second)

    @cached_property
    def slopes(self) -> list[float]:
        """‖∇F‖ at both ends, without the regulariser."""
        plain = self.path.sweep.objective
        return [float(plain.gradient(one.theta, one.fixed).double().norm()) for one in self.ends]

    def checks(self) -> list[Check]:
        """Losses at the ends against the models themselves; that the ends stayed where they were."""
        objective, meaning = self.path.sweep.objective, "end of the curve against the model itself"
        moved = 0.0 if self.trained.path.keeps_its_ends else 1.0
        first = checks.Stated("first end", float(self.path.loss[0]), meaning)
        return [
            *checks.meaning(objective, self.ends[0], stated=first),
            checks.agreement("second end", objective, self.path.loss[-1], self.ends[1], meaning),
            Check("ends fixed", moved, 0.0, "end points of the trained curve, bit for bit (0 = same)"),
            checks.finite(np.concatenate([self.path.loss, self.line.loss])),
        ]


class Connector:
    """Connects points of one objective, all pairs in one way.

    The regulariser acts in training alone. ``repair`` is for the chord: the curve is recalibrated. The paths
    are measured at ``num_points`` and refined to ``tolerance``; everything is remembered in ``journal``. A path
    that is ``given`` by construction is not trained.
    Raises BadInput for what is out of range.
    """

    def __init__(
        self,
        objective: Objective,
        training: Training,
        *,
        test: Objective | None = None,
        batchnorm: str = "recalibrate",
        num_points: int = 61,
        tolerance: float = 1e-4,
        restarts: int = 1,
        seed: int = 0,
        journal: Journal | None = None,
        progress: Progress = silent,
        given: Callable[[Path], Path] | None = None,
    ):
        self.objective, self.training, self.batchnorm = objective, training, batchnorm
        self.plain = objective.varied(l2=0.0)
        self.journal, self.progress = {} if journal is None else journal, progress
        self.line_sweep = Sweep(self.plain, test, batchnorm, self.journal, progress, is_line=True)
        on_curves = "recalibrate" if batchnorm == "repair" else batchnorm
        self.sweep = Sweep(self.plain, test, on_curves, self.journal, progress)
        self.t, self.tolerance = np.linspace(0, 1, num_points), tolerance
        self.restarts, self.seed, self.given = restarts, seed, given

    def straight_line(self, name: str, chord: Path) -> PathLoss:
        """The chord alone, measured and refined, remembered under ``name``."""
        line = PathLoss(self.line_sweep, name, chord)
        line.measure(self.t)
        refine([line], self.tolerance)
        return line

    def connected(self, chord: Path, name: str = "", unaligned: PathLoss | None = None) -> Connection:
        """Train ``restarts`` curves, keep the one with the lowest barrier over the chord, measure it and the chord.

        Where the ends are one point there is nothing to train. ``name`` is that of the pair in the journal,
        ``unaligned`` the straight line to B as it was before it was aligned, of which the notes speak as well.
        """
        count = 1 if chord.is_one_point else self.restarts
        if count > 1:
            ahead(self.journal, lambda: self._tasks(chord, name), self.progress, "restarts of the curve")
        watch = self._watched(chord)
        tries = [self._tried(chord, name, restart, watch) for restart in range(count)]
        found = [path.height.chord for _, path in tries]
        trained, path = tries[int(np.nanargmin(found)) if not np.isnan(found).all() else 0]
        line = PathLoss(self.line_sweep, f"{name}line", chord)
        line.measure(self.t)
        refine((path, line), self.tolerance)
        lines = [one for one in (path, line, unaligned) if one]
        notes = [*self._notes(path, line, trained), *unrefined(lines, self.tolerance)]
        return Connection(path, line, trained, found, notes)

    def alone(self, journal: Journal) -> "Connector":
        """The same with another journal, and nobody who is told of its progress."""
        twin = copy.copy(self)
        twin.journal, twin.progress = journal, silent
        twin.line_sweep, twin.sweep = (one.alone(journal) for one in (self.line_sweep, self.sweep))
        return twin

    def _tasks(self, chord: Path, name: str) -> list[Task]:
        alone = self.alone({})
        return [
            Task(
                (f"{name}tried {restart}",),
                partial(_try, alone, chord, name, restart),
                (f"{name}training {restart}", f"{name}curve {restart}"),
            )
            for restart in range(self.restarts)
        ]

    def _tried(
        self, chord: Path, name: str, restart: int, watch: Callable[[Path], float]
    ) -> tuple[Trained, PathLoss]:
        """One curve, trained and measured."""
        trained = self._trained(chord, f"{name}training {restart}", self.seed + restart, watch)
        path = PathLoss(self.sweep, f"{name}curve {restart}", trained.path)
        path.measure(np.union1d(self.t, trained.path.curve.vertices))
        return trained, path

    def _trained(self, chord: Path, name: str, seed: int, watch: Callable[[Path], float]) -> Trained:
        if chord.is_one_point:
            return Trained(chord.along(bezier(1)), [], [], False)
        if self.given is not None:
            return Trained(self.given(chord), [], [], False)
        return trained_curve(
            self.objective,
            chord,
            self.training,
            seed=seed,
            profile=self._profile,
            watch=watch,
            journal=self.journal,
            name=name,
            progress=self.progress,
        )

    def _profile(self, path: Path, t: np.ndarray) -> np.ndarray:
        """The training loss at t, remembered nowhere."""
        seen = PathLoss(Sweep(self.plain, None, self.sweep.batchnorm), "", path)
        # A few points at a time are not worth sending.
        with computed_by(None):
            seen.measure(t)
        return seen.loss

    def _watched(self, chord: Path) -> Callable[[Path], float]:
        """Path ↦ its barrier on a few t; the ends, which stay, are measured once."""
        heights: list[float] = []

        def watch(path: Path) -> float:
            if not heights:
                heights.extend(self._profile(chord, np.array([0.0, 1.0])))
            inside = self._profile(path, WATCHED_T)
            return barriers(np.array([0, *WATCHED_T, 1]), np.array([heights[0], *inside, heights[1]])).chord

        return watch

    def _notes(self, path: PathLoss, line: PathLoss, trained: Trained) -> list[str]:
        chord, notes = line.path, self.line_sweep.notes(*line.path.ends)
        if self.batchnorm == "repair":
            notes.append("the straight line is repaired (REPAIR); on the curve batch norm is recalibrated")
        if chord.is_one_point:
            notes.append(
                "the two points are the same: the barrier is 0 by definition, and nothing was trained"
            )
        else:
            notes += one_point(*(end.theta for end in chord.ends))
        if path.height.chord > line.height.chord and not chord.is_one_point:
            remedy = "" if self.given else "; a smaller `lr` may help"
            made = "trained curve" if self.given is None else "path"
            notes.append(f"the {made} lies higher than the straight line{remedy}")
        if trained.diverged:
            notes.append(
                f"the loss was NaN or infinite in pass {len(trained.losses)}: the best curve before that is given; "
                "a smaller `lr` may help"
            )
        return notes


def notes_on_ends(found: Connection) -> list[str]:
    """A warning for an end that is no minimum: one where a gradient step would lower the loss by over 0.1 %."""
    notes, losses = [], (found.path.loss[0], found.path.loss[-1])
    for letter, point, slope, loss in zip("AB", found.ends, found.slopes, losses, strict=True):
        gain = TRIAL_STEP * slope**2
        if gain > 0.001 * abs(loss):
            share = f", {100 * gain / abs(loss):.2g} %" if loss else ""
            notes.append(
                f"{letter}{f' ({point.label})' if point.label else ''} is no minimum: ‖∇F‖ = {slope:.3g}, so a "
                f"gradient step of {TRIAL_STEP:g} would lower its loss {loss:.3g} by about {gain:.2g}{share}"
            )
    return notes


def _try(connector: Connector, chord: Path, name: str, restart: int, journal: Journal) -> None:
    """Keep one curve, and that it is done."""
    alone = connector.alone(journal)
    alone._tried(chord, name, restart, alone._watched(chord))
    journal[f"{name}tried {restart}"] = {}
