"""Samples that are larger than memory: read in order whenever they are wanted, a chunk at a time."""

import copy
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from landscape import distributed
from landscape.errors import BadInput
from landscape.inputs.data.batches import joined, mapped, tensors
from landscape.inputs.data.streams import Batch, Stream
from landscape.objective import trees
from landscape.objective.samples import Chunk, Samples, converted


class Streamed(Samples):
    """All samples of a :class:`~landscape.inputs.data.streams.Stream`; :meth:`chunks` are one pass over it.

    Batches are cut anew into chunks of the size asked for; those whose samples differ in shape from the ones before
    begin another. Consecutive samples are had by their numbers, read on from where the last ones ended. What wants all
    samples at once, or others of them by number, is refused. Raises BadInput in several processes.
    """

    def __init__(self, stream: Stream):
        if distributed.num_processes() > 1:
            raise BadInput(
                f"{stream.name} that are read anew at every pass, in {distributed.num_processes()} processes",
                "one process",
                "leave torchrun away",
            )
        self._stream = stream
        self._consecutive = Consecutive(stream)
        self._changes: tuple[Callable[[Chunk], Chunk], ...] = ()
        self._is_recut = False
        # The other fields are what cannot be had.
        for name, value in (
            ("count", len(stream)),
            ("share", slice(0, len(stream))),
            ("notes", stream.notes),
            ("layout", stream.seen.layout),
        ):
            object.__setattr__(self, name, value)

    @property
    def inputs(self) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        raise self._too_many()

    @property
    def targets(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        raise self._too_many()

    @property
    def head(self) -> Samples:
        """The first samples, in memory."""
        inputs, targets = self._changed(self._stream.head())
        return Samples(inputs, targets, len(targets), slice(0, len(targets)))

    @property
    def is_one_piece(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return False

    @property
    def is_even(self) -> bool:
        return self._stream.seen.is_even

    @property
    def is_read_anew(self) -> bool:
        return True

    def close(self) -> None:
        self._consecutive.close()

    @property
    def num_inputs(self) -> int:
        return self.head.num_inputs

    @property
    def target_values(self) -> Tensor:
        """The distinct integers among the targets of all samples, or the least and the largest number."""
        assert self._stream.seen.values is not None
        return self._stream.seen.values

    def target_parts(self) -> Iterator[Tensor]:
        for _, targets in self._stream.batches():
            yield targets

    def to(self, device: torch.device, dtype: torch.dtype | None) -> "Streamed":
        def change(chunk: Chunk) -> Chunk:
            inputs, targets = chunk
            moved = tuple(trees.mapped(lambda part: converted(part, device, dtype), part) for part in inputs)
            return moved, converted(targets, device, dtype)

        return self.changed(change)

    def here(self) -> "Streamed":
        return self

    def noted(self, notes: Iterable[str]) -> "Streamed":
        twin = copy.copy(self)
        object.__setattr__(twin, "notes", tuple(dict.fromkeys((*self.notes, *notes))))
        return twin

    def changed(self, change: Callable[[Chunk], Chunk]) -> "Streamed":
        twin = copy.copy(self)
        twin._changes = (*self._changes, change)
        return twin

    def few(self, size: int) -> Samples:
        head = self.head
        return head.few(min(size, head.count))

    def select(self, rows: Tensor) -> Chunk:
        """Consecutive samples: those behind the last ones are read on, others from the start of a pass."""
        if _is_consecutive(rows):
            return self._changed(self._consecutive.take(int(rows[0]), int(rows[-1]) + 1))
        return self.picked(rows)

    def picked(self, rows: Tensor | None) -> Chunk:
        head = self.head
        # Of batches that differ in shape the head leaves some out.
        is_there = rows is None or (self._stream.seen.is_even and bool((rows < head.count).all()))
        if rows is not None and not is_there and _is_consecutive(rows):
            return self._changed(self._stream.picked(rows.cpu()))
        if rows is not None and (not len(rows) or int(rows.max()) < head.count):
            return head.picked(rows)
        raise self._too_many()

    def chunks(self, size: int) -> Iterator[Chunk]:
        if not self._is_recut:
            yield from map(self._changed, self._cut_anew(size))
            return
        for inputs, targets in self._cut_anew(2 * size):
            for start in range(min(2, len(targets))):
                half = mapped(lambda part, start=start: part[start::2].contiguous(), inputs)
                yield self._changed((half, targets[start::2].contiguous()))

    def recut(self) -> "Streamed":
        """The same, of two chunks at a time every other sample, then the rest."""
        twin = copy.copy(self)
        twin._is_recut = True
        return twin

    @property
    def sha256(self) -> str:
        return self._stream.seen.sha256

    def _cut_anew(self, size: int) -> Iterator[Batch]:
        """One pass in pieces of ``size`` samples, fewer at the end and where the next ones have another shape."""
        held: list[Batch] = []
        for batch in self._stream.batches():
            if held and not _fit(held[0], batch):
                yield _joined(held)
                held = []
            start, end = 0, len(batch[1])
            while start < end:
                room = size - sum(len(targets) for _, targets in held)
                stop = min(end, start + room)
                held.append(_cut(batch, start, stop))
                is_full, start = stop - start == room, stop
                if is_full:
                    yield _joined(held)
                    held = []
        if held:
            yield _joined(held)

    def _changed(self, batch: Batch) -> Chunk:
        inputs, targets = batch
        chunk = inputs if isinstance(inputs, tuple) else (inputs,), targets
        for change in self._changes:
            chunk = change(chunk)
        return chunk

    def _too_many(self) -> BadInput:
        return BadInput(
            f"{self._stream.name} are read anew at every pass, and this wants any of them, or all at once",
            "samples in memory",
            f"take a part of them (`subset` = {min(self.count, 10_000)}, or the first ones)",
        )


class Consecutive:
    """Samples of a stream in their order, as many as are wanted: a batch of its own is in memory beside them."""

    def __init__(self, stream: Stream):
        self._stream = stream
        self._batches: Iterator[Batch] | None = None
        self._rest: Batch | None = None
        self._position = 0

    def take(self, start: int, stop: int) -> Batch:
        """Samples ``start`` to ``stop``; another pass where the last ones ended elsewhere. BadInput for two shapes."""
        try:
            return self._taken(start, stop)
        except BaseException:
            # What has raised gives nothing any more: who asks again begins anew.
            self.close()
            raise

    def _taken(self, start: int, stop: int) -> Batch:
        if self._batches is None or start != self._position:
            self.close()
            self._batches, self._position = self._stream.batches(), 0
        parts: list[Batch] = []
        while self._position < stop:
            inputs, targets = next(self._batches) if self._rest is None else self._rest
            end = min(len(targets), stop - self._position)
            first = max(0, start - self._position)
            if first < end:
                parts.append(_cut((inputs, targets), first, end))
            self._rest = _cut((inputs, targets), end, len(targets)) if end < len(targets) else None
            self._position += end
        if self._position == len(self._stream):
            # What comes behind the last sample is not what was there at the first pass.
            next(self._batches, None)
            self.close()
        if not all(_fit(parts[0], one) for one in parts):
            sizes = self._stream.seen.sizes
            is_regular = set(sizes[:-1]) <= {sizes[0]} and sizes[-1] <= sizes[0]
            raise BadInput(
                f"samples {start} to {stop - 1} of {self._stream.name} have different shapes",
                "one shape in a batch",
                "let its collate_fn pad all of them to one length"
                + (f", or take `batch_size` {sizes[0]}, that of the data" if is_regular else ""),
            )
        return _joined(parts)

    def close(self) -> None:
        """End the pass."""
        if isinstance(self._batches, Generator):
            self._batches.close()
        self._batches = self._rest = None


def _is_consecutive(rows: Tensor) -> bool:
    return len(rows) > 0 and bool((rows.diff() == 1).all())


def _cut(batch: Batch, start: int, end: int) -> Batch:
    return mapped(lambda part: part[start:end], batch[0]), batch[1][start:end]


def _joined(parts: list[Batch]) -> Batch:
    if len(parts) == 1:
        return parts[0]
    return joined([inputs for inputs, _ in parts]), torch.cat([targets for _, targets in parts])


def _fit(one: Batch, other: Batch) -> bool:
    pairs = zip([*tensors(one[0]), one[1]], [*tensors(other[0]), other[1]], strict=True)
    return all(a.shape[1:] == b.shape[1:] for a, b in pairs)
