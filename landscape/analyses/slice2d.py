"""How does the loss look on a plane through a point, or through three?"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from landscape.analyses.declare import analysis
from landscape.analyses.options import Option, Parameter
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

    from landscape.curvature.map import CurvatureMap
    from landscape.objective.objective import Objective
    from landscape.objective.parameters import Point
    from landscape.objective.trajectory import Trajectory
    from landscape.paths.slices import Cut, Slice

MARK = Parameter(
    "mark",
    tuple[str, ...],
    (),
    Option(
        "A point of another run, b.h5 or b.h5@epoch=3, shown on the plane; again for more.", is_repeated=True
    ),
)


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
    test_loss_error: np.ndarray | None = array(
        "beta", "alpha", long_name="standard error of the test loss over the test samples", optional=True
    )
    test_accuracy: np.ndarray | None = array("beta", "alpha", long_name="test accuracy", optional=True)
    test_accuracy_error: np.ndarray | None = array(
        "beta", "alpha", long_name="standard error of the test accuracy over the test samples", optional=True
    )
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
    smooth_loss: np.ndarray | None = array(
        "beta", "alpha", long_name="training loss averaged over Gaussian noise on θ", optional=True
    )
    smooth_loss_error: np.ndarray | None = array(
        "beta", "alpha", long_name="standard error of that average", optional=True
    )
    directions: np.ndarray | None = array(
        "direction", "parameter", long_name="directions d₁, d₂ (of the first draw)", optional=True
    )
    gram: np.ndarray | None = array(
        "direction", "other_direction", long_name="inner products of the directions", optional=True
    )
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
    point_residual: np.ndarray | None = array(
        "point", long_name="distance of a given point from the plane", optional=True
    )
    trajectory_alpha: np.ndarray | None = array("checkpoint", long_name="α of a checkpoint", optional=True)
    trajectory_beta: np.ndarray | None = array("checkpoint", long_name="β of a checkpoint", optional=True)
    trajectory_residual: np.ndarray | None = array(
        "checkpoint", long_name="distance from the plane", optional=True
    )
    trajectory_loss: np.ndarray | None = array(
        "checkpoint", long_name="loss at the checkpoint itself", optional=True
    )
    trajectory_run: np.ndarray | None = array(
        "checkpoint", long_name="which of the runs the checkpoint is of, from 0", optional=True
    )
    trajectory_epoch: np.ndarray | None = array(
        "checkpoint", long_name="passes over the data at the checkpoint", optional=True
    )
    run: np.ndarray | None = array("run", long_name="run whose checkpoints are drawn", optional=True)
    run_residual: np.ndarray | None = array(
        "run", long_name="largest distance of its checkpoints from the plane", optional=True
    )
    mark: np.ndarray | None = array("mark", long_name="point of another run", optional=True)
    mark_alpha: np.ndarray | None = array("mark", long_name="α of a marked point", optional=True)
    mark_beta: np.ndarray | None = array("mark", long_name="β of a marked point", optional=True)
    mark_residual: np.ndarray | None = array(
        "mark", long_name="distance of a marked point from the plane", optional=True
    )
    mark_loss: np.ndarray | None = array("mark", long_name="loss at the marked point itself", optional=True)
    centre: np.ndarray | None = array("parameter", long_name="θ*, where the axes are its own", optional=True)
    centre_loss: float = scalar("loss at θ*")
    block: str | None = scalar("the parameters that move", optional=True)
    smooth_sigma: float | None = scalar("deviation σ of that noise", optional=True)
    smooth_pairs: int | None = scalar("pairs ±ξ of that noise", optional=True)

    @property
    def headline(self) -> str:
        """What was found, in a few words."""
        said = range_said(self)
        if self.explained_variance is not None:
            said += f"; the plane holds {self.explained_variance.sum():.0%} of the variance"
        if self.trajectory_residual is not None:
            many = f"{len(self.run)} runs" if self.run is not None and len(self.run) > 1 else "the run"
            said += f"; {many} up to {self.trajectory_residual.max():.3g} off it"
        return said


def _announced(objective: Objective, points: Sequence[Point], options: Mapping[str, Any]) -> str | None:
    """What the curvature in every cell will cost, and the averages."""
    from landscape.curvature.map import estimate

    said = []
    if options["curvature"]:
        said.append(estimate(objective, points[0], options["num_points"] ** 2))
    pairs = smoothing_pairs(options["smooth"], options["smooth_draws"])
    if options["smooth"] is not None:
        said.append(f"averages: {options['num_points'] ** 2} cells × {2 * pairs} losses")
    return "; ".join(said) or None


def _are_compared(options: Mapping[str, Any]) -> bool:
    """Whether whole runs, or points of others, are shown on the plane of the first."""
    return (
        options["directions"] in ("pca", "pca-first") or options["show_trajectory"] or bool(options["mark"])
    )


@analysis(
    points=range(1, sys.maxsize),
    metavar="A [B C...]",
    paper="Li et al. 2018; Garipov et al. 2018",
    examples=(
        "a.h5",
        "a.h5 --directions pca --trajectory",
        "a.h5 --directions eigen",
        "toy.h5 --directions axes --trajectory",
        "a.h5 b.h5 c.h5",
        "sgd.h5 adam.h5 --directions pca --trajectory --mark other.h5",
    ),
    announced=_announced,
    opens=(MARK,),
    compared=_are_compared,
)
def slice2d(
    objective: Objective,
    theta: Tensor | Point | Sequence[Tensor | Point],
    *,
    test: Objective | None = None,
    directions: AlongWhat = "random",
    norm: LengthOf = "filter",
    ignore: AtRest = ("bias", "norm"),
    block: Block = None,
    orthogonal: Annotated[bool, "Make the second direction orthogonal to the first."] = False,
    curvature: Annotated[bool, "The largest and smallest Hessian eigenvalue in every cell."] = False,
    span: HalfWidth = None,
    num_points: GridPoints = 51,
    draws: DirectionDraws = 1,
    trajectory: list[Point] | None = None,
    trajectories: Callable[[], Sequence[Trajectory]] | None = None,
    marks: Sequence[Point] = (),
    show_trajectory: ShowTrajectory = False,
    smooth: SmoothBy = None,
    smooth_draws: SmoothDraws = None,
    batchnorm: Statistics = "frozen",
    seed: int = 0,
    journal: Journal | None = None,
    executor: Executor | None = None,
    progress: Progress = silent,
) -> Slice2D:
    """F on ``num_points`` × ``num_points`` points of a plane, θ* exactly on the grid.

    ``theta`` is one point, or three for the plane through them (orthonormal basis from the first,
    Garipov et al. 2018), or with ``pca`` any number, of which the first is θ* and all are seen from the plane.
    ``directions``: ``random``, normalised by ``norm`` (``filter``, ``layer``,
    ``none``; Li et al. 2018) with the roles in ``ignore`` at rest; ``pca`` of all points of the runs about θ*, unit
    vectors; ``pca-first``, of those of the first run; ``eigen``, unit eigenvectors of the two largest eigenvalues of
    the Hessian at θ*; ``eigen-ends``, of the largest and the smallest; or ``axes``, those of a module with two
    trainable numbers, so that α and β are what is added to each of them. ``block``: only parameters of such names,
    or of modules of such names, move; principal components are then those of the block, eigenvectors those of its
    diagonal block of the Hessian.
    ``trajectories()`` are the runs, ``trajectory`` the points of a single one; ``marks`` are points of others, seen
    from the plane without moving it.
    ``span`` s gives [−s, s] (default 1; with ``pca``, three points, or a trajectory on ``axes`` the grid
    covers what is drawn, with a margin). ``orthogonal`` makes the second direction orthogonal to the
    first, keeping its length; its filters then have no exact norms. ``draws`` K repeats with seeds
    seed … seed + K − 1.
    ``smooth`` σ adds F averaged over noise N(0, σ²I) on every trainable number, whatever is at rest, in every cell
    (of the first draw), by ``smooth_draws`` pairs ±ξ that are the same in all cells, with its standard error.
    ``curvature`` adds λ_max, λ_min and |λ_min/λ_max| of the Hessian in every cell (of the first draw),
    at some tens of products each.

    Raises BadInput for an even ``num_points``, a span of 0, so many points, points on one line, a trajectory that spans
    no plane, two eigenvectors where d = 1, or ``axes`` where d is not 2.
    """
    import numpy as np
    from torch import Tensor

    from landscape.curvature.map import cell_checks, curvature_map, pair_check, range_checks
    from landscape.objective import checks
    from landscape.objective.parameters import Point
    from landscape.objective.row_proofs import rows_of
    from landscape.objective.sweep import Sweep
    from landscape.objective.tasks import computed_by
    from landscape.objective.trajectory import Trajectory
    from landscape.paths.draw_proofs import draws_check, products_check, runs_check
    from landscape.paths.slice_proofs import as_stated, place_of, stated_checks
    from landscape.paths.slices import Cut, plane_checks, sliced

    runs = [Trajectory(trajectory)] if trajectory else []
    if trajectories is not None and (show_trajectory or directions in ("pca", "pca-first")):
        runs = list(trajectories())
    cut = Cut(
        directions=directions,
        norm=norm,
        ignore=ignore,
        orthogonal=orthogonal,
        span=span,
        num_points=num_points,
        draws=draws,
        show_trajectory=show_trajectory,
        seed=seed,
        runs=runs,
        marks=[objective.as_point(one) for one in marks],
        smooth=smooth,
        smooth_draws=smoothing_pairs(smooth, smooth_draws),
        block=block,
        has_derivatives=curvature,
    )
    points = [objective.as_point(one) for one in ([theta] if isinstance(theta, Tensor | Point) else theta)]
    cut.require(points)
    proofs: list[Check] = []
    hessians = None
    with computed_by(executor), checks.untouched(objective, proofs):
        sweep = Sweep(objective, test, batchnorm, journal, progress)
        found = sliced(sweep, points, cut, 2)
        if curvature:
            losses = found.tables[0][:, 0]
            hessians = curvature_map(sweep, losses, found.theta_at, points, found.weights_at, seed=seed)
            found.notes.extend(note for note in objective.doubts if note not in found.notes)
            found.notes.extend(hessians.notes())
            found.checks.extend(
                range_checks(objective, found.centre, found.axes.draws[0], hessians, found.middle)
            )
        result = _result(found, hessians, cut)
        columns = rows_of(result)
        plane = found.axes.draws[0] if result.directions is None else result.directions
        grid = (result.alpha, result.beta)
        explained = result.explained_variance
        own = as_stated(found, result)
        stated = stated_checks(own, cut, grid, columns, result.draw_loss, plane, explained)
        stated += draws_check(result.draw_loss, result.loss_mean, result.loss_spread)
        stated += [*products_check(objective, plane, result.gram), *runs_check(result, cut.runs)]
        if hessians is not None:
            said, place = hessians.stated(result), partial(place_of, found)
            ratio = np.asarray(result.curvature_ratio).ravel()
            stated += cell_checks(objective, place, said, ratio, found.middle, seed)
            stated += pair_check(objective, place, said)
    result.checks = proofs + found.checks + plane_checks(found, cut) + stated
    return result


def _named(found: Slice, cut: Cut) -> dict[str, Any]:
    """What the runs and the marked points are called, and how far training had come, where that is known."""
    import numpy as np

    named: dict[str, Any] = {}
    if cut.marks:
        named["mark"] = np.array([one.label or f"mark {i}" for i, one in enumerate(cut.marks)])
    if not cut.show_trajectory or found.shown is None:
        return named
    counts = [len(run.points) for run in cut.runs]
    if len(cut.runs) > 1 or cut.runs[0].name:
        named["run"] = np.array([run.name or f"run {i}" for i, run in enumerate(cut.runs)])
        named["trajectory_run"] = np.repeat(np.arange(len(cut.runs)), counts)
        parts = np.split(found.shown.residual, np.cumsum(counts)[:-1])
        named["run_residual"] = np.array([part.max() for part in parts])
    if any(run.epochs is not None for run in cut.runs):
        named["trajectory_epoch"] = np.concatenate(
            [np.full(len(run.points), np.nan) if run.epochs is None else run.epochs for run in cut.runs]
        )
    return named


def _result(found: Slice, hessians: CurvatureMap | None, cut: Cut) -> Slice2D:
    import numpy as np

    from landscape.numerics.arrays import array_of, array_or_note
    from landscape.numerics.curves.directions import gram_matrix
    from landscape.objective.smoothing import fields_of
    from landscape.objective.sweep import known

    axes, given, shown, marked, eigen = found.axes, found.given, found.shown, found.marked, found.axes.eigen
    table, losses, plane = found.table, found.losses, found.axes.draws[0]
    square = table.shape[:2]
    converged = (eigen is None or eigen.converged) and (hessians is None or hessians.num_open == 0)
    return Slice2D(
        alpha=found.grid[0],
        beta=found.grid[1],
        loss=table[..., 0],
        done=np.ones(square, dtype=bool),
        accuracy=known(table[..., 1]),
        test_loss=table[..., 2] if found.sweep.test else None,
        test_loss_error=known(table[..., 4]),
        test_accuracy=known(table[..., 3]),
        test_accuracy_error=known(table[..., 5]),
        lambda_max=hessians.largest.reshape(square) if hessians else None,
        lambda_min=hessians.smallest.reshape(square) if hessians else None,
        curvature_ratio=hessians.ratio.reshape(square) if hessians else None,
        lambda_max_residual=hessians.largest_residual.reshape(square) if hessians else None,
        lambda_min_residual=hessians.smallest_residual.reshape(square) if hessians else None,
        draw_loss=losses if len(losses) > 1 else None,
        loss_mean=losses.mean(0) if len(losses) > 1 else None,
        loss_spread=losses.std(0, ddof=1) if len(losses) > 1 else None,
        directions=array_or_note(plane, "directions", found.notes),
        gram=gram_matrix(plane),
        explained_variance=axes.explained,
        random_walk_variance=axes.random_walk,
        direction_curvature=eigen.values if eigen else None,
        direction_residual=eigen.residuals if eigen else None,
        point_alpha=given.coordinates[:, 0] if given else None,
        point_beta=given.coordinates[:, 1] if given else None,
        point_loss=given.loss if given else None,
        point_residual=given.residual if given else None,
        trajectory_alpha=shown.coordinates[:, 0] if shown else None,
        trajectory_beta=shown.coordinates[:, 1] if shown else None,
        trajectory_residual=shown.residual if shown else None,
        trajectory_loss=shown.loss if shown else None,
        **_named(found, cut),
        mark_alpha=marked.coordinates[:, 0] if marked else None,
        mark_beta=marked.coordinates[:, 1] if marked else None,
        mark_residual=marked.residual if marked else None,
        mark_loss=marked.loss if marked else None,
        centre=array_of(found.points[0].theta) if cut.directions == "axes" else None,
        centre_loss=found.centre_loss,
        block=cut.block,
        **fields_of(found.smoothed, square),
        notes=found.notes,
        outcome="complete" if converged else "not-converged",
        parameters=found.sweep.objective.pieces,
    )
