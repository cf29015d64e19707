"""Which permutation of B's units brings its weights closest to A's: maximise Σ ⟨A, P(B)⟩ over all groups at once.

With all groups but one at rest this is a linear assignment problem; coordinate descent solves them in
turn until none improves (Ainsworth, Hayase and Srinivasa 2023, algorithm 1). From the identity it is
easily stuck, as every group is compared through neighbours that are not matched yet. So it starts from
*signatures*: the groups are matched one after the other, the best known first, and axes not matched
yet are compared as sorted values, which no permutation changes.
"""

from collections.abc import Iterable, Mapping
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from landscape.symmetry.permutations import Block, Permutations, Symmetry, moved

MOST_SWEEPS = 100
# Two costs closer than this, relative, are the same but for rounding.
SAME = 1e-6


class Costs(NamedTuple):
    """Gains of putting old unit j in the place i: (n, n); of groups nested in it (n, n, m, m), for each pair (i, j)."""

    own: Tensor
    nested: dict[int, Tensor]


class Matched(NamedTuple):
    """The permutations, the units of B whose sign was turned (by group, ±1 for each old unit), Σ ⟨A, P(B)⟩."""

    permutations: Permutations
    signs: dict[int, Tensor]
    value: float


def matched(
    symmetry: Symmetry,
    a: Mapping[str, Tensor],
    b: Mapping[str, Tensor],
    *,
    generator: torch.Generator,
    restarts: int = 1,
    odd: Iterable[int] = (),
) -> Matched:
    """The best of ``restarts`` coordinate descents on Σ ⟨A, P(B)⟩ over all blocks.

    The first starts from signatures, the second from what fixed and matched neighbours alone say, later
    ones from random permutations; each takes the groups in a random order of its own. Never worse than
    the identity. ``odd``: groups whose units may change sign in every block, and then do where that brings
    them closer. Only the blocks of tensors in ``a`` count.
    """
    best = _Descent(symmetry, a, b).found()
    for number in range(restarts):
        descent = _Descent(symmetry, a, b, odd)
        if number < 2:
            descent.seed(generator, with_signatures=number == 0)
        else:
            descent.permutations = symmetry.random(generator)
        descent.descend(generator)
        best = max(best, descent.found(), key=lambda one: one.value)
    return best


def coordinate_descent(
    symmetry: Symmetry,
    a: Mapping[str, Tensor],
    b: Mapping[str, Tensor],
    permutations: Permutations,
    generator: torch.Generator,
) -> Permutations:
    """Coordinate descent from given permutations."""
    descent = _Descent(symmetry, a, b)
    descent.permutations = list(permutations)
    descent.descend(generator)
    return descent.permutations


def assigned(
    symmetry: Symmetry, costs: Mapping[int, Costs], odd: Iterable[int] = ()
) -> tuple[Permutations, dict[int, Tensor]]:
    """The permutations, and signs of ``odd`` groups, that gain most when each group has costs of its own."""
    permutations, signs = symmetry.identity(), {}
    for group, cost in costs.items():
        if group in odd:
            _solve(symmetry, group, Costs(cost.own.abs(), {}), permutations)
            signs[group] = _signs(cost.own, permutations[group])
        else:
            _solve(symmetry, group, cost, permutations)
    return permutations, signs


class _Descent:
    """Permutations (and signs) under way."""

    def __init__(
        self,
        symmetry: Symmetry,
        a: Mapping[str, Tensor],
        b: Mapping[str, Tensor],
        odd: Iterable[int] = (),
    ):
        self.symmetry = symmetry
        blocks = [block for block in symmetry.blocks if block.tensor in a]
        self.a = {block: block.of(a) for block in blocks}
        self.b = {block: block.of(b) for block in blocks}
        self.permutations = symmetry.identity()
        self.signs = {group: torch.ones(symmetry.groups[group].size) for group in odd}
        self.blocks = {
            unit: [block for block in blocks if any(one in block.groups for one in (unit, *nested))]
            for unit, nested in units(symmetry).items()
        }
        self.units = {unit: nested for unit, nested in units(symmetry).items() if self.blocks[unit]}

    def found(self) -> Matched:
        return Matched(self.permutations, self.signs, self.value(self.a))

    def value(self, blocks: Iterable[Block]) -> float:
        """Σ ⟨A, P(B)⟩."""
        pairs = ((self.a[block], moved(block, self.b[block], self.permutations)) for block in blocks)
        return sum(float((x * y).sum(dtype=torch.float64)) for x, y in pairs)

    def seed(self, generator: torch.Generator, *, with_signatures: bool) -> None:
        """Matches every unit once, the one whose neighbours are known best first."""
        known: set[int] = set()
        waiting = list(self.units)
        while waiting:
            shares = [self._known_share(unit, known) for unit in waiting]
            most = max(shares)
            candidates = [
                unit for unit, share in zip(waiting, shares, strict=True) if share >= most * (1 - SAME)
            ]
            unit = candidates[int(torch.randint(len(candidates), (), generator=generator))]
            self._match(unit, known, with_signatures)
            waiting.remove(unit)
            known |= {unit, *self.units[unit]}

    def descend(self, generator: torch.Generator) -> None:
        """Coordinate descent to a fixed point; a unit is tried again only when a neighbour has moved."""
        everything = set(range(len(self.symmetry.groups)))
        stale = set(self.units)
        for _ in range(MOST_SWEEPS):
            order = torch.randperm(len(self.units), generator=generator).tolist()
            for unit in (list(self.units)[i] for i in order):
                if unit not in stale:
                    continue
                stale.discard(unit)
                gain, worth = self._improve(unit, everything)
                if gain > SAME * abs(worth):
                    stale |= {
                        other
                        for other, blocks in self.blocks.items()
                        if any(block in blocks for block in self.blocks[unit])
                        and (other != unit or self._is_entangled(unit))
                    }
            if not stale:
                return

    def _improve(self, unit: int, known: set[int]) -> tuple[float, float]:
        """Solves a unit: what that gained, and what its blocks were worth before."""
        own = (unit, *self.units[unit])
        before = [self.permutations[one] for one in own]
        if not self._is_entangled(unit):
            gains = self._match(unit, known, True).own.double()
            rows = torch.arange(len(gains))
            worth = float(gains[rows, before[0]].sum())
            best = gains[rows, self.permutations[unit]]
            return float((best.abs() if unit in self.signs else best).sum()) - worth, worth
        # With two axes of a block in one unit each is solved with the other at rest, so it may be no gain.
        worth = self.value(self.blocks[unit])
        self._match(unit, known, True)
        gain = self.value(self.blocks[unit]) - worth
        if gain <= 0:
            for one, old in zip(own, before, strict=True):
                self.permutations[one] = old
        return gain, worth

    def _match(self, unit: int, known: set[int], with_signatures: bool) -> Costs:
        """Puts the best permutation of a unit, of those nested in it, and its signs; what that was based on."""
        cost = self._costs(unit, known, with_signatures)
        if unit in self.signs:
            _solve(self.symmetry, unit, Costs(cost.own.abs(), {}), self.permutations)
            self._flip(unit, _signs(cost.own, self.permutations[unit]))
        else:
            _solve(self.symmetry, unit, cost, self.permutations)
        return cost

    def _flip(self, unit: int, turned: Tensor) -> None:
        """Turns old units of B by ±1."""
        self.signs[unit] = self.signs[unit] * turned
        for block in self.blocks[unit]:
            for axis, group in enumerate(block.groups):
                if group == unit:
                    shape = [-1 if k == axis else 1 for k in range(len(block.shape))]
                    self.b[block] = self.b[block] * turned.to(self.b[block]).reshape(shape)

    def _costs(self, unit: int, known: set[int], with_signatures: bool) -> Costs:
        size = self.symmetry.groups[unit].size
        like = next(iter(self.a.values()))
        own = like.new_zeros(size, size)
        nested: dict[int, Tensor] = {}
        for block in self.blocks[unit]:
            inner = [axis for axis, group in enumerate(block.groups) if group in self.units[unit]]
            axes = [axis for axis, group in enumerate(block.groups) if group == unit]
            for axis in axes:
                mine = [one for one in inner if block.outers[one] == axis]
                if not mine:
                    pair = self._rows(block, (axis,), known, with_signatures)
                    if pair is not None:
                        own += pair[0] @ pair[1].T
                for one in mine:
                    group = block.groups[one]
                    assert group is not None
                    pair = self._rows(block, (axis, one), known, with_signatures)
                    if pair is not None:
                        gain = torch.einsum("iak,jbk->ijab", *pair)
                        nested[group] = nested[group] + gain if group in nested else gain
        return Costs(own, nested)

    def _rows(
        self, block: Block, axes: tuple[int, ...], known: set[int], with_signatures: bool
    ) -> tuple[Tensor, Tensor] | None:
        """A's and B's numbers with ``axes`` in front; axes not known yet are sorted, or the block left out."""
        unknown = [
            axis
            for axis, group in enumerate(block.groups)
            if group is not None and group not in known and axis not in axes
        ]
        if unknown and not with_signatures:
            return None
        values = (self.a[block], moved(block, self.b[block], self.permutations, (*axes, *unknown)))
        front = [block.shape[axis] for axis in axes]
        order = [*axes, *(k for k in range(len(block.shape)) if k not in axes and k not in unknown), *unknown]
        hidden = prod(block.shape[axis] for axis in unknown)
        rows = [value.permute(order).reshape(*front, -1, hidden) for value in values]
        if unknown:
            rows = [value.sort(-1).values for value in rows]
        return rows[0].flatten(len(axes)), rows[1].flatten(len(axes))

    def _known_share(self, unit: int, known: set[int]) -> float:
        """How much of a unit's weights lies between it and groups already matched, or fixed axes."""
        own = {unit, *self.units[unit]}
        sizes = [
            (prod(block.shape), all(g is None or g in known or g in own for g in block.groups))
            for block in self.blocks[unit]
        ]
        return sum(size for size, is_known in sizes if is_known) / sum(size for size, _ in sizes)

    def _is_entangled(self, unit: int) -> bool:
        """Whether a block has the unit, or those nested in it, on more than one axis."""
        own = {unit, *self.units[unit]}
        return any(sum(group in own for group in block.groups) > 1 for block in self.blocks[unit])


def units(symmetry: Symmetry) -> dict[int, list[int]]:
    """What is solved at once: every group that is nested in none, with the free groups nested in it."""
    found: dict[int, list[int]] = {}
    for number, group in enumerate(symmetry.groups):
        if group.outer is None:
            nested = [i for i in symmetry.free if symmetry.groups[i].outer == number]
            if nested or not group.reason:
                found[number] = nested
    return found


def _solve(symmetry: Symmetry, unit: int, cost: Costs, permutations: Permutations) -> None:
    """The assignment of a group; with nested ones, the best of each pair of units first (heads, then inside)."""
    size = symmetry.groups[unit].size
    is_fixed = bool(symmetry.groups[unit].reason)
    gains = cost.own.double().cpu()
    inside: dict[int, Tensor] = {}
    for group, pairs in cost.nested.items():
        inside[group] = torch.empty(size, size, pairs.shape[-1], dtype=torch.long)
        for i in range(size):
            for j in [i] if is_fixed else range(size):
                gain = pairs[i, j].double().cpu()
                inside[group][i, j] = _assignment(gain)
                gains[i, j] += gain[torch.arange(len(gain)), inside[group][i, j]].sum()
    order = torch.arange(size) if is_fixed else _assignment(gains)
    permutations[unit] = order
    for group, found in inside.items():
        rows = permutations[group].clone()
        rows[order] = found[torch.arange(size), order]
        permutations[group] = rows


def _assignment(gains: Tensor) -> Tensor:
    from scipy.optimize import linear_sum_assignment

    return torch.from_numpy(linear_sum_assignment(gains.numpy(), maximize=True)[1])


def _signs(gains: Tensor, order: Tensor) -> Tensor:
    """−1 for the old units that gain by a change of sign."""
    signs = torch.ones(len(order))
    signs[order] = torch.where(gains[torch.arange(len(order)), order] < 0, -1.0, 1.0)
    return signs
