"""How does the loss look along one direction through a point?"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from landscape.errors import BadInput
from landscape.numerics.curves import directions as kernels
from landscape.numerics.curves.directions import principal_components
from landscape.numerics.curves.grids import grid_around, symmetric_grid
from landscape.objective import checks
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.sweep import Sweep, known
from landscape.paths.direction_checks import curvature_checks, eigen_checks, norm_check
from landscape.paths.directions import eigen_directions, random_directions, require_grid, require_trajectory
from landscape.paths.planes import fill, projected
from landscape.progress import Journal, Progress, silent
from landscape.result import Result, array, scalar


@dataclass(kw_only=True, eq=False)
class Slice1D(Result):
    """F(θ* + α d)."""

    kind: ClassVar[str] = "slice1d"
    alpha: np.ndarray = array("alpha", long_name="step α along the direction")
    loss: np.ndarray = array("alpha", long_name="training loss")
    done: np.ndarray = array("alpha", long_name="whether the point was computed")
    accuracy: np.ndarray | None = array("alpha", long_name="training accuracy", optional=True)
    test_loss: np.ndarray | None = array("alpha", long_name="test loss", optional=True)
    draw_loss: np.ndarray | None = array(
        "draw", "alpha", long_name="training loss of each draw", optional=True
    )
    loss_mean: np.ndarray | None = array(
        "alpha", long_name="mean training loss over the draws", optional=True
    )
    loss_spread: np.ndarray | None = array(
        "alpha", long_name="standard deviation over the draws", optional=True
    )
    directions: np.ndarray = array("direction", "parameter", long_name="direction d")
    gram: np.ndarray = array("direction", "other_direction", long_name="inner products of the directions")
    direction_curvature: np.ndarray | None = array(
        "direction", long_name="eigenvalue λ of the direction", optional=True
    )
    direction_residual: np.ndarray | None = array(
        "direction", long_name="‖Hd − λd‖ of the direction", optional=True
    )
    trajectory_alpha: np.ndarray | None = array("checkpoint", long_name="α of a checkpoint", optional=True)
    trajectory_residual: np.ndarray | None = array(
        "checkpoint", long_name="distance from the line", optional=True
    )
    trajectory_loss: np.ndarray | None = array(
        "checkpoint", long_name="loss at the checkpoint itself", optional=True
    )
    centre_loss: float = scalar("loss at θ*")


def slice1d(
    objective: Objective,
    theta: Tensor | Point,
    *,
    test: Objective | None = None,
    directions: str = "random",
    norm: str = "filter",
    ignore: Collection[str] = ("bias", "norm"),
    span: float | None = None,
    num_points: int = 51,
    draws: int = 1,
    trajectory: list[Point] | None = None,
    show_trajectory: bool = False,
    batchnorm: str = "frozen",
    seed: int = 0,
    journal: Journal | None = None,
    progress: Progress = silent,
) -> Slice1D:
    """F(θ* + αd) on an odd grid with θ* in its middle (or, for ``pca``, on it).

    Options as in :func:`~landscape.analyses.slice2d.slice2d`; ``directions='pca'`` is the first
    principal component of ``trajectory``, ``'eigen'`` the eigenvector of the largest eigenvalue. Raises
    BadInput for an even ``num_points``, a span of 0, or a direction that vanishes.
    """
    require_grid(num_points, span, draws, directions)
    point = objective.as_point(theta)
    sweep = Sweep(objective, test, batchnorm, journal, progress)
    proofs: list[checks.Check] = []
    eigen = None
    with checks.untouched(objective, proofs):
        if directions == "pca":
            thetas = torch.stack([p.theta for p in require_trajectory(trajectory)])
            axes = principal_components(thetas, point.theta).directions[:1]
            seen = kernels.coordinates(thetas, point.theta, axes)[0][:, 0]
            alpha = grid_around(seen, num_points) if span is None else symmetric_grid(span, num_points)
        elif directions in ("eigen-ends", "axes"):
            two = "two eigenvectors" if directions == "eigen-ends" else "the module's two own axes"
            raise BadInput(f"{two} for one axis", "random, pca or eigen", "take slice2d for a plane")
        elif directions == "eigen":
            eigen = eigen_directions(objective, point, 1, seed=seed, progress=progress)
            axes, alpha = eigen.directions, symmetric_grid(1.0 if span is None else span, num_points)
        else:
            drawn = [
                random_directions(
                    objective, point.theta, 1, norm=norm, ignore=ignore, orthogonal=False, seed=seed + draw
                )
                for draw in range(draws)
            ]
            axes = torch.cat(drawn)
            alpha = symmetric_grid(1.0 if span is None else span, num_points)
        tables = [
            sweep.measure(
                f"draw {draw}",
                num_points,
                lambda block, thetas, d=axes[draw : draw + 1]: fill(
                    thetas, point.theta, d, alpha[block.start : block.stop, None]
                ),
                [point],
            )
            for draw in range(draws)
        ]
        shown = (
            projected(sweep, "trajectory", require_trajectory(trajectory), point.theta, axes[:1])
            if show_trajectory
            else None
        )
        centre = sweep.reference(point)
        curvature, notes = ([], []) if sweep.recalibrates else curvature_checks(objective, point, axes[:1])
        if eigen is not None:
            curvature = curvature + eigen_checks(objective, point, eigen)
            notes = notes + eigen.notes
    table = tables[0]
    losses = np.stack([one[:, 0] for one in tables])
    value = float(table[alpha == 0, 0][0])
    proofs.append(
        checks.agreement("centre loss", objective, value, centre, "grid's centre against the model itself")
    )
    proofs.append(checks.finite(losses))
    if directions == "random":
        proofs.append(norm_check(objective, point.theta, axes, norm, ignore))
    proofs += curvature
    return Slice1D(
        alpha=alpha,
        loss=table[:, 0],
        done=np.ones(num_points, dtype=bool),
        accuracy=known(table[:, 1]),
        test_loss=table[:, 2] if test else None,
        draw_loss=losses if draws > 1 else None,
        loss_mean=losses.mean(0) if draws > 1 else None,
        loss_spread=losses.std(0, ddof=1) if draws > 1 else None,
        directions=axes.cpu().numpy(),
        gram=kernels.gram_matrix(axes),
        direction_curvature=eigen.values if eigen else None,
        direction_residual=eigen.residuals if eigen else None,
        trajectory_alpha=shown.coordinates[:, 0] if shown else None,
        trajectory_residual=shown.residual if shown else None,
        trajectory_loss=shown.loss if shown else None,
        centre_loss=value,
        notes=sweep.notes(point, *(trajectory if show_trajectory and trajectory else [])) + notes,
        checks=proofs,
        outcome="complete" if eigen is None or eigen.converged else "not-converged",
        parameters=objective.pieces,
    )
