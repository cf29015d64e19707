"""What was seen of the use of each parameter, and the piece of θ that this makes of it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from landscape import distributed
from landscape.numerics.pieces import Piece

Cut = tuple[int | None, ...]
# Parameters named in a sentence about some of them.
MOST_NAMED = 3


@dataclass
class Uses:
    """By name, the cuts of each parameter (see :class:`~landscape.numerics.pieces.Piece`), None for an axis unseen.

    In sums of products with the data (``summed``) or with constants (``beside``), and where the data pick some of
    its entries (``picked``). ``entrywise``: parameters that meet the data entry by entry, or stand
    beside them. ``norms``: the scales and
    shifts of layers that normalise.
    """

    summed: dict[str, set[Cut]] = field(default_factory=dict)
    picked: dict[str, set[Cut]] = field(default_factory=dict)
    beside: dict[str, set[Cut]] = field(default_factory=dict)
    entrywise: set[str] = field(default_factory=set)
    norms: set[str] = field(default_factory=set)

    def told(self, piece: Piece) -> Piece:
        """``piece`` with the units that its uses agree on: a guess where they do not, or where none is seen."""
        if piece.name in self.norms:
            piece = replace(piece, role="norm")
        if len(piece.shape) < 2:
            return piece
        summed, picked = self.summed.get(piece.name, set()), self.picked.get(piece.name, set())
        found = summed | picked or self.beside.get(piece.name, set())
        if not found:
            is_vector = sum(size > 1 for size in piece.shape) <= 1
            if piece.is_guess and piece.name in self.entrywise and is_vector:
                # One filter, as a parameter of one axis is.
                return replace(piece, units=(1,) * len(piece.shape), is_guess=False)
            return piece
        cut = agreed(found)
        if cut is None:
            return replace(piece, is_guess=True)
        # An axis of which one entry is used is not summed over; a row that is picked is taken as a whole.
        unseen = [1] * len(cut) if picked and not summed else piece.shape
        units = (other if count is None else count for count, other in zip(cut, unseen, strict=True))
        return replace(piece, units=tuple(units), is_guess=False)


def agreed(cuts: set[Cut]) -> Cut | None:
    """What several uses of one parameter say of its axes together; None where they contradict each other."""
    found: list[int | None] = []
    for counts in zip(*cuts, strict=True):
        said = {count for count in counts if count is not None}
        if len(said) > 1:
            return None
        found.append(said.pop() if said else None)
    return tuple(found)


def told(pieces: Sequence[Piece], uses: Uses) -> tuple[Piece, ...]:
    """The pieces with what was seen of their use: in every process by what the first one saw."""
    return distributed.from_first(lambda: tuple(uses.told(piece) for piece in pieces))


def guesses(pieces: Sequence[Piece], ignore: Collection[str] = ()) -> list[str]:
    """A note on the parameters that move whose filters are had by convention alone; none where there are none."""
    names = [piece.name for piece in pieces if piece.is_guess and piece.role not in ignore]
    if not names:
        return []
    return [
        f"the module's use of {listed(names)} shows no single output axis: filters are taken "
        "by convention there, along axis 0 (1 of a transposed convolution)"
    ]


def listed(names: Sequence[str], most: int = MOST_NAMED) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
