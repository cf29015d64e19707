"""What theorems on stochastic gradients ask of a point: ‖∇F‖², the variance of g, and the curvature there."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape.descent.replay import draws, error_beside, slope_and_error
from landscape.errors import BadInput
from landscape.numerics.arrays import array_of
from landscape.numerics.spectra.lanczos import top_eigenpairs
from landscape.numerics.steps.replicas import Gradients
from landscape.numerics.steps.sampling import isolated_rng
from landscape.objective import checks
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.precision import in_float64
from landscape.progress import Journal, Progress
from landscape.result import Check

# Numbers in the gradients of single samples that are held at a time.
HELD = 2**21
# Samples whose gradients are taken again, one by one, where all would take too long.
FEW = 16
# L enters a bound, which needs two digits of it; but at 1e-3 one start in twenty stops at the eigenvalue below.
CURVATURE_TOLERANCE = 1e-6


class Probe(NamedTuple):
    """At one point: F, ‖∇F‖², E‖g‖² − ‖∇F‖² of one sample's gradient g, and max |λ| of the Hessian along (d,).

    ``moments`` are E‖g‖² over all samples and over the first FEW; NaN where an earlier version kept none.
    """

    loss: float
    squared_norm: float
    variance: float
    curvature: float
    direction: np.ndarray
    moments: tuple[float, float] = (math.nan, math.nan)


def probed(objective: Objective, theta: Tensor, gradients: Gradients, seed: int) -> Probe:
    """F, ‖∇F‖², the variance of single-sample gradients and max |λ| at θ (d,).

    The variance is exact over the samples (``gradients`` gives each one's), so that of the mean of B samples
    drawn with replacement is a B-th of it. max |λ| is Lanczos' and stands for L in the neighbourhood.
    Raises NotDifferentiable, and BadInput for a loss that is no mean over samples.
    """
    if not objective.is_mean:
        raise BadInput(
            f"the noise of gradients of the loss {objective.loss.name}, which is no mean over samples",
            "a mean over samples, of which those of mini-batches are unbiased estimates",
        )
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
    moments = mean_squares(objective, theta, gradients)
    variance = max(0.0, moments[0] - squared_norm)
    return Probe(
        loss, squared_norm, variance, abs(float(pairs.values[0])), array_of(pairs.vectors[0]), moments
    )


def mean_squares(objective: Objective, theta: Tensor, gradients: Gradients) -> tuple[float, float]:
    """E‖g‖² of the gradient g of a sample drawn uniformly, exact over all and over the first FEW, at θ (d,)."""
    count = objective.num_samples
    block = max(1, min(count, HELD // objective.num_parameters))
    thetas, total, begun = theta.expand(block, -1), 0.0, 0.0
    for start in range(0, count, block):
        # Always whole blocks, as each size may be compiled for itself; what comes round again is left out.
        indices = torch.arange(start, start + block, device=theta.device) % count
        slopes = gradients(thetas, indices[:, None])[1][: count - start]
        squares = slopes.double().square().sum(1)
        total += float(squares.sum())
        begun += float(squares[: max(0, FEW - start)].sum())
    return total / count, begun / min(count, FEW)


def kept_probe(
    objective: Objective, theta: Tensor, gradients: Gradients, seed: int, journal: Journal, key: str
) -> Probe:
    """:func:`probed` at θ (d,), remembered under ``key``."""
    if key not in journal:
        # Dropout draws from the global generators, and what was kept draws no more.
        with isolated_rng(seed, objective.device):
            journal[key] = probed(objective, theta, gradients, seed)._asdict()
    return Probe(**journal[key])


def probes_of_ends(
    objective: Objective,
    ends: Tensor,
    is_usable: np.ndarray,
    gradients: Gradients,
    count: int,
    *,
    seed: int,
    journal: Journal,
    progress: Progress,
) -> tuple[list[Probe], list[Tensor]]:
    """Probes at ``count`` of the ``ends`` (settings, d), evenly, and where they are; what is not usable is left out."""
    chosen = np.unique(np.linspace(len(ends) - 1, 0, count).round().astype(int))
    found, places = [], []
    for number, which in enumerate(chosen):
        if is_usable[which]:
            places.append(ends[which])
            found.append(kept_probe(objective, ends[which], gradients, seed, journal, f"probe {which}"))
        progress(number + 1, len(chosen), "points for L and M")
    return found, places


def probe_checks(objective: Objective, start: Tensor, gradients: Gradients, first: Probe) -> list[Check]:
    """F at θ₁ against the model itself, and its gradient by the stack, where the module draws nothing."""
    point = Point(start, objective.present_point().fixed)
    stated = checks.Stated("start loss", first.loss, checks.PLAINLY)
    proofs = checks.meaning(objective, point, stated=stated)
    if draws(objective, start):
        return proofs
    stacked = gradients(start[None], None)[1][0]
    # In float64, since σ(h) − y, which autograd takes, has no digits left in float32 where the loss is small.
    wide = in_float64(objective)
    theta, every = start.to(wide.device).double(), torch.arange(wide.num_samples)
    _, slope, allowed = slope_and_error(objective, wide, theta, every)
    gap = float(torch.linalg.vector_norm(stacked.to(slope) - slope))
    if gap > allowed:
        allowed += error_beside(objective, wide, theta, every, slope)
    return [
        *proofs,
        Check(
            "stacked gradient",
            gap / max(allowed, 1e-300) if gap else 0.0,
            1.0,
            "∇F(θ₁) of the stack against a plain loop over the module in float64, over what rounding allows",
        ),
    ]
