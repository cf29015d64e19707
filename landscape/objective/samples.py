"""The samples that a loss is taken over: checked once, shared between the processes, taken by chunks."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_map

from landscape import distributed
from landscape.errors import BadInput
from landscape.inputs.data import unpaired
from landscape.inputs.data.batches import (
    ABSENT,
    TOGETHER,
    array_like,
    opened,
    own_targets,
    text_in,
    untabled,
)
from landscape.inputs.data.several import Layout
from landscape.inputs.sharded import here
from landscape.numerics.arrays import brought
from landscape.numerics.spread import Spread
from landscape.objective import trees

COMPLEX = {torch.float64: torch.complex128, torch.float16: torch.complex32}
Chunk = tuple[tuple[Any, ...], Tensor]


@dataclass(frozen=True, eq=False)
class Samples:
    """This process's share of n samples: a tuple of inputs and a target tensor, samples along axis 0.

    An input is a tensor, or tensors nested in a dictionary, a list, a named tuple or a dataclass. Where they differ in
    length, as a graph's edges and the features of its nodes do, everything is one piece: see :attr:`is_one_piece`.

    ``count`` is n, over all processes; ``share`` says which of them are here. Reads as a pair as well:
    ``inputs, targets = samples``. ``sha256_of_all`` is that of all n, where several processes made sure of it;
    ``notes`` are what was taken for granted of the data. ``layout``: of targets that came as several tensors, which
    the targets here carry.
    """

    inputs: tuple[Any, ...]
    targets: Tensor
    count: int
    share: slice
    sha256_of_all: str = ""
    notes: tuple[str, ...] = ()
    layout: Layout | None = None

    def __repr__(self) -> str:
        """A line without the data."""
        here = f", {self.count_here} of them here" if self.count_here != self.count else ""
        return f"{type(self).__name__}: {self.count} samples{here}"

    @classmethod
    def of(cls, data: Any) -> "Samples":
        """The share of a pair (inputs, targets) of all samples. Raises BadInput, see :func:`checked_data`."""
        return cls.whole(*checked_data(data)).here()

    @classmethod
    def whole(cls, inputs: tuple[Any, ...], targets: Tensor, notes: tuple[str, ...] = ()) -> "Samples":
        """All samples, which have been checked, in every process."""
        return cls(inputs, targets, len(targets), slice(0, len(targets)), notes=notes)

    def here(self) -> "Samples":
        """This process's share of all samples; of one piece, everything in every process."""
        if self.is_one_piece:
            return self
        share = distributed.share(self.count)
        inputs, targets = self._each(lambda part: part[share])
        return replace(self, inputs=inputs, targets=targets, share=share)

    @property
    def count_here(self) -> int:
        """How many of the samples are in this process."""
        return self.share.stop - self.share.start

    @cached_property
    def is_one_piece(self) -> bool:
        """Whether the inputs are no samples side by side, so that nothing less than all of them can be taken."""
        return _differ(self.inputs, self.targets)

    @property
    def is_even(self) -> bool:
        """Whether all of them have one shape, so that they can be one call."""
        return True

    @property
    def is_read_anew(self) -> bool:
        """Whether they are not in memory: every pass reads them again."""
        return False

    def close(self) -> None:
        """End a pass that :meth:`select` is in the middle of."""

    @property
    def head(self) -> "Samples":
        """Those that module and loss are tried with: all of them, where they are in memory."""
        return self

    @property
    def target_values(self) -> Tensor:
        """Every target there is, once or more often."""
        return self.targets

    def target_parts(self) -> Iterator[Tensor]:
        """The targets of this process, in one or several parts."""
        yield self.targets

    def noted(self, notes: Iterable[str]) -> "Samples":
        """The same with more that was taken for granted."""
        return replace(self, notes=tuple(dict.fromkeys((*self.notes, *notes))))

    def changed(self, change: Callable[[Chunk], Chunk]) -> "Samples":
        """The same with (inputs, targets) changed, sample by sample."""
        inputs, targets = change((self.inputs, self.targets))
        return replace(self, inputs=inputs, targets=targets)

    @property
    def num_inputs(self) -> int:
        """How many numbers go into the module for one sample; integers beside real ones, as its number is, are none."""
        found = trees.tensors(self.inputs)
        real = [one for one in found if one.is_floating_point() or one.is_complex()]
        return sum(one[0].numel() for one in real or found)

    def to(self, device: torch.device, dtype: torch.dtype | None) -> "Samples":
        """The same on a device, and floating-point numbers in a dtype; nothing is copied that is so already."""
        inputs, targets = self._each(lambda part: converted(part, device, dtype))
        return replace(self, inputs=inputs, targets=targets)

    def few(self, size: int) -> "Samples":
        """The first ``size`` samples of every process, or all where there are no more, or where they are one piece."""
        if self.is_one_piece:
            return self
        if self.count_here == self.count:
            # Every process has all of them, and so all of these.
            count = min(self.count, size)
            return Samples(*self._each(lambda part: part[:size]), count, slice(0, count))
        count = min(self.count, size * distributed.num_processes())
        return Samples(*self._each(lambda part: part[:size]), count, distributed.share(count))

    def select(self, rows: Tensor) -> Chunk:
        """(inputs, targets) of those ``rows``, numbered from 0 to n − 1, that are in this process."""
        if self.count_here < self.count:
            rows = rows[(rows >= self.share.start) & (rows < self.share.stop)] - self.share.start
        return self._cut(brought(rows, self.targets.device))

    def picked(self, rows: Tensor | None) -> Chunk:
        """(inputs, targets) of the samples ``rows`` of those in this process, or of all of them."""
        if rows is None:
            return self.inputs, self.targets
        return self._cut(brought(rows, self.targets.device))

    def chunks(self, size: int) -> Iterator[Chunk]:
        """(inputs, targets) of this process's samples in their order, ``size`` at a time, the last ones fewer."""
        if size >= self.count_here:
            yield self.inputs, self.targets
            return
        for start in range(0, self.count_here, size):
            yield self._cut(slice(start, start + size))

    def recut(self) -> "Samples":
        """The same samples, whose chunks are every k-th of them, two at least, where others are taken in order."""
        return Strided(self.inputs, self.targets, self.count, self.share, self.sha256_of_all)

    @property
    def sha256(self) -> str:
        """Of every number, with dtypes and shapes; of those in this process where the others are not known."""
        return self.sha256_of_all or sha256((*trees.tensors(self.inputs), self.targets))

    def _cut(self, rows: Tensor | slice) -> Chunk:
        if self.is_one_piece:
            every = torch.arange(self.count, device=self.targets.device)
            if torch.equal(every[rows].sort().values, every):
                return self.inputs, self.targets
            lengths = ", ".join(str(len(one)) for one in trees.tensors(self.inputs))
            raise BadInput(
                f"a part of the samples, where the inputs have {lengths} entries along axis 0",
                f"all {self.count} samples together",
                "train by gradient descent, with all of them in every step",
            )
        return self._each(lambda part: part[rows])

    def _each(self, change: Callable[[Tensor], Tensor]) -> Chunk:
        return _each(self.inputs, self.targets, change)

    def __iter__(self) -> Iterator[Any]:
        return iter((self.inputs, self.targets))

    def __getitem__(self, half: int) -> Any:
        return (self.inputs, self.targets)[half]


class Strided(Samples):
    """The same samples, every k-th at a time and in two parts at least."""

    def chunks(self, size: int) -> Iterator[Chunk]:
        every = torch.arange(self.count_here)
        count = max(2, -(-len(every) // size))
        for first in range(min(count, len(every))):
            yield self.picked(every[first::count])


def in_dtype(tensor: Tensor, dtype: torch.dtype) -> torch.dtype:
    """What ``tensor`` becomes in ``dtype``: real numbers that dtype, complex ones its complex kin, all others stay."""
    if tensor.is_complex():
        return COMPLEX.get(dtype, torch.complex64)
    return dtype if tensor.is_floating_point() else tensor.dtype


def coarsest(dtypes: Iterable[torch.dtype]) -> torch.dtype:
    """The one of least precision among floating-point dtypes."""
    return max(dtypes, key=lambda dtype: torch.finfo(dtype).eps)


def converted(tensor: Tensor, device: torch.device, dtype: torch.dtype | None) -> Tensor:
    """``tensor`` on the device, and in ``dtype`` as :func:`in_dtype` says; for None in its own.

    One that was made in inference mode is copied, as autograd keeps no other for its backward pass.
    """
    moved = tensor.to(device, tensor.dtype if dtype is None else in_dtype(tensor, dtype))
    return moved.clone() if moved.is_inference() else moved


def _differ(inputs: tuple[Any, ...], targets: Tensor) -> bool:
    return any(len(one) != len(targets) for one in trees.tensors(inputs))


def _each(inputs: tuple[Any, ...], targets: Tensor, change: Callable[[Tensor], Tensor]) -> Chunk:
    """Every tensor changed."""
    return tuple(
        change(part) if isinstance(part, Tensor) else trees.mapped(change, part) for part in inputs
    ), change(targets)


def _targets(targets: Any, inputs: Any) -> Any:
    if targets is None and trees.tensors(inputs):
        return own_targets(inputs)
    return array_like(targets)


def sha256(tensors: Iterable[Tensor]) -> str:
    """A sha256 over every number of some tensors, their dtypes and shapes."""
    digest = hashlib.sha256()
    for one in tensors:
        digest.update(f"{one.dtype} {tuple(one.shape)}".encode())
        if here(one) is not one or isinstance(one, Spread):
            continue  # every process has a part of its own
        digest.update(one.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _no_pair(data: Any) -> BadInput:
    """That data are no pair, and what to do about it."""
    wanted = "a pair (inputs, targets), a list of samples, a Dataset or a DataLoader"
    return BadInput(f"the data are a {type(data).__name__}", wanted, unpaired.remedy(data))


def checked_data(data: Any) -> tuple[tuple[Any, ...], Tensor]:
    """(inputs as a tuple, targets), as many of each and all finite. Raises BadInput.

    A tuple of inputs is one for every argument of the module; anything else is one argument. Inputs that differ in
    length are one piece where integers are among those that are not as many as targets, as they number others; so are
    those of which one numbers the targets, as nodes have the number of their graph.
    Arrays are tensors of their dtype; where the targets are None the inputs stand for them.
    """
    if unpaired.are_several(data):
        raise _no_pair(data)
    try:
        inputs, targets = data
    except (TypeError, ValueError):
        raise _no_pair(data) from None
    given = inputs
    unpaired.require_one_order(inputs, targets)
    inputs = tree_map(array_like, opened(inputs) if isinstance(inputs, Mapping) else inputs)
    targets = _targets(targets, inputs)
    inputs = inputs if isinstance(inputs, tuple) and not isinstance(inputs, PackedSequence) else (inputs,)
    for name, part in (*(("inputs", one) for one in inputs), ("targets", targets)):
        if (unfit := untabled(f"the {name}", part)) is not None:
            raise unfit
        if isinstance(part, list) and (text := text_in(part)) is not None:
            remedy = f"number what is in them, as numpy.unique({name}, return_inverse=True)[1]"
            raise BadInput(f"the {name} are text, {text!r}", "numbers", remedy)
    found = [leaf for leaf in trees.leaves(inputs) if not isinstance(leaf, bool | int | float | str | None)]
    parts = [*(("inputs", part) for part in found), ("targets", targets)]
    for name, part in parts:
        if (unfit := untabled(f"the {name}", part)) is not None:
            raise unfit
        if not isinstance(part, Tensor):
            is_list = isinstance(part, list | range) and bool(found) and len(part) == len(found[0])
            remedy = unpaired.of_list(name, part) if is_list else ""
            if name == "targets" and isinstance(part, tuple | list | Mapping):
                remedy = remedy or TOGETHER
            raise BadInput(f"the {name} are a {type(part).__name__}", "torch tensors", remedy)
        if part.dim() == 0:
            raise BadInput(f"the {name} are a single number", "one entry per sample along axis 0")
    if not found and (listed := unpaired.of_list("inputs", given)):
        raise BadInput(f"the inputs are a {type(given).__name__}", "torch tensors", listed)
    if not found or len(targets) == 0:
        raise BadInput("the data are empty", "at least one sample")
    other = [part for part in found if len(part) != len(targets)]
    is_indexed = any(not (part.is_floating_point() or part.is_complex()) for part in other)
    is_of_groups = len(found) > 1 and any(unpaired.numbers_groups(part, len(targets)) for part in other)
    if other and not (is_indexed and len({len(part) for part in found}) > 1) and not is_of_groups:
        listed = unpaired.of_samples(given, len(targets))
        seen = f"the inputs are a list of {len(given)} samples" if listed else f"{len(other[0])} inputs"
        raise BadInput(f"{seen} and {len(targets)} targets", "as many of each", listed or unpaired.WHOLE)
    for name, part in parts:
        if (part.is_floating_point() or part.is_complex()) and not bool(torch.isfinite(part).all()):
            count = int((~torch.isfinite(part)).sum())
            remedy = ABSENT if name == "targets" else "drop or fill those samples"
            raise BadInput(f"{count} NaN or infinite numbers in the {name}", "finite data", remedy)
    return inputs, targets
