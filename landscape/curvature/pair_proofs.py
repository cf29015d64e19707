"""The proofs of eigenpairs as they are stored: residuals by products of their own, and that none was missed."""

import numpy as np
import torch
from torch import Tensor

from landscape.numerics.spectra.krylov import Operator
from landscape.numerics.spectra.rows import orthogonalised
from landscape.numerics.vectors import add_each, gram, lengths, normal
from landscape.result import Check, largest_gap


def residual_checks(
    product: Operator,
    values: np.ndarray,
    residuals: np.ndarray,
    vectors: Tensor,
    *,
    scale: float,
    precision: float,
    rng: np.random.Generator,
    singly: bool,
    tried: tuple[np.ndarray, Tensor] | None = None,
) -> list[Check]:
    """‖Hv − λv‖ of a random combination of all, and ``singly`` of one, by a product each, against stated residuals.

    ``values`` and ``residuals`` (k,), ``vectors`` (k, d); ``scale`` is the largest |λ|, ``precision`` what a product
    is known to, over it. For weights c the combination has at most Σ |cᵢ| rᵢ.
    """
    one = int(rng.integers(len(values)))
    mixed = rng.standard_normal(len(values))
    cases: list[tuple[str, np.ndarray, Tensor | None, str]] = []
    if tried:
        cases.append(("Ritz pairs", *tried, "of all of them with random signs"))
    else:
        cases.append(("Ritz pairs", mixed / np.linalg.norm(mixed), None, "of a random combination of all"))
    if singly:
        cases.append(("Ritz pair", np.eye(len(values))[one], None, f"of pair {one + 1}"))
    found = []
    for name, weights, known, what in cases:
        across = torch.from_numpy(weights).to(vectors)
        image = product(across @ vectors) if known is None else known
        rest = image.to(vectors.device, torch.float64, copy=True)
        add_each(rest, torch.from_numpy(-weights * values), vectors)
        beyond = float(torch.linalg.vector_norm(rest)) - float(np.abs(weights) @ residuals)
        meaning = (
            f"‖Hv − λv‖ {what} by a product of its own, beyond the stated residual, over the largest |λ|"
        )
        found.append(Check(name, largest_gap(0.0, beyond) / scale, precision, meaning))
    return found


def error_check(values: np.ndarray, residuals: np.ndarray, errors: np.ndarray, scale: float) -> Check:
    """That no error is stated smaller than its residual r allows: min(r, r²/gap) for the gap to the values stored.

    ``values``, ``residuals``, ``errors`` (k,). The gap to what is not stored can only be smaller, so it is a lower
    bound; and r is an upper one.
    """
    distances = np.abs(values[:, None] - values)
    apart = distances > residuals[:, None] + residuals
    gaps = np.where(apart, distances, np.inf).min(axis=1, initial=2 * scale)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        least = np.fmin(residuals, residuals * (residuals / gaps))
    worst = float(np.maximum(least - errors, errors - residuals).max() / max(residuals.max(), 1e-300))
    meaning = "stated errors of λ outside [min(r, r²/gap), r] of the stored values, over the largest residual"
    return Check("stated errors", largest_gap(0.0, worst), 1e-10, meaning)


def missed_check(
    beside: np.ndarray, values: np.ndarray, which: str, top: int, *, scale: float, bound: float
) -> Check:
    """That no Ritz value ``beside`` (m,), of the complement of the pairs, is better than the worst of them.

    ``values`` (k,) are those of the pairs, the best first; the first ``top`` count as the largest, the others as
    the smallest. A Ritz value of the complement has an eigenvalue beyond it.
    """
    if which == "magnitude":
        over = [np.abs(beside).max() - np.abs(values).min()]
    else:
        ends = values[:top], values[top:]
        over = [beside.max() - one.min() for one in ends[:1] if len(one)]
        over += [one.max() - beside.min() for one in ends[1:] if len(one)]
    meaning = "Ritz values of the complement beyond the stored ones, over the largest |λ|"
    return Check("none missed", largest_gap(0.0, *over) / scale, bound, meaning)


def complement(product: Operator, vectors: Tensor, count: int, generator: torch.Generator) -> np.ndarray:
    """Ritz values (m,) of ``product`` from ``count`` products at random, in the complement of ``vectors`` (k, d)."""
    count = min(count, vectors.shape[1] - len(vectors))
    basis, entries, size = vectors.new_empty((count, vectors.shape[1])), np.zeros((count, count)), 0
    start = normal(vectors, generator).to(vectors)
    while size < count:
        length = float(lengths(start))
        start = orthogonalised(start, vectors, basis[:size])
        left = float(lengths(start))
        if not left > 1e-6 * length:
            break
        start = orthogonalised(start / left, vectors, basis[:size])
        basis[size] = start / float(lengths(start))
        size += 1
        start = product(basis[size - 1]).to(basis)
        # As the operator is symmetric, the images need not stay for the rows that come.
        entries[:size, size - 1] = entries[size - 1, :size] = (
            gram(basis[:size], start[None])[:, 0].cpu().numpy()
        )
    return np.linalg.eigvalsh(entries[:size, :size])
