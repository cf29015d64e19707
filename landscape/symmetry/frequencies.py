"""Frequencies of rotary positions that can be permuted: pairs of units side by side, each of its own angle.

Where angles are buffers, as in the code of Llama, frequencies are a group of permutations, and every head has a
rotation and a scale for each of them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from landscape.symmetry.families import Family
from landscape.symmetry.permutations import Symmetry
from landscape.symmetry.slots import Slot, slots_of


def frequencies(symmetry: Symmetry, names: Iterable[str]) -> list[int]:
    """The groups of no copies, and of which none are, that have two of each unit in all of the tensors ``names``."""
    heads = {group.outer for group in symmetry.groups}
    slots = {group: slots_of(symmetry, group, names) for group in symmetry.free if group not in heads}
    return [group for group, places in slots.items() if places and all(map(_has_pairs, places))]


def _has_pairs(slot: Slot) -> bool:
    return slot.outer is None and _beside(slot) is not None


def _beside(slot: Slot) -> int | None:
    """The axis of two beside that of the units, at rest and of the same axis of the tensor."""
    block = slot.block
    for axis in (slot.axis + 1, slot.axis - 1):
        is_there = 0 <= axis < len(block.shape) and Slot(block, axis).dim == slot.dim
        if is_there and (block.shape[axis], block.groups[axis]) == (2, None):
            return axis
    return None


def in_order(family: Family, symmetry: Symmetry, groups: Sequence[int]) -> Family:
    """Rotary pairs in the order of the frequencies of one of ``groups``, and of it, where they are all of these."""
    for group in groups if family.kind == "rotary" else ():
        places = [slots_of(symmetry, group, [slot.block.tensor]) for slot, _ in family.members]
        if any(len(one) != 1 for one in places):
            continue
        wanted, half = [_pairs(one) for (one,) in places], family.size // 2
        given = [
            list(zip(slot.positions[:half], slot.positions[half:], strict=True)) for slot, _ in family.members
        ]
        # Which frequency each pair is of: the same in every place, and each once.
        orders = {
            tuple(want.index(pair) if pair in want else -1 for pair in pairs)
            for want, pairs in zip(wanted, given, strict=True)
        }
        if len(orders) == 1 and sorted(*orders) == list(range(len(wanted[0]))):
            members = tuple(
                (
                    slot._replace(
                        positions=tuple(position for side in zip(*pairs, strict=True) for position in side)
                    ),
                    a,
                )
                for (slot, a), pairs in zip(family.members, wanted, strict=True)
            )
            return replace(family, members=members, group=group)
    return family


def _pairs(slot: Slot) -> list[tuple[int, int]]:
    """The positions of the two of each unit where both axes are one."""
    count, beside = slot.size, _beside(slot)
    is_inside = beside is not None and beside > slot.axis
    return [(2 * i, 2 * i + 1) if is_inside else (i, count + i) for i in range(count)]
