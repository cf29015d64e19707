"""A Krylov space with an orthonormal basis kept whole, grown by one product at a time, restarted when full."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from landscape.errors import BadInput

# A start that happens to lie in an invariant space would never leave it.
START_NOISE = 0.1
# Up to so many vectors their matrix is solved whole, in less time than the solver for tridiagonal ones takes to import.
SMALL = 64
Operator = Callable[[Tensor], Tensor]


class Krylov:
    """Lanczos for a symmetric operator in the complement of known vectors (Paige 1972; Parlett 1998).

    ``operator`` maps (d,) to (d,); ``known`` (m, d) are orthonormal. Classical Gram–Schmidt applied
    twice keeps the basis orthogonal to rounding, so ghost copies cannot appear. The projected matrix is
    float64: tridiagonal, and after a thick restart (Wu and Simon 2000) an arrowhead followed by a
    tridiagonal. At most ``capacity`` vectors are held, on the device of ``known``. ``scale`` is the size
    of the operator as far as it is known from elsewhere. The first vector is random, with ``start`` (d,)
    added ten times as large if it is given.
    """

    def __init__(
        self,
        operator: Operator,
        known: Tensor,
        capacity: int,
        generator: torch.Generator,
        scale: float = 0.0,
        start: Tensor | None = None,
    ):
        self.operator, self._scale = operator, scale
        self.num_known, self.dimension = known.shape
        self.capacity = min(capacity, self.dimension - self.num_known)
        self.size = 0
        self.num_products = 0
        self.is_invariant = False
        # The known vectors come first: orthogonality to rounding needs one Gram–Schmidt against all.
        self._all = torch.cat([known, known.new_empty((min(self.capacity, 32), self.dimension))])
        self._next = fresh_direction(known, generator)
        if start is not None:
            mixed = start / torch.linalg.vector_norm(start) + START_NOISE * self._next
            mixed = orthogonalised(mixed, known)
            self._next = mixed / torch.linalg.vector_norm(mixed)
        self._diagonal: list[float] = []
        self._below: list[float] = []
        self._arrow = np.empty(0)
        self._restarted = 0

    @property
    def is_full(self) -> bool:
        """Whether no further vector has room."""
        return self.size == self.capacity

    @property
    def basis(self) -> Tensor:
        """The orthonormal basis, (size, d)."""
        return self._all[self.num_known : self.num_known + self.size]

    def extend(self) -> None:
        """One product more. ``is_invariant`` tells whether the space now contains its own image."""
        position = self.num_known + self.size
        if position == len(self._all):
            room = min(max(self.size, 1), self.capacity - self.size)
            self._all = torch.cat([self._all, self._all.new_empty((room, self.dimension))])
        vector = self._next
        self._all[position] = vector
        image = self.operator(vector)
        alpha, length = float(torch.dot(image.double(), vector.double())), _norm(image)
        image = orthogonalised(image, self._all[: position + 1])
        beta = _norm(image)
        scale = max(map(abs, (self._scale, alpha, *self._diagonal, *self._below, *self._arrow)))
        is_whole = position + 1 == self.dimension
        is_invariant = is_whole or beta <= 10 * torch.finfo(image.dtype).eps * scale
        if not is_invariant:
            image = image / beta
            if beta < 0.1 * length:
                # What cancellation leaves of a vector is not orthogonal to rounding yet.
                image = orthogonalised(image, self._all[: position + 1])
                image = image / torch.linalg.vector_norm(image)
        # Only now, so that an interruption above leaves the space as it was.
        self._next, self.is_invariant = image, is_invariant
        self._diagonal.append(alpha)
        self._below.append(0.0 if is_invariant else beta)
        self.size, self.num_products = self.size + 1, self.num_products + 1

    def ritz(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ritz values (size,), ascending, their weights in the columns (size, size), and residuals by recurrence."""
        below = np.array(self._below[:-1])
        if self._restarted or self.size <= SMALL:
            matrix = np.diag(np.array(self._diagonal)) + np.diag(below, 1) + np.diag(below, -1)
            kept = self._restarted
            if kept and self.size > kept:
                matrix[:kept, kept] = matrix[kept, :kept] = self._arrow
            values, weights = np.linalg.eigh(matrix)
        else:
            from scipy.linalg import eigh_tridiagonal

            values, weights = (np.asarray(part) for part in eigh_tridiagonal(np.array(self._diagonal), below))
        return values, weights, self._below[-1] * np.abs(weights[-1])

    def vectors(self, weights: np.ndarray) -> Tensor:
        """Ritz vectors (k, d) of unit length for the columns (size, k) of their weights."""
        rows = torch.from_numpy(weights.T.copy()).to(self._all) @ self.basis
        return rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)

    def restart(self, chosen: np.ndarray) -> None:
        """Keep the Ritz vectors at the positions ``chosen`` of :meth:`ritz`, and make room for more."""
        values, weights, _ = self.ritz()
        kept = torch.from_numpy(weights[:, chosen].T.copy()).to(self._all) @ self.basis
        self._arrow = self._below[-1] * weights[-1, chosen]
        self._restarted = self.size = len(chosen)
        self.basis.copy_(kept)
        self._diagonal = values[chosen].tolist()
        self._below = [0.0] * len(chosen)
        rest = orthogonalised(self._next, self._all[: self.num_known + self.size])
        self._next = rest / torch.linalg.vector_norm(rest)


def has_room(dimension: int, dtype: torch.dtype, memory_limit: float, least: int, num_known: int) -> bool:
    """Whether ``memory_limit`` bytes hold ``least`` vectors (or all there are) beside ``num_known`` others."""
    per_vector = dimension * torch.finfo(dtype).bits // 8
    return int(min(memory_limit, 2**62) // per_vector) - num_known >= min(least, dimension - num_known)


def capacity(dimension: int, dtype: torch.dtype, memory_limit: float, least: int, num_known: int = 0) -> int:
    """How many vectors of a basis fit into ``memory_limit`` bytes beside ``num_known`` others.

    Raises BadInput where there is room for fewer than ``least`` (or d, if that is smaller).
    """
    per_vector = dimension * torch.finfo(dtype).bits // 8
    room = int(min(memory_limit, 2**62) // per_vector) - num_known
    if not has_room(dimension, dtype, memory_limit, least, num_known):
        needed = (num_known + least) * per_vector
        raise BadInput(
            f"a memory limit of {memory_limit:.3g} bytes, where a vector of d = {dimension} takes {per_vector}",
            f"room for {num_known + least} vectors, {needed:.3g} bytes",
            "raise `memory_limit` or ask for fewer eigenvalues",
        )
    return room


def orthogonalised(vector: Tensor, basis: Tensor) -> Tensor:
    """``vector`` without its part in the span of ``basis``: Gram–Schmidt twice is enough (Giraud et al. 2005)."""
    if len(basis) == 0:
        return vector
    for _ in range(2):
        vector = vector - basis.T @ (basis @ vector)
    return vector


def fresh_direction(basis: Tensor, generator: torch.Generator) -> Tensor:
    """A random unit vector orthogonal to ``basis`` (m, d)."""
    vector = torch.randn(basis.shape[1], generator=generator, dtype=torch.float64).to(basis)
    vector = orthogonalised(vector / torch.linalg.vector_norm(vector), basis)
    return vector / torch.linalg.vector_norm(vector)


def _norm(vector: Tensor) -> float:
    return float(torch.linalg.vector_norm(vector.double()))
