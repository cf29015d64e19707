"""Lanczos with full reorthogonalisation: extreme eigenpairs of a symmetric operator, each with its bounds."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from torch import Tensor

Operator = Callable[[Tensor], Tensor]
TEST_EVERY = 4
# How good a pair is: the larger the better.
MERITS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "largest": np.asarray,
    "smallest": np.negative,
    "magnitude": np.abs,
}


class Eigenpairs(NamedTuple):
    """Ritz pairs, best first. ``residuals`` are ‖Hv − λv‖ of a fresh product; ``estimated`` the recurrence's own.

    ``is_searched``: the complement of the pairs was searched to the end for others as good.
    """

    values: np.ndarray
    vectors: Tensor
    residuals: np.ndarray
    estimated: np.ndarray
    converged: np.ndarray
    scale: float
    num_products: int
    orthogonality: float
    is_searched: bool


class _Space(NamedTuple):
    """Ritz pairs that one recurrence adds to those known.

    ``is_settled`` when it ended before its products did, ``is_whole`` when nothing can be left to find.
    """

    values: np.ndarray
    residuals: np.ndarray
    vectors: Tensor
    scale: float
    num_products: int
    is_settled: bool
    is_whole: bool


def default_tolerance(dtype: torch.dtype) -> float:
    """The residual, relative to max|λ|, that a pair converges at: float64 1e-6, float32 1e-5, half types 5e-2.

    Rounding of one product leaves residuals of a few epsilons, in float32 about 5e-7.
    """
    return {torch.float64: 1e-6, torch.float32: 1e-5}.get(dtype, 5e-2)


def top_eigenpairs(
    operator: Operator,
    dimension: int,
    k: int,
    *,
    which: str = "largest",
    tol: float | None = None,
    max_products: int | None = None,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Eigenpairs:
    """The k algebraically largest (or smallest, or largest in magnitude) eigenpairs of ``operator``.

    ``operator`` maps (d,) to (d,). Classical Gram–Schmidt applied twice keeps the basis orthogonal to
    rounding, so ghost copies cannot appear; α, β and the small eigenproblem are float64.

    One Krylov space holds one vector of each eigenspace, so it cannot see that an eigenvalue is
    multiple. Therefore, once k pairs have converged, another recurrence starts at random in the
    complement of what was found, and goes on until its best pair is known to be no better than the
    k-th; what is better is added, and the complement searched again.

    A pair counts as converged when its true residual is at most ``tol`` times the largest |Ritz value|
    (None: :func:`default_tolerance`). At most ``max_products`` products are spent on the search
    (default: max(20 k, 300)), and k more on the residuals. Paige (1972); Parlett (1998), chapters 6, 13.
    """
    k = min(k, dimension)
    tol = default_tolerance(dtype) if tol is None else tol
    limit = max(20 * k, 300) if max_products is None else max(1, max_products)
    merit = MERITS[which]
    values, estimated = np.empty(0), np.empty(0)
    found = torch.empty((0, dimension), dtype=dtype, device=device)
    scale, spent, is_searched = 0.0, 0, False
    while spent < limit and len(found) < dimension:
        space = _complement(
            operator,
            found,
            values,
            scale,
            k,
            merit,
            tol,
            limit - spent,
            generator,
            lambda done, before=spent: progress(before + done, limit),
        )
        spent += space.num_products
        scale = max(scale, space.scale)
        values = np.concatenate([values, space.values])
        estimated = np.concatenate([estimated, space.residuals])
        found = torch.cat([found, space.vectors])
        is_searched = space.is_whole or (len(space.values) == 0 and space.is_settled)
        if is_searched:
            break
    chosen = np.argsort(-merit(values), kind="stable")[:k]
    vectors = found[torch.from_numpy(chosen).to(found.device)]
    quotients, residuals = _measured(operator, vectors)
    order = np.argsort(-merit(quotients), kind="stable")
    wide = vectors.double()
    identity = torch.eye(len(wide), dtype=wide.dtype, device=wide.device)
    return Eigenpairs(
        values=quotients[order],
        vectors=vectors[torch.from_numpy(order).to(vectors.device)],
        residuals=residuals[order],
        estimated=estimated[chosen][order],
        converged=residuals[order] <= tol * scale,
        scale=scale,
        num_products=spent + len(vectors),
        orthogonality=float((wide @ wide.T - identity).abs().max()),
        is_searched=is_searched or len(found) == dimension,
    )


def _complement(
    operator: Operator,
    known: Tensor,
    known_values: np.ndarray,
    known_scale: float,
    k: int,
    merit: Callable[[np.ndarray], np.ndarray],
    tol: float,
    limit: int,
    generator: torch.Generator,
    progress: Callable[[int], None],
) -> _Space:
    """Lanczos in the complement of the pairs ``known`` (none or at least k): its pairs among the k best of all.

    When the Krylov space becomes invariant the recurrence goes on from a fresh random vector with
    β = 0, until such a new block holds nothing better than the k-th: then nothing better is left.
    """
    first, dimension = known.shape
    tiny = torch.finfo(known.dtype).eps
    limit = min(limit, dimension - first)
    bar = np.sort(merit(known_values))[-k] + 0.5 * tol * known_scale if first else -np.inf
    basis = torch.cat([known, known.new_empty((min(limit, max(4 * k, 32)), dimension))])
    alphas: list[float] = []
    betas: list[float] = []
    size, block, is_settled = 0, 0, False
    vector = _fresh_direction(known, generator)
    while True:
        if first + size == len(basis):
            basis = torch.cat([basis, torch.empty_like(basis)[: limit - size]])
        basis[first + size] = vector
        size += 1
        image = operator(vector)
        alphas.append(float(torch.dot(image.double(), vector.double())))
        length = float(torch.linalg.vector_norm(image.double()))
        image = _orthogonalised(image, basis[: first + size])
        beta = float(torch.linalg.vector_norm(image.double()))
        progress(size)
        is_invariant = beta <= 10 * tiny * max(known_scale, max(map(abs, alphas)), max(betas, default=0.0))
        beta = 0.0 if is_invariant else beta
        if size == limit or is_invariant or size % TEST_EVERY == 0:
            values, weights = _ritz(alphas, betas, merit)
            residuals = beta * np.abs(weights[-1])
            merits, accuracy = merit(values), 0.5 * tol * max(known_scale, float(np.abs(values).max()))
            if is_invariant and (first or size >= k):
                newest = merit(_ritz(alphas[block:], betas[block:], merit)[0])[0]
                is_settled = bool(newest <= (bar if first else merits[k - 1]) + 10 * tiny * accuracy / tol)
            elif first or size >= k:
                is_open = merits[:k] + residuals[:k] > bar
                # A pair hidden from the first steps shows before the best of the others settles.
                is_open[0] |= residuals[0] > accuracy / tol**0.5
                is_settled = bool(np.all(residuals[:k][is_open] <= accuracy))
            if is_settled or size == limit:
                break
        betas.append(beta)
        if is_invariant:
            block = size
            vector = _fresh_direction(basis[: first + size], generator)
            continue
        vector = image / beta
        if beta < 0.1 * length:
            # What cancellation leaves of a vector is not orthogonal to rounding yet.
            vector = _orthogonalised(vector, basis[: first + size])
            vector = vector / torch.linalg.vector_norm(vector)
    new = np.flatnonzero(merits[:k] > bar)
    rows = (
        torch.from_numpy(weights[:, new].T.copy()).to(basis.device, basis.dtype) @ basis[first : first + size]
    )
    return _Space(
        values[new],
        residuals[new],
        rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True),
        float(np.abs(values).max()),
        size,
        is_settled=is_settled,
        is_whole=(is_invariant and is_settled) or first + size == dimension,
    )


def _measured(operator: Operator, vectors: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Rayleigh quotients and residual norms of unit vectors, by a fresh product each."""
    quotients, residuals = [], []
    for one in vectors:
        image, wide = operator(one).double(), one.double()
        quotients.append(float(torch.dot(image, wide)))
        residuals.append(float(torch.linalg.vector_norm(image - quotients[-1] * wide)))
    return np.array(quotients), np.array(residuals)


def _ritz(
    alphas: list[float], betas: list[float], merit: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Ritz values, best first, and their weights in the columns."""
    pair = eigh_tridiagonal(np.array(alphas), np.array(betas))
    values, weights = np.asarray(pair[0]), np.asarray(pair[1])
    order = np.argsort(-merit(values), kind="stable")
    return values[order], weights[:, order]


def _orthogonalised(vector: Tensor, basis: Tensor) -> Tensor:
    """Classical Gram–Schmidt, twice is enough (Giraud et al. 2005)."""
    for _ in range(2):
        vector = vector - basis.T @ (basis @ vector)
    return vector


def _fresh_direction(basis: Tensor, generator: torch.Generator) -> Tensor:
    vector = torch.randn(basis.shape[1], generator=generator, dtype=torch.float64).to(basis)
    vector = _orthogonalised(vector / torch.linalg.vector_norm(vector), basis)
    return vector / torch.linalg.vector_norm(vector)
