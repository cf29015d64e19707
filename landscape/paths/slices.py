"""F along directions through a point: which directions, the grid on them, the losses, and what proves them."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape.errors import BadInput
from landscape.numerics.curves.directions import coordinates, plane_through, principal_components
from landscape.numerics.curves.grids import grid_around, symmetric_grid
from landscape.objective import checks
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.scatter import without_errors
from landscape.objective.smoothing import Smoothed, smoothed, smoothed_in_words
from landscape.objective.sweep import COLUMNS, Sweep
from landscape.objective.trajectory import Trajectory
from landscape.objective.uses import guesses
from landscape.paths.direction_checks import curvature_checks, eigen_checks, norm_check, orthogonality_check
from landscape.paths.directions import (
    Eigenvectors,
    eigen_directions,
    own_axes,
    pieces_of,
    random_directions,
    require_drawn,
    require_grid,
    require_trajectory,
    within,
)
from landscape.paths.heights import tested_in_words
from landscape.paths.planes import Projection, fill, projected
from landscape.progress import Progress
from landscape.result import Check


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Along what to cut and how far; see :func:`landscape.analyses.slice2d.slice2d`. Raises BadInput.

    ``has_derivatives``: numbers of ∇F or the Hessian follow, beside those of F along eigenvectors, which have some.
    """

    directions: str
    norm: str
    ignore: Collection[str]
    span: float | None
    num_points: int
    draws: int
    show_trajectory: bool
    seed: int
    runs: Sequence[Trajectory] = ()
    marks: Sequence[Point] = ()
    orthogonal: bool = False
    smooth: float | None = None
    smooth_draws: int = 2
    block: str | None = None
    has_derivatives: bool = False

    def __post_init__(self) -> None:
        require_grid(self.num_points, self.draws, self.directions)
        require_drawn(self.norm, self.ignore, self.directions)

    @property
    def trajectory(self) -> list[Point]:
        """The points of every run, one run after the other."""
        return [point for run in self.runs for point in run.points]

    @property
    def spanning(self) -> Sequence[Trajectory]:
        """The runs whose principal components the directions are; none where they are others."""
        return {"pca": self.runs, "pca-first": self.runs[:1]}.get(self.directions, ())

    @property
    def is_principal(self) -> bool:
        """Whether the directions are principal components, whatever points there are."""
        return self.directions in ("pca", "pca-first")

    def is_through(self, points: Sequence[Point]) -> bool:
        """Whether the plane is the one through three points."""
        return len(points) == 3 and not self.is_principal

    def is_drawn(self, points: Sequence[Point]) -> bool:
        """Whether the directions are random ones, which have norms of their own."""
        return self.directions == "random" and len(points) == 1

    def require(self, points: Sequence[Point]) -> None:
        """Raises BadInput for a number of points that these directions do not take."""
        if self.is_principal or len(points) == 1:
            return
        if len(points) != 3:
            raise BadInput(
                f"{len(points)} points on a plane of directions {self.directions}",
                "one point, or three for the plane through them",
                "`directions` pca takes any number: the plane of their runs",
            )
        if self.directions != "random":
            raise BadInput(
                f"directions {self.directions} on the plane through three points",
                "one point, or no `directions`",
                "three points leave nothing to choose",
            )
        if self.block is not None:
            raise BadInput(
                f"the block {self.block!r} of the plane through three points",
                "one point, or no `block`",
                "three points leave nothing to choose",
            )
        if self.draws > 1:
            raise BadInput(f"{self.draws} draws of the plane through three points", "one draw")

    def grid(self, seen: np.ndarray, num_axes: int) -> tuple[np.ndarray, ...]:
        """The steps along each axis: within ``span``, or around ``seen`` (T, m) where that is not given."""
        if self.span is None and len(seen):
            return tuple(grid_around(seen[:, axis], self.num_points) for axis in range(num_axes))
        return (symmetric_grid(1.0 if self.span is None else self.span, self.num_points),) * num_axes


class Axes(NamedTuple):
    """Directions (m, d) of every draw; ``seen`` (T, m), the coordinates of what the grid should cover.

    ``explained`` and ``random_walk`` are shares of variance by principal component, the latter of one run alone.
    """

    draws: list[Tensor]
    seen: np.ndarray = np.zeros((0, 2))
    explained: np.ndarray | None = None
    random_walk: np.ndarray | None = None
    eigen: Eigenvectors | None = None


@dataclass(frozen=True, kw_only=True)
class Slice:
    """F at θ* + Σⱼ stepsᵢⱼ dⱼ for every cell i of a grid, the first direction running fastest.

    ``tables``: what :meth:`~Sweep.measure` says (cells, ``COLUMNS``) of every draw; ``smoothed``, ``given`` and
    ``shown`` and ``marked``, the points that were named, those of the trajectories and those of other runs, go with the
    first draw's directions.
    """

    sweep: Sweep
    points: Sequence[Point]
    axes: Axes
    grid: tuple[np.ndarray, ...]
    steps: np.ndarray
    tables: list[np.ndarray]
    weights_at: Callable[[int], Sequence[float]] | None
    smoothed: Smoothed | None
    given: Projection | None
    shown: Projection | None
    marked: Projection | None
    centre: Point
    checks: list[Check]
    notes: list[str]

    @property
    def table(self) -> np.ndarray:
        """That of the first draw in the shape of the grid, (…, ``COLUMNS``)."""
        return self.tables[0].reshape(*(len(axis) for axis in reversed(self.grid)), COLUMNS)

    @property
    def losses(self) -> np.ndarray:
        """The training loss of every draw, in front of the grid's shape."""
        return np.stack([one[:, 0].reshape(self.table.shape[:-1]) for one in self.tables])

    @property
    def middle(self) -> int:
        """The cell of θ*."""
        return int(np.flatnonzero(~self.steps.any(axis=1))[0])

    @property
    def centre_loss(self) -> float:
        return float(self.tables[0][self.middle, 0])

    def theta_at(self, cell: int) -> Tensor:
        """θ (d,) of a cell of the first draw."""
        theta = torch.empty_like(self.points[0].theta)
        fill(theta[None], self.points[0].theta, self.axes.draws[0], self.steps[cell : cell + 1])
        return theta


def sliced(sweep: Sweep, points: Sequence[Point], cut: Cut, num_axes: int) -> Slice:
    """F along ``num_axes`` directions through ``points[0]``, or on the plane through three points.

    Further points are where principal components of several runs are cut along: they are seen from the plane.
    """
    origin, objective = points[0], sweep.objective
    is_through = cut.is_through(points)
    if is_through:
        axes = _through(points)
    else:
        axes = DIRECTIONS[cut.directions](objective, origin, cut, num_axes, sweep.progress)
        if cut.is_principal or cut.directions == "axes":
            drawn = [*points[1:], *cut.marks, *(cut.trajectory if cut.show_trajectory else [])]
            axes = _seeing(axes, origin, drawn)
    grid = cut.grid(axes.seen, num_axes)
    steps = np.stack(np.meshgrid(*grid), axis=-1).reshape(-1, num_axes)
    weights_at = _barycentric(axes.seen, steps) if is_through else None
    corners = points if is_through else points[:1]

    def cells(plane: Tensor) -> Callable[[range, Tensor], None]:
        return lambda block, thetas: fill(thetas, origin.theta, plane, steps[block.start : block.stop])

    tables = [
        sweep.measure(f"draw {draw}", len(steps), cells(plane), corners, weights_at)
        for draw, plane in enumerate(axes.draws)
    ]
    smooth = None
    if cut.smooth is not None:
        about = {"sigma": cut.smooth, "num_pairs": cut.smooth_draws, "seed": cut.seed}
        smooth = smoothed(sweep, "cells", len(steps), cells(axes.draws[0]), corners, weights_at, **about)
    first = axes.draws[0][:num_axes]
    given = projected(sweep, "point", list(points), origin.theta, first) if len(points) > 1 else None
    marked = projected(sweep, "mark", list(cut.marks), origin.theta, first) if cut.marks else None
    shown = None
    if cut.show_trajectory:
        shown = projected(sweep, "trajectory", require_trajectory(cut.trajectory), origin.theta, first)
    tells = axes.eigen is not None or cut.has_derivatives
    along, remarks = [], list[str]()
    if not sweep.recalibrates:
        along, remarks = curvature_checks(objective, origin, first, has_derivatives=tells)
    if axes.eigen is not None:
        along = along + eigen_checks(objective, origin, axes.eigen)
        remarks = remarks + axes.eigen.notes
    remarks = remarks + objective.doubts
    if cut.is_drawn(points) and cut.norm == "filter":
        remarks = remarks + guesses(pieces_of(objective, cut.block), cut.ignore)
    unsure = without_errors(sweep.test, len(steps), "test samples") if sweep.test else []
    drawn = [*cut.marks, *(cut.trajectory if cut.show_trajectory else [])]
    found = Slice(
        sweep=sweep,
        points=points,
        axes=axes,
        grid=grid,
        steps=steps,
        tables=tables,
        weights_at=weights_at,
        smoothed=smooth,
        given=given,
        shown=shown,
        marked=marked,
        centre=sweep.reference(origin),
        checks=[],
        notes=_statistics(sweep, corners, [*points, *drawn])
        + remarks
        + unsure
        + (smoothed_in_words(smooth) if smooth else []),
    )
    proofs, said = _checks(found, cut)
    found.checks.extend(proofs + along)
    found.notes.extend(said)
    found.notes.extend(tested_in_words(tables[0], {"θ*": found.middle}))
    return found


def _statistics(sweep: Sweep, corners: Sequence[Point], drawn: Sequence[Point]) -> list[str]:
    """Whose batch-norm statistics the cells and the points that are drawn have, where they are not those stored."""
    if sweep.recalibrates:
        return [
            "batch-norm statistics were taken anew from the data in every cell, that of θ* as well (`batchnorm` "
            "recalibrate): the losses there are not those with the statistics that are stored"
        ]
    if len(corners) > 1 or not sweep.objective.has_batchnorm or not sweep.notes(*drawn):
        return sweep.notes(*corners)
    return [
        "batch-norm statistics of the cells are those of θ*, of every other point its own (`batchnorm` frozen); "
        "`batchnorm` recalibrate takes them from the data in every cell"
    ]


def plane_checks(found: Slice, cut: Cut) -> list[Check]:
    """The angle between the directions where it should be right, and that given points lie on their plane."""
    objective, proofs = found.sweep.objective, []
    if cut.orthogonal or not cut.is_drawn(found.points):
        proofs.append(
            orthogonality_check(objective, found.axes.draws[0], are_units=not cut.is_drawn(found.points))
        )
    if found.given is not None and cut.is_through(found.points):
        distance = float(found.given.residual.max() / np.abs(found.given.coordinates).max())
        meaning = "distance of the points, relative"
        proofs.append(Check("points on plane", distance, checks.rounding(objective), meaning))
    return proofs


def _checks(found: Slice, cut: Cut) -> tuple[list[Check], list[str]]:
    objective, centre = found.sweep.objective, found.centre
    meaning = "grid's centre against the model itself"
    stated = checks.Stated("centre loss", found.centre_loss, meaning)
    means, said = checks.meaning(objective, centre, stated=stated), list[str]()
    if found.axes.eigen is None and not cut.has_derivatives:
        means, said = checks.of_values(means)
    proofs = [
        *means,
        checks.finite(found.losses),
    ]
    if cut.is_drawn(found.points):
        axes = torch.cat([plane[:1] if cut.orthogonal else plane for plane in found.axes.draws])
        proofs.append(norm_check(objective, found.points[0].theta, axes, cut.norm, cut.ignore, cut.block))
    return proofs, said


def _random(objective: Objective, origin: Point, cut: Cut, num_axes: int, progress: Progress) -> Axes:
    draws = [
        random_directions(
            objective,
            origin.theta,
            num_axes,
            norm=cut.norm,
            ignore=cut.ignore,
            orthogonal=cut.orthogonal,
            seed=cut.seed + draw,
            block=cut.block,
        )
        for draw in range(cut.draws)
    ]
    return Axes(draws)


def _pca(objective: Objective, origin: Point, cut: Cut, num_axes: int, progress: Progress) -> Axes:
    leading = [point for run in cut.spanning for point in run.points]
    thetas = torch.stack([point.theta for point in require_trajectory(leading)])
    moved = within(objective, cut.block, thetas - origin.theta)
    found = principal_components(moved, torch.zeros_like(origin.theta))
    plane = found.directions[:num_axes]
    seen = coordinates(thetas, origin.theta, plane)[0]
    # Several walks have no agreed form: from where the others begin is not said.
    walk = found.explained_by_random_walk if len(cut.spanning) == 1 else None
    return Axes([plane], seen, found.explained, walk)


def _seeing(axes: Axes, origin: Point, points: Sequence[Point]) -> Axes:
    """The same axes, on which ``points`` should be seen as well."""
    if not points:
        return axes
    thetas = torch.stack([point.theta for point in points])
    more = coordinates(thetas, origin.theta, axes.draws[0])[0]
    return axes._replace(seen=np.concatenate([axes.seen, more]))


def _eigen(objective: Objective, origin: Point, cut: Cut, num_axes: int, progress: Progress) -> Axes:
    found = eigen_directions(objective, origin, num_axes, block=cut.block, seed=cut.seed, progress=progress)
    return Axes([found.directions], eigen=found)


def _eigen_ends(objective: Objective, origin: Point, cut: Cut, num_axes: int, progress: Progress) -> Axes:
    if num_axes != 2:
        raise _for_a_plane("two eigenvectors")
    found = eigen_directions(objective, origin, 1, 1, block=cut.block, seed=cut.seed, progress=progress)
    return Axes([found.directions], eigen=found)


def _own_axes(objective: Objective, origin: Point, cut: Cut, num_axes: int, progress: Progress) -> Axes:
    if num_axes != 2:
        raise _for_a_plane("the module's two own axes")
    if cut.block is not None:
        raise BadInput(f"the module's own axes within {cut.block!r}", "random, pca or eigen for a block")
    plane = own_axes(objective, origin.theta)
    if not cut.show_trajectory:
        return Axes([plane])
    thetas = torch.stack([point.theta for point in require_trajectory(cut.trajectory)])
    return Axes([plane], coordinates(thetas, origin.theta, plane)[0])


def _for_a_plane(two: str) -> BadInput:
    return BadInput(f"{two} for one axis", "random, pca or eigen", "take slice2d for a plane")


def _through(points: Sequence[Point]) -> Axes:
    """An orthonormal basis, from the first, of the plane through three points (Garipov et al. 2018)."""
    thetas = torch.stack([point.theta for point in points])
    plane = plane_through(*thetas)
    return Axes([plane], coordinates(thetas, points[0].theta, plane)[0])


def _barycentric(seen: np.ndarray, steps: np.ndarray) -> Callable[[int], list[float]]:
    """Cell i ↦ its coordinates in the triangle of three points, which are at ``seen`` (3, 2)."""
    inverse = np.linalg.inv(seen[1:].T)

    def weights_at(i: int) -> list[float]:
        second, third = inverse @ steps[i]
        return [1 - second - third, second, third]

    return weights_at


# By the names of landscape.paths.directions: (objective, θ*, cut, number of axes, progress) ↦ the axes.
DIRECTIONS: dict[str, Callable[[Objective, Point, Cut, int, Progress], Axes]] = {
    "random": _random,
    "pca": _pca,
    "pca-first": _pca,
    "eigen": _eigen,
    "eigen-ends": _eigen_ends,
    "axes": _own_axes,
}
