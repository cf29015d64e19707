"""B moved along its orbit, by permutations and continuous symmetries in turn, to where it is closest to A.

Permutations are first matched on what the other families leave as it is: gains taken into the weights that read them,
what may be added unseen at averages of 0, scales balanced, products of the weights that an invertible map is between.
Residual streams are first turned by the weights that meet nothing else that moves, as embeddings (Theus et al. 2025
alternate in the same way).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from landscape.symmetry.families import TURNS, Family
from landscape.symmetry.invariants import invariant, without
from landscape.symmetry.linked import linked
from landscape.symmetry.matching import coordinate_descent, matched
from landscape.symmetry.nearest import balance, nearest
from landscape.symmetry.permutations import Permutations, Symmetry, composed, flipped, permuted
from landscape.symmetry.together import together
from landscape.symmetry.translations import Translation, translated, untranslated

Tensors = Mapping[str, Tensor]
MOST_ROUNDS, MOST_SWEEPS, MOST_JOINED, STILL = 30, 200, 3, 1e-9
# Where nets are of different training the distance goes on falling by ever less: a round that brings less than this of
# it is the last. Where one is the other moved it falls by a share in every round.
SLOW = 1e-4
# What the last sweep may have brought of ‖A‖².
RESTING = 1e-7
# Numbers that are rounding alone, beside others of the same units.
NOTHING = 1e-9


class Orbit(NamedTuple):
    """B where it was brought to, the permutations of its units, and ‖B − A‖."""

    tensors: dict[str, Tensor]
    permutations: Permutations
    distance: float


def nearest_of_orbit(
    symmetry: Symmetry,
    families: Sequence[Family],
    a: Tensors,
    b: Tensors,
    *,
    generator: torch.Generator,
    restarts: int = 1,
    held: Permutations | None = None,
) -> Orbit:
    """The closest to A of all that was tried: a local minimum. With ``held``, permutations are these and stay.

    Tensors are in float64 on the CPU; only those of ``a`` count.
    """
    # Those of heads wait for the order of these.
    turns = [one for one in families if one.kind in TURNS and one.copies == 1]
    headed = [one for one in families if one.kind in TURNS and one.copies > 1]
    others = [*_others(families), *headed]
    rest = without(symmetry, families)
    goal, start = folded(a, families), folded(b, families)
    seen, turning = _of_known(turns, rest, families)
    start = _stepped(start, goal, seen, turning)
    best = None
    if held is not None:
        start, rest = permuted(start, symmetry, held), replace(rest, blocks=())
    scales = [one for one in others if not is_gain(one, families)]
    maps = [one for one in others if one.kind == "invertible"]
    for now, orders in _matched(rest, scales, goal, start, generator, restarts):
        moved = linked(maps, goal, now)
        now = moved if between(goal, moved) < between(goal, now) else now
        found = _finished(rest, families, a, goal, Orbit(now, orders, torch.inf), generator)
        found = _joined(rest, families, a, found, generator)
        if best is None or found.distance < best.distance:
            best = found
        if found.distance <= STILL * between(a, dict.fromkeys(a, torch.zeros(()))):
            break
    assert best is not None
    best = best if held is None else best._replace(permutations=held)
    return at_rest(families, a, best)


def nearer(
    symmetry: Symmetry,
    families: Sequence[Family],
    a: Tensors,
    b: Orbit,
    generator: torch.Generator,
) -> Orbit:
    """B moved on from where it stands by every family once, never to be farther from A than it is."""
    rest, distance = without(symmetry, families), between(a, b.tensors)
    start = b._replace(tensors=folded(b.tensors, families))
    found = _finished(rest, families, a, folded(a, families), start, generator, 1)
    if not found.distance < distance:
        # Turns want gains of 1, which may cost more than they bring: what needs none from where B stands.
        found = _finished(rest, [one for one in families if one.kind not in TURNS], a, a, b, generator, 1)
    return found if found.distance < distance else b._replace(distance=distance)


def at_rest(families: Sequence[Family], a: Tensors, b: Orbit) -> Orbit:
    """B moved on by every family but turns, one after the other, until a sweep brings next to nothing of ‖A‖².

    All at once stop sooner, where each alone would still bring B closer.
    """
    families = [one for one in _others(families) if one.kind != "sign"]
    now, distance = b.tensors, between(a, b.tensors)
    least = RESTING * between(a, dict.fromkeys(a, torch.zeros(()))) ** 2
    for _ in range(MOST_SWEEPS if families else 0):
        before = distance
        now = _swept(families, a, now)
        distance = between(a, now)
        if before**2 - distance**2 <= least:
            break
    return b._replace(tensors=dict(now), distance=distance)


def _finished(
    symmetry: Symmetry,
    families: Sequence[Family],
    a: Tensors,
    goal: Tensors,
    start: Orbit,
    generator: torch.Generator,
    rounds: int = MOST_ROUNDS,
) -> Orbit:
    """From a start with gains of 1 where turns need them, as ``goal`` is A with such gains, to what is nearest to A."""
    turns, others = [one for one in families if one.kind in TURNS], _others(families)
    idle = [one for one in families if one.kind == "translation"]
    # Turns last: weights whose maps are not yet known would pull them from where the others brought them.
    now, moved = _settled(
        symmetry, [*others, *turns], goal, start.tensors, start.permutations, generator, rounds
    )
    if turns:
        # Gains as close to those of A as may be; then without turns, which need gains of 1.
        gains = [one for turn in turns for one in turn.gains]
        goal = folded(a, idle)
        now = _stepped(now, goal, gains, gains)
        now, moved = _settled(symmetry, others, goal, now, moved, generator, rounds)
    # Maps were the nearest beside averages of 0, not beside what translations leave.
    distance = between(a, now)
    for _ in range(rounds if idle else 0):
        before = distance
        now = translated(idle, a, now, rounds)
        now, moved = _settled(symmetry, others, a, now, moved, generator, 1)
        distance = between(a, now)
        if before - distance <= SLOW * before:
            break
    return Orbit(now, moved, distance)


def _joined(
    symmetry: Symmetry, families: Sequence[Family], a: Tensors, b: Orbit, generator: torch.Generator
) -> Orbit:
    """B moved on by all families at once, and by permutations where these bring more."""
    for _ in range(MOST_JOINED):
        now = together(families, a, b.tensors)
        more = coordinate_descent(
            symmetry, a, {name: now[name] for name in a}, symmetry.identity(), generator
        )
        after = permuted(now, symmetry, more)
        b = b._replace(tensors=now, distance=between(a, now))
        if not between(a, after) < b.distance:
            break
        b = Orbit(after, composed(symmetry, b.permutations, more), between(a, after))
    return b


def _others(families: Sequence[Family]) -> list[Family]:
    """Those that move what outputs see, but for turns.

    Invertible maps first: they are had at once where scales are known, which they would pull from where these are.
    """
    found = [one for one in families if one.kind not in (*TURNS, "translation")]
    return sorted(found, key=lambda one: one.kind != "invertible")


def folded(tensors: Tensors, families: Sequence[Family]) -> dict[str, Tensor]:
    """With gains of 1 wherever a turn needs them, and averages of 0 of what translations move."""
    found = dict(tensors)
    for family in families:
        found = found if isinstance(family, Translation) else family.folded(found)
    return untranslated(families, found)


def random_of_orbit(
    symmetry: Symmetry, families: Sequence[Family], tensors: Tensors, generator: torch.Generator
) -> dict[str, Tensor]:
    """The tensors moved by a random element of every family and random permutations."""
    return random_of_families(families, permuted(tensors, symmetry, symmetry.random(generator)), generator)


def random_of_families(
    families: Sequence[Family], tensors: Tensors, generator: torch.Generator
) -> dict[str, Tensor]:
    """The tensors moved by a random element of every family, with gains of 1 where a turn needs them."""
    found = folded(tensors, families)
    for family in sorted(families, key=lambda one: one.kind not in TURNS):
        found = family.acted(found, family.random(generator))
    return found


def between(a: Tensors, b: Tensors) -> float:
    """‖B − A‖ over the tensors of A."""
    return sum(float((b[name].double() - a[name].double()).square().sum()) for name in a) ** 0.5


def _of_known(
    turns: Sequence[Family], rest: Symmetry, families: Sequence[Family]
) -> tuple[list[Family], list[Family]]:
    """Turns as seen by the weights alone that nothing else moves but turns before; by all where there are none.

    And the turns, in that order.
    """
    groups = {block[:2]: block.groups for block in rest.blocks}
    # Gains are 1 by now, so none of their scalings moves what else they are of.
    moving = [one for one in families if not isinstance(one, Translation) and not is_gain(one, turns)]
    seen, done = list[Family](), list[Family]()
    while len(done) < len(turns):
        waiting = [one for one in turns if one not in done]
        left = [one for one in moving if one not in done]
        for turn in waiting:
            moved = {slot.place for one in left if one is not turn for slot, _ in one.members}
            known = tuple(
                (slot, 1)
                for slot, _ in turn.members
                if slot.place not in moved and not any(g is not None for g in groups[slot.block[:2]])
            )
            if known or turn is waiting[-1]:
                turn = turn if known else waiting[0]
                seen.append(Family(turn.kind, known or turn.members, turn.group))
                done.append(turn)
                break
    return seen, done


def _stepped(
    now: Tensors, goal: Tensors, seen: Sequence[Family], families: Sequence[Family]
) -> dict[str, Tensor]:
    """Each of ``families`` moved to the nearest, as ``seen`` by some of its members."""
    found = dict(now)
    for one, family in zip(seen, families, strict=True):
        found = family.acted(found, nearest(one, goal, found))
    return found


def _settled(
    symmetry: Symmetry,
    families: Sequence[Family],
    goal: Tensors,
    start: Tensors,
    permutations: Permutations,
    generator: torch.Generator,
    rounds: int,
) -> tuple[dict[str, Tensor], Permutations]:
    """Families and permutations in turn until the distance does not fall; ``permutations``: of B until now."""
    moving = [one for one in families if not is_gain(one, families)]
    now, size = dict(start), between(goal, dict.fromkeys(goal, torch.zeros(())))
    before = between(goal, now)
    for _ in range(rounds):
        now = _swept(moving, goal, now)
        more = coordinate_descent(
            symmetry, goal, {name: now[name] for name in goal}, symmetry.identity(), generator
        )
        after = permuted(now, symmetry, more)
        if between(goal, after) < between(goal, now):
            now, permutations = after, composed(symmetry, permutations, more)
        distance = between(goal, now)
        if before - distance <= max(STILL * size, SLOW * before):
            break
        before = distance
    return now, permutations


def _swept(families: Sequence[Family], goal: Tensors, now: Tensors) -> dict[str, Tensor]:
    """Moved by every family once, to where that is nearest and no farther."""
    found = dict(now)
    for family in families:
        after = family.acted(found, nearest(family, goal, found))
        part = {slot.block.tensor: goal[slot.block.tensor] for slot, _ in family.members}
        if between(part, after) <= between(part, found):
            found = after
    return found


def is_gain(family: Family, families: Sequence[Family]) -> bool:
    """Whether its scales are those that a turn among ``families`` holds at gains of 1."""
    places = {slot for slot, _ in family.members}
    return any(places == {slot for slot, _ in gain.members} for one in families for gain in one.gains)


def _matched(
    symmetry: Symmetry,
    families: Sequence[Family],
    a: Tensors,
    b: Tensors,
    generator: torch.Generator,
    restarts: int,
) -> Iterator[tuple[dict[str, Tensor], Permutations]]:
    """B permuted as matched on what the families leave: with scales balanced and then as A's, and as they are."""
    scales = [(one, alone(one, families, a)) for one in families if one.kind in ("scaling", "sign")]
    odd = [one.group for one in families if one.kind == "sign" and _turns_all(one, symmetry)]
    for balancing in [scales, []] if scales else [[]]:
        (one, by), (other, _) = (balanced(point, balancing) for point in (a, b))
        seen, points = invariant(symmetry, families, [one, {name: other[name] for name in a}])
        found = matched(
            seen,
            *points,
            generator=generator,
            restarts=restarts,
            odd=[group for group in odd if group is not None],
        )
        now = permuted(flipped(other, symmetry, found.signs), symmetry, found.permutations)
        for family, element in reversed(by):
            now = family.acted(now, 1 / element)
        yield now, found.permutations


def _turns_all(family: Family, symmetry: Symmetry) -> bool:
    if family.group is None or symmetry.groups[family.group].outer is not None:
        return False
    blocks = symmetry.of(family.group)
    places = {slot.place for slot, _ in family.members}
    return all(block.groups.count(family.group) == 1 and block[:2] in places for block in blocks)


def alone(family: Family, families: Sequence[Family], tensors: Tensors) -> Family:
    """The family as seen by numbers that no other one moves, as gains: a rule for these says its scales.

    Not by those that are all 0 in ``tensors``, as a bias that a translation takes away.
    """
    moved = {slot.place for one in families if one is not family for slot, _ in one.members}
    sizes = [float(slot.of(tensors).abs().max()) for slot, _ in family.members]
    own = tuple(
        member
        for member, size in zip(family.members, sizes, strict=True)
        if member[0].place not in moved and size > NOTHING * max(sizes)
    )
    return replace(family, members=own or family.members)


def balanced(
    tensors: Tensors, families: Sequence[tuple[Family, Family]]
) -> tuple[dict[str, Tensor], list[tuple[Family, Tensor]]]:
    """With scales of least norm and signs by a rule, one family after the other until nothing moves; and these.

    Each family with that which says by which members.
    """
    found, by = dict(tensors), []
    for _ in range(MOST_SWEEPS):
        farthest = 0.0
        for family, seen in families:
            scales = balance(seen, found)
            found = family.acted(found, scales)
            by.append((family, scales))
            farthest = max(farthest, float((scales - 1).abs().max()))
        if farthest < 1e-12:
            break
    return found, by
