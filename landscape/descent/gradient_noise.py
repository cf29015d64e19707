"""What theorems on stochastic gradients ask of a point: ‖∇F‖², the variance of g, and the curvature there."""

from typing import NamedTuple

import torch
from torch import Tensor

from landscape.numerics.spectra.lanczos import top_eigenpairs
from landscape.numerics.steps.replicas import Gradients
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point

# Numbers in the gradients of single samples that are held at a time.
HELD = 2**21
# L enters a bound; its third digit is beyond need.
CURVATURE_TOLERANCE = 1e-3


class Probe(NamedTuple):
    """At one point: F, ‖∇F‖², E‖g‖² − ‖∇F‖² of one sample's gradient g, and max |λ| of the Hessian."""

    loss: float
    squared_norm: float
    variance: float
    curvature: float


def probed(objective: Objective, theta: Tensor, gradients: Gradients, seed: int) -> Probe:
    """F, ‖∇F‖², the variance of single-sample gradients and max |λ| at θ (d,).

    The variance is exact over the samples (``gradients`` gives each one's), so that of the mean of B samples
    drawn with replacement is a B-th of it. max |λ| is Lanczos' and stands for L in the neighbourhood.
    Raises NotDifferentiable.
    """
    point = Point(theta, objective.present_point().fixed)
    loss, slope = objective.value_and_gradient(point.theta, point.fixed)
    pairs = top_eigenpairs(
        objective.hessian_operator(point.theta, point.fixed, num_products=50),
        objective.num_parameters,
        1,
        which="magnitude",
        tol=CURVATURE_TOLERANCE,
        search=False,
        generator=torch.Generator().manual_seed(seed),
        dtype=objective.dtype,
        device=objective.device,
    )
    squared_norm = float(slope.double().square().sum())
    second_moment = mean_square(objective, theta, gradients)
    return Probe(loss, squared_norm, max(0.0, second_moment - squared_norm), abs(float(pairs.values[0])))


def mean_square(objective: Objective, theta: Tensor, gradients: Gradients) -> float:
    """E‖g‖² of the gradient g of a single sample drawn uniformly, exact over all samples, at θ (d,)."""
    count = objective.num_samples
    block = max(1, min(count, HELD // objective.num_parameters))
    thetas, total = theta.expand(block, -1), 0.0
    for start in range(0, count, block):
        # Always whole blocks, as each size may be compiled anew; what comes round again is left out.
        indices = torch.arange(start, start + block, device=theta.device) % count
        slopes = gradients(thetas, indices[:, None])[1][: count - start]
        total += float(slopes.double().square().sum())
    return total / count
