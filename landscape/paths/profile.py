"""The loss along a path between two points: on a grid, refined at its top, with errors from the data."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape.numerics.curves.barriers import (
    Barriers,
    above_chord,
    barrier_errors,
    barriers,
    finer,
    mean_error,
    mean_weights,
    unseen_rises,
)
from landscape.objective.sweep import COLUMNS, Sweep
from landscape.paths.path import Path

# Each round halves the gaps beside the top, so this many leave nothing of a gap in float64.
MAX_ROUNDS = 30
# Gaps that one path has halved in a round at most, those that may hide most: a loss that is noise has them all open.
HALVED = 8
# Rounding of a loss, in units of the epsilon that the module computes with; half types round single layers alone.
ROUNDED = {torch.float64: 8, torch.float32: 8}


class Summary(NamedTuple):
    """Every number that a path's loss comes down to, and its standard error from the data (NaN: not known)."""

    height: Barriers
    height_error: Barriers
    mean_t: float
    mean_t_error: float
    mean_arc: float
    mean_arc_error: float


class PathLoss:
    """The loss measured along θ(t), point by point as asked for; every point is remembered by the sweep.

    Columns over ``t``, rising: ``loss``, ``accuracy``, ``test_loss``, ``test_accuracy``, the standard errors of these
    two over the test samples, and ``samples``, the loss of every training sample (T, n). Buffers are those of the
    ends mixed in proportion to t, or whatever else the sweep's policy says.
    """

    def __init__(self, sweep: Sweep, name: str, path: Path):
        self.sweep, self.name, self.path = sweep, name, path
        self.t = np.zeros(0)
        self.table = np.zeros((0, COLUMNS))
        self.is_refined = True
        self._rounds = 0

    def measure(self, t: np.ndarray) -> None:
        """Add the points ``t`` that are not there yet."""
        fresh = np.setdiff1d(t, self.t)
        if not len(fresh):
            return

        def fill(block: range, thetas: Tensor) -> None:
            thetas.copy_(self.path.points(fresh[block.start : block.stop]))

        table = self.sweep.measure(
            f"{self.name} {self._rounds}:",
            len(fresh),
            fill,
            self.path.ends,
            lambda i: [1 - fresh[i], fresh[i]],
            each=True,
        )
        self._rounds += 1
        order = np.argsort(np.concatenate([self.t, fresh]))
        self.table = np.concatenate([self.table, table])[order] if len(self.t) else table
        self.t = np.concatenate([self.t, fresh])[order]

    def rounding(self) -> float:
        """How far apart two losses here may be and yet be one."""
        inside = self.loss[np.isfinite(self.loss)]
        coarsest = self.sweep.objective.coarsest
        return ROUNDED.get(coarsest, 1) * torch.finfo(coarsest).eps * float(np.abs(inside).max(initial=0.0))

    @np.errstate(over="ignore", invalid="ignore")
    def unseen(self, tolerance: float) -> np.ndarray:
        """The middles of the gaps in which a barrier may be higher by more than ``tolerance``; of the worst of them."""
        inside = (self.t >= 0) & (self.t <= 1)
        t, loss = self.t[inside], self.loss[inside]
        if not np.isfinite(loss).all():
            return np.zeros(0)
        rises = np.maximum(unseen_rises(t, loss), unseen_rises(t, above_chord(t, loss)))
        worst = np.argsort(-rises, kind="stable")[:HALVED]
        return np.sort(((t[:-1] + t[1:]) / 2)[worst[rises[worst] > tolerance]])

    @property
    def loss(self) -> np.ndarray:
        return self.table[:, 0]

    @property
    def accuracy(self) -> np.ndarray:
        return self.table[:, 1]

    @property
    def test_loss(self) -> np.ndarray:
        return self.table[:, 2]

    @property
    def test_accuracy(self) -> np.ndarray:
        return self.table[:, 3]

    @property
    def test_loss_error(self) -> np.ndarray:
        return self.table[:, 4]

    @property
    def test_accuracy_error(self) -> np.ndarray:
        return self.table[:, 5]

    @property
    def samples(self) -> np.ndarray:
        return self.table[:, COLUMNS:]

    @property
    def loss_error(self) -> np.ndarray | None:
        """The standard error of every loss from the data: exact, as a loss is a mean over samples."""
        count = self.samples.shape[1]
        return self.samples.std(axis=1, ddof=1) / np.sqrt(count) if count > 1 else None

    @property
    def height(self) -> Barriers:
        return barriers(self.t, self.loss)

    @property
    def lengths(self) -> np.ndarray:
        """Of the pieces between neighbouring points."""
        return self.path.lengths(self.t)

    def penalty(self, l2: float) -> np.ndarray:
        """(l2/2)‖θ(t)‖²."""
        return 0.5 * l2 * self.path.squared_norms(self.t)

    def summary(self, seed: int) -> Summary:
        """Barriers and means with their standard errors; the resamples are drawn by ``seed``."""
        over_t, over_arc = mean_weights(self.t), mean_weights(self.t, self.lengths)
        return Summary(
            self.height,
            barrier_errors(self.t, self.samples, seed=seed),
            float(over_t @ self.loss),
            mean_error(over_t, self.samples),
            float(over_arc @ self.loss),
            mean_error(over_arc, self.samples),
        )


def refine(lines: Sequence[PathLoss], tolerance: float) -> None:
    """Halve gaps until no barrier of any of the ``lines``, all measured at the same t, is higher by ``tolerance``.

    Those beside a top, until it moves by no more, and all in which the loss would rise by more above the top, if it
    went on as it comes from outside (:func:`~landscape.numerics.curves.barriers.unseen_rises`). A path whose loss is
    not finite is left as it is. Where the rounds, or the rounding of a loss, do not allow of that, no line is refined.
    """
    tops = np.full((len(lines), 2), -np.inf)
    for _ in range(MAX_ROUNDS + 1):
        places = np.unique(np.concatenate([line.t for line in lines]))
        for line in lines:
            line.measure(places)
        if tolerance == np.inf:
            return
        heights = [line.height for line in lines]
        before, tops = tops, np.array([(one.chord, one.top) for one in heights])
        wanted = []
        for line, height, now, then in zip(lines, heights, tops, before, strict=True):
            if not np.isfinite(now).all():
                continue
            near = max(tolerance, line.rounding())
            if (now - then).max() > near:
                wanted += [finer(line.t, at) for at in {height.at_chord, height.at_ends}]
            wanted.append(line.unseen(near))
        fresh = np.concatenate([*wanted, np.zeros(0)])
        if not len(fresh):
            is_met = all(tolerance >= line.rounding() for line in lines)
            break
        for line in lines:
            line.measure(fresh)
    else:
        is_met = False
    for line in lines:
        line.is_refined = is_met


def unrefined(lines: Iterable[PathLoss], tolerance: float) -> list[str]:
    """The note that barriers are not as sure as they were asked to be."""
    if all(line.is_refined for line in lines):
        return []
    return [
        f"a barrier may be higher by more than `tolerance` {tolerance:g}: the loss is too rough, or too large for its "
        "rounding; a larger `tolerance` or float64 may help"
    ]
