"""Lanczos with full reorthogonalisation: extreme eigenpairs of a symmetric operator, each with its bounds."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from torch import Tensor

Operator = Callable[[Tensor], Tensor]
TEST_EVERY = 4


class Eigenpairs(NamedTuple):
    """Ritz pairs, best first. ``residuals`` are ‖Hv − λv‖ of a fresh product; ``estimated`` the recurrence's own."""

    values: np.ndarray
    vectors: Tensor
    residuals: np.ndarray
    estimated: np.ndarray
    converged: np.ndarray
    scale: float
    num_products: int
    orthogonality: float


def top_eigenpairs(
    operator: Operator,
    dimension: int,
    k: int,
    *,
    which: str = "largest",
    tol: float = 1e-6,
    max_products: int | None = None,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Eigenpairs:
    """The k algebraically largest (or smallest, or largest in magnitude) eigenpairs of ``operator``.

    ``operator`` maps (d,) to (d,). Classical Gram–Schmidt applied twice keeps the basis orthogonal to
    rounding, so ghost copies cannot appear; α, β and the small eigenproblem are float64. When the
    Krylov space becomes invariant (multiple eigenvalues, low rank) the recurrence goes on from a fresh
    random vector orthogonal to the basis with β = 0, so multiplicities are found as well.

    A pair counts as converged when its true residual is at most ``tol`` times the largest |Ritz value|.
    At most ``max_products`` products are spent on the basis (default: enough for any k, at most d), and
    k more on the residuals. Paige (1972); Parlett (1998), chapters 6 and 13.
    """
    k = min(k, dimension)
    limit = min(dimension, max_products if max_products is not None else max(20 * k, 300))
    tiny = torch.finfo(dtype).eps
    basis = torch.empty((min(limit, max(4 * k, 32)), dimension), dtype=dtype, device=device)
    alphas: list[float] = []
    betas: list[float] = []
    vector = _fresh_direction(basis[:0], dimension, generator, dtype, device)
    size = 0
    while True:
        if size == len(basis):
            basis = torch.cat([basis, torch.empty_like(basis)[: limit - size]])
        basis[size] = vector
        size += 1
        image = operator(vector)
        alphas.append(float(torch.dot(image.double(), vector.double())))
        image = _orthogonalised(image, basis[:size])
        beta = float(torch.linalg.vector_norm(image.double()))
        progress(size, limit)
        scale = max(max(map(abs, alphas)), max(betas, default=0.0), torch.finfo(dtype).tiny)
        is_invariant = beta <= 10 * tiny * scale * max(1.0, dimension**0.5)
        if size == limit:
            betas.append(0.0 if is_invariant else beta)
            break
        if size >= k and (size % TEST_EVERY == 0) and not is_invariant:
            values, vectors = _ritz(alphas, betas)
            chosen = _choose(values, k, which)
            if np.all(beta * np.abs(vectors[-1, chosen]) <= 0.5 * tol * np.abs(values).max()):
                betas.append(beta)
                break
        if is_invariant:
            betas.append(0.0)
            vector = _fresh_direction(basis[:size], dimension, generator, dtype, device)
        else:
            betas.append(beta)
            vector = image / beta
    values, vectors = _ritz(alphas, betas[:-1])
    chosen = _choose(values, k, which)
    estimated = betas[-1] * np.abs(vectors[-1, chosen])
    weights = torch.as_tensor(vectors[:, chosen].T.copy(), dtype=dtype, device=device)
    found = weights @ basis[:size]
    found = found / torch.linalg.vector_norm(found, dim=1, keepdim=True)
    ritz_values, residuals = [], []
    for one in found:
        image = operator(one).double()
        value = float(torch.dot(image, one.double()))
        ritz_values.append(value)
        residuals.append(float(torch.linalg.vector_norm(image - value * one.double())))
    scale = float(np.abs(values).max())
    gram = found.double() @ found.double().T
    identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    return Eigenpairs(
        values=np.array(ritz_values),
        vectors=found,
        residuals=np.array(residuals),
        estimated=estimated,
        converged=np.array(residuals) <= tol * scale,
        scale=scale,
        num_products=size + len(found),
        orthogonality=float((gram - identity).abs().max()),
    )


def _ritz(alphas: list[float], betas: list[float]) -> tuple[np.ndarray, np.ndarray]:
    return eigh_tridiagonal(np.array(alphas), np.array(betas))


def _choose(values: np.ndarray, k: int, which: str) -> np.ndarray:
    keys = {"largest": -values, "smallest": values, "magnitude": -np.abs(values)}
    return np.argsort(keys[which], kind="stable")[:k]


def _orthogonalised(vector: Tensor, basis: Tensor) -> Tensor:
    """Classical Gram–Schmidt, twice is enough (Giraud et al. 2005)."""
    for _ in range(2):
        vector = vector - basis.T @ (basis @ vector)
    return vector


def _fresh_direction(
    basis: Tensor, dimension: int, generator: torch.Generator, dtype: torch.dtype, device: torch.device | str
) -> Tensor:
    vector = torch.randn(dimension, generator=generator, dtype=torch.float64).to(device, dtype)
    vector = _orthogonalised(vector / torch.linalg.vector_norm(vector), basis)
    return vector / torch.linalg.vector_norm(vector)
