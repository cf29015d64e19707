"""What each piece of θ is called, its shape, its role, and where its filters lie."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # so that a result, which names the pieces of θ, is opened without torch
    from torch import Tensor


def conventional(shape: Sequence[int]) -> tuple[int, ...]:
    """The ``units`` of a parameter of which only the shape is known: axis 0 is that of outputs, as in nn.Linear.

    A parameter of at most one axis is a single filter (Li et al. 2018, section 4).
    """
    return tuple(size if axis == 0 and len(shape) > 1 else 1 for axis, size in enumerate(shape))


@dataclass(frozen=True)
class Piece:
    """One trainable parameter as a slice ``theta[offset : offset + size]``.

    ``role`` is ``weight`` (two axes or more), ``bias``, ``norm`` (scale or shift of a normalisation
    layer) or ``vector`` (any other parameter of at most one axis). ``units`` says where the filters of
    Li et al. (2018) lie, the weights into one output unit: in how many equal parts each axis is cut
    between them. An output axis is cut into its single entries, an axis that is summed over not at all:
    (out, 1) for ``nn.Linear``, (1, out) for ``x @ W``, (groups, out / groups, 1, 1) for a transposed
    convolution; by default :func:`conventional`. ``is_guess``: the use of the parameter does not show them.
    """

    name: str
    shape: tuple[int, ...]
    offset: int
    role: str
    units: tuple[int, ...] = ()
    is_guess: bool = False

    def __post_init__(self) -> None:
        if len(self.units) != len(self.shape):  # not given
            object.__setattr__(self, "units", conventional(self.shape))

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def span(self) -> slice:
        return slice(self.offset, self.offset + self.size)

    @property
    def entries(self) -> list[str]:
        """What each of its numbers is called, in their order in θ: ``weight[0, 1]``, or the name alone for one."""
        if self.size == 1:
            return [self.name]
        return [f"{self.name}{list(index)}" for index in product(*map(range, self.shape))]


def filters(piece: Piece, values: "Tensor") -> "Tensor":
    """The piece's values, shape (size,), as rows of filters (num_filters, filter_size), by its ``units``."""
    parts = _parts(piece)
    if prod(piece.units[1:]) == 1:
        # As they lie, so that rows of a parameter in parts stay where they are.
        return values.reshape(prod(piece.units), prod(parts))
    cut = values.reshape([size for pair in zip(piece.units, parts, strict=True) for size in pair])
    units_first = [*range(0, cut.dim(), 2), *range(1, cut.dim(), 2)]
    return cut.permute(units_first).reshape(prod(piece.units), prod(parts))


def from_filters(piece: Piece, rows: "Tensor") -> "Tensor":
    """The inverse of :func:`filters`: rows (num_filters, filter_size) back to values (size,)."""
    axes = len(piece.shape)
    if prod(piece.units[1:]) == 1:
        return rows.reshape(-1)
    cut = rows.reshape([*piece.units, *_parts(piece)])
    return cut.permute([one for axis in range(axes) for one in (axis, axes + axis)]).reshape(-1)


def _parts(piece: Piece) -> list[int]:
    """The length of a part of each axis."""
    return [size // count if count else 1 for size, count in zip(piece.shape, piece.units, strict=True)]


def along_axis_1(shape: Sequence[int], groups: int) -> tuple[int, ...]:
    """The units of a weight whose filters lie along axis 1, apart for each of ``groups`` of axis 0."""
    return (groups, shape[1], *(1 for _ in shape[2:]))
