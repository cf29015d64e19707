"""Curves between two points with free control points between them (Garipov et al. 2018)."""

from math import comb

import torch
from torch import Tensor


def bernstein(t: float | Tensor, degree: int) -> Tensor:
    """The Bernstein weights Bᵢ(t), i = 0 … degree; for t of shape (T,) the result is (T, degree + 1).

    They sum to one, and are exactly (1, 0, …) and (…, 0, 1) at t = 0 and 1.

    >>> bernstein(0.5, 2)
    tensor([0.2500, 0.5000, 0.2500], dtype=torch.float64)
    """
    t = torch.as_tensor(t, dtype=torch.float64)
    weights = [comb(degree, i) * (1 - t) ** (degree - i) * t**i for i in range(degree + 1)]
    return torch.stack(weights, dim=-1)


def bezier_points(t: Tensor, control_points: Tensor) -> Tensor:
    """θ(t) = Σᵢ Bᵢ(t) wᵢ for t (T,) and control points (degree + 1, d), ends included: (T, d).

    The combination is made in float64; rows at t = 0 and t = 1 are the end points bit for bit.
    """
    weights = bernstein(t, len(control_points) - 1)
    points = (weights.to(control_points.device) @ control_points.double()).to(control_points.dtype)
    points[t == 0], points[t == 1] = control_points[0], control_points[-1]
    return points


def control_gradients(t: float, gradient: Tensor, degree: int) -> Tensor:
    """The gradient to each free control point, Bᵢ(t)·∇F(θ(t)), i = 1 … degree − 1: (degree − 1, d)."""
    weights = bernstein(t, degree)[1:-1].to(gradient.device, gradient.dtype)
    return weights[:, None] * gradient
