"""Numbers that may be added to parameters while no output sees it, and where they bring B closest to A.

A softmax does not see what is added to all its scores, a norm that centres (LayerNorm, GroupNorm) not what is written
along ones, two tables that are summed not what moves from one to the other, and what a layer reads may be added to
where the layer takes it away: a bias of values from that of the output, the bias of a norm from those of its readers.
All are linear in what is added, so slopes say which there are and least squares which is nearest.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import lsmr
from torch import Tensor

from landscape.symmetry.families import Family
from landscape.symmetry.permutations import Block
from landscape.symmetry.slots import Slot

Tensors = Mapping[str, Tensor]
# A tensor, flat places in it, of each the number of a translation that is added to it, and how many times.
Entries = tuple[str, Tensor, Tensor, Tensor]
MOST_STEPS, MOST_ROUNDS, MOST_FOLDS, STILL = 300, 6, 100, 1e-13
# What one round of least squares leaves to the next; of the distance, what is worth another round.
LEFT, WORTH = 1e-8, 1e-3


class Reader(NamedTuple):
    """A layer that reads the units of ``weight`` and has the ``bias``, along ``dim``, from which it takes W δ."""

    weight: Slot
    bias: Block
    dim: int
    times: int = 1

    def moves(self, tensors: Tensors) -> Entries:
        """What it takes from every number of the bias for a number of each unit."""
        block = self.weight.block
        numbers = torch.full(block.shape, -1)
        whole = self.weight._replace(block=block._replace(where=tuple((0, n) for n in block.shape)))
        units = torch.arange(self.weight.of(tensors).shape[:2].numel())
        shape = whole.of({block.tensor: numbers}).shape
        whole.put({block.tensor: numbers}, units.reshape(*shape[:2], 1).expand(shape))
        box = block.box(tensors[block.tensor])
        read = numbers.reshape(box.shape)
        places = torch.arange(box.shape[self.dim]) + self.bias.where[0][0]
        places = places.reshape([-1 if dim == self.dim else 1 for dim in range(box.dim())]).expand(box.shape)
        is_read = read >= 0
        return self.bias.tensor, places[is_read], read[is_read], -self.times * box[is_read].double()


class Norm(NamedTuple):
    """The gain of a norm that centres, its bias if it has one, and the bias of a layer that reads it, along ``dim``.

    ``readers``: of the units of a layer that has no bias, as values, what reads them in turn.
    """

    gain: Slot
    shift: Block | None
    bias: Block | None
    dim: int = 0
    readers: tuple[Reader, ...] = ()

    @property
    def blocks(self) -> list[Block]:
        parts = [part for part in (self.gain.block, self.shift, self.bias) if part is not None]
        return parts + [part for one in self.readers for part in (one.weight.block, one.bias)]


@dataclass(frozen=True)
class Translation(Family):
    """δ (copies, n), added a times to every number of each unit in its members' slots.

    ``readers`` take away what they see of it. With ``norm`` it is δ over the gain of what is read through the norm,
    and the reader's bias takes away what it sees of the norm's bias. ``scale``: of a random one.
    """

    readers: tuple[Reader, ...] = ()
    norm: Norm | None = None
    scale: float = 1.0

    @property
    def tensors(self) -> set[str]:
        """All that it moves or reads."""
        blocks = [slot.block for slot, _ in self.members]
        blocks += [part for reader in self.readers for part in (reader.weight.block, reader.bias)]
        blocks += self.norm.blocks if self.norm is not None else []
        return {block.tensor for block in blocks}

    def random(self, generator: torch.Generator) -> Tensor:
        """Normal, of the size of what it is added to."""
        drawn = torch.randn(self.copies, self.size, generator=generator, dtype=torch.float64)
        return self.scale * drawn

    def acted(self, tensors: Tensors, element: Tensor) -> dict[str, Tensor]:
        found = dict(tensors)
        for name, places, numbers, times in self.moves(tensors):
            added = (times * element.flatten()[numbers]).to(found[name])
            found[name] = found[name].flatten().index_add(0, places, added).reshape(found[name].shape)
        return found

    def moves(self, tensors: Tensors) -> Iterator[Entries]:
        """What a number of it adds to each of those that it moves."""
        units = torch.arange(self.copies * self.size).reshape(self.copies, self.size, 1)
        for slot, a in self.members:
            name = slot.block.tensor
            numbers = torch.full(tensors[name].shape, -1)
            times = torch.zeros(tensors[name].shape, dtype=torch.float64)
            shape = slot.of({name: numbers}).shape
            slot.put({name: numbers}, units.expand(shape))
            slot.put({name: times}, (a * self.weights(tensors, slot)).expand(shape))
            places = (numbers.flatten() >= 0).nonzero().flatten()
            yield name, places, numbers.flatten()[places], times.flatten()[places]
        yield from (reader.moves(tensors) for reader in self.readers)
        if self.norm is None or self.norm.shift is None:
            return
        seen = (self.norm.shift.of(tensors).flatten().double() * self.weights(tensors)).sum()
        for reader in self.norm.readers:
            name, places, numbers, times = reader.moves(tensors)
            yield name, places, numbers, seen * times
        if self.norm.bias is not None:
            # A bias sees what is added at every place of a kernel, or of an image.
            (slot, _), *_ = self.members
            numbers = torch.full(tensors[slot.block.tensor].shape, -1)
            slot.put({slot.block.tensor: numbers}, units.expand(slot.of({slot.block.tensor: numbers}).shape))
            rows = slot.block.box(numbers).movedim(self.norm.dim, 0).flatten(1)
            each = torch.stack([row.unique() for row in rows])
            places = torch.arange(len(rows)) + self.norm.bias.where[0][0]
            places = places[:, None].expand(each.shape).flatten()
            yield self.norm.bias.tensor, places, each.flatten(), -seen.expand(len(places))

    def folded(self, tensors: Tensors) -> dict[str, Tensor]:
        """The same function with the first slot's numbers of every unit 0 on average."""
        slot, a = self.members[0]
        weights = self.weights(tensors, slot)
        values = slot.of(tensors).double() * torch.where(weights == 0, 0.0, 1 / weights)
        return self.acted(tensors, -values.mean(2) / a)

    def weights(self, tensors: Tensors, slot: Slot | None = None) -> Tensor:
        """1, or 1 over each gain; 0 where one of them is 0, which hides what the others would cancel.

        For the numbers of every unit of a ``slot``, of which there may be several rows.
        """
        if self.norm is None:
            return torch.ones((), dtype=torch.float64)
        gain = self.norm.gain.of(tensors).flatten().double()
        found = 1 / gain if bool((gain != 0).all()) else torch.zeros_like(gain)
        return found if slot is None else found.repeat(slot.of(tensors).shape[2] // len(gain))


def along(block: Block, axis: int) -> Slot:
    """All numbers of a block as units that are told apart by every axis but one, of which none is seen alone."""
    shape = (prod(block.shape[:axis]), block.shape[axis], prod(block.shape[axis + 1 :]))
    return Slot(Block(block.tensor, block.where, shape, (None,) * 3, (None,) * 3), 2, 0)


def at_once(slot: Slot) -> Slot:
    """All numbers of a table as those of one unit, row by row."""
    return Slot(Block(*slot.block[:2], (prod(slot.block.shape), 1), (None, None), (None, None)), 1)


def felt(moves: Iterable[Entries], slopes: Tensors, count: int) -> Tensor:
    """What each of ``count`` numbers adds to Σ ⟨slope, θ⟩."""
    total = torch.zeros(count, dtype=torch.float64)
    for name, places, numbers, times in moves:
        if name in slopes:
            total.index_add_(0, numbers, times * slopes[name].flatten()[places].double())
    return total


def nearest_translations(families: Sequence[Translation], a: Tensors, b: Tensors) -> list[Tensor]:
    """The elements that together bring B closest to A, to first order where one moves what another reads.

    Sparse least squares, every column at length 1, by LSMR (Fong and Saunders 2011): of several, the shortest.
    """
    shapes = [(one.copies, one.size) for one in families]
    sizes = [prod(shape) for shape in shapes]
    names = sorted({name for one in families for name in one.tensors if name in a})
    starts = dict(zip(names, accumulate((b[name].numel() for name in names), initial=0), strict=False))
    rows, columns, values = [], [], []
    for family, first in zip(families, accumulate(sizes, initial=0), strict=False):
        for name, places, numbers, times in family.moves(b):
            if name in starts:
                rows.append(places + starts[name])
                columns.append(numbers + first)
                values.append(times)
    apart = torch.cat([(a[name] - b[name]).double().flatten() for name in names]).numpy()
    matrix = csr_array(
        (torch.cat(values).numpy(), (torch.cat(rows).numpy(), torch.cat(columns).numpy())),
        shape=(len(apart), sum(sizes)),
    )
    lengths = np.sqrt(matrix.multiply(matrix).sum(0))
    lengths[lengths == 0] = 1
    scaled = matrix @ diags_array(1 / lengths)
    found = lsmr(scaled, apart, atol=LEFT, btol=LEFT, conlim=0, maxiter=MOST_STEPS)[0] / lengths
    flat = torch.from_numpy(found).split(sizes)
    return [part.reshape(shape) for part, shape in zip(flat, shapes, strict=True)]


def untranslated(families: Sequence[Family], tensors: Tensors) -> dict[str, Tensor]:
    """With averages of 0 of what every translation moves: where any point of the orbit of translations comes to."""
    moving = [one for one in families if isinstance(one, Translation)]
    found = dict(tensors)
    # One may put back what another took away, and does so in turn along a chain of layers.
    for _ in range(MOST_FOLDS if moving else 0):
        before = found
        for family in moving:
            found = family.folded(found)
        if _distance(before, found) <= STILL * _distance(before, dict.fromkeys(before, torch.zeros(()))):
            break
    return found


def translated(
    families: Sequence[Family], a: Tensors, b: Tensors, rounds: int = MOST_ROUNDS
) -> dict[str, Tensor]:
    """B closest to A by translations, all of them together."""
    moving = [one for one in families if isinstance(one, Translation)]
    found = dict(b)
    for _ in range(rounds if moving else 0):
        before = found
        for family, element in zip(moving, nearest_translations(moving, a, found), strict=True):
            found = family.acted(found, element)
        if _distance(a, found) >= _distance(a, before) * (1 - WORTH):
            return found if _distance(a, found) < _distance(a, before) else before
    return found


def _distance(a: Tensors, b: Tensors) -> float:
    return sum(float((b[name].double() - a[name].double()).square().sum()) for name in a) ** 0.5
