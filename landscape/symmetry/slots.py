"""Where the units of a group stand in the tensors, and linear maps that act on them there.

A map M of the units acts on a slot of exponent 1 as M, and on one of exponent −1 as M⁻ᵀ, so that what is summed over
the units of both stays as it is. Units that are only scaled, by c, are multiplied by c to the exponent.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from landscape.symmetry.permutations import Block, Symmetry


class Slot(NamedTuple):
    """Units along an ``axis`` of a block, a copy of them for every position along the axis ``outer``, if there is one.

    ``positions``: where on the axis they stand, in order; () for all of it. ``offset``: what is added to a number of
    the tensor to have that of a unit, 1 for a gain of 1 + w.
    """

    block: Block
    axis: int
    outer: int | None = None
    positions: tuple[int, ...] = ()
    offset: float = 0.0

    @property
    def size(self) -> int:
        return len(self.positions) or self.block.shape[self.axis]

    def some(self, units: Iterable[int]) -> "Slot":
        """These of its units alone, in this order."""
        return self._replace(positions=tuple(self.positions[i] if self.positions else i for i in units))

    @property
    def dim(self) -> int:
        """The axis of the tensor that its axis of the block is a part of."""
        sizes = [stop - start for start, stop in self.block.where]
        if self.size == 1 and 1 in sizes:
            return sizes.index(1)
        position = 0
        for dim, (start, stop) in enumerate(self.block.where):
            left = stop - start
            while left > 1:
                if position == self.axis:
                    return dim
                left //= self.block.shape[position]
                position += 1
        return len(self.block.where) - 1

    @property
    def head(self) -> int | None:
        """The group of what its units have a copy for, if there is one."""
        return None if self.outer is None else self.block.groups[self.outer]

    @property
    def place(self) -> tuple[str, tuple[tuple[int, int], ...]]:
        """The box it is of."""
        return self.block.tensor, self.block.where

    def of(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The units' numbers, (copies, units, everything else)."""
        stored = self.stored(tensors)
        return stored + self.offset if self.offset else stored

    def stored(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """What stands in the tensors there, as slopes of them do: without ``offset``."""
        return self._fronted(self.block.of(tensors)).flatten(2)

    def put(self, tensors: Mapping[str, Tensor], values: Tensor) -> None:
        """Writes the units' numbers, as :meth:`of` gives them, into a tensor."""
        whole = self.block.of(tensors).clone()
        values = values - self.offset if self.offset else values
        ends = (0, 1) if self.outer is not None else (0,)
        front = whole.movedim(self._front, ends)
        front = front if self.outer is not None else front[None]
        if self.positions:
            front[:, list(self.positions)] = values.reshape(self._fronted(whole).shape[: front.dim()])
        else:
            front.copy_(values.reshape(front.shape))
        place = self.block.box(tensors[self.block.tensor])
        place.copy_(whole.reshape(place.shape))

    @property
    def _front(self) -> tuple[int, ...]:
        return (self.axis,) if self.outer is None else (self.outer, self.axis)

    def _fronted(self, values: Tensor) -> Tensor:
        """A view (copies, units, …, 1), so that a number for each unit has something else, too."""
        front = values.movedim(self._front, tuple(range(len(self._front))))
        front = front[None] if self.outer is None else front
        front = front[:, list(self.positions)] if self.positions else front
        return front[..., None]


Members = tuple[tuple[Slot, int], ...]


def slots_of(symmetry: Symmetry, group: int, names: Iterable[str]) -> list[Slot]:
    """Every place of the units of a group in the tensors ``names``."""
    names = set(names)
    return [
        Slot(block, axis, block.outers[axis])
        for block in symmetry.of(group)
        if block.tensor in names
        for axis, one in enumerate(block.groups)
        if one == group
    ]


def at_rest_together(block: Block, loose: Collection[int | None] = ()) -> Block:
    """The same box with neighbouring axes of one axis of the tensor as one, where no group is on any of them.

    The groups ``loose`` are taken for none.
    """
    shape: list[int] = []
    groups: list[int | None] = []
    place: list[int] = []  # of each old axis
    dims = [Slot(block, axis).dim for axis in range(len(block.shape))]
    known = [None if group in loose else group for group in block.groups]
    for axis, (size, group) in enumerate(zip(block.shape, known, strict=True)):
        is_next = axis > 0 and dims[axis] == dims[axis - 1] and group is None and groups[-1] is None
        if is_next:
            shape[-1] *= size
        else:
            shape.append(size)
            groups.append(group)
        place.append(len(shape) - 1)
    outers: list[int | None] = [None] * len(shape)
    for axis, outer in enumerate(block.outers):
        if outer is not None and known[axis] is not None:
            outers[place[axis]] = place[outer]
    return Block(block.tensor, block.where, tuple(shape), tuple(groups), tuple(outers))


def joined(slots: Iterable[Slot]) -> list[list[Slot]]:
    """The units each with each of those beside them in the same copies, as channels with the heads of a group of heads.

    Those that are of the same two groups together.
    """
    found: dict[tuple[int | None, ...], list[Slot]] = {}
    for slot in slots:
        block, outer = slot.block, slot.outer
        for first in (slot.axis - 1, slot.axis):
            pair = (first, first + 1)
            if outer is None or slot.positions or first < 0 or outer in pair or pair[1] == len(block.shape):
                continue
            is_one_axis = len({Slot(block, axis).dim for axis in pair}) == 1
            if is_one_axis and all(block.groups[k] is not None and block.outers[k] == outer for k in pair):
                rest = slice(first + 2, None)
                size = block.shape[first] * block.shape[first + 1]
                places = [axis - (axis > first) for axis in range(len(block.shape))]
                outers = [None if one is None else places[one] for one in block.outers]
                whole = Block(
                    *block[:2],
                    (*block.shape[:first], size, *block.shape[rest]),
                    (*block.groups[:first], None, *block.groups[rest]),
                    (*outers[:first], None, *outers[rest]),
                )
                key = tuple(block.groups[k] for k in pair)
                found.setdefault(key, []).append(slot._replace(block=whole, axis=first, outer=places[outer]))
    return list(found.values())


def layer_of(slot: Slot) -> tuple[str, tuple[int, int]]:
    """The layer whose tensor it is of, and which part of its axis."""
    return slot.block.tensor.rpartition(".")[0], slot.block.where[slot.dim]


def acted(tensors: Mapping[str, Tensor], members: Members, element: Tensor) -> dict[str, Tensor]:
    """The tensors moved by ``element``: scales c (copies, n), or maps M (copies, n, n) of every copy."""
    found = dict(tensors)
    for name in {slot.block.tensor for slot, _ in members}:
        found[name] = tensors[name].clone()
    for slot, exponent in members:
        values = slot.of(found).clone()  # for slopes; what it is of is written into
        if element.dim() == 2:
            by = element.to(values).pow(exponent)[:, :, None]
            slot.put(found, values * by)
        else:
            by = element if exponent == 1 else torch.linalg.inv(element).mT
            slot.put(found, by.to(values) @ values)
    return found
