"""How high a function rises within a ball around a point: projected gradient ascent, which gives lower bounds."""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape.numerics.pieces import Piece
from landscape.numerics.vectors import filter_norms


class Ascent(NamedTuple):
    """What an ascent found.

    ``rises`` (num_steps + 1,): the best rise so far, the centre's 0 included; ``first`` (m,): the rise at
    each start on the sphere; ``radius``: the largest ‖u‖ of any point visited; ``worst`` (d,): u of the best rise,
    zero where there was none.
    """

    rises: np.ndarray
    first: np.ndarray
    radius: float
    worst: Tensor


def ball_ascent(
    value_and_gradient: Callable[[Tensor], tuple[float, Tensor]],
    theta: Tensor,
    *,
    radius: float,
    scales: Tensor,
    starts: Sequence[Tensor],
    num_steps: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Ascent:
    """A lower bound of max F(θ + T u) − F(θ) over ‖u‖ ≤ ρ, for T = diag(``scales``), ``radius`` ρ.

    θ, ``scales`` and each of ``starts`` have shape (d,). T = 1 gives the ball of Foret et al. (2021),
    the lengths of the filters one like that of Kwon et al. (2021). From each start, stretched to the
    sphere, u ← ρ (u + ρ g)/‖u + ρ g‖ with g = T∇F/‖T∇F‖: a step as long as the radius, then back to the
    sphere. A start ends early where ∇F vanishes or is not finite; NaN is never the best.

    >>> import torch
    >>> H = torch.diag(torch.tensor([3.0, 1.0]).double())
    >>> quadratic = lambda x: (0.5 * float(x @ H @ x), H @ x)
    >>> one = torch.ones(2).double()
    >>> found = ball_ascent(quadratic, 0 * one, radius=0.1, scales=one, starts=[one], num_steps=20)
    >>> found.rises[[0, -1]].round(6).tolist()  # at the start, then ρ² λ_max / 2
    [0.01, 0.015]
    """
    centre, _ = value_and_gradient(theta)
    wide, scales = theta.double(), scales.double()
    rises = np.zeros(num_steps + 1)
    first = np.full(len(starts), np.nan)
    farthest, total = 0.0, len(starts) * (num_steps + 1)
    worst, highest = torch.zeros_like(wide), 0.0
    for number, start in enumerate(starts):
        u = _on_sphere(start.double(), radius)
        for step in range(num_steps + 1):
            farthest = max(farthest, float(torch.linalg.vector_norm(u)))
            value, slope = value_and_gradient((wide + scales * u).to(theta.dtype))
            if step == 0:
                first[number] = value - centre
            rises[step] = np.fmax(rises[step], value - centre)
            if value - centre > highest:
                worst, highest = u, value - centre
            progress(number * (num_steps + 1) + step + 1, total)
            uphill = scales * slope.double()
            length = float(torch.linalg.vector_norm(uphill))
            if not 0 < length < float("inf"):
                break
            u = _on_sphere(u / radius + uphill / length, radius)
    return Ascent(np.maximum.accumulate(rises), first, farthest, worst)


def filter_lengths(theta: Tensor, pieces: Sequence[Piece], ignore: Collection[str]) -> Tensor:
    """‖w_f‖ of the filter f that each parameter belongs to, (d,) float64; zero for the roles in ``ignore``.

    The filters are those of Li et al. (2018), see :func:`~landscape.numerics.pieces.filters`.
    """
    lengths = torch.zeros_like(theta, dtype=torch.float64)
    for piece in pieces:
        if piece.role not in ignore:
            lengths[piece.span] = filter_norms(piece, theta[piece.span].double())
    return lengths


def _on_sphere(u: Tensor, radius: float) -> Tensor:
    return u * (radius / torch.linalg.vector_norm(u))
