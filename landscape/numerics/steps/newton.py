"""To critical points of every index from many starts at once: Levenberg and Marquardt's steps on ∇F = 0."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

import torch
from torch import Tensor

# Steps whose fall of ‖∇F‖, and whose growth of ‖θ‖, tell what a search does at its end.
WINDOW = 12
# A fall of ‖∇F‖ over that window, relative, below which a search stands still.
STILL = 1e-9
# ‖∇F‖ is zero to rounding at so many ε of the terms that cancel in it.
ROUNDING = 64.0
# First damping over λ²_max, what divides and multiplies it, and how small a step may become over ‖θ‖.
FIRST, EASE, TIGHTEN, SHORTEST = 1e-3, 8.0, 4.0, 1e-15


class Local(NamedTuple):
    """F (R,), ∇F (R, d), H (R, d, d) at R points; ``asymmetry`` (R,) is ‖H − Hᵀ‖/2 before it was made symmetric."""

    values: Tensor
    slopes: Tensor
    matrices: Tensor
    asymmetry: Tensor


@dataclass
class Search:
    """Where R searches stand: θ (R, d), what is known there, and the last ``WINDOW`` of their ways.

    ``norms``, ``sizes`` and ``lengths`` (R, WINDOW + 1) are ‖∇F‖, ‖θ‖ and the lengths of steps, the last one last;
    ``scale`` and ``begun`` (R,) are what ‖∇F‖ and ‖θ‖ were at the start, ``steps`` (R,) how many were tried, and
    ``is_short`` (R,) whether the last one tried was shorter than θ is exact.
    """

    thetas: Tensor
    values: Tensor
    slopes: Tensor
    eigenvalues: Tensor
    vectors: Tensor
    damping: Tensor
    scale: Tensor
    begun: Tensor
    norms: Tensor
    sizes: Tensor
    lengths: Tensor
    steps: Tensor
    is_short: Tensor

    @property
    def rounding(self) -> Tensor:
        """What rounding leaves of ∇F (R,): ε of the terms that cancel in it, ‖H‖ ‖θ‖ + √(|F| ‖H‖), and at the start."""
        return rounding(self.values, self.eigenvalues.abs().amax(1), self.sizes[:, -1], self.scale)

    @property
    def flatness(self) -> Tensor:
        """‖H∇F‖ / (‖H‖ ‖∇F‖) (R,), NaN where either vanishes: 0 where ∇F lies in the kernel of H."""
        turned = _turned(self.vectors, self.slopes)
        image = torch.linalg.vector_norm(self.eigenvalues * turned, dim=1)
        return image / (self.eigenvalues.abs().amax(1) * self.norms[:, -1])

    def state(self) -> dict[str, Tensor]:
        """Everything, to go on from."""
        return {name: value.clone() for name, value in vars(self).items()}


def exponent(norms: Iterable[float], sizes: Iterable[float]) -> float:
    """d log‖∇F‖/d log‖θ‖ by least squares over the last steps of a search; NaN where ‖θ‖ stood still.

    >>> round(exponent([4.0, 1.0, 0.25], [1.0, 2.0, 4.0]), 12)
    -2.0
    """
    rows = [
        (math.log(s), math.log(g)) for g, s in zip(norms, sizes, strict=True) if 0 < g < inf and 0 < s < inf
    ]
    if len(rows) < 2:
        return math.nan
    u, v = (math.fsum(one) / len(rows) for one in zip(*rows, strict=True))
    spread = math.fsum((s - u) ** 2 for s, _ in rows)
    return math.fsum((s - u) * (g - v) for s, g in rows) / spread if spread > 0 else math.nan


def rounding(values: Tensor, curvature: Tensor, sizes: Tensor, scale: Tensor) -> Tensor:
    """‖∇F‖ (R,) that rounding leaves where F is ``values`` and ‖H‖ is ``curvature``, at ‖θ‖ = ``sizes``."""
    terms = curvature * sizes + (values.abs() * curvature).sqrt() + scale
    return ROUNDING * torch.finfo(values.dtype).eps * terms


def searched(
    local: Callable[[Tensor], Local],
    thetas: Tensor,
    *,
    num_steps: int = 500,
    noise: Tensor | None = None,
    kept: Mapping[str, Tensor] | None = None,
    offer: Callable[[Callable[[], dict[str, Tensor]]], None] = lambda state: None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Search:
    """Go from each row of ``thetas`` (R, d), float64, towards ∇F = 0, ‖∇F‖ never rising.

    The step is −H (H² + μ‖∇F‖ I)⁻¹ ∇F by the eigenvectors of H (Levenberg 1944, Marquardt 1963, for the equations
    ∇F = 0), of minimum norm where H is singular, so that orbits of symmetries do not run away; μ follows how much of
    the fall that the linear model promises is had. Unlike a descent of F it is drawn to saddles as well. A search
    ends at the rounding of ∇F, where ‖∇F‖ stands still, where its steps are shorter than θ is exact, or where
    numbers are not finite. ``noise`` (R,) is what rounding leaves of ∇F at the start where that is more than its terms
    tell. All searches go on as one computation of those that have not ended. ``offer`` is given
    every state, to go on from as ``kept``.
    """
    found = Search(**kept) if kept is not None else _begun(local, thetas, noise)
    active = torch.arange(len(thetas), device=thetas.device)[~_ended(found)]
    while len(active) and (step := int(found.steps[active].min())) < num_steps:
        trial, promised, length = _tried(found, active)
        there = local(trial)
        norms = torch.linalg.vector_norm(there.slopes, dim=1)
        before = found.norms[active, -1]
        is_finite = torch.isfinite(norms) & torch.isfinite(there.matrices).all(2).all(1)
        ratio = (before**2 - norms**2) / (before**2 - promised**2).clamp_min(1e-300)
        is_better = is_finite & (norms < before)
        found.damping[active] *= torch.where(
            is_better & (ratio > 0.75), 1 / EASE, torch.where(is_better & (ratio > 0.25), 1.0, TIGHTEN)
        )
        taken = active[is_better]
        _take(found, taken, Local(*(one[is_better] for one in there)), trial[is_better], length[is_better])
        found.steps[active] += 1
        found.is_short[active] = length <= SHORTEST * found.sizes[active, -1].clamp_min(1e-300)
        active = active[~_ended(found)[active]]
        report(step + 1, num_steps)
        offer(found.state)
    return found


def _begun(local: Callable[[Tensor], Local], thetas: Tensor, noise: Tensor | None) -> Search:
    here = local(thetas)
    bad = ~(torch.isfinite(here.slopes).all(1) & torch.isfinite(here.matrices).all(2).all(1))
    matrices = torch.where(bad[:, None, None], 0.0, here.matrices)
    eigenvalues, vectors = torch.linalg.eigh(matrices)
    norms = torch.linalg.vector_norm(here.slopes, dim=1)
    row = thetas.new_full((len(thetas), WINDOW + 1), float("nan"))
    norms_row, sizes_row = row.clone(), row.clone()
    norms_row[:, -1], sizes_row[:, -1] = norms, torch.linalg.vector_norm(thetas, dim=1)
    return Search(
        thetas=thetas.clone(),
        values=here.values.clone(),
        slopes=here.slopes.clone(),
        eigenvalues=eigenvalues,
        # Laid out as it will be where it is restored, since products of other layouts are rounded otherwise.
        vectors=vectors.contiguous(),
        damping=FIRST * eigenvalues.abs().amax(1) ** 2,
        # So that the rounding is at least the noise.
        scale=norms + (0.0 if noise is None else noise / (ROUNDING * torch.finfo(thetas.dtype).eps)),
        begun=sizes_row[:, -1].clone(),
        norms=norms_row,
        sizes=sizes_row,
        lengths=row,
        steps=torch.zeros(len(thetas), dtype=torch.int64, device=thetas.device),
        is_short=torch.zeros(len(thetas), dtype=torch.bool, device=thetas.device),
    )


def _tried(found: Search, active: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where the steps of the active searches lead, ‖∇F‖ that the linear model has there, and their lengths."""
    values, vectors = found.eigenvalues[active], found.vectors[active]
    turned = _turned(vectors, found.slopes[active])
    damping = found.damping[active, None]
    part = torch.where(values == 0, 0.0, values / (values**2 + damping).clamp_min(1e-300))
    step = -torch.einsum("rij,rj->ri", vectors, part * turned)
    promised = torch.linalg.vector_norm((1 - values * part) * turned, dim=1)
    return found.thetas[active] + step, promised, torch.linalg.vector_norm(step, dim=1)


def _take(found: Search, rows: Tensor, there: Local, thetas: Tensor, lengths: Tensor) -> None:
    if not len(rows):
        return
    # μ‖∇F‖ is kept as one number, which falls with ‖∇F‖.
    norms = torch.linalg.vector_norm(there.slopes, dim=1)
    found.damping[rows] *= norms / found.norms[rows, -1]
    found.thetas[rows], found.values[rows], found.slopes[rows] = thetas, there.values, there.slopes
    found.eigenvalues[rows], found.vectors[rows] = torch.linalg.eigh(there.matrices)
    for history, new in (
        (found.norms, norms),
        (found.sizes, torch.linalg.vector_norm(thetas, dim=1)),
        (found.lengths, lengths),
    ):
        history[rows] = torch.cat([history[rows, 1:], new[:, None]], 1)


def _ended(found: Search) -> Tensor:
    """Which searches have ended (R,): at rounding, standing still, by a short step, or not finite."""
    norms = found.norms[:, -1]
    fall = 1 - norms / found.norms[:, 0]
    is_finite = torch.isfinite(norms) & torch.isfinite(found.values)
    return (norms <= found.rounding) | (fall < STILL) | found.is_short | ~is_finite


def _turned(vectors: Tensor, slopes: Tensor) -> Tensor:
    """∇F in the axes of the eigenvectors, (R, d)."""
    return torch.einsum("rji,rj->ri", vectors, slopes)
