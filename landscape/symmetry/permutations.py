"""Permutations of the units of a network: which tensors they move, and along what.

A *group* is a set of units that may be permuted among themselves. A *block* is a box of a tensor, seen as an
array with one axis for each of its groups. A group nested in another one (the channels of a head) has a
permutation for every unit of the outer one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

# What is said of what leads to no output, and of what the data pick; how reasons end of positions that are picked by
# their numbers; how many names a sentence has.
UNUSED = "the traced module does not use it"
IN_DATA = "its positions are the numbers in the data"
BY_NUMBER = "picks positions of it by number"
BY_DATA = f"of the data {BY_NUMBER}"
FEW = 4


@dataclass(frozen=True)
class Group:
    """``size`` units; ``outer``: the group it is nested in; ``reason``: why it may not move ('' = it may)."""

    name: str
    size: int
    outer: int | None = None
    reason: str = ""


class Block(NamedTuple):
    """The box ``where`` (start and stop on each axis) of a tensor, seen in the shape ``shape``.

    ``groups``: that of each axis of ``shape``, None where none is.
    ``outers``: for an axis of a nested group, the axis of the group around it.
    """

    tensor: str
    where: tuple[tuple[int, int], ...]
    shape: tuple[int, ...]
    groups: tuple[int | None, ...]
    outers: tuple[int | None, ...]

    def of(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The block's numbers in its own shape."""
        return self.box(tensors[self.tensor]).reshape(self.shape)

    def box(self, tensor: Tensor) -> Tensor:
        """The box as a view of its tensor."""
        return tensor[tuple(slice(*ends) for ends in self.where)]


def whole(tensor: str, shape: tuple[int, ...]) -> Block:
    """All of a tensor, with no group on any axis."""
    none = (None,) * len(shape)
    return Block(tensor, tuple((0, size) for size in shape), shape, none, none)


# One for each group: new unit i is old unit p[i]. Of a nested group, (m, n): row j is for the old unit j of
# the outer group.
Permutations = list[Tensor]


@dataclass(frozen=True)
class Symmetry:
    """The groups of a module and the blocks they move.

    ``names``: of its parameters; ``reasons``: for each one that nothing moves, why; ``beside``: those that other maps
    move which are used beside permutations.
    """

    groups: tuple[Group, ...]
    blocks: tuple[Block, ...]
    names: tuple[str, ...]
    reasons: Mapping[str, str]
    beside: frozenset[str] = frozenset()

    @property
    def free(self) -> list[int]:
        """The groups that may be permuted."""
        return [i for i, group in enumerate(self.groups) if not group.reason]

    @cached_property
    def blocked(self) -> dict[str, str]:
        """The parameters that nothing moves, and why."""
        moved = {b.tensor for b in self.blocks if any(g in self.free for g in b.groups if g is not None)}
        blocking = {b.tensor: self.groups[g].reason for b in self.blocks for g in b.groups if g is not None}
        reasons = {**self.reasons, **blocking}
        return {name: reasons[name] for name in self.names if name not in moved | self.beside}

    @property
    def movable(self) -> list[str]:
        """The parameters that some group, or a map beside these, moves."""
        return [name for name in self.names if name not in self.blocked]

    @property
    def coverage(self) -> str:
        """How many parameters can be moved, what blocks the others, and what has an order that stays."""
        names, blocked = self.names, self.blocked
        said = f"{len(self.movable)} of {len(names)} parameters movable"
        if blocked:
            said += f"; these blocked: {_few([f'{name} {reason}' for name, reason in blocked.items()])}"
        parts = {name: self.reasons[name].split(", ") for name in self.movable}
        numbered = [
            f"{name} {part.partition(' ')[0]}"
            for name, several in parts.items()
            for part in several
            if part.endswith(BY_NUMBER)
        ]
        if numbered:
            said += "; picked by number, as experts are, these stay in order, all units alike in each: "
            said += _few(numbered)
        return said

    def is_looked_up(self, name: str, dim: int) -> bool:
        """Whether the data say which positions of that axis of a tensor are read: others may say others."""
        said = self.reasons[name].split(", ")
        return any(one.startswith(f"[{dim}] ") and one.endswith((IN_DATA, BY_DATA)) for one in said)

    def of(self, group: int) -> list[Block]:
        """The blocks that a group moves."""
        return [block for block in self.blocks if group in block.groups]

    def without(self, group: int, reason: str) -> "Symmetry":
        """The same with one group at rest."""
        groups = list(self.groups)
        groups[group] = replace(groups[group], reason=reason)
        return replace(self, groups=tuple(groups))

    def identity(self) -> Permutations:
        """Everything where it is."""
        return [self._made(i, torch.arange) for i in range(len(self.groups))]

    def random(self, generator: torch.Generator, only: int | None = None) -> Permutations:
        """Every free group permuted at random, or ``only`` one of them."""

        def draw(size: int) -> Tensor:
            return torch.randperm(size, generator=generator)

        moved = self.free if only is None else [only]
        return [self._made(i, draw if i in moved else torch.arange) for i in range(len(self.groups))]

    def _made(self, group: int, rule: Callable[[int], Tensor]) -> Tensor:
        size, outer = self.groups[group].size, self.groups[group].outer
        if outer is None:
            return rule(size)
        return torch.stack([rule(size) for _ in range(self.groups[outer].size)])


def moved(block: Block, values: Tensor, permutations: Permutations, at_rest: Sequence[int] = ()) -> Tensor:
    """A block's ``values`` permuted along every axis that has a group, but those ``at_rest``."""
    axes = [(axis, group) for axis, group in enumerate(block.groups) if group is not None]
    # Rows of a nested permutation are numbered as the outer units were, so inner ones go first.
    for axis, group in sorted(axes, key=lambda one: block.outers[one[0]] is None):
        if axis in at_rest:
            continue
        index, outer = permutations[group].to(values.device), block.outers[axis]
        if outer is None:
            values = values.index_select(axis, index)
        else:
            shape = [1] * values.dim()
            shape[outer], shape[axis] = index.shape
            index = index if outer < axis else index.T
            values = values.take_along_dim(index.reshape(shape), axis)
    return values


def permuted(
    tensors: Mapping[str, Tensor], symmetry: Symmetry, permutations: Permutations
) -> dict[str, Tensor]:
    """All tensors with their units permuted; those that nothing moves as they are."""
    found = dict(tensors)
    for block in symmetry.blocks:
        if found[block.tensor] is tensors[block.tensor]:
            found[block.tensor] = tensors[block.tensor].clone()
        place = block.box(found[block.tensor])
        place.copy_(moved(block, block.of(tensors), permutations).reshape(place.shape))
    return found


def composed(symmetry: Symmetry, first: Permutations, then: Permutations) -> Permutations:
    """``first`` and then ``then``, as one."""
    found: Permutations = []
    for number, group in enumerate(symmetry.groups):
        if group.outer is None:
            found.append(first[number][then[number]])
            continue
        # Rows are numbered by the outer units as they were before each.
        rows = first[number].clone()
        rows[first[group.outer]] = rows[first[group.outer]].gather(1, then[number])
        found.append(rows)
    return found


def flipped(
    tensors: Mapping[str, Tensor], symmetry: Symmetry, signs: Mapping[int, Tensor]
) -> dict[str, Tensor]:
    """All tensors with every unit of the groups in ``signs`` times its ±1, in every block."""
    found = dict(tensors)
    for group, sign in signs.items():
        for block in symmetry.of(group):
            shape = [-1 if one == group else 1 for one in block.groups]
            values = block.of(found) * sign.to(found[block.tensor]).reshape(shape)
            found[block.tensor] = found[block.tensor].clone()
            place = block.box(found[block.tensor])
            place.copy_(values.reshape(place.shape))
    return found


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:FEW]) + (f" and {len(names) - FEW} more" if len(names) > FEW else "")
