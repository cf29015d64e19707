"""The loss along a path between two points: on a grid, refined at its top, with errors from the data."""

from typing import NamedTuple

import numpy as np
from torch import Tensor

from landscape.numerics.curves.barriers import (
    Barriers,
    barrier_errors,
    barriers,
    finer,
    mean_error,
    mean_weights,
)
from landscape.objective.sweep import COLUMNS, Sweep
from landscape.paths.path import Path

# Each round halves the gaps beside the top, so this many leave nothing of a gap in float64.
MAX_ROUNDS = 30


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

    def refine(self, tolerance: float) -> bool:
        """Halve the gaps beside the top until every barrier moves by less than ``tolerance``; False if it would not."""
        height = self.height
        for _ in range(MAX_ROUNDS):
            if tolerance == np.inf or not np.isfinite([height.chord, height.top]).all():
                return True
            self.measure(
                np.concatenate([finer(self.t, at) for at in sorted({height.at_chord, height.at_ends})])
            )
            before, height = height, self.height
            if max(height.chord - before.chord, height.top - before.top) < tolerance:
                return True
        return False

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
