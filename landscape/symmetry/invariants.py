"""What continuous symmetries leave as it is, for permutations to be matched on."""

from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement, product

import torch
from torch import Tensor

from landscape.symmetry.families import TURNS, Family
from landscape.symmetry.permutations import Block, Symmetry
from landscape.symmetry.shears import Shear
from landscape.symmetry.slots import Slot

Tensors = Mapping[str, Tensor]
AMONG = "its permutations are among the maps of its family"


def without(symmetry: Symmetry, families: Sequence[Family]) -> Symmetry:
    """The symmetry without the permutations that are among the maps of families, wherever the units stand.

    Not those of which some places are of another layer, as of keys where a map is of what is asked alone.
    """
    linear = [one for one in families if one.kind in (*TURNS, "invertible") and one.group is not None]
    moved = {slot.place for family in linear for one in (family, *family.gains) for slot, _ in one.members}
    moved |= {slot.place for one in families if one.kind == "translation" for slot, _ in one.members}
    groups = {one.group for one in linear if one.group is not None}
    gone = {group for group in groups if all(block[:2] in moved for block in symmetry.of(group))}
    found = symmetry
    for group in gone:
        found = found.without(group, AMONG)
    blocks = tuple(freed(block, found) for block in symmetry.blocks)
    return Symmetry(found.groups, blocks, symmetry.names, symmetry.reasons)


def freed(block: Block, symmetry: Symmetry) -> Block:
    gone = [i for i, group in enumerate(symmetry.groups) if group.reason == AMONG]
    kept = [None if group in gone else group for group in block.groups]
    outers = [None if group is None else outer for group, outer in zip(kept, block.outers, strict=True)]
    return block._replace(groups=tuple(kept), outers=tuple(outers))


def invariant(
    symmetry: Symmetry, families: Sequence[Family], points: Sequence[Tensors]
) -> tuple[Symmetry, list[dict[str, Tensor]]]:
    """The symmetry, and each of the points, with products in place of the weights that a linear map is between.

    And without what shears move. Turns among ``families`` are those of which nothing is known yet, as of heads.
    """
    linear = [one for one in families if one.kind in ("invertible", "rotary", *TURNS)]
    gone = {slot.place for one in linear for slot, _ in one.members}
    blocks = [block for block in symmetry.blocks if block[:2] not in gone]
    found = [dict(one) for one in points]
    for family in families:
        if isinstance(family, Shear):
            found = [family.hidden(one) for one in found]
    for number, family in enumerate(linear):
        sides = [[slot for slot, a in family.members if a == sign] for sign in (1, -1)]
        # A turn leaves the products of all that it turns as they are.
        is_turn = family.kind in TURNS
        pairs = combinations_with_replacement(sides[0], 2) if is_turn else product(*sides)
        # What another map moves along its other axis says nothing, and hides what others say.
        along = {(slot.place, slot.dim) for one in linear if one is not family for slot, _ in one.members}
        for i, (one, other) in enumerate(pairs):
            if any(place == slot.place and dim != slot.dim for place, dim in along for slot in (one, other)):
                continue
            name = f"product {number}.{i}"
            for tensors in found:
                tensors[name] = _product(family, one, other, tensors)
            blocks.append(_block_of_product(name, family, one, other, symmetry, tuple(found[0][name].shape)))
    return Symmetry(symmetry.groups, tuple(blocks), symmetry.names, symmetry.reasons), found


def _product(family: Family, one: Slot, other: Slot, tensors: Tensors) -> Tensor:
    """Σ over units of the one times the other, (copies, …, …); for rotary pairs, (copies, pairs, 2, …, …)."""
    x, y = (slot.of(tensors).double() for slot in (one, other))
    rests = [_rest(slot) for slot in (one, other)]
    if family.kind != "rotary":
        whole = x.mT @ y
        return whole.reshape(
            family.copies, *(one.block.shape[k] for k in rests[0]), *(other.block.shape[k] for k in rests[1])
        )
    half = family.size // 2
    x, y = (torch.complex(*part.split(half, 1)) for part in (x, y))
    whole = x[:, :, :, None] * y.conj()[:, :, None, :]
    parts = torch.stack([whole.real, whole.imag], 2)
    return parts.reshape(
        family.copies,
        half,
        2,
        *(one.block.shape[k] for k in rests[0]),
        *(other.block.shape[k] for k in rests[1]),
    )


def _rest(slot: Slot) -> list[int]:
    return [axis for axis in range(len(slot.block.shape)) if axis not in (slot.axis, slot.outer)]


def _block_of_product(
    name: str,
    family: Family,
    one: Slot,
    other: Slot,
    symmetry: Symmetry,
    shape: tuple[int, ...],
) -> Block:
    """Which groups are on the axes of a product: the copies', and those of the rest of both."""
    copies = None if one.outer is None else one.block.groups[one.outer]
    groups: list[int | None] = [copies, *([family.group, None] if family.kind == "rotary" else [])]
    outers: list[int | None] = [None] * len(groups)
    for slot in (one, other):
        rest, first, block = _rest(slot), len(groups), freed(slot.block, symmetry)
        for axis in rest:
            outer = block.outers[axis]
            groups.append(block.groups[axis])
            inside = None if outer is None else 0 if outer == slot.outer else first + rest.index(outer)
            outers.append(inside)
    return Block(name, tuple((0, size) for size in shape), shape, tuple(groups), tuple(outers))
