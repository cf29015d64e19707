"""Planes in the space of θ: points on them, and points seen from them."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape.errors import BadInput
from landscape.numerics.arrays import array_or_note
from landscape.numerics.curves import directions as kernels
from landscape.numerics.curves.directions import coordinates, plane_through
from landscape.numerics.curves.grids import grid_around
from landscape.objective.parameters import Point
from landscape.objective.sweep import Sweep
from landscape.paths.connection import Connection


class Plane(NamedTuple):
    """The loss on a grid over a plane, and the curve and its control points seen from it.

    ``curve`` and ``control`` are least-squares coordinates (T, 2) and (bends, 2), with distances from it.
    """

    alpha: np.ndarray
    beta: np.ndarray
    loss: np.ndarray
    directions: Tensor
    curve: np.ndarray
    curve_residual: np.ndarray
    control: np.ndarray
    control_residual: np.ndarray


def plane_of(found: Connection, num_points: int) -> Plane | None:
    """The plane through both ends and the middle control point, an orthonormal basis from A; None if they are in line.

    Buffers on the plane are mixed by the share of the way from A to B, or what the sweep's policy says.
    """
    path, control = found.path, found.trained.path.control
    first, last = control[0], control[-1]
    try:
        directions = plane_through(first, last, control[len(control) // 2])
    except BadInput:
        return None
    curve = path.path.points(path.t)
    seen, residual = coordinates(curve, first, directions)
    bends, bend_residual = coordinates(control[1:-1], first, directions)
    everything = np.concatenate([seen, bends])
    alpha, beta = (grid_around(everything[:, axis], num_points) for axis in (0, 1))
    cells = np.stack(np.meshgrid(alpha, beta), axis=-1).reshape(-1, 2)
    distance = seen[-1, 0]

    def weights_at(i: int) -> list[float]:
        share = float(np.clip(cells[i, 0] / distance, 0, 1))
        return [1 - share, share]

    rows = path.sweep.measure(
        f"{path.name} plane",
        len(cells),
        lambda block, thetas: fill(thetas, first, directions, cells[block.start : block.stop]),
        path.path.ends,
        weights_at,
    )
    loss = rows[:, 0].reshape(num_points, num_points)
    return Plane(alpha, beta, loss, directions, seen, residual, bends, bend_residual)


class Projection(NamedTuple):
    """A trajectory seen on a plane: coordinates (T, m), distances from it (T,), true losses (T,)."""

    coordinates: np.ndarray
    residual: np.ndarray
    loss: np.ndarray


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


def seen_from(plane: Plane | None, distance: float, notes: list[str]) -> dict[str, Any]:
    """The fields of a result that a plane fills, none where there is none, which ``notes`` then says."""
    if plane is None:
        notes.append("no plane: the middle control point lies on the line from A to B")
        return {}
    return {
        "plane_alpha": plane.alpha,
        "plane_beta": plane.beta,
        "plane_loss": plane.loss,
        "plane_directions": array_or_note(plane.directions, "directions of the plane", notes),
        "curve_alpha": plane.curve[:, 0],
        "curve_beta": plane.curve[:, 1],
        "curve_residual": plane.curve_residual,
        "control_alpha": plane.control[:, 0],
        "control_beta": plane.control[:, 1],
        "control_residual": plane.control_residual,
        "plane_residual": float(plane.curve_residual.max()) / distance,
    }
