"""Gauss quadrature by Lanczos: the measure of one vector, and how much of it lies beyond a point."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from landscape.errors import NotFinite
from landscape.numerics.spectra.krylov import Operator
from landscape.numerics.spectra.rows import orthogonalised
from landscape.numerics.vectors import lengths

# Eigenvalues this close to a point, relative to the largest, count as lying on it.
COINCIDENT = 1e-7


class Recurrence:
    """Lanczos from one vector (d,) in the complement of the rows ``known`` (k, d), with full reorthogonalisation.

    ``alphas`` and ``betas``, as many as steps: the diagonal of its tridiagonal matrix and what stands beside it,
    the last of which leads out; 0 there means that the Krylov space is closed. :meth:`extend` goes on where it
    stopped, as long as its basis is kept.
    """

    def __init__(self, operator: Operator, start: Tensor, known: Tensor, scale: float):
        self.operator, self.scale, self._first = operator, scale, len(known)
        self._basis: Tensor | None = known
        self._vector = start / float(lengths(start))
        self.alphas: list[float] = []
        self.betas: list[float] = []

    @property
    def num_steps(self) -> int:
        return len(self.alphas)

    @property
    def is_closed(self) -> bool:
        return bool(self.betas) and self.betas[-1] == 0

    def extend(self, num_steps: int) -> None:
        """On to ``num_steps`` steps in all, fewer where the space closes. Raises NotFinite."""
        assert self._basis is not None, "the basis is gone"
        if self.is_closed or num_steps <= self.num_steps:
            return
        done, first = self.num_steps, self._first
        dimension = self._basis.shape[1]
        basis = torch.cat([self._basis, self._basis.new_empty((num_steps - done, dimension))])
        tiny = torch.finfo(basis.dtype).eps
        for step in range(done + 1, num_steps + 1):
            vector = self._vector
            basis[first + step - 1] = vector
            image = self.operator(vector)
            self.alphas.append(float(torch.dot(image.double(), vector.double())))
            length = float(lengths(image))
            image = orthogonalised(image, basis[: first + step])
            beta = float(lengths(image))
            if not np.isfinite(beta):
                raise NotFinite(f"product {step} of a probe has the norm {length}", "finite products")
            self.scale = max(self.scale, abs(self.alphas[-1]), beta)
            is_closed = beta <= 10 * tiny * self.scale or first + step == dimension
            self.betas.append(0.0 if is_closed else beta)
            if is_closed:
                break
            vector = image / beta
            if beta < 0.1 * length:  # what cancellation leaves is not orthogonal to rounding yet
                vector = orthogonalised(vector, basis[: first + step])
                vector = vector / float(lengths(vector))
            self._vector = vector
        self._basis = basis

    def forget(self) -> None:
        """Gives the memory of the basis back; what was found stays."""
        self._basis = None

    def nodes_and_weights(self) -> tuple[np.ndarray, np.ndarray]:
        """The quadrature of the vector's measure: its moments up to 2 ``num_steps`` − 1 are exact."""
        return gauss(np.array(self.alphas), np.array(self.betas[:-1]))

    def around(self, point: float, steps: int, scale: float) -> tuple[float, float]:
        """What moments prove of the mass below ``point``: it lies in [first, first + second].

        The quadrature with a node prescribed at ``point`` has the largest mass there that the moments
        allow (Chebyshev, Markov, Stieltjes; Golub 1973 for the modified matrix).
        """
        steps = min(steps, self.num_steps)
        if steps == 0:
            return 0.0, 1.0
        alphas, betas = np.array(self.alphas[:steps]), np.array(self.betas[:steps])
        tiny = 1e-8 * max(scale, 1e-300)
        pivot = 1.0
        for i in range(steps):
            pivot = alphas[i] - point - (betas[i - 1] ** 2 / pivot if i else 0.0)
            if abs(pivot) < 1e-8 * tiny:
                pivot = 1e-8 * tiny
        last = point + float(np.clip(betas[-1] ** 2 / pivot, -scale / 1e-8, scale / 1e-8))
        nodes, weights = gauss(np.r_[alphas, last], betas)
        distance = nodes - point
        here = np.abs(distance) <= max(COINCIDENT * scale, np.abs(distance).min())
        return float(weights[(distance < 0) & ~here].sum()), float(weights[here].sum())


def gauss(alphas: np.ndarray, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gauss quadrature of a Jacobi matrix: nodes, ascending, and weights of sum 1 (Golub and Welsch 1969)."""
    from scipy.linalg import eigh_tridiagonal

    pair = eigh_tridiagonal(alphas, betas)
    weights = np.asarray(pair[1])[0] ** 2
    return np.asarray(pair[0]), weights / weights.sum()


def mass_beyond(
    recurrences: Sequence[Recurrence], point: float, scale: float, sign: int, steps: int
) -> tuple[float, float]:
    """The probes' mean mass below ``point`` (above for sign 1), and the error that few nodes leave in it.

    A smooth density has half of what is undecided at ``point`` below it, and that amount shrinks like
    1/steps. What does not shrink from half the steps to all is an atom at or next to ``point``: taken to
    lie on it, and half of it stated as error, as it may lie beside it. To this comes the change of the
    estimate from half the steps to all. ``steps``: as if no probe had gone further.
    """
    if not recurrences:
        return 0.0, 0.0
    steps = min(steps, max(one.num_steps for one in recurrences))
    half = steps // 2
    whole = np.array([one.around(point, steps, scale) for one in recurrences]).mean(axis=0)
    halved = np.array([one.around(point, half, scale) for one in recurrences]).mean(axis=0)
    atom = float(np.clip((steps * whole[1] - half * halved[1]) / (steps - half), 0, whole[1]))

    def estimate(bounds: np.ndarray) -> float:
        start = 1 - bounds.sum() if sign > 0 else bounds[0]
        return float(start + max(bounds[1] - atom, 0.0) / 2)

    # The measures of the probes themselves.
    if all(one.is_closed and one.num_steps <= steps for one in recurrences):
        return float(1 - whole.sum() if sign > 0 else whole[0]), 0.0
    return estimate(whole), float(np.hypot(atom / 2, estimate(whole) - estimate(halved)))
