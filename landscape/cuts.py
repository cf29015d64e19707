"""Along what to cut: the directions of a slice, by name, a run's trajectory on them, and their proofs."""

import math
from collections.abc import Callable, Collection
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape import checks, distributed
from landscape.errors import BadInput, LandscapeError
from landscape.numerics import directions as kernels
from landscape.numerics.lanczos import top_eigenpairs
from landscape.objective import Objective
from landscape.parameters import Piece, Point
from landscape.precision import in_float64, widened
from landscape.progress import Progress
from landscape.result import Check
from landscape.sweep import Sweep

DIRECTIONS = ("random", "pca", "eigen", "eigen-ends", "axes")

# The samples behind the curvature check hold about this many activations: a ReLU crosses its kink once in
# about 1/τ of them within a relative step τ, so that none does at the smallest steps.
CURVATURE_ACTIVATIONS = 2**14
CURVATURE_STEPS = (1e-4, 1e-5, 1e-6, 1e-7)
CURVATURE_BOUND = 1e-3

# ‖Hd − λd‖ of an eigenvector, relative to the largest |λ|.
EIGEN_TOLERANCE = {torch.float64: 1e-8}


class Eigenvectors(NamedTuple):
    """Unit vectors (m, d) with their eigenvalues (m,), ‖Hd − λd‖ (m,), the largest |λ| seen, and remarks."""

    directions: Tensor
    values: np.ndarray
    residuals: np.ndarray
    scale: float
    notes: list[str]
    converged: bool


class Projection(NamedTuple):
    """A trajectory seen on a plane: coordinates (T, m), distances from it (T,), true losses (T,)."""

    coordinates: np.ndarray
    residual: np.ndarray
    loss: np.ndarray


def random_directions(
    objective: Objective,
    theta: Tensor,
    count: int,
    *,
    norm: str,
    ignore: Collection[str],
    orthogonal: bool,
    seed: int,
) -> Tensor:
    """``count`` independent random directions (count, d) from one seed; made orthogonal if asked."""
    generator = torch.Generator().manual_seed(seed)
    rows = [
        kernels.random_direction(theta, objective.pieces, norm=norm, ignore=ignore, generator=generator)
        for _ in range(count)
    ]
    if orthogonal and count == 2:
        rows[1] = kernels.orthogonalised(rows[1], rows[0])
    return torch.stack(rows)


def own_axes(objective: Objective, theta: Tensor) -> Tensor:
    """The unit vectors (2, 2) of the two trainable numbers of a module that has no more and no fewer.

    Raises BadInput where d is not 2.
    """
    if objective.num_parameters != 2:
        raise BadInput(
            f"the module's own axes where d = {objective.num_parameters}",
            "exactly 2 trainable numbers",
            "random, pca and eigen cut a plane for any number, or freeze all but two",
        )
    return torch.eye(2, dtype=theta.dtype, device=theta.device)


def eigen_directions(
    objective: Objective, point: Point, top: int, bottom: int = 0, *, seed: int, progress: Progress
) -> Eigenvectors:
    """Eigenvectors of the ``top`` largest and ``bottom`` smallest eigenvalues of the Hessian at ``point``, orthonormal.

    Their sign makes the entry of largest magnitude positive. Below float64 a last Rayleigh–Ritz step is
    made in float64, where one process on a cpu or cuda can. Raises BadInput where d is too small.
    """
    count = top + bottom
    if objective.num_parameters < count:
        raise BadInput(
            f"{count} eigenvectors where d = {objective.num_parameters}", f"at least {count} parameters"
        )
    product = exact = objective.hessian_operator(point.theta, point.fixed)
    if objective.dtype != torch.float64:
        exact = None
        if objective.device.type != "mps" and distributed.num_processes() == 1:
            exact = in_float64(objective).hessian_operator(*widened(point, objective.device))
    tolerance = EIGEN_TOLERANCE.get(objective.dtype, 1e-6)
    pairs = top_eigenpairs(
        product,
        objective.num_parameters,
        top,
        bottom=bottom,
        tol=tolerance,
        certificate=exact,
        generator=torch.Generator().manual_seed(seed),
        dtype=objective.dtype,
        device=objective.device,
        progress=lambda done, total: progress(done, total, "products for the directions at most"),
    )
    vectors = pairs.vectors.double() if objective.device.type != "mps" else pairs.vectors
    largest = vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True))
    notes = []
    if not pairs.converged.all():
        notes.append(
            f"the directions are no eigenvectors to {tolerance:g}: their residuals are "
            + ", ".join(f"{one:.2g}" for one in pairs.residuals)
        )
    if not pairs.is_searched:
        notes.append("the search for further eigenvalues as large was not finished")
    if objective.has_batchnorm:
        notes.append("the directions are eigenvectors with the batch-norm statistics of the point at rest")
    return Eigenvectors(
        (vectors * largest.sign()).to(objective.dtype),
        pairs.values,
        pairs.residuals,
        max(pairs.scale, 1e-300),
        notes,
        bool(pairs.converged.all()),
    )


def eigen_checks(objective: Objective, point: Point, found: Eigenvectors) -> list[Check]:
    """The eigenvalue of each axis against dᵀHd by a product of its own, on the direction as it is stored."""
    proofs = []
    for name, axis, value in zip(("α", "β"), found.directions, found.values, strict=False):
        bend = float(torch.dot(axis.double(), objective.hvp(point.theta, axis, point.fixed).double()))
        proofs.append(
            Check(
                f"eigenvalue along {name}",
                abs(bend - float(value)) / found.scale,
                checks.rounding(objective),
                "Ritz value against dᵀHd by a product of its own, relative to the largest |λ|",
            )
        )
    return proofs


def fill(thetas: Tensor, origin: Tensor, directions: Tensor, steps: np.ndarray) -> None:
    """Writes θ* + Σⱼ stepsᵢⱼ dⱼ into row i of ``thetas`` (K, d), for ``steps`` (K, m).

    Each row is built from the origin, elementwise and one pass per direction for all rows; with zero
    steps it is the origin itself.
    """
    columns = torch.from_numpy(np.ascontiguousarray(steps)).to(thetas.device, thetas.dtype)
    torch.addcmul(origin, columns[:, :1], directions[0], out=thetas)
    for j in range(1, len(directions)):
        thetas.addcmul_(columns[:, j : j + 1], directions[j])


def projected(
    sweep: Sweep, name: str, trajectory: list[Point], origin: Tensor, directions: Tensor
) -> Projection:
    """The trajectory's least-squares coordinates, its off-plane residuals, and the losses at its true points."""
    thetas = torch.stack([point.theta for point in trajectory])
    found, residual = kernels.coordinates(thetas, origin, directions)
    losses = [
        sweep.measure(f"{name} {i}", 1, lambda _, row, i=i: row.copy_(thetas[i : i + 1]), [point])[0, 0]
        for i, point in enumerate(trajectory)
    ]
    return Projection(found, residual, np.array(losses))


def require_trajectory(trajectory: list[Point] | None) -> list[Point]:
    """The trajectory, or a sentence saying how to get one."""
    if not trajectory or len(trajectory) < 2:
        raise BadInput(
            f"a trajectory of {len(trajectory or [])} points",
            "a run with checkpoints",
            "train with --checkpoint-every",
        )
    return trajectory


def require_grid(num_points: int, span: float | None, draws: int, directions: str) -> None:
    """Raises BadInput unless the grid can hold θ* exactly, covers something, and directions are known."""
    if directions not in DIRECTIONS:
        raise BadInput(f"directions {directions!r}", f"one of {', '.join(DIRECTIONS)}")
    if num_points < 3 or num_points % 2 == 0:
        raise BadInput(
            f"{num_points} points",
            "an odd number of at least 3",
            f"with {num_points + 1 - num_points % 2 if num_points > 2 else 3} points θ* lies on the grid",
        )
    if span is not None and not (0 < span < np.inf):
        raise BadInput(f"a span of {span:g}", "a positive number")
    if draws < 1:
        raise BadInput(f"{draws} draws", "at least 1")
    if draws > 1 and directions != "random":
        raise BadInput(f"{draws} draws of the directions {directions}", "one, as nothing is drawn at random")


def norm_check(
    objective: Objective, theta: Tensor, axes: Tensor, norm: str, ignore: Collection[str]
) -> Check:
    """‖d_f‖ against ‖w_f‖ filter by filter (or layer by layer), by a loop that shares nothing with the kernel.

    Ignored parameters must be at rest; with ``none`` that is all there is to check.
    """
    worst = 0.0
    for axis in axes:
        for piece in objective.pieces:
            weight, part = (v[piece.span].reshape(piece.shape).double().cpu().numpy() for v in (theta, axis))
            if piece.role in ignore:
                worst = max(worst, float(np.abs(part).max()))
            elif norm != "none":
                split = _filters_of if norm == "filter" else lambda piece, values: [values]
                for w, d in zip(split(piece, weight), split(piece, part), strict=True):
                    wanted = float(np.sqrt((w * w).sum()))
                    worst = max(worst, abs(float(np.sqrt((d * d).sum())) - wanted) / (wanted or 1.0))
    meaning = {
        "filter": "‖d_f‖ against ‖w_f‖, worst filter, relative",
        "layer": "‖d_l‖ against ‖w_l‖, worst layer, relative",
        "none": "largest entry among the ignored parameters",
    }
    return Check("direction norms", worst, checks.rounding(objective), meaning[norm])


def _filters_of(piece: Piece, values: np.ndarray) -> list[np.ndarray]:
    if values.ndim < 2:
        return [values]
    if piece.output_axis == 0:
        return list(values)
    inputs = piece.shape[0] // piece.groups
    return [
        values[group * inputs : (group + 1) * inputs, output]
        for group in range(piece.groups)
        for output in range(piece.shape[1])
    ]


def orthogonality_check(objective: Objective, plane: Tensor) -> Check:
    """The cosine between the two directions."""
    gram = kernels.gram_matrix(plane)
    cosine = abs(gram[0, 1]) / np.sqrt(gram[0, 0] * gram[1, 1])
    return Check(
        "orthogonal", float(cosine), checks.rounding(objective), "|cos| of the angle between the directions"
    )


def curvature_checks(objective: Objective, point: Point, axes: Tensor) -> tuple[list[Check], list[str]]:
    """Hd by central differences of ∇F against the Hessian-vector product along each axis; and notes.

    Differences of the *gradient*, because second differences of F itself lose all digits before their
    step is small enough for a ReLU net: each kink between θ* ± hd moves them by a finite amount, while
    the Hessian at θ* knows nothing of it. In float64 gradients bear steps of 1e-7, and on a part of the
    data with few enough activations no kink lies that near. Where one does lie at θ* itself (a zero
    weight, a dead input), ∇F changes otherwise on one side than on the other, and a note says so instead
    of a check. The bound of 1e-3 relative leaves room for rounding.
    """
    per_sample = max(1, objective.activations // max(1, len(objective.samples[1])))
    few = slice(0, max(1, CURVATURE_ACTIVATIONS // per_sample))
    found: list[Check] = []
    notes: list[str] = []
    try:
        part = in_float64(objective, few)
        wide = [one.to(part.device, torch.float64) for one in axes]
        theta, fixed = widened(point, part.device)
        product = part.hessian_operator(theta, fixed)
        for name, axis in zip(("α", "β"), wide, strict=False):
            gap, has_limit = _curvature_gap(lambda x: part.gradient(x, fixed), product(axis), theta, axis)
            if gap <= CURVATURE_BOUND or has_limit:
                meaning = f"differences of ∇F against Hd, relative, float64, {part.num_samples} samples"
                found.append(Check(f"curvature along {name}", gap, CURVATURE_BOUND, meaning))
            else:
                notes.append(f"curvature along {name} not checked: the loss has a kink at θ*")
    except LandscapeError as error:
        notes.append(f"curvature not checked: {error}")
    return found, notes


def _curvature_gap(
    gradient: Callable[[Tensor], Tensor], image: Tensor, theta: Tensor, axis: Tensor
) -> tuple[float, bool]:
    """The least relative distance of a difference quotient to Hd, and whether ∇F has a derivative along d."""
    size, length = (float(torch.linalg.vector_norm(v)) for v in (theta, axis))
    unit = (size or 1.0) / length
    best, upper, lower = math.inf, image, image
    for step in CURVATURE_STEPS:
        upper, lower = gradient(theta + step * unit * axis), gradient(theta - step * unit * axis)
        # Below a millionth of the gradient per relative step a quotient is rounding.
        scale = max(float(image.norm()), 1e-6 * float(upper.norm()) / unit, 1e-300)
        best = min(best, float(((upper - lower) / (2 * step * unit) - image).norm()) / scale)
        if best <= CURVATURE_BOUND:
            return best, True
    bend = (upper + lower - 2 * gradient(theta)).norm()
    return best, bool(bend <= CURVATURE_BOUND * (upper - lower).norm())
