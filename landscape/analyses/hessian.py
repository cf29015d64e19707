"""How curved is the loss here, and along what?"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from landscape import checks
from landscape.errors import BadInput
from landscape.numerics.lanczos import default_tolerance, top_eigenpairs
from landscape.objective import Objective
from landscape.parameters import Point
from landscape.progress import Progress, silent
from landscape.result import Check, Result, array, scalar

WHICH = ("largest", "smallest", "magnitude")


@dataclass(kw_only=True, eq=False)
class Hessian(Result):
    """Extreme eigenvalues of the Hessian of F, each with the interval its residual proves."""

    kind: ClassVar[str] = "hessian"
    rank: np.ndarray = array("rank", long_name="rank of the eigenvalue")
    eigenvalues: np.ndarray = array("rank", long_name="Ritz value λ")
    residuals: np.ndarray = array("rank", long_name="residual ‖Hv − λv‖: some eigenvalue lies within it of λ")
    estimated_residuals: np.ndarray = array("rank", long_name="residual by the recurrence")
    converged: np.ndarray = array("rank", long_name="residual at most tol times the largest |λ|")
    eigenvectors: np.ndarray | None = array("rank", "parameter", long_name="Ritz vectors", optional=True)
    num_products: int = scalar("Hessian-vector products, those for the residuals included")
    tolerance: float = scalar("residual that counts as converged, relative to the largest |λ|")
    loss: float = scalar("loss at the point")
    gradient_norm: float = scalar("gradient norm ‖∇F‖ at the point")


def hessian(
    objective: Objective,
    theta: Tensor | Point,
    *,
    top_k: int = 10,
    which: str = "largest",
    tol: float | None = None,
    max_products: int | None = None,
    save_vectors: bool = False,
    seed: int = 0,
    progress: Progress = silent,
) -> Hessian:
    """The ``top_k`` eigenvalues of the Hessian of F at θ by Lanczos with full reorthogonalisation.

    ``which``: ``largest`` (algebraically), ``smallest`` or ``magnitude``. Every Ritz value λ of a unit
    vector v comes with ‖Hv − λv‖, computed by a further product: it *proves* that some eigenvalue lies
    within it of λ. That none was missed is no proof but a search: at random, in the complement of those
    found, which is how multiple eigenvalues are counted. A pair converges at ‖Hv − λv‖ ≤ ``tol`` max|λ|
    (default 1e-6, in float32 1e-5, where rounding leaves about 5e-7); not converged within
    ``max_products`` gives the outcome ``not-converged``. ``top_k`` above d gives all d.

    Raises BadInput for ``top_k`` below 1, NotDifferentiable, NotFinite.
    """
    if top_k < 1:
        raise BadInput(f"top_k = {top_k}", "at least 1")
    if which not in WHICH:
        raise BadInput(f"which = {which!r}", f"one of {', '.join(WHICH)}")
    tol = default_tolerance(objective.dtype) if tol is None else tol
    if not tol > 0:
        raise BadInput(f"tolerance {tol:g}", "a positive number")
    point = objective.as_point(theta)
    generator = torch.Generator().manual_seed(seed)
    proofs: list[Check] = []
    with checks.untouched(objective, proofs):
        value, slope = objective.value_and_gradient(point.theta, point.fixed)
        operator = objective.hessian_operator(point.theta, point.fixed)
        first, second = _unit_vectors(objective, generator)
        image = operator(first).double()
        again = operator(first).double()
        asymmetry = abs(
            float(torch.dot(second.double(), image) - torch.dot(first.double(), operator(second).double()))
        )
        size = float(torch.linalg.vector_norm(image))
        pairs = top_eigenpairs(
            operator,
            objective.num_parameters,
            top_k,
            which=which,
            tol=tol,
            max_products=max_products,
            generator=generator,
            dtype=objective.dtype,
            device=objective.device,
            progress=lambda done, total: progress(done, total, "products at most"),
        )
    precision = checks.rounding(objective)
    scale = max(pairs.scale, size, 1e-300)
    proofs += [
        checks.agreement("loss", objective, value, point, "loss against a plain loop over model.eval()"),
        Check("determinism", float((image - again).abs().max()) / scale, precision, "the same product twice"),
        Check("symmetry", asymmetry / scale, precision, "uᵀHv against vᵀHu for random unit u, v"),
        Check(
            "orthogonality", pairs.orthogonality, 100 * precision, "Ritz vectors: largest entry of VᵀV − I"
        ),
        checks.finite(pairs.values),
    ]
    num_wanted = min(top_k, objective.num_parameters)
    num_left = num_wanted - int(pairs.converged.sum())
    result = Hessian(
        rank=np.arange(1, len(pairs.values) + 1),
        eigenvalues=pairs.values,
        residuals=pairs.residuals,
        estimated_residuals=pairs.estimated,
        converged=pairs.converged,
        eigenvectors=pairs.vectors.cpu().numpy() if save_vectors else None,
        num_products=pairs.num_products + 3,
        tolerance=tol,
        loss=value,
        gradient_norm=float(torch.linalg.vector_norm(slope.double())),
        outcome="not-converged" if num_left else "complete",
        checks=proofs,
        parameters=objective.pieces if save_vectors else (),
    )
    if top_k > objective.num_parameters:
        result.notes.append(
            f"asked for {top_k} eigenvalues, there are only d = {objective.num_parameters}: all given"
        )
    if num_left:
        result.notes.append(
            f"{num_left} of {num_wanted} eigenvalues did not reach the tolerance {tol:g}: allow more "
            "--max-products, a larger --tol, or --dtype float64 where rounding is the limit"
        )
    elif not pairs.is_searched:
        result.notes.append(
            "--max-products ran out in the search for further eigenvalues as good: copies of multiple ones "
            "may be missing"
        )
    return result


def _unit_vectors(objective: Objective, generator: torch.Generator) -> Tensor:
    draws = torch.randn(2, objective.num_parameters, generator=generator, dtype=torch.float64)
    return (draws / torch.linalg.vector_norm(draws, dim=1, keepdim=True)).to(
        objective.device, objective.dtype
    )
