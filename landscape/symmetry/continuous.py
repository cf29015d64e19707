"""The continuous symmetries of any module: found by gradients, and then tried.

Scalings are the null space of :mod:`landscape.symmetry.moments`. Where every map of the units, not only a scale of
each, leaves the function, there is nothing but linear maps between them: values with the output of a head, queries
with keys. Rotary positions leave of these a rotation and a scale for each frequency. A residual stream that is read
through norms alone may be turned (RMS norm), or turned about the vector of ones (LayerNorm), once the norms' gains are
taken into the weights that read it (Ashkboos et al. 2024, section 3).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import reduce
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import nn

from landscape.objective.uses import listed
from landscape.symmetry.families import Family, Found, Kind, is_among, left_of
from landscape.symmetry.frequencies import frequencies, in_order
from landscape.symmetry.independent import dimensions, without_redundant
from landscape.symmetry.moments import Moments
from landscape.symmetry.parts import biases, goes_flat, has_bounds, multipliers, weights
from landscape.symmetry.permutations import BY_NUMBER, IN_DATA, Block, whole
from landscape.symmetry.signs import Parities, candidates, of_pairs
from landscape.symmetry.slots import Members, Slot, at_rest_together, joined, layer_of, slots_of
from landscape.symmetry.tracing import Traced
from landscape.symmetry.unseen import Unseen
from landscape.symmetry.verified import PRESERVED, function_difference, preserved

# Positions of all heads' channels that are looked through for scalings, where they cannot be permuted.
MOST_POSITIONS = 1024
# Places in which one position of these may stand at once.
MOST_TOGETHER = 64
# Random elements of a family that are tried.
TRIALS = 8
# Reasons of axes that no scaling acts on either.
OUTSIDE = ("an input of the module", "an output of the module", IN_DATA)


def families_of(module: nn.Module, inputs: tuple[Any, ...], found: Traced, *, seed: int = 0) -> Found:
    """All families of ``module``, in float64 on the CPU, that leave its function on ``inputs`` as it is.

    ``found``: its permutations, whose groups say which axes are of the same units. A random element of each family is
    tried at parameters near the module's own, so that equal numbers hide nothing; outputs may move by rounding alone.
    """
    return _Search(module, inputs, found, seed).found()


class _Search:
    def __init__(self, module: nn.Module, inputs: tuple[Any, ...], found: Traced, seed: int):
        self.module, self.inputs, self.traced, self.symmetry = module, inputs, found, found.symmetry
        self.tensors = {name: t.detach() for name, t in (*module.named_parameters(), *module.named_buffers())}
        self.generator = torch.Generator().manual_seed(seed)
        self.bound = preserved(found)
        self.moments = Moments(
            module,
            self.tensors,
            inputs,
            tolerance=1e-10 if found.coarsest == torch.float64 else 1e-4,
            generator=self.generator,
            has_bounds=has_bounds(found),
            goes_flat=goes_flat(found),
        )
        self.names = [name for name, p in module.named_parameters() if p.is_floating_point() and p.numel()]
        gains = multipliers(found)
        self.offsets = {name: number for name, number in gains.items() if number is not None}
        self.weights = weights(found) | gains.keys()
        self.refused: list[str] = []
        twofold = sorted(gains.keys() - self.offsets.keys())
        if twofold:
            self.refused.append(
                f"scalings of {listed(twofold)}: a gain with one number added and with another, as of w and of 1 + w, "
                "which no scaling of w scales alike"
            )

    def found(self) -> Found:
        groups = [i for i in self.symmetry.free if self.symmetry.groups[i].size > 1]
        # Inner ones first: what a whole head may do is then among what its channels may.
        groups.sort(key=lambda i: self.symmetry.groups[i].outer is None)
        families = [one for i in groups if self._is_inner(i) for one in self._linear(i)]
        families += [*self._normed(), *self._at_rest()]
        idle, several = self._translations(families)
        for group in (i for i in groups if not self._is_inner(i)):
            for one in self._linear(group):
                there = reduce(lambda there, gone: gone.folded(there), idle, self.moments.near())
                families += [] if is_among(one, families, there) else [one]
        families += [one for i in groups for one in self._turned(i, families)]
        signs = [one for i in groups for one in self._odd(i, families)]
        heads = {slot.head for one in signs for slot, _ in one.members}
        families += [*(one for one in signs if one.group not in heads - {None}), *idle, *several]
        free = {self._gained(slot) for one in idle for slot, _ in one.members}
        there = self.moments.near()
        families = without_redundant([self._with_idle(one, free) for one in families], there)
        return Found(families, self.refused, dimensions(families, there))

    def _slots(self, group: int) -> list[Slot]:
        return [self._gained(one) for one in slots_of(self.symmetry, group, self.names)]

    def _gained(self, slot: Slot) -> Slot:
        """The slot with what is added to its numbers where they are gains."""
        return slot._replace(offset=self.offsets.get(slot.block.tensor, 0.0))

    def _is_inner(self, group: int) -> bool:
        return self.symmetry.groups[group].outer is not None

    def _linear(self, group: int) -> list[Family]:
        """Scalings of the units of a group, or every map of them."""
        slots, found = self._slots(group), []
        by_number = self._by_number(slots) if slots else []
        if by_number and self.moments.exponents(by_number):
            slots = by_number
        for several, known in [(slots, group), *((finer, None) for finer in joined(slots))]:
            for vector in self.moments.exponents(several) if several else ():
                members = tuple((slot, a) for slot, a in zip(several, vector, strict=True) if a)
                found += [] if self._is_doubtful(vector) else self._first(_kinds(members, known), "scalings")
        return found

    def _by_number(self, slots: Sequence[Slot]) -> list[Slot]:
        """The same units with a scale for every position of an axis that is picked by number, as of experts."""
        found = []
        for slot in slots:
            block, said = slot.block, self.symmetry.reasons[slot.block.tensor].split(", ")
            picked = [part.partition(" ")[0] for part in said if part.endswith(BY_NUMBER)]
            axes = [
                k for k, g in enumerate(block.groups) if g is None and f"[{Slot(block, k).dim}]" in picked
            ]
            if not axes or slot.outer is not None:
                return []
            found.append(slot._replace(outer=axes[0]))
        return found if len({one.block.shape[one.outer] for one in found}) == 1 else []

    def _is_doubtful(self, exponents: Sequence[int]) -> bool:
        """Whether nothing pays for a scale, and rounding hides whether that is so but for the ε of a norm."""
        return self.bound > PRESERVED[torch.float64] and len({a > 0 for a in exponents if a}) < 2

    def _with_idle(self, family: Family, free: set[Slot]) -> Family:
        """With places of units that no output sees moved as the weights of their layer are, but for those ``free``."""
        if family.kind != "invertible" or family.group is None:
            return family
        known = {layer_of(slot): a for slot, a in family.members}
        seen = {slot for slot, _ in family.members}
        others = [one for one in self._slots(family.group) if one not in seen | free]
        more = tuple(
            (one, known[layer_of(one)])
            for one in others
            if layer_of(one) in known and self.moments.is_idle(one)
        )
        return replace(family, members=family.members + more)

    def _first(self, kinds: Sequence[Family], what: str) -> list[Family]:
        """The first of some families that the trial lets pass; where none does, ``what`` is refused."""
        gaps = []
        for family in kinds:
            gaps.append(self._gap(family))
            if gaps[-1] <= self.bound:
                return [family]
        if what:
            name = kinds[0].name
            self.refused.append(f"{what} of {name} would move the outputs by {gaps[-1]:.2g} of their size")
        return []

    def _gap(self, *families: Family, gains: Sequence[Slot] = ()) -> float:
        """The most that random elements move the outputs, each tried elsewhere, as units of ReLU may be at rest.

        ``gains``: those that are 1 there.
        """
        worst = 0.0
        for _ in range(TRIALS):
            after = before = reduce(lambda there, one: one.folded(there), families, self.moments.near())
            for gain in gains:
                gain.put(before, torch.ones_like(gain.of(before)))
            for one in families:
                after = one.acted(after, one.random(self.generator))
            worst = max(worst, function_difference(self.module, before, after, [self.inputs]))
            if not worst <= self.bound:
                break
        return worst

    # --- units that cannot be permuted ------------------------------------------------------------

    def _normed(self) -> Iterator[Family]:
        """Of axes that inputs or outputs hold, as of hidden states that are handed out: what gains of norms pay for."""
        alike: dict[int, list[Slot]] = {}
        for name in self.names:
            shape = tuple(self.tensors[name].shape)
            blocks = [at_rest_together(one) for one in self.symmetry.blocks if one.tensor == name]
            for block in blocks or [whole(name, shape)]:
                slots = [Slot(block, axis) for axis, group in enumerate(block.groups) if group is None]
                for slot in (self._gained(one) for one in slots if one.size == shape[one.dim] > 1):
                    if self._is_outside(slot):
                        alike.setdefault(slot.size, []).append(slot)
        for slots in alike.values():
            if any(one.block.tensor in self.offsets and len(one.block.shape) == 1 for one in slots):
                for vector in self.moments.exponents(slots):
                    members = tuple((slot, a) for slot, a in zip(slots, vector, strict=True) if a)
                    yield from self._first(_kinds(members, None), "scalings")

    def _at_rest(self) -> list[Family]:
        """Of axes that cannot be permuted: those of weights with the same heads, then what all heads have in common."""
        heads = {group.outer for group in self.symmetry.groups if group.outer is not None}
        blocks = [one for one in self.symmetry.blocks if one.tensor in self.names and len(one.where) <= 2]
        # Every head has these: they are no copies beside it.
        paired = frequencies(self.symmetry, self.names)
        weights = [at_rest_together(block, paired) for block in blocks]
        resting = [
            self._gained(Slot(b, axis)) for b in weights for axis, g in enumerate(b.groups) if g is None
        ]
        resting = [one for one in resting if one.size > 1 and not self._is_outside(one)]
        heads |= {g for one in resting for g in _along(one) if g is not None}
        others = self._loose(MOST_POSITIONS - sum(one.size for one in resting))
        found, headed = list[Family](), list[Slot]()
        for head in sorted(heads):
            slots = [
                one._replace(outer=one.block.groups.index(head))
                for one in resting
                if one.block.groups.count(head) == 1
            ]
            headed += slots
            found += self._by_position(slots)
        left = [left_of(one, found) for one in [*resting, *others]]
        left = [one for one in left if one is not None]
        found += self._by_position([*left, *self._single()])
        found = [in_order(one, self.symmetry, paired) for one in found]
        for one in [one for one in found if all(len(slot.block.shape) == 1 for slot, _ in one.members)]:
            found += self._new_signs(of_pairs(one, [*headed, *resting]), [one])
        return found

    def _single(self) -> list[Slot]:
        """Tensors of a layer of one unit, which may be scaled though there is nothing to permute."""
        found = []
        for block in self.symmetry.blocks:
            sizes = [stop - start for start, stop in block.where]
            if block.tensor in self.names and len(sizes) <= 2 and 1 in sizes:
                one = Block(*block[:2], (*block.shape, 1), (*block.groups, None), (*block.outers, None))
                slot = self._gained(Slot(one, len(block.shape)))
                found += [] if self._is_outside(slot) else [slot]
        return found

    def _loose(self, most: int) -> list[Slot]:
        """Axes of tensors that no group moves, as gains of queries and keys, as far as ``most`` positions go."""
        held = {block.tensor for block in self.symmetry.blocks}
        shapes = {name: tuple(self.tensors[name].shape) for name in self.names if name not in held}
        blocks = [whole(name, shape) for name, shape in shapes.items() if 1 <= len(shape) <= 2]
        slots = [self._gained(Slot(block, axis)) for block in blocks for axis in range(len(block.shape))]
        slots = [one for one in slots if not self._is_outside(one)]
        return slots if sum(one.size for one in slots) <= most else []

    def _is_outside(self, slot: Slot) -> bool:
        """Whether an axis is that of the data, which cannot be scaled."""
        said = self.symmetry.reasons[slot.block.tensor]
        return any(f"[{slot.dim}] {reason}" in said for reason in OUTSIDE)

    def _by_position(self, slots: list[Slot]) -> list[Family]:
        """Scalings of positions, together any map perhaps; of pairs in a row, which rotary positions turn."""
        count = sum(slot.size for slot in slots)
        if count > MOST_POSITIONS:
            first = f"{slots[0].block.tensor}[{slots[0].dim}]"
            self.refused.append(
                f"scalings of {count} positions that cannot be permuted, as of {first}, were not looked for: more "
                f"than {MOST_POSITIONS}"
            )
        if not 0 < count <= MOST_POSITIONS:
            return []
        starts = [0, *accumulate(slot.size for slot in slots)]
        patterns: dict[tuple[tuple[int, int, int], ...], list[dict[tuple[int, int], list[int]]]] = {}
        for vector in self.moments.exponents(slots, by_position=True):
            places: dict[tuple[int, int], list[int]] = {}
            for k, (start, stop) in enumerate(pairwise(starts)):
                for i, a in enumerate(vector[start:stop]):
                    if a:
                        places.setdefault((k, a), []).append(i)
            key = tuple((k, a, len(found)) for (k, a), found in places.items())
            patterns.setdefault(key, []).append(places)
        found = []
        for key, units in patterns.items():
            if sum(count for _, _, count in key) > MOST_TOGETHER or self._is_doubtful([a for _, a, _ in key]):
                continue
            # One position in every place, as a key that several queries share stands against each of them.
            apart = tuple(
                (slots[k].some(one[k, a][i] for one in units), a) for k, a, count in key for i in range(count)
            )
            members = tuple(
                (slots[k].some(one[k, a][first + i] for i in range(2) for one in units), a)
                for k, a, count in key
                for first in range(0, count - 1, 2)
            )
            pairs = () if any(count % 2 for _, _, count in key) else (Family("rotary", members, None),)
            kinds = [*pairs, *_kinds(apart, None)]
            found += self._first(kinds, "scalings") if self._moves(kinds[-1]) else []
        return found

    def _moves(self, family: Family) -> bool:
        """Whether its elements move anything, unlike a scale of a row that is taken back along the columns."""
        before = self.moments.near()
        after = family.acted(before, family.random(self.generator))
        return any(not torch.equal(after[name], before[name]) for name in family.tensors)

    # --- numbers that no output sees --------------------------------------------------------------

    def _translations(self, families: Sequence[Family]) -> tuple[list[Family], list[Family]]:
        """Of single numbers that no output sees, as biases of keys; and of several at once."""
        unseen = Unseen(
            self.moments,
            self.symmetry,
            self.tensors,
            self.names,
            families=families,
            gains=self.offsets,
            biases=biases(self.traced),
            is_data=self._is_data,
            has_rows=self._has_rows,
        )
        idle, several = self._passing([*unseen.idle()]), self._passing(unseen.several())
        return idle, several + [family for one in unseen.shears() for family in self._first([one], "")]

    def _passing(self, families: Sequence[Family]) -> list[Family]:
        """Those that the trial lets pass: all at once, and each alone where one of them moves the outputs."""
        if self._gap(*families) <= self.bound:
            return [*families]
        return [found for one in families for found in self._first([one], "translations")]

    def _is_data(self, slot: Slot) -> bool:
        return f"[{slot.dim}] {OUTSIDE[0]}" in self.symmetry.reasons[slot.block.tensor]

    def _has_rows(self, slot: Slot) -> bool:
        """Of nothing that multiplies what the data make, and not looked up by what they say."""
        name = slot.block.tensor
        return name not in self.weights and not self.symmetry.is_looked_up(name, slot.dim)

    # --- turns of a residual stream ---------------------------------------------------------------

    def _turned(self, group: int, families: Sequence[Family]) -> list[Family]:
        own = [one for one in families if one.group == group]
        if any(one.kind == "invertible" for one in own):
            return []
        if any(block.tensor not in self.names for block in self.symmetry.of(group)):
            return []  # running statistics, which do not turn
        slots = self._slots(group)
        gains = [one for one in slots if one.block.tensor in self.offsets and len(one.block.shape) == 1]
        folds = []
        for gain in gains:
            taken = [one for one in own if gain in dict(one.members)]
            if len(taken) == 1 and abs(dict(taken[0].members)[gain]) == 1:
                folds.append(_from(gain, taken[0]))
        members = tuple((slot, 1) for slot in slots if slot not in gains)
        kinds: list[Kind] = ["orthogonal", "centred"] if slots[0].size > 2 else ["orthogonal"]
        if len(folds) == len(gains):
            return self._first([Family(kind, members, group, gains=tuple(folds)) for kind in kinds], "")
        # What is said is what there would be, were it not for a gain.
        if any(self._gap(Family(kind, members, group), gains=gains) <= self.bound for kind in kinds):
            kept = next(one for one in gains if one not in [fold.members[0][0] for fold in folds])
            gone = f"the gain {kept.block.tensor} cannot be taken into the weights that read it"
            self.refused.append(f"turns of {slots[0].block.tensor}[{slots[0].dim}]: {gone}")
        return []

    # --- changes of sign --------------------------------------------------------------------------

    def _odd(self, group: int, families: Sequence[Family]) -> list[Family]:
        """Units that may change their sign where they may not change their scale, as those of tanh."""
        own = [one for one in families if one.group == group]
        if any(one.kind != "scaling" for one in own):
            return []
        if any(slot.head == group for one in families for slot, _ in one.members):
            return []  # heads, whose channels may
        slots = self._slots(group)
        signed = [one for one in own if one.is_signed]
        heads = {g for one in slots for g in one.block.groups if g in self.symmetry.free and g != group}
        # A stream changes its signs where it would turn, beside its gains.
        plain = [one for one in slots if one.block.tensor not in self.offsets or len(one.block.shape) > 1]
        return self._new_signs(candidates(slots, plain, group, sorted(heads)), signed) if plain else []

    def _new_signs(self, tried: Iterable[Family], signed: Sequence[Family]) -> list[Family]:
        known, found = Parities(signed), list[Family]()
        for family in tried:
            if known.is_new(family) and self._gap(family) <= self.bound:
                known.add(family)
                found.append(family)
        return found


def _kinds(members: Members, group: int | None) -> list[Family]:
    """Families on these members, the largest first."""
    kinds = [Family("scaling", members, group, is_signed) for is_signed in (True, False)]
    is_linear = members[0][0].size > 1 and all(abs(a) == 1 for _, a in members)
    return [Family("invertible", members, group), *kinds] if is_linear else kinds


def _along(slot: Slot) -> list[int | None]:
    """The groups on the same axis of the tensor."""
    block = slot.block
    return [g for axis, g in enumerate(block.groups) if Slot(block, axis).dim == slot.dim]


def _from(gain: Slot, family: Family) -> Family:
    """The family with ``gain`` first, times c itself."""
    sign = dict(family.members)[gain]
    rest = tuple((slot, a * sign) for slot, a in family.members if slot != gain)
    return replace(family, members=((gain, 1), *rest))
