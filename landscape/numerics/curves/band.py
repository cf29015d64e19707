"""A minimum-energy band: pivots that slide down across the path and are kept apart along it.

The nudged elastic band of Jónsson, Mills and Jacobsen (1998) without springs, as in AutoNEB (Draxler et
al. 2018): only the part of the gradient across the path moves a pivot, and pivots are put back to their
share of the arc length. Everything here knows vectors alone.
"""

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor


def tangents(points: Tensor, energies: Tensor) -> Tensor:
    """Unit tangents at the inner points of a path, points (m, d) and energies (m,): (m − 2, d).

    The improved tangent of Henkelman and Jónsson (2000, equations 8 to 11): towards the higher
    neighbour on a slope; at an extremum both sides, the one towards the higher neighbour with the larger
    of the two energy differences as its weight. A tangent of length zero stays zero.
    """
    forward, back = points[2:] - points[1:-1], points[1:-1] - points[:-2]
    here, after, before = energies[1:-1], energies[2:], energies[:-2]
    up, down = (after - here).abs(), (before - here).abs()
    large, small = torch.maximum(up, down), torch.minimum(up, down)
    is_rising, is_falling = (after > here) & (here > before), (after < here) & (here < before)
    to_after = torch.where(after > before, large, small)
    to_before = torch.where(after > before, small, large)
    one, zero = torch.ones_like(here), torch.zeros_like(here)
    ahead = torch.where(is_rising, one, torch.where(is_falling, zero, to_after))
    behind = torch.where(is_falling, one, torch.where(is_rising, zero, to_before))
    # Three equal energies leave no side to prefer.
    is_flat = (ahead == 0) & (behind == 0)
    ahead, behind = torch.where(is_flat, one, ahead), torch.where(is_flat, one, behind)
    found = ahead[:, None].to(points) * forward + behind[:, None].to(points) * back
    length = torch.linalg.vector_norm(found, dim=1, keepdim=True)
    return torch.where(length > 0, found / length, torch.zeros_like(found))


def across(gradients: Tensor, tangents: Tensor) -> Tensor:
    """The part of each gradient (k, d) at right angles to its unit tangent (k, d)."""
    return gradients - (gradients * tangents).sum(1, keepdim=True) * tangents


def redistributed(points: Tensor, shares: Tensor) -> Tensor:
    """Points (m, d) on the polygon through ``points`` (m, d) at ``shares`` (m,) of its length; ends bit for bit."""
    lengths = torch.linalg.vector_norm(points[1:] - points[:-1], dim=1).double()
    along = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    if not bool(along[-1] > 0):
        return points.clone()
    wanted = shares.to(along.device) * along[-1]
    left = (torch.searchsorted(along, wanted, right=True) - 1).clamp(0, len(points) - 2)
    share = ((wanted - along[left]) / lengths[left].clamp_min(1e-300)).clamp(0, 1).to(points.dtype)
    moved = torch.lerp(points[left], points[left + 1], share[:, None])
    moved[0], moved[-1] = points[0], points[-1]
    return moved


def risen(knots: np.ndarray, t: np.ndarray, loss: np.ndarray, threshold: float) -> np.ndarray:
    """Where between the knots a dense profile rises above the chord of its two pivots: positions, at most one a gap.

    Kept are gaps in which the excess is over ``threshold`` times the range of the loss at the knots
    (Draxler et al. 2018, section 3.3); every knot is in ``t``.
    """
    at_knots = np.interp(knots, t, loss)
    least = threshold * np.ptp(at_knots)
    found = []
    for left, right in pairwise(knots.tolist()):
        inside = (t > left) & (t < right)
        if inside.any():
            excess = loss[inside] - np.interp(t[inside], knots, at_knots)
            if excess.max() > least:
                found.append(float(t[inside][np.argmax(excess)]))
    return np.array(found)
