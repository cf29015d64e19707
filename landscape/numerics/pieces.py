"""What each piece of θ is called, its shape, its role, and where its filters lie."""

from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # so that a result, which names the pieces of θ, is opened without torch
    from torch import Tensor


@dataclass(frozen=True)
class Piece:
    """One trainable parameter as a slice ``theta[offset : offset + size]``.

    ``role`` is ``weight`` (two axes or more), ``bias``, ``norm`` (scale or shift of a normalisation
    layer) or ``vector`` (any other parameter of at most one axis). ``output_axis`` and ``groups`` say
    where the filters of Li et al. (2018) lie.
    """

    name: str
    shape: tuple[int, ...]
    offset: int
    role: str
    output_axis: int = 0
    groups: int = 1

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
    """The piece's values, shape (size,), as rows of filters (num_filters, filter_size).

    Output axis 0 of Linear, Conv and Embedding weights; axis 1, per group, of ConvTranspose; a
    parameter of at most one axis is a single filter (Li et al. 2018, section 4).
    """
    if len(piece.shape) < 2:
        return values.reshape(1, -1)
    if piece.output_axis == 0:
        return values.reshape(piece.shape[0], prod(piece.shape[1:]))
    inputs, outputs = piece.shape[:2]
    rest = prod(piece.shape[2:])
    grouped = values.reshape(piece.groups, inputs // piece.groups, outputs, rest)
    return grouped.transpose(1, 2).reshape(piece.groups * outputs, inputs // piece.groups * rest)


def from_filters(piece: Piece, rows: "Tensor") -> "Tensor":
    """The inverse of :func:`filters`: rows (num_filters, filter_size) back to values (size,)."""
    if len(piece.shape) < 2 or piece.output_axis == 0:
        return rows.reshape(-1)
    inputs, outputs = piece.shape[:2]
    grouped = rows.reshape(piece.groups, outputs, inputs // piece.groups, prod(piece.shape[2:]))
    return grouped.transpose(1, 2).reshape(-1)
