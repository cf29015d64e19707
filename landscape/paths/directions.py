"""Along what to cut: the directions of a slice, by name, a run's trajectory on them, and their proofs."""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape import distributed
from landscape.errors import BadInput
from landscape.numerics.curves import directions as kernels
from landscape.numerics.pieces import Piece
from landscape.numerics.spectra.lanczos import top_eigenpairs
from landscape.numerics.vectors import leading_signs
from landscape.objective import blocks
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.precision import in_float64
from landscape.progress import Progress

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


def random_directions(
    objective: Objective,
    theta: Tensor,
    count: int,
    *,
    norm: str,
    ignore: Collection[str],
    orthogonal: bool,
    seed: int,
    block: str | None = None,
) -> Tensor:
    """``count`` independent random directions (count, d) from one seed; made orthogonal if asked.

    With ``block`` those of the whole θ, at rest outside it.
    """
    generator = torch.Generator().manual_seed(seed)
    moving = pieces_of(objective, block)
    rows = [
        kernels.random_direction(theta, moving, norm=norm, ignore=ignore, generator=generator)
        for _ in range(count)
    ]
    if orthogonal and count == 2:
        rows[1] = kernels.orthogonalised(rows[1], rows[0])
    return torch.stack(rows)


def pieces_of(objective: Objective, block: str | None) -> tuple[Piece, ...]:
    """What moves: the pieces that match ``block``, or all. Raises BadInput where none does."""
    return objective.pieces if block is None else blocks.matching(objective.pieces, block)


def within(objective: Objective, block: str | None, rows: Tensor) -> Tensor:
    """``rows`` (T, d) without what lies outside the block."""
    if block is None:
        return rows
    found = torch.zeros_like(rows)
    for piece in pieces_of(objective, block):
        found[:, piece.span] = rows[:, piece.span]
    return found


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
    objective: Objective,
    point: Point,
    top: int,
    bottom: int = 0,
    *,
    block: str | None = None,
    seed: int,
    progress: Progress,
) -> Eigenvectors:
    """Eigenvectors of the ``top`` largest and ``bottom`` smallest eigenvalues of the Hessian at ``point``, orthonormal.

    Their sign makes the entry of largest magnitude positive. Below float64 a last Rayleigh–Ritz step is
    made in float64, where one process on a cpu or cuda can. With ``block`` the Hessian is its diagonal block, and the
    vectors are 0 outside it. Raises BadInput where d is too small.
    """
    if block is not None:
        pieces = pieces_of(objective, block)
        part, here = blocks.restricted(objective, point, pieces)
        found = eigen_directions(part, here, top, bottom, seed=seed, progress=progress)
        whole = found.directions.new_zeros(top + bottom, objective.num_parameters)
        for piece, own in zip(pieces, part.pieces, strict=True):
            whole[:, piece.span] = found.directions[:, own.span]
        return found._replace(directions=whole)
    count = top + bottom
    if objective.num_parameters < count:
        raise BadInput(
            f"{count} eigenvectors where d = {objective.num_parameters}", f"at least {count} parameters"
        )
    exact = None
    if not objective.is_double and objective.device.type != "mps" and distributed.num_processes() == 1:
        wide = in_float64(objective)
        exact = wide.hessian_operator(*wide.brought(point)) if wide.is_double else None
    product = objective.hessian_operator(point.theta, point.fixed)
    exact = product if objective.is_double else exact
    tolerance = EIGEN_TOLERANCE.get(objective.dtype, 1e-6)
    pairs = top_eigenpairs(
        product,
        objective.num_parameters,
        top,
        bottom=bottom,
        tol=tolerance,
        certificate=exact,
        product_error=lambda: (exact or product).error,
        generator=torch.Generator().manual_seed(seed),
        dtype=objective.dtype,
        device=objective.device,
        like=point.theta,
        progress=lambda done, total: progress(done, total, "products for the directions at most"),
    )
    vectors = pairs.vectors.double() if objective.device.type != "mps" else pairs.vectors
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
        (vectors * leading_signs(vectors)).to(objective.dtype),
        pairs.values,
        pairs.residuals,
        max(pairs.scale, 1e-300),
        notes,
        bool(pairs.converged.all()),
    )


def require_trajectory(trajectory: list[Point] | None) -> list[Point]:
    """The trajectory, or a sentence saying how to get one."""
    if not trajectory or len(trajectory) < 2:
        raise BadInput(
            f"a trajectory of {len(trajectory or [])} points",
            "a run with checkpoints",
            "train with `checkpoint_every`",
        )
    return trajectory


def require_grid(num_points: int, draws: int, directions: str) -> None:
    """Raises BadInput unless the grid can hold θ* exactly, and more than one draw where something is drawn."""
    if num_points % 2 == 0:
        raise BadInput(
            f"{num_points} points", "an odd number", f"with {num_points + 1} points θ* lies on the grid"
        )
    if draws > 1 and directions != "random":
        raise BadInput(f"{draws} draws of the directions {directions}", "one, as nothing is drawn at random")


def require_drawn(norm: str, ignore: Collection[str], directions: str) -> None:
    """Raises BadInput for a norm or parts at rest, other than the usual, of directions that are not drawn."""
    for name, said, usual in (
        ("norm", norm, norm == "filter"),
        ("ignore", ",".join(ignore) or "none", set(ignore) == {"bias", "norm"}),
    ):
        if directions != "random" and not usual:
            raise BadInput(
                f"`{name}` {said} with `directions` {directions}",
                "`directions` random, which are drawn: others are taken as they are",
                f"leave `{name}` away",
            )
