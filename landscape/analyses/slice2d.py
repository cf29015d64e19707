"""How does the loss look on a plane through a point, or through three?"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from landscape.curvature.map import curvature_map, range_checks
from landscape.errors import BadInput
from landscape.numerics.curves.directions import coordinates, gram_matrix, plane_through, principal_components
from landscape.numerics.curves.grids import grid_around, symmetric_grid
from landscape.objective import checks
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.sweep import Sweep, known
from landscape.paths.direction_checks import curvature_checks, eigen_checks, norm_check, orthogonality_check
from landscape.paths.directions import (
    eigen_directions,
    own_axes,
    random_directions,
    require_grid,
    require_trajectory,
)
from landscape.paths.planes import fill, projected
from landscape.progress import Journal, Progress, silent
from landscape.result import Result, array, scalar


@dataclass(kw_only=True, eq=False)
class Slice2D(Result):
    """F(θ* + α d₁ + β d₂); rows are β, columns α."""

    kind: ClassVar[str] = "slice2d"
    alpha: np.ndarray = array("alpha", long_name="step α along the first direction")
    beta: np.ndarray = array("beta", long_name="step β along the second direction")
    loss: np.ndarray = array("beta", "alpha", long_name="training loss")
    done: np.ndarray = array("beta", "alpha", long_name="whether the cell was computed")
    accuracy: np.ndarray | None = array("beta", "alpha", long_name="training accuracy", optional=True)
    test_loss: np.ndarray | None = array("beta", "alpha", long_name="test loss", optional=True)
    lambda_max: np.ndarray | None = array(
        "beta", "alpha", long_name="largest eigenvalue λ of the Hessian", optional=True
    )
    lambda_min: np.ndarray | None = array(
        "beta", "alpha", long_name="smallest eigenvalue λ of the Hessian", optional=True
    )
    curvature_ratio: np.ndarray | None = array("beta", "alpha", long_name="|λ_min/λ_max|", optional=True)
    lambda_max_residual: np.ndarray | None = array(
        "beta", "alpha", long_name="residual of λ_max: some eigenvalue lies within it", optional=True
    )
    lambda_min_residual: np.ndarray | None = array(
        "beta", "alpha", long_name="residual of λ_min: some eigenvalue lies within it", optional=True
    )
    draw_loss: np.ndarray | None = array(
        "draw", "beta", "alpha", long_name="loss of each draw", optional=True
    )
    loss_mean: np.ndarray | None = array("beta", "alpha", long_name="mean loss over the draws", optional=True)
    loss_spread: np.ndarray | None = array(
        "beta", "alpha", long_name="standard deviation over draws", optional=True
    )
    directions: np.ndarray = array(
        "direction", "parameter", long_name="directions d₁, d₂ (of the first draw)"
    )
    gram: np.ndarray = array("direction", "other_direction", long_name="inner products of the directions")
    explained_variance: np.ndarray | None = array(
        "direction", long_name="variance of the trajectory", optional=True
    )
    random_walk_variance: np.ndarray | None = array(
        "direction", long_name="variance two components explain of a random walk as long", optional=True
    )
    direction_curvature: np.ndarray | None = array(
        "direction", long_name="eigenvalue λ of the direction", optional=True
    )
    direction_residual: np.ndarray | None = array(
        "direction", long_name="‖Hd − λd‖ of the direction", optional=True
    )
    point_alpha: np.ndarray | None = array("point", long_name="α of a given point", optional=True)
    point_beta: np.ndarray | None = array("point", long_name="β of a given point", optional=True)
    point_loss: np.ndarray | None = array("point", long_name="loss at a given point", optional=True)
    trajectory_alpha: np.ndarray | None = array("checkpoint", long_name="α of a checkpoint", optional=True)
    trajectory_beta: np.ndarray | None = array("checkpoint", long_name="β of a checkpoint", optional=True)
    trajectory_residual: np.ndarray | None = array(
        "checkpoint", long_name="distance from the plane", optional=True
    )
    trajectory_loss: np.ndarray | None = array(
        "checkpoint", long_name="loss at the checkpoint itself", optional=True
    )
    centre: np.ndarray | None = array("parameter", long_name="θ*, where the axes are its own", optional=True)
    centre_loss: float = scalar("loss at θ*")


def slice2d(
    objective: Objective,
    theta: Tensor | Point | Sequence[Tensor | Point],
    *,
    test: Objective | None = None,
    directions: str = "random",
    norm: str = "filter",
    ignore: Collection[str] = ("bias", "norm"),
    orthogonal: bool = False,
    curvature: bool = False,
    span: float | None = None,
    num_points: int = 51,
    draws: int = 1,
    trajectory: list[Point] | None = None,
    show_trajectory: bool = False,
    batchnorm: str = "frozen",
    seed: int = 0,
    journal: Journal | None = None,
    progress: Progress = silent,
) -> Slice2D:
    """F on ``num_points`` × ``num_points`` points of a plane, θ* exactly on the grid.

    ``theta`` is one point, or three for the plane through them (orthonormal basis from the first,
    Garipov et al. 2018). ``directions``: ``random``, normalised by ``norm`` (``filter``, ``layer``,
    ``none``; Li et al. 2018) with the roles in ``ignore`` at rest; ``pca`` of ``trajectory``, unit
    vectors; ``eigen``, unit eigenvectors of the two largest eigenvalues of the Hessian at θ*;
    ``eigen-ends``, of the largest and the smallest; or ``axes``, those of a module with two trainable
    numbers, so that α and β are what is added to each of them.
    ``span`` s gives [−s, s] (default 1; with ``pca``, three points, or a trajectory on ``axes`` the grid
    covers what is drawn, with a margin). ``orthogonal`` makes the second direction orthogonal to the
    first, keeping its length; its filters then have no exact norms. ``draws`` K repeats with seeds
    seed … seed + K − 1.
    ``curvature`` adds λ_max, λ_min and |λ_min/λ_max| of the Hessian in every cell (of the first draw),
    at some tens of products each.

    Raises BadInput for an even ``num_points``, a span of 0, points on one line, a trajectory that spans
    no plane, two eigenvectors where d = 1, or ``axes`` where d is not 2.
    """
    require_grid(num_points, span, draws, directions)
    points = [objective.as_point(one) for one in ([theta] if isinstance(theta, Tensor | Point) else theta)]
    if len(points) not in (1, 3):
        raise BadInput(f"{len(points)} points", "one point, or three for the plane through them")
    if len(points) == 3 and draws > 1:
        raise BadInput(f"{draws} draws of the plane through three points", "one draw")
    origin = points[0]
    sweep = Sweep(objective, test, batchnorm, journal, progress)
    proofs: list[checks.Check] = []
    explained = walk = eigen = None
    seen = np.zeros((0, 2))
    with checks.untouched(objective, proofs):
        if len(points) == 3:
            planes = [plane_through(*(point.theta for point in points))]
            seen = coordinates(torch.stack([p.theta for p in points]), origin.theta, planes[0])[0]
        elif directions == "pca":
            thetas = torch.stack([p.theta for p in require_trajectory(trajectory)])
            components = principal_components(thetas, origin.theta)
            planes, explained, walk = (
                [components.directions],
                components.explained,
                components.explained_by_random_walk,
            )
            seen = coordinates(thetas, origin.theta, planes[0])[0]
        elif directions in ("eigen", "eigen-ends"):
            ends = (2, 0) if directions == "eigen" else (1, 1)
            eigen = eigen_directions(objective, origin, *ends, seed=seed, progress=progress)
            planes = [eigen.directions]
        elif directions == "axes":
            planes = [own_axes(objective, origin.theta)]
            if show_trajectory:
                thetas = torch.stack([p.theta for p in require_trajectory(trajectory)])
                seen = coordinates(thetas, origin.theta, planes[0])[0]
        else:
            planes = [
                random_directions(
                    objective,
                    origin.theta,
                    2,
                    norm=norm,
                    ignore=ignore,
                    orthogonal=orthogonal,
                    seed=seed + draw,
                )
                for draw in range(draws)
            ]
        if span is not None or not len(seen):
            alpha = beta = symmetric_grid(1.0 if span is None else span, num_points)
        else:
            alpha, beta = (grid_around(seen[:, axis], num_points) for axis in (0, 1))
        # Cell by cell (α, β), α running fastest.
        cells = np.stack(np.meshgrid(alpha, beta), axis=-1).reshape(-1, 2)
        inverse = np.linalg.inv(seen[1:].T) if len(points) == 3 else None

        def barycentric(i: int) -> list[float]:
            """Coordinates of cell i in the triangle of the three points."""
            second, third = inverse @ cells[i]
            return [1 - second - third, second, third]

        weights_at = None if inverse is None else barycentric

        def theta_at(i: int) -> Tensor:
            theta = torch.empty_like(origin.theta)
            fill(theta[None], origin.theta, planes[0], cells[i : i + 1])
            return theta

        tables = [
            sweep.measure(
                f"draw {draw}",
                len(cells),
                lambda block, thetas, plane=plane: fill(
                    thetas, origin.theta, plane, cells[block.start : block.stop]
                ),
                points,
                weights_at,
            ).reshape(num_points, num_points, 4)
            for draw, plane in enumerate(planes)
        ]
        given = projected(sweep, "point", points, origin.theta, planes[0]) if len(points) == 3 else None
        shown = None
        if show_trajectory:
            path = require_trajectory(trajectory)
            shown = projected(sweep, "trajectory", path, origin.theta, planes[0])
        centre = sweep.reference(origin)
        bends, notes = ([], []) if sweep.recalibrates else curvature_checks(objective, origin, planes[0])
        if eigen is not None:
            bends = bends + eigen_checks(objective, origin, eigen)
            notes = notes + eigen.notes
        hessians = None
        if curvature:
            hessians = curvature_map(
                sweep, tables[0][..., 0].ravel(), theta_at, points, weights_at, seed=seed
            )
            notes = notes + hessians.notes()
            middle = int(np.flatnonzero(~cells.any(axis=1))[0])
            bends = [*bends, *range_checks(objective, centre, planes[0], hessians, middle)]
    table = tables[0]
    losses, square = np.stack([one[..., 0] for one in tables]), (num_points, num_points)
    value = float(table[np.ix_(beta == 0, alpha == 0)][0, 0, 0])
    proofs.append(
        checks.agreement("centre loss", objective, value, centre, "grid's centre against the model itself")
    )
    proofs.append(checks.finite(losses))
    if directions == "random" and len(points) == 1:
        axes = torch.cat([plane[:1] if orthogonal else plane for plane in planes])
        proofs.append(norm_check(objective, origin.theta, axes, norm, ignore))
    proofs += bends
    if orthogonal or len(points) == 3 or directions != "random":
        proofs.append(orthogonality_check(objective, planes[0]))
    if given is not None:
        distance = float(given.residual.max() / np.abs(given.coordinates).max())
        proofs.append(
            checks.Check(
                "points on plane", distance, checks.rounding(objective), "distance of the points, relative"
            )
        )
    converged = (eigen is None or eigen.converged) and (hessians is None or hessians.num_open == 0)
    return Slice2D(
        alpha=alpha,
        beta=beta,
        loss=table[..., 0],
        done=np.ones(square, dtype=bool),
        accuracy=known(table[..., 1]),
        test_loss=table[..., 2] if test else None,
        lambda_max=hessians.largest.reshape(square) if hessians else None,
        lambda_min=hessians.smallest.reshape(square) if hessians else None,
        curvature_ratio=hessians.ratio.reshape(square) if hessians else None,
        lambda_max_residual=hessians.largest_residual.reshape(square) if hessians else None,
        lambda_min_residual=hessians.smallest_residual.reshape(square) if hessians else None,
        draw_loss=losses if len(planes) > 1 else None,
        loss_mean=losses.mean(0) if len(planes) > 1 else None,
        loss_spread=losses.std(0, ddof=1) if len(planes) > 1 else None,
        directions=planes[0].cpu().numpy(),
        gram=gram_matrix(planes[0]),
        explained_variance=explained,
        random_walk_variance=walk,
        direction_curvature=eigen.values if eigen else None,
        direction_residual=eigen.residuals if eigen else None,
        point_alpha=given.coordinates[:, 0] if given else None,
        point_beta=given.coordinates[:, 1] if given else None,
        point_loss=given.loss if given else None,
        trajectory_alpha=shown.coordinates[:, 0] if shown else None,
        trajectory_beta=shown.coordinates[:, 1] if shown else None,
        trajectory_residual=shown.residual if shown else None,
        trajectory_loss=shown.loss if shown else None,
        centre=origin.theta.cpu().numpy() if directions == "axes" and len(points) == 1 else None,
        centre_loss=value,
        notes=sweep.notes(*points, *(trajectory if show_trajectory and trajectory else [])) + notes,
        checks=proofs,
        outcome="complete" if converged else "not-converged",
        parameters=objective.pieces,
    )
