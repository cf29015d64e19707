"""A basis of long vectors in blocks of rows, none of which is copied when more are wanted.

One tensor that grows has to be copied into a larger one, and both stand for a while.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from landscape.numerics.spread import local
from landscape.numerics.sums import BLOCK
from landscape.numerics.vectors import add, along, lessen


class Rows:
    """Rows (d,) one after the other, those of ``first`` (m, d) to begin with; those of :meth:`grow` are not set."""

    def __init__(self, first: Tensor):
        self._blocks = [first]

    def __len__(self) -> int:
        return sum(len(block) for block in self._blocks)

    def __getitem__(self, place: int) -> Tensor:
        """The row at ``place``, to be read and written."""
        (block,) = self.parts(place, place + 1)
        return block[0]

    def grow(self, count: int, dimension: int) -> None:
        """``count`` rows more."""
        self._blocks.append(self._blocks[0].new_empty((count, dimension)))

    def parts(self, begin: int, end: int) -> list[Tensor]:
        """The rows from ``begin`` to ``end``, in as few pieces as they lie in."""
        found, first = [], 0
        for block in self._blocks:
            low, high = max(begin - first, 0), min(end - first, len(block))
            if low < high:
                found.append(block[low:high])
            first += len(block)
        return found


def all_along(parts: Sequence[Tensor], vector: Tensor) -> Tensor:
    """The parts (m,) of ``vector`` (d,) along the m rows in ``parts``."""
    return torch.cat([along(part, vector) for part in parts])


def without(vector: Tensor, parts: Sequence[Tensor], weights: Tensor) -> Tensor:
    """``vector`` (d,) without Σ weightᵢ · rowᵢ over the rows in ``parts``."""
    found = vector.clone()
    for part, its in zip(parts, weights.split([len(part) for part in parts]), strict=True):
        lessen(found, part, its)
    return found


def orthogonalised(vector: Tensor, *parts: Tensor) -> Tensor:
    """``vector`` without its part in the span of rows: Gram–Schmidt twice is enough (Giraud et al. 2005)."""
    held = [part for part in parts if len(part)]
    for _ in range(2 if held else 0):
        vector = without(vector, held, all_along(held, vector))
    return vector


def combinations(weights: Tensor, parts: Sequence[Tensor]) -> Tensor:
    """``weights`` (k, m) times the m rows in ``parts``, (k, d)."""
    split = weights.split([len(part) for part in parts], dim=1)
    total = split[0] @ parts[0]
    for its, part in zip(split[1:], parts[1:], strict=True):
        add(total, its, part)
    return total


def turned(parts: Sequence[Tensor], weights: Tensor) -> None:
    """The first k of the m rows in ``parts`` become ``weights`` (k, m) times all, block by block of entries."""
    here = [local(part) for part in parts]
    for begin in range(0, here[0].shape[1], BLOCK):
        block = [part[:, begin : begin + BLOCK] for part in here]
        now, first = combinations(weights, block), 0
        for part in block:
            part[: len(now) - first].copy_(now[first : first + len(part)])
            first = min(first + len(part), len(now))
