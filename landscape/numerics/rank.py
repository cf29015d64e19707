"""The numerical rank of a matrix: how many singular values are more than rounding, and how much more."""

from typing import NamedTuple

import torch
from torch import Tensor

# Rounding of a computed singular value, in units of max(rows, columns) ε σ_max; a product of matrices adds its own.
FACTOR = 4.0
# A full rank whose smallest singular value is smaller than this part of the largest one certifies nothing.
CERTAIN = 1e-8


class Rank(NamedTuple):
    """How many of the values count, out of ``full``, with the values that tell how surely.

    A value counts above ``threshold``; ``smallest`` is the smallest of all, 0 where there are fewer than ``full``,
    ``last`` the smallest that counts and ``largest`` the largest. ``is_bound``: no more than so many count, it may be
    fewer.
    """

    rank: int
    full: int
    smallest: float
    last: float
    largest: float
    threshold: float
    is_bound: bool = False

    @property
    def is_full(self) -> bool:
        """Whether every value counts."""
        return self.rank == self.full

    @property
    def is_sure(self) -> bool:
        """Whether the rank is full by more than rounding can undo."""
        return self.is_full and self.smallest >= CERTAIN * self.largest

    def __str__(self) -> str:
        return f"{'at most ' if self.is_bound else ''}{self.rank} of {self.full}"


def numerical_rank(matrix: Tensor, *, full: int | None = None) -> Rank:
    """The rank of ``matrix`` (rows, columns), out of ``full`` (by default the smaller of both).

    σᵢ counts where it exceeds max(rows, columns) ε σ_max times a small factor, ε of the matrix's dtype (Golub and
    Van Loan 2013, section 5.4): never a part of σ_max that is chosen.

    >>> str(numerical_rank(torch.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=torch.float64)))
    '1 of 2'
    """
    values = torch.linalg.svdvals(matrix) if matrix.numel() else matrix.new_zeros(0)
    return rank_of(values, max(matrix.shape, default=0), torch.finfo(matrix.dtype).eps, full=full)


def rank_of(values: Tensor, size: int, epsilon: float, *, full: int | None = None) -> Rank:
    """The rank by all singular values, or eigenvalues of a positive semidefinite matrix, of one of length ``size``."""
    full = len(values) if full is None else full
    largest = float(values.max()) if len(values) else 0.0
    threshold = FACTOR * size * epsilon * largest
    counted = values[values > threshold]
    return Rank(
        rank=min(len(counted), full),
        full=full,
        smallest=max(0.0, float(values.min())) if full and len(values) >= full else 0.0,
        last=float(counted.min()) if len(counted) else 0.0,
        largest=largest,
        threshold=threshold,
    )
