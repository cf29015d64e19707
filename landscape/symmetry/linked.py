"""Invertible maps of layers in a row, all of them at once: each alone would go by what the others have not yet moved.

A weight W between two maps is of the orbit of A's where M W_B N⁻¹ = W_A, which is M W_B = W_A N: linear in all maps, so
that least squares has them in one step where A is of the orbit of B.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, lsmr
from torch import Tensor

from landscape.symmetry.families import Family
from landscape.symmetry.permutations import Block
from landscape.symmetry.slots import Slot

Tensors = Mapping[str, Tensor]
MOST_STEPS, LEFT = 1000, 1e-10
# Maps worse conditioned than this are none.
WORST = 1e6


class Side(NamedTuple):
    """The number of a map, and the units that it moves in a place."""

    number: int
    slot: Slot


class Place(NamedTuple):
    """A weight, the map that acts on it as M and that which acts as N⁻¹."""

    block: Block
    written: Side | None
    read: Side | None

    def moved(self, side: Side | None, tensors: Tensors, maps: Mapping[int, Tensor], rest: float) -> Tensor:
        """Its numbers as the map of one side moves them, M W or W N, and ``rest`` times those that stay."""
        whole = {self.block.tensor: rest * tensors[self.block.tensor].double()}
        if side is not None:
            by = maps[side.number] if side == self.written else maps[side.number].mT
            side.slot.put(whole, by @ side.slot.of(tensors).double())
        return self.block.box(whole[self.block.tensor])


def linked(families: Sequence[Family], a: Tensors, b: Tensors) -> dict[str, Tensor]:
    """B moved by those invertible ``families`` that have a weight in common, to the least Σ ‖M W_B − W_A N‖².

    As it is where none have, or where that takes a map that is hardly one. Where A is not of the orbit of B it may lie
    farther away than it did.
    """
    places = _of_rows([one for one in _places(families) if one.block.tensor in a])
    if not places:
        return dict(b)
    found, maps = dict(b), _least(families, places, a, b)
    for number, one in maps.items():
        if not bool((torch.linalg.cond(one) < WORST).all()):
            return dict(b)
        found = families[number].acted(found, one)
    return found


def _places(families: Sequence[Family]) -> list[Place]:
    """Every place that at most one map writes and one reads."""
    sides: dict[object, tuple[list[Side], list[Side]]] = defaultdict(lambda: ([], []))
    for number, family in enumerate(families):
        for slot, exponent in family.members:
            sides[slot.place][exponent < 0].append(Side(number, slot))
    return [
        Place((written or read)[0].slot.block, *(side[0] if side else None for side in (written, read)))
        for written, read in sides.values()
        if len(written) < 2 and len(read) < 2 and not any(side.slot.offset for side in (*written, *read))
    ]


def _of_rows(places: Sequence[Place]) -> list[Place]:
    """Those of maps that have a weight in common with another."""
    in_rows = {
        side.number
        for one in places
        if one.written and one.read and one.written.number != one.read.number
        for side in (one.written, one.read)
    }
    return [one for one in places if any(side and side.number in in_rows for side in one[1:])]


def _least(families: Sequence[Family], places: Sequence[Place], a: Tensors, b: Tensors) -> dict[int, Tensor]:
    """By number the maps nearest to 1 of least Σ ‖M W_B − W_A N‖², by LSMR (Fong and Saunders 2011)."""
    numbers = sorted({side.number for one in places for side in one[1:] if side})
    shapes = {i: (families[i].copies, families[i].size, families[i].size) for i in numbers}
    count = sum(torch.Size(shape).numel() for shape in shapes.values())

    def cut(flat: np.ndarray) -> dict[int, Tensor]:
        parts = torch.from_numpy(flat).split([torch.Size(shapes[i]).numel() for i in numbers])
        return {i: part.reshape(shapes[i]) for i, part in zip(numbers, parts, strict=True)}

    def apart(maps: Mapping[int, Tensor], rest: float) -> np.ndarray:
        """M W_B − W_A N of every place, with ``rest`` times what no map moves."""
        return _flat(
            one.moved(one.written, b, maps, rest) - one.moved(one.read, a, maps, rest) for one in places
        )

    def felt(left: np.ndarray) -> np.ndarray:
        """The transpose of what maps do."""
        found = {i: torch.zeros(shape, dtype=torch.float64) for i, shape in shapes.items()}
        start = 0
        for one in places:
            like = one.block.box(a[one.block.tensor])
            part = torch.from_numpy(left[start : start + like.numel()]).reshape(like.shape)
            start += like.numel()
            slopes = {one.block.tensor: torch.zeros_like(a[one.block.tensor], dtype=torch.float64)}
            one.block.box(slopes[one.block.tensor]).copy_(part)
            if one.written:
                found[one.written.number] += one.written.slot.of(slopes) @ one.written.slot.of(b).double().mT
            if one.read:
                found[one.read.number] -= one.read.slot.of(a).double() @ one.read.slot.of(slopes).mT
        return _flat(found[i] for i in numbers)

    still = {
        i: torch.eye(shape[1], dtype=torch.float64).repeat(shape[0], 1, 1) for i, shape in shapes.items()
    }
    wanted = -apart(still, 1.0)
    shape, image = (len(wanted), count), lambda v: apart(cut(np.ravel(v)), 0.0)
    operator = LinearOperator(shape, matvec=image, rmatvec=felt, dtype=float)  # pyright: ignore[reportCallIssue]
    step = lsmr(operator, wanted, atol=LEFT, btol=LEFT, conlim=0, maxiter=MOST_STEPS)[0]
    return {i: still[i] + part for i, part in cut(step).items()}


def _flat(parts: Iterable[Tensor]) -> np.ndarray:
    return torch.cat([part.flatten() for part in parts]).numpy()
