"""Samples read in order, batch after batch, hashed as they pass: held in memory where they fit, else read again."""

import hashlib
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from landscape.errors import BadInput, LandscapeError, raised_at
from landscape.inputs.data.batches import ABSENT, joined, mapped, own_targets, pair, tensors
from landscape.inputs.data.loaders import Listed, Reading, is_listed, is_source, reading
from landscape.inputs.data.several import Layout, carried

# Data of more bytes than these are not kept in memory, unless they come so.
HELD_BYTES = 2**30
# Batches that are read ahead of the one in use.
AHEAD = 2
# Samples kept from the beginning, to try module and loss with.
HEAD = 256
# Distinct integers of targets that are kept; of more, the smallest and the largest.
MOST_VALUES = 2**20
NO_TARGETS = "there are no targets: the inputs stand for them"

Batch = tuple[Any, Tensor]


@dataclass
class Seen:
    """What the first pass saw: ``digests`` and ``sizes`` of every batch, the first samples, what targets there are.

    ``layout``: of targets that are several tensors.
    ``is_even``: all batches have samples of one shape. ``draws``: reading draws from PyTorch's generator.
    """

    count: int = 0
    num_bytes: int = 0
    digests: list[bytes] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    sha256: str = ""
    head: Batch | None = None
    values: Tensor | None = None
    is_even: bool = True
    layout: Layout | None = None
    draws: bool = False
    has_targets: bool = True
    notes: dict[str, None] = field(default_factory=dict)


class Stream:
    """Samples that are read anew whenever they are wanted, and have to be the same each time.

    ``source`` is a DataLoader, a Dataset or an IterableDataset of PyTorch's, a sequence of batches, or a function that
    returns an iterator of them; what a batch may be: :func:`~landscape.inputs.data.batches.pair`. Of what is larger
    than ``held`` bytes no more than a few batches are in memory at a time.

    Raises BadInput where batches are no samples, where numbers are NaN or infinite, and, at any later pass, at the
    first batch that is not what it was.
    """

    def __init__(self, source: Any, *, held: int = 0, name: str = "the data"):
        self.name = name
        self.held = held
        self._reading = _reading(source)
        self._kept: list[Batch] | None = []
        self.seen = Seen(notes=dict.fromkeys(self._reading.notes))
        self._survey()

    @classmethod
    def of(cls, data: Any, name: str = "the data") -> "Stream":
        """``data`` as a stream that is held in memory where there is room; one that is a stream as it is."""
        if isinstance(data, Stream):
            return data
        return cls(Listed(data) if is_listed(data) else data, held=HELD_BYTES, name=name)

    def __len__(self) -> int:
        return self.seen.count

    @property
    def notes(self) -> tuple[str, ...]:
        """What was taken for granted, a sentence each."""
        size = f"{self.seen.num_bytes / 2**20:.4g} MB"
        read = (
            [f"{self.name}: {len(self)} samples of {size} are read anew at every pass"]
            if self._kept is None
            else []
        )
        return (*self.seen.notes, *read)

    @property
    def is_held(self) -> bool:
        """Whether everything is in memory, in batches that can be joined."""
        return self._kept is not None and self.seen.is_even

    def whole(self) -> Batch:
        """Inputs and targets of all samples, where they are held."""
        assert self._kept is not None
        inputs, targets = zip(*self._kept, strict=True)
        return joined(inputs), torch.cat(targets)

    def head(self) -> Batch:
        """Inputs and targets of the first samples."""
        assert self.seen.head is not None
        return self.seen.head

    def batches(self) -> Iterator[Batch]:
        """Every batch in order, in pieces as they were made; BadInput at the first that is not what it was."""
        if self._kept is not None:
            yield from self._kept
            return
        digests, number, start = self.seen.digests, 0, 0
        for number, (batch, digest) in enumerate(self._ahead(), 1):
            if number > len(digests) or digest != digests[number - 1]:
                raise self._changed(
                    f"batch {number}, from sample {start} on, is not what it was at the first pass"
                )
            start += len(batch[1])
            yield batch
        if number < len(digests):
            raise self._changed(f"{start} samples at this pass, {len(self)} at the first")

    def picked(self, rows: Tensor) -> Batch:
        """Inputs and targets of the samples ``rows``, ascending, from one pass. BadInput where shapes differ."""
        parts, start = [], 0
        for inputs, targets in self.batches():
            here = rows[(rows >= start) & (rows < start + len(targets))] - start
            if len(here):
                parts.append((mapped(lambda part, here=here: part[here], inputs), targets[here]))
            start += len(targets)
        shapes = {_shape(one) for one in parts}
        if len(shapes) > 1:
            raise BadInput(
                f"{self.name} have samples of different shapes in different batches",
                "one shape",
                "let its collate_fn pad all of them to one length",
            )
        return joined([inputs for inputs, _ in parts]), torch.cat([targets for _, targets in parts])

    def _changed(self, what: str) -> BadInput:
        return BadInput(
            f"{self.name} cannot be repeated: {what}",
            "the same samples in the same order at every pass",
            "let the data set begin every pass with a seed of its own, or hold the samples in memory as tensors",
        )

    def _survey(self) -> None:
        """The first pass: everything is looked at once, and kept as long as there is room."""
        seen, running, shape = self.seen, _Running(), None
        head: list[Batch] = []
        values: list[Tensor] = []
        state = _Draws()
        with state.own():
            batches = self._read()
        while True:
            with state.own():
                batch = next(batches, None)
            if batch is None:
                break
            _check(self.name, batch, seen.count)
            inputs, targets = batch
            seen.digests.append(_digest(batch))
            seen.sizes.append(len(targets))
            running.add(batch)
            here = _shape(batch)
            shape = shape or here
            seen.is_even &= here == shape
            if here == shape and sum(len(one) for _, one in head) < HEAD:
                head.append((mapped(lambda part: part[:HEAD].clone(), inputs), targets[:HEAD].clone()))
            values = [_values([*values, targets])]
            seen.count += len(targets)
            seen.num_bytes += sum(one.nbytes for one in [*tensors(inputs), targets])
            if self._kept is not None:
                self._kept.append(batch)
                if seen.num_bytes > self.held:
                    self._kept = None
        if not seen.count:
            raise BadInput(f"{self.name} are empty", "at least one sample")
        seen.draws = state.has_moved
        # Workers draw from generators of their own, whose seed is drawn here.
        if seen.draws or (self._kept is not None and self._begins(1) != seen.digests[0]):
            is_same = self._kept is None or self._begins(0) == seen.digests[0]
            seen.notes[
                f"reading {self.name} draws at random: from the same seed at every pass"
                if is_same
                else f"{self.name} are others at every reading: those of the first are kept"
            ] = None
        seen.sha256 = running.sha256()
        seen.values = values[0]
        seen.head = joined([one for one, _ in head]), torch.cat([one for _, one in head])

    def _begins(self, seed: int) -> bytes | None:
        """The digest of the first batch of a pass from a seed."""
        with _Draws(seed).own():
            batch = next(self._read(), None)
        return None if batch is None else _digest(batch)

    def _read(self) -> Iterator[Batch]:
        """Batch by batch through what the user brought; what is read from is made at once."""
        return self._pairs(self._called(self._reading.batches))

    def _pairs(self, source: Iterator[Any]) -> Iterator[Batch]:
        number = 0
        while True:
            number += 1
            batch = self._called(lambda: next(source, None))
            if batch is None:
                return
            inputs, targets = pair(batch, f"batch {number} of {self.name}", self._say)
            if number == 1:
                self.seen.has_targets = targets is not None
            if targets is None:
                self._say(NO_TARGETS)
                targets = own_targets(inputs)
            if not isinstance(targets, Tensor):
                where, known = f"batch {number} of {self.name}", self.seen.layout
                targets, self.seen.layout = carried(inputs, targets, where, known)
            yield inputs, targets

    def _say(self, sentence: str) -> None:
        self.seen.notes.setdefault(sentence)

    def _called(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except LandscapeError:
            raise
        except Exception as error:
            raise BadInput(
                f"reading {self.name} raised {type(error).__name__}: {error}{raised_at(error)}",
                remedy="fix the data set, or its collate_fn",
            ) from error

    def _ahead(self) -> Iterator[tuple[Batch, bytes]]:
        """Every batch with its digest, some read ahead by a thread, unless reading draws at random."""
        if self.seen.draws:
            state = _Draws()
            with state.own():
                batches = self._read()
            while True:
                with state.own():
                    batch = next(batches, None)
                if batch is None:
                    return
                yield batch, _digest(batch)
        ready: queue.Queue[Any] = queue.Queue(AHEAD)
        stopped = threading.Event()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            batches = self._read()

        def put(one: Any) -> bool:
            while not stopped.is_set():
                try:
                    ready.put(one, timeout=0.1)
                    return True
                except queue.Full:
                    continue
            return False

        def work() -> None:
            try:
                for batch in batches:
                    if not put((batch, _digest(batch))):
                        return
                put(None)
            except BaseException as error:
                put(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            while (one := ready.get()) is not None:
                if isinstance(one, BaseException):
                    raise one
                yield one
        finally:
            stopped.set()
            thread.join()


class _Draws:
    """PyTorch's generator as reading sees it: from one seed on, whatever else is drawn in between."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._state: Tensor | None = None
        self.has_moved = False

    @contextmanager
    def own(self) -> Iterator[None]:
        with torch.random.fork_rng(devices=[]):
            if self._state is None:
                torch.default_generator.manual_seed(self._seed)
            else:
                torch.set_rng_state(self._state)
            before = torch.get_rng_state()
            yield
            after = torch.get_rng_state()
            # The first call of a loader draws the seed of its workers.
            self.has_moved |= self._state is not None and not torch.equal(before, after)
            self._state = after


class _Running:
    """A sha256 of all samples that does not depend on how they are cut into batches."""

    def __init__(self) -> None:
        self._parts: list[Any] = []
        self._about: list[str] = []

    def add(self, batch: Batch) -> None:
        for number, one in enumerate([*tensors(batch[0]), batch[1]]):
            if number == len(self._parts):
                self._parts.append(hashlib.sha256())
                self._about.append(f"{one.dtype} {tuple(one.shape[1:])}")
            self._parts[number].update(_bytes(one))

    def sha256(self) -> str:
        whole = hashlib.sha256()
        for about, part in zip(self._about, self._parts, strict=True):
            whole.update(f"{about} {part.hexdigest()}\n".encode())
        return whole.hexdigest()


def is_read(data: Any) -> bool:
    """Whether ``data`` are read batch by batch, or sample by sample."""
    return isinstance(data, Stream) or is_source(data) or is_listed(data)


def _reading(source: Any) -> Reading:
    make: Any = source
    if is_source(source):
        return reading(source)
    if isinstance(source, Sequence) and not isinstance(source, str | bytes):
        return Reading(lambda: iter(source))
    if callable(source):
        return Reading(lambda: iter(make()))
    raise BadInput(
        f"a stream of a {type(source).__name__}",
        "a DataLoader, a Dataset, a list of batches, or a function that returns an iterator of them",
        "an iterator can be read once; give the function that makes it",
    )


def _check(name: str, batch: Batch, start: int) -> None:
    inputs, targets = batch
    found = tensors(inputs)
    if not found:
        raise BadInput(f"{name} have no tensor among the inputs of a sample", "at least one")
    lengths = {len(one) for one in [*found, targets]}
    if len(lengths) > 1:
        raise BadInput(
            f"a batch of {name} has tensors of {', '.join(map(str, sorted(lengths)))} entries along axis 0",
            "one entry per sample in each",
            "what holds together as one, such as a graph, is given as a pair of tensors",
        )
    for what, one in [*(("inputs", part) for part in found), ("targets", targets)]:
        if (one.is_floating_point() or one.is_complex()) and not bool(torch.isfinite(one).all()):
            row = int((~torch.isfinite(one)).reshape(len(one), -1).any(1).nonzero()[0])
            raise BadInput(
                f"NaN or infinite numbers in the {what} of {name}, first in sample {start + row}",
                "finite data",
                ABSENT if what == "targets" else "drop or fill those samples",
            )


def _digest(batch: Batch) -> bytes:
    found = hashlib.sha256()
    for one in [*tensors(batch[0]), batch[1]]:
        found.update(f"{one.dtype} {tuple(one.shape)}".encode())
        found.update(_bytes(one))
    return found.digest()[:16]


def _bytes(one: Tensor) -> memoryview:
    return one.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data


def _shape(batch: Batch) -> tuple[Any, ...]:
    """What has to be the same for two batches to be one: names, shapes and dtypes of their samples."""
    inputs, targets = batch
    names = (
        tuple(inputs) if isinstance(inputs, Mapping) else len(inputs) if isinstance(inputs, tuple) else None
    )
    return names, *((tuple(one.shape[1:]), one.dtype) for one in [*tensors(inputs), targets])


def _values(parts: Sequence[Tensor]) -> Tensor:
    """The distinct integers among targets, or the smallest and the largest number."""
    flat = torch.cat([one.flatten() for one in parts])
    if flat.numel() and (flat.is_floating_point() or flat.is_complex()):
        return torch.stack([flat.min(), flat.max()]) if flat.is_floating_point() else flat[:1]
    found = flat.unique()
    return found if len(found) <= MOST_VALUES else found[[0, -1]]
