"""What a rescaling of ReLU-like units, or of whole layers, leaves as it is: Fisher–Rao norm, relative flatness."""

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape.curvature import operators
from landscape.errors import BadInput
from landscape.numerics.arrays import array_of
from landscape.numerics.pieces import Piece, conventional, filters, from_filters
from landscape.numerics.spectra.krylov import Operator
from landscape.numerics.spectra.trace import trace_estimate
from landscape.numerics.vectors import gathered, placed
from landscape.objective import checks
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.sweep import measured_with_samples
from landscape.progress import Progress, silent

# Of θ, the step at which losses are differenced along it: truncation of fourth order and rounding are alike then.
STEPS = {torch.float64: 2e-3, torch.float32: 0.06, torch.bfloat16: 0.25}
# The standard error to which the relative flatness is drawn, relative, and the products at most.
TO_WITHIN, MOST_PRODUCTS = 0.02, 2000


def fisher_rao(objective: Objective, point: Point) -> tuple[float, float]:
    """(‖θ‖_fr, its rounding) with ‖θ‖²_fr = θᵀIθ, I = (1/n) Σᵢ gᵢgᵢᵀ, gᵢ the gradient of the loss of sample i.

    Liang et al. (2019): of the loss without the penalty. Where the outputs h are homogeneous in θ of order q it is
    q² (1/n) Σᵢ ⟨∂ℓᵢ/∂h, hᵢ⟩² (theorem 3.1). Of a sharded module, of which there is no product with the gradients of
    single samples, ⟨θ, gᵢ⟩ is taken from differences of the losses along θ. Raises BadInput for a loss that is not
    made of one per sample.
    """
    alone = objective.varied(l2=0.0)
    if objective.is_sharded:
        slopes, error = slopes_along(alone, point)
        return float(np.sqrt((slopes**2).mean())), error
    product = operators.operator("empirical-fisher", alone, point.theta, point.fixed, num_products=1)
    value = form(product, point.theta) * fisher_scale(objective)
    norm = max(value, 0.0) ** 0.5
    return norm, checks.rounding(objective) * norm


def slopes_along(objective: Objective, point: Point, times: float = 1.0) -> tuple[np.ndarray, float]:
    """⟨θ, gᵢ⟩ of all samples (n,) from their losses at (1 ± s) θ, in six evaluations, and the error of their root mean
    square.

    s is a step, ``times`` the usual one, a half and a quarter of it; the differences are extrapolated from each two
    (Richardson), and what the two results are apart is the error. Raises BadInput for a loss that is not one per
    sample.
    """
    step = times * STEPS.get(objective.coarsest, STEPS[torch.bfloat16])

    def slopes(s: float) -> np.ndarray:
        ends = (measured_with_samples(objective, (1 + t) * point.theta, point.fixed)[2:] for t in (s, -s))
        up, down = (one.numpy() for one in ends)
        if not len(up):
            raise BadInput(f"the Fisher–Rao norm of the loss {objective.loss.name}", "a loss per sample")
        # Those of a sum are made to have F as their mean.
        return (up - down) / (2 * s) / (objective.num_samples if objective.loss.over == "one" else 1)

    plainly = [slopes(step / 2**k) for k in range(3)]
    coarse, fine = ((4 * b - a) / 3 for a, b in pairwise(plainly))
    norm, off = (float(np.sqrt((one**2).mean())) for one in (fine, fine - coarse))
    return fine, off + checks.rounding(objective) * norm


def fisher_scale(objective: Objective) -> float:
    """What makes the empirical Fisher matrix of F, a mean or a sum of losses, a mean over the samples."""
    return objective.divisor / objective.num_samples


def form(product: Operator, vector: Tensor) -> float:
    """vᵀAv."""
    return float(torch.dot(vector.double(), product(vector).double()))


def layer_of(objective: Objective, name: str | None) -> Piece:
    """The weight (out, in) of the ``nn.Linear`` called ``name``, by default of the last one.

    Raises BadInput where there is none, and for one that is frozen, tied or another layer, of which the measure is not
    defined.
    """
    linear = {key: one for key, one in objective.module.named_modules() if isinstance(one, nn.Linear)}
    # One of no units, as a narrow tail of an adaptive softmax, has no weights.
    linear = {key: one for key, one in linear.items() if one.in_features and one.out_features}
    names = ", ".join(key or "the module itself" for key in linear) or "none"
    if name is not None and name.removesuffix(".weight") not in linear:
        raise BadInput(f"`layer` {name!r}", f"the name of an nn.Linear of the module: {names}")
    if not linear:
        raise BadInput("a module without an nn.Linear", "one, whose weights the relative flatness is of")
    chosen = list(linear)[-1] if name is None else name.removesuffix(".weight")
    weight = getattr(linear[chosen], "weight", None)
    times = Counter(id(one) for _, one in objective.module.named_parameters(remove_duplicate=False))
    piece = next((one for one in objective.pieces if one.name == f"{chosen}.weight".lstrip(".")), None)
    if piece is None or times[id(weight)] != 1:
        raise BadInput(
            f"the weight of the layer {chosen or 'that is the module'!r} is frozen, tied or made of others",
            "one that F is a function of, used once",
            "name another `layer`",
        )
    if piece.units != conventional(piece.shape):
        raise BadInput(
            f"the weight of the layer {chosen!r} is used transposed",
            "one whose rows are those of output units",
            "name another `layer`",
        )
    return piece


def relative_flatness(
    objective: Objective,
    point: Point,
    piece: Piece,
    *,
    seed: int,
    progress: Progress = silent,
) -> dict[str, Any]:
    """κ = Σ_{s,s'} ⟨w_s, w_s'⟩ tr H_{s,s'} of the weight ``piece`` with rows w_s, H of the loss without the penalty.

    Petzka et al. (2021); a layer that is called twice counts with both. With WWᵀ = BBᵀ it is the trace of
    Q ↦ Bᵀ H(BQ) over matrices Q (rank, in), taken as that of the Hessian is, to 2 %. In plain numbers: ``value``,
    ``error`` (standard error), ``forms`` of the probes, ``is_sum``, ``last`` (rank · in,) the last probe,
    ``product_error``, ``converged``.
    """
    factor = factor_of(point.theta, piece)
    rank = factor.shape[1]
    dimension = rank * (piece.size // len(factor))
    found = {"value": 0.0, "error": 0.0, "forms": [], "is_sum": True, "last": None, "product_error": 0.0}
    if not dimension:
        return {**found, "converged": True}
    alone = objective.varied(l2=0.0)
    product = alone.hessian_operator(point.theta, point.fixed)

    def spread(matrix: Tensor) -> Tensor:
        """BQ in its place in θ."""
        rows = factor @ matrix.reshape(rank, -1).double()
        return placed(point.theta, piece.span, from_filters(piece, rows.to(point.theta.dtype)))

    lengths = [0.0]

    def image(matrix: Tensor) -> Tensor:
        way = spread(matrix)
        whole = product(way)
        # What rounding is of: a form is no longer than ‖v‖ ‖Hv‖.
        size = float(torch.linalg.vector_norm(way.double()) * torch.linalg.vector_norm(whole.double()))
        lengths.append(size / max(float(matrix.double().square().sum()), 1e-300))
        rows = filters(piece, gathered(whole[piece.span]))
        return (factor.T @ rows.double()).reshape(-1).to(matrix)

    trace = trace_estimate(
        image,
        dimension,
        relative_error=TO_WITHIN,
        max_products=MOST_PRODUCTS,
        generator=torch.Generator().manual_seed(seed),
        dtype=objective.dtype,
        device=objective.device,
        progress=lambda done, total: progress(done, total, "products for the relative flatness at most"),
    )
    # Of a product along a unit vector; those here are as long as B makes them.
    off = float(product.largest_error) * float(factor.square().sum()) + checks.rounding(objective) * max(
        lengths
    )
    return {
        "value": float(trace.value),
        "error": float(np.hypot(trace.standard_error, dimension**0.5 * off)),
        "forms": trace.forms.tolist(),
        "is_sum": trace.is_sum,
        "last": array_of(trace.last),
        "product_error": off,
        "converged": trace.converged,
    }


def factor_of(theta: Tensor, piece: Piece) -> Tensor:
    """B (out, rank), float64, with BBᵀ = WWᵀ for the rows W (out, in) of the weight."""
    left, sizes, _ = torch.linalg.svd(
        filters(piece, gathered(theta[piece.span])).double(), full_matrices=False
    )
    kept = sizes > max(piece.shape) * torch.finfo(torch.float64).eps * float(sizes.max())
    return left[:, kept] * sizes[kept]
