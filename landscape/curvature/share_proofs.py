"""The proof of a density's shares and their errors: what its nodes tell and leave open, by orthogonal polynomials."""

import math
from collections.abc import Sequence

import numpy as np

from landscape.numerics.spectra.quadrature import COINCIDENT

# How far out the last node of a quadrature may lie, over the largest |λ|.
FARTHEST = 1e8
# Masses whose nodes come by other eigenvalues.
SAME = 1e-6

Recurrences = Sequence[tuple[np.ndarray, np.ndarray]]


def share_of(
    drawn: Recurrences, known: np.ndarray, dimension: int, edges: tuple[float, ...], scale: float
) -> float:
    """The share of the eigenvalues below the one edge, or between two: of ``known`` ones and of what is ``drawn``."""
    below = _beyond(drawn, edges[0], scale)[0]
    inside, among = below, known < edges[0]
    if len(edges) == 2:
        inside, among = 1 - below - _beyond(drawn, edges[1], scale)[1], np.abs(known) <= edges[1]
    left = dimension - len(known)
    return (left * min(max(inside, 0.0), 1.0) + int(among.sum())) / dimension


def share_error(
    drawn: Recurrences,
    known: np.ndarray,
    dimension: int,
    edges: tuple[float, ...],
    share: float,
    scale: float,
    product_error: float,
) -> float:
    """The standard error of a ``share`` of the eigenvalues beside the ``known`` ones, between or below ``edges``.

    It joins the chance in the probes ``drawn``, what their nodes leave open, and half of what products of that error
    may carry across an edge; see :func:`~landscape.numerics.spectra.density.spectral_density`.
    """
    left = dimension - len(known)
    chance = math.sqrt(2 * share * (1 - share) / (left + 2) / len(drawn))
    open_ = math.hypot(*(_beyond(drawn, edge, scale)[2] for edge in edges))
    carried = 0.0
    for edge in edges if product_error else ():
        low, high = (_beyond(drawn, edge + side * product_error, scale)[0] for side in (-1, 1))
        near = sum(abs(one - edge) <= product_error for one in known.tolist())
        carried += (left * max(high - low, 0.0) + near) / (2 * dimension)
    return math.hypot(left / dimension * chance, left / dimension * open_, carried)


def _beyond(drawn: Recurrences, edge: float, scale: float) -> tuple[float, float, float]:
    """The mean masses below and above ``edge``, and what few nodes leave open of either.

    What lies on the edge at half of the steps and at all of them, shrinking like 1/steps, says how much stays there.
    """
    steps = max(len(alphas) for alphas, _ in drawn)
    half = steps // 2
    (least, here), (before, there) = (
        np.mean([_allowed(one, edge, scale, count) for one in drawn], axis=0) for count in (steps, half)
    )
    if all(betas[-1] == 0 for _, betas in drawn):
        return float(least), float(1 - least - here), 0.0
    stays = min(max((steps * here - half * there) / (steps - half), 0.0), here)
    now, then = (low + max(mass - stays, 0.0) / 2 for low, mass in ((least, here), (before, there)))
    return float(now), float(1 - now - stays), math.hypot(stays / 2, now - then)


def _allowed(
    recurrence: tuple[np.ndarray, np.ndarray], edge: float, scale: float, count: int
) -> tuple[float, float]:
    """The least mass below ``edge`` that the moments of so many steps allow, and the largest on it.

    The quadrature with a node at the edge x is that of the Jacobi matrix whose last entry is x − β p′(x)/p(x), p′ and p
    the last two orthogonal polynomials.
    """
    alphas, betas = (one[:count] for one in recurrence)
    if not len(alphas):
        return 0.0, 1.0
    before, here = 0.0, 1.0
    for alpha, beta, last in zip(alphas, betas, (0.0, *betas[:-1]), strict=True):
        before, here = here, (edge - alpha) * here - last * before
        size = max(abs(before), abs(here)) or 1.0
        # The polynomial times β, which may be 0; their size does not matter.
        before, here = before / size, here / size / (beta or 1.0)
    turn = math.copysign(FARTHEST * scale, here)
    if abs(here) * FARTHEST * scale > abs(betas[-1] * before):
        turn = betas[-1] * before / here
    matrix = np.diag([*alphas, edge - turn]) + np.diag(betas, 1) + np.diag(betas, -1)
    nodes, vectors = np.linalg.eigh(matrix)
    masses, apart = vectors[0] ** 2, np.abs(nodes - edge)
    on = apart <= max(COINCIDENT * scale, float(apart.min()))
    return float(masses[(nodes < edge) & ~on].sum()), float(masses[on].sum())
