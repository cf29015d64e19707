"""Changes of sign that leave a function as it is where no scale does, as those of tanh, or of queries that are normed.

They form a vector space over the field of two elements, so a set of places is tried only where none of those found and
of scales that may be negative is the same.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, product

from landscape.symmetry.families import Family
from landscape.symmetry.slots import Slot

# Places of units of which every choice is tried for a change of sign.
MOST_PLACES = 6
Places = frozenset[tuple[str, tuple[tuple[int, int], ...]]]


class Parities:
    """Sets of places, closed under taking two of them together."""

    def __init__(self, families: Iterable[Family]):
        self._rows: list[Places] = []
        for family in families:
            self.add(family)

    def is_new(self, family: Family) -> bool:
        return bool(self._left(family))

    def add(self, family: Family) -> None:
        left = self._left(family)
        self._rows += [left] if left else []

    def _left(self, family: Family) -> Places:
        left: Places = frozenset()
        for slot, exponent in family.members:
            left = left | {slot.place} if exponent % 2 else left
        for row in self._rows:
            left = left ^ row if min(row) in left else left
        return left


def candidates(
    slots: Sequence[Slot], plain: Sequence[Slot], group: int, heads: Iterable[int]
) -> Iterator[Family]:
    """Signs of the units of a group in several of their places: at every index of a head, then alike in all.

    ``plain``: the places that are tried together, too.
    """
    for head in heads:
        # Before the units: of channels of heads, not of heads of channels.
        those = [one for one in slots if one.outer is None and one.block.groups[: one.axis].count(head) == 1]
        yield from _several([one._replace(outer=one.block.groups.index(head)) for one in those], group)
    for together in (slots, plain):
        yield Family("sign", tuple((slot, 1) for slot in together), group)
    yield from _several(slots, group)


def of_pairs(gains: Family, slots: Sequence[Slot]) -> Iterator[Family]:
    """Signs of the same positions as those of gains, which rotary positions turn together: of a head, then alike."""
    alone = list(dict.fromkeys(slot._replace(positions=()) for slot, _ in gains.members))
    places = list(dict.fromkeys(slot.positions for slot, _ in gains.members))
    those = [
        one for one in slots if one.size == alone[0].size and one.block not in [gain.block for gain in alone]
    ]
    alike = [one for one in those if one.outer is None]
    for chosen in (*combinations(those, 2), *product(alike, alone)):
        if len({1 if one.outer is None else one.block.shape[one.outer] for one in chosen}) == 1:
            members = tuple((slot._replace(positions=at), 1) for slot in chosen for at in places)
            yield Family("sign", members, None)


def _several(slots: Sequence[Slot], group: int) -> Iterator[Family]:
    for count in range(2, len(slots) + 1) if len(slots) <= MOST_PLACES else ():
        for chosen in combinations(slots, count):
            yield Family("sign", tuple((slot, 1) for slot in chosen), group)
