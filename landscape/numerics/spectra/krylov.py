"""A Krylov space with an orthonormal basis kept whole, grown by one product at a time, restarted when full."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape.errors import BadInput
from landscape.numerics.spectra.rows import Rows, all_along, combinations, orthogonalised, turned, without
from landscape.numerics.spread import local
from landscape.numerics.vectors import gram, lengths, normal

# A start that happens to lie in an invariant space would never leave it.
START_NOISE = 0.1
# Vectors that there is room for at first; bytes that are asked for at a time, but for one vector.
FIRST_ROOM, ROOM_BYTES = 16, 2**26
Operator = Callable[[Tensor], Tensor]


class End(NamedTuple):
    """What images of a basis leave outside it: a vector (d,) off the basis, and the weights of each image in it.

    ``weights`` are one for every vector of the basis, or for the first ones, the others being zero.
    """

    vector: Tensor
    weights: np.ndarray


class Krylov:
    """Lanczos for a symmetric operator in the complement of known vectors (Paige 1972; Parlett 1998).

    ``operator`` maps (d,) to (d,); ``known`` (m, d) are orthonormal. For a basis B (size, d) the images are
    H bⱼ = Σᵢ Mᵢⱼ bᵢ + Σ wⱼ f over a few ends (f, w), the oldest of which is the next vector; after its product the
    image begins a new one. From one start M is tridiagonal, from two of them, taken in turn, a band
    (Ruhe 1979); after a thick restart (Wu and Simon 2000) it is an arrowhead followed by that. Classical
    Gram–Schmidt applied twice keeps the basis orthogonal to rounding, so ghost copies cannot appear. M is float64. At
    most ``capacity`` vectors are held, on the device of ``known``. ``scale`` is the size of the operator as far as it
    is known from elsewhere. The first vector is random, with ``start`` (d,) added ten times as large if it is given.

    ``asymmetry`` is the largest difference yet between an entry of M, as the products give it, and the one across the
    diagonal.
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
        self.operator, self._scale, self._generator = operator, scale, generator
        self.num_known, self.dimension = known.shape
        self.capacity = min(capacity, self.dimension - self.num_known)
        self.size = 0
        self.num_products = 0
        self.asymmetry = 0.0
        # The known vectors come first: orthogonality to rounding needs one Gram–Schmidt against all.
        self._all, self._like = Rows(known), known[:0]
        self._make_room(min(self.capacity, FIRST_ROOM))
        self._matrix = np.zeros((0, 0))
        self._ritz: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
        first = fresh_direction(known, generator, known)
        if start is not None:
            mixed = start / _norm(start) + START_NOISE * first
            mixed = orthogonalised(mixed, known)
            first = mixed / _norm(mixed)
        self._ends = [End(first, np.empty(0))]

    @property
    def is_full(self) -> bool:
        """Whether no further vector has room."""
        return self.size == self.capacity

    @property
    def is_invariant(self) -> bool:
        """Whether the space contains its own image."""
        return not self._ends

    @property
    def basis(self) -> list[Tensor]:
        """The orthonormal basis, ``size`` rows (d,), in pieces."""
        return self._all.parts(self.num_known, self.num_known + self.size)

    def begin_again(self) -> None:
        """A second start, at random off all so far: it sees of every eigenspace a direction that the first does not."""
        count = self.num_known + self.size
        if count < self.dimension:
            direction = fresh_direction(self._like, self._generator, *self._all.parts(0, count))
            self._ends.append(End(direction, np.empty(0)))

    def extend(self, newest: bool = False) -> None:
        """One product more, with the oldest end or the ``newest``."""
        position = self.num_known + self.size
        if position == len(self._all):
            self._make_room(min(max(self.size // 2, 1), self.capacity - self.size))
        place = len(self._ends) - 1 if newest else 0
        direction, weights = self._ends[place]
        length = _norm(direction)
        basis, vector = self._all.parts(0, position + 1), self._all[position]
        vector.copy_(direction).div_(length)
        # The same end, in the place that it has now: none stands beside it while the image is made.
        self._ends[place] = End(vector, length * weights)
        del direction
        image = self.operator(vector)
        alpha = _dot(image, vector)
        row = np.zeros(self.size + 1)
        row[: len(weights)] = length * weights
        row[-1] = alpha
        ends = []
        for end in self._ends[:place] + self._ends[place + 1 :]:
            part = _dot(end.vector, vector)
            row[: len(end.weights)] += part * end.weights
            ends.append(End(self._off(end.vector - part * vector, basis, _norm(end.vector)), end.weights))
        coefficients, before = all_along(basis, image), _norm(image)
        image = without(image, basis, coefficients)
        image = without(image, basis, all_along(basis, image))
        ends.append(End(self._off(image, basis, before), np.append(np.zeros(self.size), 1.0)))
        scale = max(self._scale, float(np.abs(self._matrix).max(initial=0)), float(np.abs(row).max()))
        least = 10 * torch.finfo(image.dtype).eps
        # Only now, so that an interruption above leaves the space as it was.
        is_whole = position + 1 == self.dimension
        self._ritz = None
        self._ends = [
            end
            for end in ends
            if not is_whole and _norm(end.vector) > least * (scale if len(end.weights) else 1.0)
        ]
        seen = coefficients[self.num_known : -1].double().cpu().numpy()
        self.asymmetry = max(self.asymmetry, float(np.abs(seen - row[:-1]).max(initial=0)))
        self._matrix = np.pad(self._matrix, (0, 1))
        self._matrix[-1] = self._matrix[:, -1] = row
        self.size, self.num_products = self.size + 1, self.num_products + 1

    def _make_room(self, count: int) -> None:
        """For ``count`` vectors more, half as many as there are; long ones come one by one, as each may be the last."""
        before, length = len(self._all), self.dimension * self._like.element_size()
        count = min(count, max(ROOM_BYTES // length, 1))
        try:
            self._all.grow(count, self.dimension)
        except (RuntimeError, MemoryError) as error:
            size = length / 2**30
            remedies = [f"set `memory_limit` to {before * size:.3g} GiB, the room of those that fit"][:before]
            if self._like.device.type != "cpu":
                remedies.append("keep it on the CPU, for eigenvalues by `basis_device` = cpu")
            error.add_note(
                f"the basis has {before} vectors of {size:.3g} GiB each and asked for room for {count} more"
                + ": " * bool(remedies)
                + ", or ".join(remedies)
            )
            raise

    def _off(self, vector: Tensor, basis: list[Tensor], before: float) -> Tensor:
        """What is left of a vector that was ``before`` long: not orthogonal to rounding yet, if that is little."""
        return orthogonalised(vector, *basis) if _norm(vector) < 0.1 * before else vector

    def ritz(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ritz values (size,), ascending, their weights in the columns (size, size), and residuals by recurrence."""
        if self._ritz is None:
            values, weights = _eigh(self._matrix)
            out, factor = self._outside()
            self._ritz = values, weights, np.linalg.norm(factor @ (out.T @ weights), axis=0)
        return self._ritz

    def _outside(self) -> tuple[np.ndarray, np.ndarray]:
        """The weights (size, ends) of the ends in the images, and R (ends, ends) with RᵀR = fᵀf of their vectors."""
        out = np.zeros((self.size, len(self._ends)))
        for column, end in zip(out.T, self._ends, strict=True):
            column[: len(end.weights)] = end.weights
        if not self._ends:
            return out, np.empty((0, 0))
        return out, _factor([end.vector for end in self._ends])

    def add_outside(self, total: Tensor, weights: np.ndarray) -> None:
        """Adds Σ Hv − λv to ``total`` (d,), float64, over Ritz vectors v whose weights add to ``weights`` (size,)."""
        for end, weight in zip(self._ends, weights @ self._outside()[0], strict=True):
            total.add_(end.vector, alpha=float(weight))

    def seen(self, at: np.ndarray, begin: int = 0, found: np.ndarray | None = None) -> float:
        """How much of an eigenvector at an eigenvalue ``at`` that is not found its start may see, at most.

        The part of the basis from ``begin`` on is of one start, with M as its own block and the last end (f, w) behind
        it. For a unit eigenvector u at λ, off the Ritz vectors ``found`` (positions), y = B u obeys
        (λ − M) y = (fᵀu) w, so that |y₁| ≤ |e₁ᵀ(λ − M)⁻¹w| ‖f‖, which falls with the distance of λ from the other Ritz
        values. Infinite where it lies among them.
        """
        if not self._ends:
            return 0.0
        values, weights = _eigh(self._matrix[begin:, begin:])
        if found is not None:
            values, weights = np.delete(values, found), np.delete(weights, found, axis=1)
        if not len(values):
            return 0.0
        if np.any((at >= values.min()) & (at <= values.max())):
            return np.inf
        length = _norm(self._ends[-1].vector)
        return length * float(np.abs((weights[0] / (at[:, None] - values)) @ weights[-1]).max())

    def vectors(self, weights: np.ndarray) -> Tensor:
        """Ritz vectors (k, d) of unit length for the columns (size, k) of their weights."""
        rows = combinations(torch.from_numpy(weights.T.copy()).to(self._like), self.basis)
        return rows.div_(lengths(rows)[:, None].to(rows))

    def restart(self, chosen: np.ndarray) -> None:
        """Keep the Ritz vectors at the positions ``chosen`` of :meth:`ritz`, and make room for more."""
        values, weights, _ = self.ritz()
        weights = weights[:, chosen]
        out = self._outside()[0].T @ weights
        turned(self.basis, torch.from_numpy(weights.T.copy()).to(local(self._like)))
        self.size = len(chosen)
        self._matrix, self._ritz = np.diag(values[chosen]), None
        basis = self._all.parts(0, self.num_known + self.size)
        self._ends = [
            End(orthogonalised(end.vector, *basis), row) for end, row in zip(self._ends, out, strict=True)
        ]


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


def fresh_direction(like: Tensor, generator: torch.Generator, *basis: Tensor) -> Tensor:
    """A random unit vector (d,) as in ``like`` (…, d), orthogonal to all rows of ``basis``."""
    vector = normal(like, generator).to(like)
    vector /= _norm(vector)
    vector = orthogonalised(vector, *basis)
    vector /= _norm(vector)
    return vector


def _factor(vectors: list[Tensor]) -> np.ndarray:
    """R (n, n) with RᵀR the products of n vectors (d,): to rounding, which is more than half the digits in float32."""
    if vectors[0].dtype == torch.float64:
        return torch.linalg.qr(torch.stack(vectors).T, mode="r").R.cpu().numpy()
    products = np.array([[_dot(one, other) for other in vectors] for one in vectors])
    squares, axes = _eigh(products)
    return np.sqrt(squares.clip(0))[:, None] * axes.T


def _eigh(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """By torch, on as many threads as it is told to use: NumPy takes all, and waits for them where others work."""
    values, vectors = torch.linalg.eigh(torch.from_numpy(np.ascontiguousarray(matrix)))
    return values.numpy(), vectors.numpy()


def _norm(vector: Tensor) -> float:
    return float(lengths(vector))


def _dot(one: Tensor, other: Tensor) -> float:
    return float(gram(one[None], other[None]))
