"""Along what to cut: the directions of a slice, by name, and a run's trajectory on them."""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape import checks
from landscape.errors import BadInput
from landscape.numerics import directions as kernels
from landscape.objective import Objective
from landscape.parameters import Piece, Point
from landscape.result import Check
from landscape.sweep import Sweep

DIRECTIONS = ("random", "pca")


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


def projected(sweep: Sweep, trajectory: list[Point], origin: Tensor, directions: Tensor) -> Projection:
    """The trajectory's least-squares coordinates, its off-plane residuals, and the losses at its true points."""
    thetas = torch.stack([point.theta for point in trajectory])
    found, residual = kernels.coordinates(thetas, origin, directions)
    losses = [
        sweep.measure(f"trajectory {i}", 1, lambda _, i=i: thetas[i], [p])[0, 0]
        for i, p in enumerate(trajectory)
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


def require_grid(num_points: int, span: float | None, draws: int) -> None:
    """Raises BadInput unless the grid can hold θ* exactly and covers something."""
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


def norm_check(
    objective: Objective,
    theta: Tensor,
    axes: Tensor,
    norm: str,
    ignore: Collection[str],
    orthogonal: bool = False,
) -> Check:
    """‖d_f‖ against ‖w_f‖ filter by filter, by a loop that shares nothing with the kernel."""
    worst = 0.0
    if norm == "filter":
        for axis in axes[:1] if orthogonal else axes:
            for piece in objective.pieces:
                if piece.role in ignore:
                    continue
                weight, part = (
                    v[piece.span].reshape(piece.shape).double().cpu().numpy() for v in (theta, axis)
                )
                for w, d in zip(_filters_of(piece, weight), _filters_of(piece, part), strict=True):
                    wanted = float(np.sqrt((w * w).sum()))
                    worst = max(worst, abs(float(np.sqrt((d * d).sum())) - wanted) / (wanted or 1.0))
    return Check(
        "filter norms", worst, checks.rounding(objective), "‖d_f‖ against ‖w_f‖, worst filter, relative"
    )


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
