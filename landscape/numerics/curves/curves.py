"""Curves between two fixed ends: θ(t) = Σᵢ wᵢ(t) cᵢ with control points cᵢ and weights wᵢ(t) that sum to one.

Garipov et al. (2018, section 3) train two such families, Bézier curves and polygonal chains. By the
chain rule the gradient of F(θ(t)) to control point i is wᵢ(t)·∇F(θ(t)), so no module is ever rewritten.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import comb

import numpy as np
import torch
from torch import Tensor

# Where the largest ‖w(t)‖² is looked for; it is smooth, or attained at a vertex.
_FINE = 1001


@dataclass(frozen=True)
class Curve:
    """A family of curves with so many control points, ends included.

    ``weights`` maps t (T,) to w (T, m), float64, exactly (1, 0, …) and (…, 0, 1) at t = 0 and 1.
    ``start`` (m,) says where on the chord the control points lie for the curve to be the chord itself;
    ``vertices`` are the positions at which the curve has corners.
    """

    weights: Callable[[Tensor], Tensor]
    start: Tensor
    vertices: np.ndarray

    def points(self, t: Tensor, control: Tensor) -> Tensor:
        """θ(t) for t (T,) and control points (m, d): (T, d), combined in float64; the ends bit for bit."""
        weights = self.weights(t).to(control.device)
        points = (weights @ control.double()).to(control.dtype)
        points[t == 0], points[t == 1] = control[0], control[-1]
        return points

    def chord(self, first: Tensor, last: Tensor) -> Tensor:
        """Control points (m, d) of the straight line; the ends bit for bit."""
        t = self.start
        return bezier(0).points(t, torch.stack([first, last]))

    @property
    def mobility(self) -> float:
        """max over t of ‖w(t)‖² over the free control points.

        A step α·wᵢ(t)·∇F at the free control points moves θ(t) itself by α‖w(t)‖²∇F. Divided by this
        number, α means on a curve what it means in plain training, whatever the family and the bends.
        """
        t = torch.cat([torch.linspace(0, 1, _FINE, dtype=torch.float64), torch.from_numpy(self.vertices)])
        return float(self.weights(t)[:, 1:-1].square().sum(1).max())


def bezier(bends: int) -> Curve:
    """The Bézier curve with ``bends`` free control points, of degree ``bends`` + 1; 0 is the straight line."""
    degree = bends + 1
    start = torch.arange(degree + 1, dtype=torch.float64) / degree
    return Curve(lambda t: bernstein(t, degree), start, np.zeros(0))


def chain(knots: np.ndarray) -> Curve:
    """The polygonal chain that passes through control point i at t = ``knots[i]``, rising from 0 to 1."""
    positions = torch.from_numpy(np.asarray(knots, dtype=np.float64))
    return Curve(lambda t: hats(t, positions), positions, np.asarray(knots, dtype=np.float64))


def bernstein(t: float | Tensor, degree: int) -> Tensor:
    """The Bernstein weights Bᵢ(t), i = 0 … degree; for t of shape (T,) the result is (T, degree + 1).

    They sum to one, and are exactly (1, 0, …) and (…, 0, 1) at t = 0 and 1.

    >>> bernstein(0.5, 2)
    tensor([0.2500, 0.5000, 0.2500], dtype=torch.float64)
    """
    t = torch.as_tensor(t, dtype=torch.float64)
    weights = [comb(degree, i) * (1 - t) ** (degree - i) * t**i for i in range(degree + 1)]
    return torch.stack(weights, dim=-1)


def hats(t: Tensor, knots: Tensor) -> Tensor:
    """Weights of linear interpolation between ``knots`` (m,) at t (T,): (T, m), exactly 0 or 1 at a knot.

    >>> hats(torch.tensor([0.25, 0.75]), torch.tensor([0.0, 0.5, 1.0]))
    tensor([[0.5000, 0.5000, 0.0000],
            [0.0000, 0.5000, 0.5000]], dtype=torch.float64)
    """
    t, knots = t.double(), knots.double()
    left = (torch.searchsorted(knots, t, right=True) - 1).clamp(0, len(knots) - 2)
    share = (t - knots[left]) / (knots[left + 1] - knots[left])
    weights = torch.zeros(len(t), len(knots), dtype=torch.float64)
    weights.scatter_(1, left[:, None], (1 - share)[:, None])
    return weights.scatter_(1, left[:, None] + 1, share[:, None])


def inner_products(control: Tensor) -> np.ndarray:
    """⟨cᵢ, cⱼ⟩, float64 (m, m): whatever is quadratic in a curve follows from these and the weights."""
    wide = control.double()
    return (wide @ wide.T).cpu().numpy()


def squared_norms(curve: Curve, t: np.ndarray, control: Tensor) -> np.ndarray:
    """‖θ(t)‖² for t (T,)."""
    weights = curve.weights(torch.from_numpy(t)).numpy()
    return np.einsum("ti,ij,tj->t", weights, inner_products(control), weights)


def segment_lengths(curve: Curve, t: np.ndarray, control: Tensor) -> np.ndarray:
    """‖θ(tᵢ₊₁) − θ(tᵢ)‖ for rising t (T,): (T − 1,). The polygon through the points, short of the arc."""
    steps = np.diff(curve.weights(torch.from_numpy(t)).numpy(), axis=0)
    # From the first end, so that nothing cancels where the ends are far from the origin.
    gram = inner_products(control.double() - control[0].double())
    return np.sqrt(np.maximum(np.einsum("ti,ij,tj->t", steps, gram, steps), 0.0))
