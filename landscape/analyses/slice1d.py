"""How does the loss look along one direction through a point?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from landscape.analyses.declare import analysis
from landscape.analyses.shared import (
    AlongWhat,
    AtRest,
    Block,
    DirectionDraws,
    GridPoints,
    HalfWidth,
    LengthOf,
    ShowTrajectory,
    SmoothBy,
    SmoothDraws,
    Statistics,
    range_said,
    smoothing_pairs,
)
from landscape.progress import Journal, Progress, silent
from landscape.result import Check, Result, array, scalar

if TYPE_CHECKING:
    from concurrent.futures import Executor

    import numpy as np
    from torch import Tensor

    from landscape.objective.objective import Objective
    from landscape.objective.parameters import Point
    from landscape.paths.slices import Slice


@dataclass(kw_only=True, eq=False)
class Slice1D(Result):
    """F(θ* + α d)."""

    kind: ClassVar[str] = "slice1d"
    alpha: np.ndarray = array("alpha", long_name="step α along the direction")
    loss: np.ndarray = array("alpha", long_name="training loss")
    done: np.ndarray = array("alpha", long_name="whether the point was computed")
    accuracy: np.ndarray | None = array("alpha", long_name="training accuracy", optional=True)
    test_loss: np.ndarray | None = array("alpha", long_name="test loss", optional=True)
    test_loss_error: np.ndarray | None = array(
        "alpha", long_name="standard error of the test loss over the test samples", optional=True
    )
    test_accuracy: np.ndarray | None = array("alpha", long_name="test accuracy", optional=True)
    test_accuracy_error: np.ndarray | None = array(
        "alpha", long_name="standard error of the test accuracy over the test samples", optional=True
    )
    draw_loss: np.ndarray | None = array(
        "draw", "alpha", long_name="training loss of each draw", optional=True
    )
    loss_mean: np.ndarray | None = array(
        "alpha", long_name="mean training loss over the draws", optional=True
    )
    loss_spread: np.ndarray | None = array(
        "alpha", long_name="standard deviation over the draws", optional=True
    )
    smooth_loss: np.ndarray | None = array(
        "alpha", long_name="training loss averaged over Gaussian noise on θ", optional=True
    )
    smooth_loss_error: np.ndarray | None = array(
        "alpha", long_name="standard error of that average", optional=True
    )
    directions: np.ndarray | None = array("direction", "parameter", long_name="direction d", optional=True)
    gram: np.ndarray | None = array(
        "direction", "other_direction", long_name="inner products of the directions", optional=True
    )
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
    block: str | None = scalar("the parameters that move", optional=True)
    smooth_sigma: float | None = scalar("deviation σ of that noise", optional=True)
    smooth_pairs: int | None = scalar("pairs ±ξ of that noise", optional=True)

    @property
    def headline(self) -> str:
        """What was found, in a few words."""
        return range_said(self)


@analysis(points=1, paper="Li et al. 2018", examples=("a.h5 --span 1 --draws 5", "a.h5 --block 'layers.0.*'"))
def slice1d(
    objective: Objective,
    theta: Tensor | Point,
    *,
    test: Objective | None = None,
    directions: AlongWhat = "random",
    norm: LengthOf = "filter",
    ignore: AtRest = ("bias", "norm"),
    block: Block = None,
    span: HalfWidth = None,
    num_points: GridPoints = 51,
    draws: DirectionDraws = 1,
    trajectory: list[Point] | None = None,
    show_trajectory: ShowTrajectory = False,
    smooth: SmoothBy = None,
    smooth_draws: SmoothDraws = None,
    batchnorm: Statistics = "frozen",
    seed: int = 0,
    journal: Journal | None = None,
    executor: Executor | None = None,
    progress: Progress = silent,
) -> Slice1D:
    """F(θ* + αd) on an odd grid with θ* in its middle (or, for ``pca``, on it).

    Options as in :func:`~landscape.analyses.slice2d.slice2d`; ``directions='pca'`` is the first
    principal component of ``trajectory``, ``'eigen'`` the eigenvector of the largest eigenvalue. ``block``: only
    parameters of such names, or of modules of such names, move. ``smooth`` σ adds F averaged over noise N(0, σ²I) on
    every trainable number, by pairs ±ξ, with its standard error. Raises BadInput for an even ``num_points``, a span
    of 0, or a direction that vanishes.
    """
    import torch

    from landscape.objective import checks
    from landscape.objective.row_proofs import rows_of
    from landscape.objective.sweep import Sweep
    from landscape.objective.tasks import computed_by
    from landscape.objective.trajectory import Trajectory
    from landscape.paths.draw_proofs import draws_check, products_check
    from landscape.paths.slice_proofs import as_stated, stated_checks
    from landscape.paths.slices import Cut, sliced

    cut = Cut(
        directions=directions,
        norm=norm,
        ignore=ignore,
        span=span,
        num_points=num_points,
        draws=draws,
        runs=[Trajectory(trajectory)] if trajectory else [],
        show_trajectory=show_trajectory,
        seed=seed,
        smooth=smooth,
        smooth_draws=smoothing_pairs(smooth, smooth_draws),
        block=block,
    )
    proofs: list[Check] = []
    with computed_by(executor), checks.untouched(objective, proofs):
        sweep = Sweep(objective, test, batchnorm, journal, progress)
        found = sliced(sweep, [objective.as_point(theta)], cut, 1)
        result = _result(found, block)
        columns = rows_of(result)
        own = torch.cat(found.axes.draws) if result.directions is None else result.directions
        said = as_stated(found, result)
        stated = stated_checks(said, cut, (result.alpha,), columns, result.draw_loss, own)
        stated += draws_check(result.draw_loss, result.loss_mean, result.loss_spread)
        stated += products_check(objective, own, result.gram)
    result.checks = proofs + found.checks + stated
    return result


def _result(found: Slice, block: str | None) -> Slice1D:
    import numpy as np
    import torch

    from landscape.numerics.arrays import array_or_note
    from landscape.numerics.curves.directions import gram_matrix
    from landscape.objective.smoothing import fields_of
    from landscape.objective.sweep import known

    objective, eigen, shown = found.sweep.objective, found.axes.eigen, found.shown
    axes, table, losses = torch.cat(found.axes.draws), found.table, found.losses
    return Slice1D(
        alpha=found.grid[0],
        loss=table[:, 0],
        done=np.ones(len(table), dtype=bool),
        accuracy=known(table[:, 1]),
        test_loss=table[:, 2] if found.sweep.test else None,
        test_loss_error=known(table[:, 4]),
        test_accuracy=known(table[:, 3]),
        test_accuracy_error=known(table[:, 5]),
        draw_loss=losses if len(losses) > 1 else None,
        loss_mean=losses.mean(0) if len(losses) > 1 else None,
        loss_spread=losses.std(0, ddof=1) if len(losses) > 1 else None,
        directions=array_or_note(axes, "directions", found.notes),
        gram=gram_matrix(axes),
        direction_curvature=eigen.values if eigen else None,
        direction_residual=eigen.residuals if eigen else None,
        trajectory_alpha=shown.coordinates[:, 0] if shown else None,
        trajectory_residual=shown.residual if shown else None,
        trajectory_loss=shown.loss if shown else None,
        centre_loss=found.centre_loss,
        block=block,
        **fields_of(found.smoothed, (len(table),)),
        notes=found.notes,
        outcome="complete" if eigen is None or eigen.converged else "not-converged",
        parameters=objective.pieces,
    )
