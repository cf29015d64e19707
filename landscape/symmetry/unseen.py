"""What may be added to the parameters of a module while no output sees it: found by slopes of random draws.

See :mod:`landscape.symmetry.translations`. That what is added in some places changes nothing is a linear relation
between sums of slopes, at all parameters; relations are looked for among the places of the same units and of layers
that read them. What is found is a candidate: it is tried on the function.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from math import prod

import torch
from torch import Tensor

from landscape.symmetry import shears
from landscape.symmetry.families import Family
from landscape.symmetry.moments import LEAST_DRAWS, ROWS, Moments, whole_null_space
from landscape.symmetry.permutations import BY_NUMBER, IN_DATA, UNUSED, Block, Symmetry, whole
from landscape.symmetry.slots import Members, Slot, slots_of
from landscape.symmetry.translations import Norm, Reader, Translation, along, at_once, felt

Tensors = Mapping[str, Tensor]
# Slopes are sums of many terms: what rounding leaves of them, in units of the tolerance.
ROUNDED = 50
# Rows of a table, as of positions, that are looked at one by one.
MOST_ROWS = 256


class Unseen:
    """The candidates of a module: ``names`` are its parameters, ``gains`` those of which, and a number, gains are made.

    ``biases``: the name of the one that is added to what a weight makes of its inputs. ``is_data``: whether an axis of
    a tensor is one of the inputs, along which a sum of 0 would be the data's own. ``has_rows``: whether one is of rows
    that are added each where it belongs, whatever the data. ``families``: linear maps that are known, as of units that
    cannot be permuted.
    """

    def __init__(
        self,
        moments: Moments,
        symmetry: Symmetry,
        tensors: Tensors,
        names: Sequence[str],
        *,
        families: Sequence[Family],
        gains: Mapping[str, float],
        biases: Mapping[str, str],
        is_data: Callable[[Slot], bool],
        has_rows: Callable[[Slot], bool],
    ):
        self._moments, self._symmetry, self._tensors = moments, symmetry, tensors
        self._names, self._gains, self._biases, self._is_data = names, gains, biases, is_data
        self._linear = [one for one in families if one.kind == "invertible"]
        self._has_rows = has_rows
        self._blocks = [one for one in symmetry.blocks if one.tensor in names]
        held = {block.tensor for block in self._blocks}
        self._loose = [whole(name, tuple(tensors[name].shape)) for name in names if name not in held]

    def idle(self) -> Iterator[Translation]:
        """Biases of which no output sees anything, as those of keys, unless positions turn them."""
        for block in [*self._blocks, *(one for one in self._loose if self._is_used(one))]:
            last = len(block.shape) - 1
            if len(block.where) > 1 or not 0 <= last <= 1:
                continue
            slot = Slot(block, last, last - 1 if last else None)
            idle = self._moments.idle(slot)
            if idle and (len(idle) == slot.size or block.groups[last] is None):
                slot = slot if len(idle) == slot.size else slot._replace(positions=tuple(idle))
                yield Translation("translation", ((slot, 1),), None, scale=self._scale(slot))

    def alike(self) -> Iterator[Translation]:
        """The same added to all numbers along an axis: scores of a softmax, what a norm centres, what sums to 0."""
        for block in [*self._blocks, *self._loose]:
            done: set[int] = set()
            # A part of an axis before all of it, which is then among it.
            for one, axis in [*((block, k) for k in range(len(block.shape))), *_runs(block)]:
                dim = Slot(one, axis).dim
                slot = along(one, axis)
                if one.shape[axis] < 2 or dim in done or self._is_data(Slot(one, axis)):
                    continue
                found = Translation("translation", ((slot, 1),), None, scale=self._scale(slot))
                if self._is_unseen(found):
                    done.add(dim)
                    yield found

    def between(self) -> Iterator[Translation]:
        """What moves from a place of units to others, or to the biases of layers that read them."""
        for group in self._symmetry.free:
            # What is added to a whole head is among what is added to its channels.
            slots = [
                one
                for one in slots_of(self._symmetry, group, self._names)
                if one.axis not in one.block.outers
            ]
            yield from self._related(slots, [one for slot in slots for one in self._readers(slot)])
        for slots in ([slot for slot, _ in one.members] for one in self._linear if one.group is None):
            yield from self._related(slots, [one for slot in slots for one in self._readers(slot)])
        known = set[str]()
        for slots in self._whole_axes():
            known |= {one.block.tensor for one in slots}
            yield from self._related(slots, [one for slot in slots for one in self._readers(slot)])
        alone = defaultdict(list)
        for block in self._loose:
            if len(block.shape) == 1 and block.tensor not in known:
                alone[block.shape].append(Slot(block, 0))
        for slots in alone.values():
            yield from self._related(slots, [])

    def several(self) -> list[Translation]:
        """All but the idle ones."""
        return apart([*self.alike(), *self.between(), *self.through_norms()])

    def through_norms(self) -> Iterator[Translation]:
        """What readers of a norm that centres see nothing of: multiples of 1 over its gain."""
        for slots in self._streams():
            norms = [one.block for one in slots if len(one.block.shape) == 1]
            gains = [block for block in norms if block.tensor in self._gains]
            for gain in gains:
                layer = gain.tensor.rpartition(".")[0]
                shift = [b for b in norms if b != gain and b.tensor.rpartition(".")[0] == layer]
                norm = Norm(Slot(gain, 0, offset=self._gains[gain.tensor]), shift[0] if shift else None, None)
                for slot in (one for one in slots if one.block != gain):
                    # Without a bias of its own, as keys in Whisper, what comes of the norm's may be idle. And a square
                    # weight may be of a layer that writes what the gain is of, and not of one that reads it.
                    place = along(slot.block, slot.axis)
                    read = [norm._replace(bias=one.bias, dim=one.dim) for one in self._readers(slot)]
                    kinds = (
                        found
                        for known in [*read, norm]
                        if (found := [*self._through(place, known)] or [*self._tied(slot, known, slots)])
                    )
                    yield from next(kinds, [])
                yield from self._of_values(norm)

    def _of_values(self, norm: Norm) -> Iterator[Translation]:
        """Of values without a bias: what the norm's makes of them is taken from the bias of what reads them."""
        for family, sign in product(self._linear if norm.shift is not None else (), (1, -1)):
            readers = tuple(one for slot, a in family.members if a == -sign for one in self._readers(slot))
            for slot in (one for one, a in family.members if a == sign and not self._readers(one)):
                rest = [k for k in range(len(slot.block.shape)) if k not in (slot.axis, slot.outer)]
                if readers and [slot.block.shape[k] for k in rest] == [norm.gain.size]:
                    yield from self._through(slot, norm._replace(readers=readers))

    def _through(self, place: Slot, norm: Norm) -> Iterator[Translation]:
        """Of all units of a place, or of rows alone of which nothing is seen, as of keys that are turned in part."""
        found = Translation("translation", ((place, 1),), None, norm=norm, scale=self._scale(place))
        if self._is_unseen(found):
            yield found
        elif place.size == 1 and norm.bias is None and not norm.readers and not self._is_picked(place.block):
            rows = place._replace(axis=0, outer=2)
            units = self._unseen(replace(found, members=((rows, 1),)))
            if units:
                yield replace(found, members=((rows.some(units), 1),))

    def _tied(self, slot: Slot, norm: Norm, others: Sequence[Slot]) -> Iterator[Translation]:
        """Of all rows of a table that is read through the norm and looked up as well, which another table pays for."""
        for other in others if _is_table(slot) else ():
            if _is_table(other) and other.block.tensor != slot.block.tensor:
                members = ((at_once(slot), 1), (at_once(other), -1))
                found = Translation("translation", members, None, norm=norm, scale=self._scale(slot))
                if self._is_unseen(found):
                    yield found
                    return

    def shears(self) -> Iterator[shears.Shear]:
        """Of the norms that centre, with a bias, whose readers are not all with one."""
        for gain, shift, slots in self._norms():
            weights = [one for one in slots if len(one.block.where) > 1]
            biased = [one for weight in weights for one in self._readers(weight)]
            plain = [one for one in weights if not self._readers(one)]
            rows = []
            for values, slopes in self._moments.draws(max(LEAST_DRAWS, -(-ROWS * len(slots) // gain.size))):
                h = 1 / gain.of(values).flatten().double()
                moved = h @ shift.of(values).flatten()
                columns = [moved * shift.stored(slopes).flatten()]
                columns += [shears.felt(one, h, values, slopes) for one in plain]
                columns += [moved * felt([one.moves(values)], slopes, gain.size) for one in biased]
                rows.append(torch.stack(columns, 1))
            for first, *others in whole_null_space(torch.cat(rows), self._moments.tolerance):
                members = [(one, a) for one, a in zip(plain, others, strict=False) if a]
                readers = [(one, a) for one, a in zip(biased, others[len(plain) :], strict=True) if a]
                if first == 1 and {a for _, a in members} == {-1} and {a for _, a in readers} <= {1}:
                    reading = tuple(one for one, _ in readers)
                    members, scale = ((shift, 1), *members), self._scale(gain)
                    yield shears.Shear("shear", members, None, gain=gain, readers=reading, scale=scale)

    def _norms(self) -> Iterator[tuple[Slot, Slot, list[Slot]]]:
        """The gain and the bias of every norm that has both, and the places of their units."""
        for slots in self._streams():
            single = [one for one in slots if len(one.block.shape) == 1]
            for gain, shift in product(single, single):
                name, other = gain.block.tensor, shift.block.tensor
                is_one_layer = name.rpartition(".")[0] == other.rpartition(".")[0] and name != other
                if name in self._gains and is_one_layer:
                    yield gain._replace(offset=self._gains[name]), shift, slots

    def _streams(self) -> Iterator[list[Slot]]:
        """The places of the units of every group, and of what norms see as one."""
        for group in self._symmetry.free:
            yield [one for one in slots_of(self._symmetry, group, self._names) if one.outer is None]
        yield from self._whole_axes()

    def _whole_axes(self) -> Iterator[list[Slot]]:
        """Axes that are alike and that a norm sees as one, though they are of several groups or at rest."""
        alike: dict[object, list[Slot]] = defaultdict(list)
        for name in self._names:
            for dim, size in enumerate(self._tensors[name].shape):
                alike[size, self._made(name, dim)].append(
                    Slot(whole(name, tuple(self._tensors[name].shape)), dim)
                )
        for slots in alike.values():
            if any(one.block.tensor in self._gains and len(one.block.shape) == 1 for one in slots):
                yield slots

    def _made(self, name: str, dim: int) -> object:
        """What an axis of a tensor is made of: its own, where one group is all of it; nothing, where all is at rest."""
        parts = {
            (one.where[dim], tuple(g for k, g in enumerate(one.groups) if Slot(one, k).dim == dim))
            for one in self._symmetry.blocks
            if one.tensor == name
        }
        groups = [group for _, one in parts for group in one]
        is_one_group = len(parts) == len(groups) == 1 and groups != [None]
        return (
            (name, dim) if is_one_group else frozenset(parts) if any(g is not None for g in groups) else None
        )

    def _related(self, slots: Sequence[Slot], readers: Sequence[Reader]) -> Iterator[Translation]:
        slots = [row for slot in slots for row in self._rows(slot)]
        if not slots or len(slots) + len(readers) < 2:
            return
        each = slots[0].of(self._tensors).shape[:2].numel()
        count = max(LEAST_DRAWS, -(-ROWS * (len(slots) + len(readers)) // each))
        rows = []
        for values, slopes in self._moments.draws(count):
            columns = [slot.stored(slopes).sum(2).flatten() for slot in slots]
            columns += [felt([reader.moves(values)], slopes, each) for reader in readers]
            rows.append(torch.stack(columns, 1))
        for vector in whole_null_space(torch.cat(rows), self._moments.tolerance):
            members = _in_runs([(slot, a) for slot, a in zip(slots, vector, strict=False) if a])
            reading = tuple(
                reader._replace(times=a) for reader, a in zip(readers, vector[len(slots) :], strict=True) if a
            )
            if members:
                scale = self._scale(members[0][0])
                yield Translation("translation", members, None, readers=reading, scale=scale)

    def _rows(self, slot: Slot) -> list[Slot]:
        """The units in each row of a table, as a class token has that of its position to itself."""
        block = slot.block
        others = [k for k, size in enumerate(block.shape) if k != slot.axis and size > 1]
        if len(others) != 1 or block.groups[others[0]] is not None or slot.outer is not None:
            return [slot]
        dim, n = Slot(block, others[0]).dim, block.shape[others[0]]
        if n > MOST_ROWS or block.where[dim] != (0, n) or not self._has_rows(Slot(block, others[0])):
            return [slot]
        kept = Block(block.tensor, block.where, (slot.size,), (block.groups[slot.axis],), (None,))
        boxes = [(*block.where[:dim], (i, i + 1), *block.where[dim + 1 :]) for i in range(n)]
        return [slot._replace(block=kept._replace(where=box), axis=0) for box in boxes]

    def _readers(self, slot: Slot) -> list[Reader]:
        """The layer whose weight a slot is of, if it has a bias along another axis."""
        name = slot.block.tensor
        bias = self._biases.get(name, "")
        if len(slot.block.where) < 2 or bias not in self._names:
            return []
        shape = self._tensors[name].shape
        dims = [d for d in range(len(shape)) if d != slot.dim and (shape[d],) == self._tensors[bias].shape]
        if not dims:
            return []
        start, stop = slot.block.where[dims[0]]
        n = stop - start
        return [Reader(slot, Block(bias, ((start, stop),), (n,), (None,), (None,)), dims[0])]

    def _is_unseen(self, found: Translation) -> bool:
        """Whether what is added is felt nowhere, though its places are."""
        slot, _ = found.members[0]
        return len(self._unseen(found, is_each=False)) == found.copies * slot.size

    def _unseen(self, found: Translation, *, is_each: bool = True) -> list[int]:
        """The units to which what is added is felt nowhere, though their places are: each of them, or some."""
        count = found.copies * found.size
        seen, felt_there = torch.zeros(count, dtype=torch.bool), torch.zeros(count, dtype=torch.bool)
        for values, slopes in self._moments.draws(LEAST_DRAWS):
            (slot, _), *_ = found.members
            size = slot.stored(slopes) * found.weights(values, slot)
            # A unit that little leads to the outputs by is felt beside itself, and not beside the others.
            size = size.norm(dim=2).flatten() if is_each else size.norm()
            largest = max(float(one.abs().max()) for one in slopes.values() if one.numel())
            each = slot.stored(slopes).abs().amax(2).flatten()
            seen |= each > self._moments.tolerance * largest
            left = felt(found.moves(values), slopes, count)
            felt_there |= left.abs() > ROUNDED * self._moments.tolerance * size
            if bool(felt_there.all()):
                break
        there = seen if is_each else seen.any()
        return (there & ~felt_there).nonzero().flatten().tolist()

    def _is_picked(self, block: Block) -> bool:
        """Whether the data pick positions of a tensor, which may be others than they are here."""
        said = self._symmetry.reasons[block.tensor]
        return IN_DATA in said or BY_NUMBER in said

    def _is_used(self, block: Block) -> bool:
        return UNUSED not in self._symmetry.reasons[block.tensor]

    def _scale(self, slot: Slot) -> float:
        size = float(slot.of(self._tensors).double().square().mean().sqrt())
        return size or 1.0


def _is_table(slot: Slot) -> bool:
    """Whether it is of the columns of a matrix."""
    return len(slot.block.where) == len(slot.block.shape) == 2 and slot.axis == 1


def _in_runs(members: Sequence[tuple[Slot, int]]) -> Members:
    """Rows of a table that lie side by side and move alike, as one."""
    found: list[tuple[Slot, int]] = []
    for slot, a in members:
        (before, times), n = found[-1] if found else (slot, 0), slot.size
        ends = list(zip(before.block.where, slot.block.where, strict=False))
        apart = [dim for dim, (one, other) in enumerate(ends) if one != other]
        is_row = slot.block.shape == (n,) and before.block.tensor == slot.block.tensor and len(apart) == 1
        if times == a and is_row and ends[apart[0]][0][1] == ends[apart[0]][1][0]:
            (start, _), (_, stop) = ends[apart[0]]
            where = (*slot.block.where[: apart[0]], (start, stop), *slot.block.where[apart[0] + 1 :])
            axis = int(apart[0] < slot.dim)
            pair = (slot.block.groups[0], None)
            groups = pair[::-1] if axis else pair
            shape = (stop - start, n) if axis else (n, stop - start)
            block = Block(slot.block.tensor, where, shape, groups, (None, None))
            found[-1] = (slot._replace(block=block, axis=axis), a)
        else:
            found.append((slot, a))
    return tuple(found)


def _runs(block: Block) -> Iterator[tuple[Block, int]]:
    """The block with neighbouring axes of one axis of its tensor as one, and which: shorter runs first."""
    dims = [Slot(block, axis).dim for axis in range(len(block.shape))]
    for length, first in product(range(2, len(dims) + 1), range(len(dims))):
        stop = first + length
        if stop <= len(dims) and len(set(dims[first:stop])) == 1:
            shape = (*block.shape[:first], prod(block.shape[first:stop]), *block.shape[stop:])
            none = (None,) * len(shape)
            yield Block(block.tensor, block.where, shape, none, none), first


def apart(found: Sequence[Translation]) -> list[Translation]:
    """The same, each with a place first that as few others move as may be, as that is where it is made 0.

    But for what is read through a norm, whose bias is that of the first.
    """
    count = Counter(slot.place for one in found for slot, _ in one.members)
    return [
        replace(one, members=tuple(sorted(one.members, key=lambda member: count[member[0].place])))
        if one.norm is None
        else one
        for one in found
    ]
