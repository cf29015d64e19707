"""Many points one after another: in blocks that a journal remembers, train and test measured alike."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.errors import BadInput
from landscape.objective import batchnorm as policies
from landscape.objective.batching import keep_freed_memory
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.repair import Repair
from landscape.objective.resting import Resting
from landscape.objective.scatter import has_errors, measured_with_errors
from landscape.objective.tasks import Task, ahead
from landscape.objective.undefined import undefined
from landscape.objective.uses import listed
from landscape.progress import Journal, Progress, silent

# A block is large enough that remembering it costs nothing beside computing it.
BLOCK_ACTIVATIONS = 2**24
BLOCK_PARAMETERS = 2**24
BLOCK_POINTS = 4096
# Parameters times samples: some tenths of a second, so that a kill loses little, and workers end together.
BLOCK_WORK = 2**32
# What is known of a point, before the losses of its samples.
COLUMNS = 6


class Sweep:
    """Measures the losses of many points under one batch-norm policy.

    ``repair`` (:mod:`landscape.objective.repair`) is for points of the straight line between two, where ``is_line``.
    How points fall into blocks depends on sizes alone, so a resumed sweep computes the same blocks and
    ends bit for bit like an undisturbed one.
    """

    def __init__(
        self,
        objective: Objective,
        test: Objective | None = None,
        batchnorm: str = "frozen",
        journal: Journal | None = None,
        progress: Progress = silent,
        *,
        is_line: bool = False,
    ):
        known = policies.LINE_POLICIES if is_line else policies.POLICIES
        if batchnorm not in known:
            raise BadInput(f"batch-norm policy {batchnorm!r}", f"one of {', '.join(known)}")
        self.objective, self.test, self.batchnorm = objective, test, batchnorm
        self.recalibrates = batchnorm != "frozen" and objective.has_batchnorm
        self.repairs = batchnorm == "repair"
        self.journal = {} if journal is None else journal
        self.progress = progress
        self._resting: Resting | None = None
        keep_freed_memory()

    @property
    def block_size(self) -> int:
        """Points per block."""
        work = BLOCK_ACTIVATIONS // self.objective.activations
        room = BLOCK_PARAMETERS // self.objective.num_parameters
        return max(1, min(work, room, self._points_in_time, BLOCK_POINTS))

    @property
    def _points_in_time(self) -> int:
        """Points that take as long as a block may."""
        return BLOCK_WORK // (self.objective.num_parameters * max(1, self.objective.num_samples))

    def measure(
        self,
        name: str,
        num_points: int,
        fill: Callable[[range, Tensor], object],
        points: Sequence[Point],
        weights_at: Callable[[int], Sequence[float]] | None = None,
        *,
        each: bool = False,
    ) -> np.ndarray:
        """Train loss and accuracy, test loss and accuracy, the test's standard errors: (num_points, ``COLUMNS``).

        With ``each`` the losses of all n training samples follow, where F is their mean: (num_points, COLUMNS + n).

        ``fill(block, thetas)`` writes the θ of a block of points into the rows of ``thetas``, the same
        memory for every block (fresh pages would cost as much as a small net's forward pass). The
        buffers of point i are those of ``points`` mixed by ``weights_at(i)`` (the first point's where
        there are no weights). What is unknown is NaN.
        """
        size = self.block_size
        blocks = {
            f"{name} {start}": range(start, min(start + size, num_points))
            for start in range(0, num_points, size)
        }
        fixed_at = self._fixed_rule(points, weights_at)
        about = (fill, points, fixed_at, weights_at, each, num_points)
        # The statistics of a repair, taken once, are worth more than a block of points.
        if num_points > max(size, self._points_in_time) and not self.repairs:
            ahead(self.journal, lambda: self._tasks(blocks, about), self.progress, "blocks of points")
        rows: list[np.ndarray] = []
        self._resting = Resting(self.objective)
        memory = self.objective.theta.new_empty(min(num_points, size), self.objective.num_parameters)
        repair = None
        for key, block in blocks.items():
            if key not in self.journal:
                if self.repairs and repair is None:
                    repair = Repair(self.objective, *map(self.reference, points))
                self._remember(key, block, about, self.journal, memory, repair)
            rows.append(np.asarray(self.journal[key]["rows"]))
            self.progress(block.stop, num_points, "points")
        self._resting = None
        return np.concatenate(rows)

    def alone(self, journal: Journal) -> "Sweep":
        """The same with another journal, and nobody who is told of its progress."""
        twin = copy.copy(self)
        twin.journal, twin.progress, twin._resting = journal, silent, None
        return twin

    def _tasks(self, blocks: Mapping[str, range], about: tuple[Any, ...]) -> list[Task]:
        alone = self.alone({})
        # What is sent with a task costs as much as several short blocks.
        count, keys = max(1, self._points_in_time // self.block_size), list(blocks)
        groups = [keys[i : i + count] for i in range(0, len(keys), count)]
        return [
            Task(tuple(group), partial(alone._remember_all, {key: blocks[key] for key in group}, about))
            for group in groups
        ]

    def _remember_all(self, blocks: Mapping[str, range], about: tuple[Any, ...], journal: Journal) -> None:
        self._resting = Resting(self.objective)
        for key, block in blocks.items():
            if key not in journal:
                self._remember(key, block, about, journal)
        self._resting = None

    def _remember(
        self,
        key: str,
        block: range,
        about: tuple[Any, ...],
        journal: Journal,
        memory: Tensor | None = None,
        repair: Repair | None = None,
    ) -> None:
        """Measure a block of points, filled into ``memory`` where there is some, and keep its rows."""
        fill, points, fixed_at, weights_at, each, num_points = about
        if memory is None:
            memory = self.objective.theta.new_empty(len(block), self.objective.num_parameters)
        thetas = memory[: len(block)]
        fill(block, thetas)
        found = self._block(block, thetas, points[0].fixed, fixed_at, weights_at, repair, each, num_points)
        # Arrays are files of their own, which only long rows are worth.
        journal[key] = {"rows": found if each else found.tolist()}

    def line(self, name: str, first: Point, second: Point, alpha: np.ndarray) -> np.ndarray:
        """The table of :meth:`measure` at (1 − α)A + αB with ``each``, buffers mixed in the same proportion."""
        positions = torch.from_numpy(alpha).to(self.objective.device, self.objective.dtype)

        def fill(block: range, thetas: Tensor) -> None:
            # lerp starts from the nearer end, so both ends are exact.
            torch.lerp(first.theta, second.theta, positions[block.start : block.stop, None], out=thetas)

        points = [first, second]
        return self.measure(name, len(alpha), fill, points, lambda i: [1 - alpha[i], alpha[i]], each=True)

    def reference(self, point: Point) -> Point:
        """The point as its own model under this policy: what an end of a path must agree with."""
        if not self.recalibrates:
            return point
        return Point(point.theta, self.objective.recalibrated(point.theta, point.fixed), point.label)

    def notes(self, *points: Point) -> list[str]:
        """Whose batch-norm statistics were taken, and what else is mixed; a warning where the policy misleads."""
        said = []
        if frozen := self._apart(points, self.objective.module.named_parameters()):
            said.append(
                f"{listed(frozen)} is frozen, and another at other ends: it is mixed between these, and of no distance "
                "or norm; requires_grad_() makes it a part of θ"
            )
        if kept := self._buffers_apart(points):
            said.append(
                f"{listed(kept)}, no statistic of a batch norm of torch's, is a buffer and another at other ends: "
                "it is mixed between these"
            )
        if self.recalibrates:
            said.append(
                "batch-norm statistics were taken anew from the data at every point of the path, the ends as well "
                f"(`batchnorm` {self.batchnorm}): the losses there are not those with the statistics that are stored"
            )
        elif self.objective.has_batchnorm and not _all_equal([p.fixed for p in points]):
            said.append(
                "batch-norm statistics are mixed from the end points (`batchnorm` frozen), which is right only "
                "for nearby points; `batchnorm` recalibrate takes them from the data at every point"
            )
        return said

    def _buffers_apart(self, points: Sequence[Point]) -> list[str]:
        """The buffers of real numbers, other than statistics of batch norm, that are not the same at all points."""
        statistics = policies.statistics_of(self.objective.module)
        found = self._apart(points, self.objective.module.named_buffers())
        return [
            name for name in found if name not in statistics and points[0].fixed[name].is_floating_point()
        ]

    def _apart(self, points: Sequence[Point], tensors: Iterable[tuple[str, Tensor]]) -> list[str]:
        """Those of the fixed ``tensors`` that are not the same at all points."""
        names = [name for name, _ in tensors if name in points[0].fixed]
        return [name for name in names if not _all_equal([{name: one.fixed[name]} for one in points])]

    def _fixed_rule(
        self, points: Sequence[Point], weights_at: Any
    ) -> Callable[[int], Mapping[str, Tensor]] | None:
        """None where every θ goes with the first point's buffers."""
        if weights_at is None or _all_equal([point.fixed for point in points]):
            return None
        return lambda i: policies.blend([point.fixed for point in points], weights_at(i))

    def _block(
        self,
        block: range,
        thetas: Tensor,
        first: Mapping[str, Tensor],
        fixed_at: Any,
        weights_at: Any,
        repair: Repair | None,
        each: bool,
        num_points: int,
    ) -> np.ndarray:
        if fixed_at is None and not self.recalibrates and not repair:
            with self._resting.during(thetas) if self._resting else nullcontext():
                return self._measured(thetas, first, each, num_points)
        rows = []
        for i, theta in zip(block, thetas, strict=True):
            fixed = first if fixed_at is None else fixed_at(i)
            if repair:
                theta, fixed = repair(theta, fixed, weights_at(i)[1])
            elif self.recalibrates:
                fixed = self.objective.recalibrated(theta, fixed)
            rows.append(self._measured(theta.reshape(1, -1), fixed, each, num_points))
        return np.concatenate(rows)

    def _measured(
        self, thetas: Tensor, fixed: Mapping[str, Tensor], each: bool, num_points: int
    ) -> np.ndarray:
        if each:
            train = torch.stack([measured_with_samples(self.objective, theta, fixed) for theta in thetas])
            penalty = 0.5 * self.objective.l2 * thetas.double().square().sum(1, keepdim=True).cpu()
            train[:, :1] += penalty
            train[:, 2:] += penalty
        else:
            train = self.objective.measurements(thetas, fixed)
        tested = torch.full((len(thetas), 4), torch.nan, dtype=torch.float64)
        if self.test and has_errors(self.test, 0 if each else num_points):
            tested = measured_with_errors(self.test, thetas, fixed)
        elif self.test:
            tested[:, :2] = self.test.measurements(thetas, fixed)
        return torch.cat([train[:, :2], tested, train[:, 2:]], dim=1).numpy()


def measured_with_samples(objective: Objective, theta: Tensor, fixed: Mapping[str, Tensor]) -> Tensor:
    """Loss, accuracy, and the loss of all n samples in their order: (2 + n,) float64 on the CPU, from one pass.

    Without the regulariser. Where F is the sum of the samples' losses these are n times as large, so that F is
    their mean; where it is neither, or the outputs have no axis of samples, they are left out, (2,).
    """
    if not objective.tells_samples_apart:
        return objective.varied(l2=0.0).measurements(theta[None], fixed)[0]
    loss, share = objective.loss, objective.samples.share
    sums, rows = [], []
    with torch.no_grad():
        for inputs, targets in objective.chunks():
            each = torch.full((len(targets),), torch.nan, dtype=torch.float64, device=objective.device)
            total = right = each.sum()
            with (
                undefined(objective, inputs, targets),
                objective.passed(theta, fixed, inputs) as outputs,
            ):
                each = loss.each(outputs, targets)
                total = loss.total(outputs, targets).detach().double().reshape(())
                right = loss.correct(outputs, targets).double().sum() if loss.correct else total * torch.nan
            rows.append(each)
            sums.append(torch.stack([total, right]))
    found = torch.zeros(2 + objective.num_samples, dtype=torch.float64, device=objective.device)
    found[:2] = torch.stack(sums).sum(0)
    found[2 + share.start : 2 + share.stop] = torch.cat(rows)
    found = objective.over_samples(found)
    found[:2] /= objective.num_samples
    if objective.loss.over == "one":
        found[0] *= objective.num_samples
        found[2:] *= objective.num_samples
    return found.cpu()


def known(column: np.ndarray) -> np.ndarray | None:
    """The column, or None where nothing in it is known."""
    return None if np.isnan(column).all() else column


def _all_equal(parts: Sequence[Mapping[str, Tensor]]) -> bool:
    return all(
        part is parts[0] or all(torch.equal(tensor, parts[0][name]) for name, tensor in part.items())
        for part in parts[1:]
    )
