"""The proofs of a slice from what its result states: cells off the centre, the grid, angles, coordinates."""

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import torch

from landscape.objective import blocks, checks, plain
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.row_proofs import Row, by_piece, numbers, place, row_checks, wide
from landscape.objective.smoothing_proofs import smoothing_checks
from landscape.paths.planes import Projection
from landscape.paths.slices import Cut, Slice
from landscape.result import Check, largest_gap

# Independent directions are further from a right angle than so many standard deviations once in 10⁷.
DEVIATIONS = 6.0


def as_stated(found: Slice, result: Any) -> Slice:
    """The same slice with the coordinates, distances and losses of points that stand in a ``result`` of it."""

    def seen(name: str, own: Projection | None) -> Projection | None:
        columns = [getattr(result, f"{name}_{axis}", None) for axis in ("alpha", "beta", "residual", "loss")]
        if own is None or columns[0] is None or columns[2] is None or columns[3] is None:
            return own
        coordinates = np.stack([one for one in columns[:2] if one is not None], axis=1)
        return Projection(coordinates, columns[2], columns[3])

    walk = getattr(result, "random_walk_variance", None)
    return replace(
        found,
        given=seen("point", found.given),
        shown=seen("trajectory", found.shown),
        marked=seen("mark", found.marked),
        axes=found.axes if walk is None else found.axes._replace(random_walk=walk),
    )


def stated_checks(
    found: Slice,
    cut: Cut,
    grid: Sequence[np.ndarray],
    table: Sequence[np.ndarray | None],
    draws: np.ndarray | None,
    directions: Any,
    explained: np.ndarray | None = None,
) -> list[Check]:
    """What a result states of a slice, each by a road of its own.

    ``grid``: α, or α and β; ``table``: the columns of a :class:`Row` over it, as ``draws`` the loss of every draw;
    ``directions`` (m, d), of every draw for one axis and of the first for two, an array or spread.
    """
    directions = wide(directions)
    return [
        *_cells(found, cut.seed, grid, table, draws, directions),
        *_grids(found, cut, grid),
        *_at_rest(found, cut, directions),
        *_angles(found, cut, directions[: len(grid)]),
        *_components(found, cut, directions, explained),
        *_projections(found, cut, directions[: len(grid)]),
        *_averages(found, cut.seed, directions[: len(grid)]),
    ]


def _cells(
    found: Slice,
    seed: int,
    grid: Sequence[np.ndarray],
    table: Sequence[np.ndarray | None],
    draws: np.ndarray | None,
    directions: Any,
) -> list[Check]:
    """One cell anywhere but at the centre, and one in the last block of the last draw."""
    sweep, points, count = found.sweep, found.points, len(grid)
    shape = tuple(len(axis) for axis in reversed(grid))
    num_cells, size = int(np.prod(shape)), sweep.block_size
    generator = np.random.default_rng(seed)
    origin = numbers(points[0].theta)
    places, proofs = [], []
    for draw, start in ((0, 0), (-1, (num_cells - 1) // size * size)):
        index = np.unravel_index(np.arange(start, num_cells), shape)
        steps = np.stack([axis[i] for axis, i in zip(grid, reversed(index), strict=True)], axis=1)
        off = np.flatnonzero(steps.any(axis=1))
        if not len(off):
            continue
        one = int(generator.choice(off))
        cell = tuple(int(i[one]) for i in index)
        if draws is None or draw == 0:
            row = Row.of(table, cell)
            axes = directions[:count]
        else:
            row = Row(float(draws[(draw, *cell)]))
            axes = directions[-1:] if count == 1 else numbers(found.axes.draws[-1])
        values = _at(origin, steps[one], axes)
        weights = _weights(found, steps[one])
        found_place, more = place(sweep, row, values, points[: len(weights)], weights)
        places.append(found_place)
        proofs += more
    return [*row_checks(sweep, places, "a cell off the centre, and one of the last block and draw,"), *proofs]


def _at(origin: Any, steps: np.ndarray, axes: Any) -> Any:
    return origin + sum(step * axis for step, axis in zip(steps.tolist(), axes, strict=True))


def place_of(found: Slice, cell: int) -> Point:
    """A cell of the first draw with the buffers that it has, by numbers and mixing of its own."""
    steps, objective = found.steps[cell], found.sweep.objective
    weights = _weights(found, steps)
    values = _at(numbers(found.points[0].theta), steps, numbers(found.axes.draws[0]))
    points = found.points[: len(weights)]
    tensors = place(found.sweep, Row(None), values, points, weights)[0].tensors
    fixed = {name: tensors[name] for name in points[0].fixed}
    return Point(objective.flat([tensors[piece.name] for piece in objective.pieces]), fixed)


def _weights(found: Slice, steps: np.ndarray) -> list[float]:
    """How much of the buffers of each given point a cell has."""
    if found.given is None or found.weights_at is None:
        return [1.0]
    corners = np.vstack([found.given.coordinates.T, np.ones(3)])
    return np.linalg.solve(corners, [*steps, 1.0]).tolist()


def _averages(found: Slice, seed: int, directions: Any) -> list[Check]:
    """The average over noise in a cell anywhere."""
    if found.smoothed is None:
        return []
    one = int(np.random.default_rng(seed).integers(len(found.steps)))
    weights = _weights(found, found.steps[one])
    values = _at(numbers(found.points[0].theta), found.steps[one], directions)
    points = found.points[: len(weights)]
    return smoothing_checks(
        found.sweep.objective,
        found.smoothed,
        one,
        values,
        lambda theta: place(found.sweep, Row(None), theta, points, weights)[0].tensors,
    )


def _grids(found: Slice, cut: Cut, grid: Sequence[np.ndarray]) -> list[Check]:
    """The ends of every axis, its points, steps and θ* on it, as written out from what was asked for."""
    worst = 0.0
    for number, axis in enumerate(grid):
        worst = largest_gap(worst, float(len(axis) != cut.num_points))
        gaps = np.diff(axis)
        worst = largest_gap(worst, float(np.ptp(gaps) / np.abs(axis).max()), float(np.abs(axis).min()))
        seen = found.axes.seen
        if cut.span is None and len(seen):
            inside = axis[0] <= min(0.0, seen[:, number].min()) and axis[-1] >= max(
                0.0, seen[:, number].max()
            )
            worst = largest_gap(worst, 0.0 if inside else 1.0)
        else:
            span = 1.0 if cut.span is None else cut.span
            worst = largest_gap(worst, abs(axis[0] + span) / span, abs(axis[-1] - span) / span)
    bound = 8 * float(np.finfo(float).eps)
    meaning = "as many equal steps, 0 among them, from end to end, as were asked for, relative to the longest"
    return [Check("grid", float(worst), bound, meaning)]


def _at_rest(found: Slice, cut: Cut, directions: Any) -> list[Check]:
    """That nothing moves outside the block: no parameter of whose name or modules none matches."""
    if cut.block is None:
        return []
    outside = 0.0
    for piece, part in by_piece(found.sweep.objective, directions):
        parts = piece.name.split(".")
        names = (".".join(parts[:end]) for end in range(1, len(parts) + 1))
        if not any(fnmatchcase(name, cut.block) for name in names):
            outside = max(outside, float(np.abs(part).max(initial=0)))
    return [Check("block", outside, 0.0, "largest entry of the directions outside the block (0 = at rest)")]


def _angles(found: Slice, cut: Cut, directions: Any) -> list[Check]:
    """That random directions are as far from parallel as independent ones are.

    The cosine of two is Σ l_f² c_f / Σ l_f² over filters of length l_f and size k_f, where c_f has the variance
    1/k_f (and is sub-Gaussian with it). Where six standard deviations reach 1, nothing is proven.
    """
    groups = [directions, *map(numbers, found.axes.draws[1:])]
    count = sum(map(len, groups))
    if not cut.is_drawn(found.points) or cut.orthogonal or count < 2:
        return []
    size, spread, gram = np.zeros(count), np.zeros(count), np.zeros((count, count))
    objective = found.sweep.objective
    for parts_of in zip(*(by_piece(objective, group) for group in groups), strict=True):
        piece, part = parts_of[0][0], np.vstack([part for _, part in parts_of])
        if cut.norm == "none":
            squares, parts = (part**2).sum(1)[:, None], max(piece.size, 1)
        else:
            number = int(np.prod(piece.units)) if cut.norm == "filter" else 1
            parts = max(piece.size // max(number, 1), 1)
            squares = _squares(part.reshape(count, *piece.shape), piece.units if number > 1 else ())
        size += squares.sum(1)
        spread += (squares**2).sum(1) / parts
        gram += part @ part.T
    cosine = np.abs(gram) / np.sqrt(np.outer(size, size))
    np.fill_diagonal(cosine, 0)
    deviation = float((np.sqrt(spread) / size).max())
    if DEVIATIONS * deviation >= 1:
        return []
    meaning = (
        "largest |cos| between directions of different draws: six standard deviations of independent ones"
    )
    return [Check("independent directions", float(cosine.max()), DEVIATIONS * deviation, meaning)]


def _squares(parts: np.ndarray, units: Sequence[int]) -> np.ndarray:
    """Squared lengths (m, filters) of the filters in each of m arrays."""
    squares = parts**2
    if not squares.size:
        return np.zeros((len(squares), 1))
    for axis, count in enumerate(units, start=1):
        size = squares.shape[axis]
        squares = np.add.reduceat(squares, np.arange(count) * (size // count), axis=axis)
    if not units:
        return squares.reshape(len(squares), -1).sum(1)[:, None]
    return squares.reshape(len(squares), -1)


def _components(found: Slice, cut: Cut, directions: Any, explained: np.ndarray | None) -> list[Check]:
    """Principal components by singular values of the stored trajectory, in numpy: of its triangle, piece by piece."""
    # Whose components they are as it was asked for, told apart anew.
    spanning = {"pca": cut.runs, "pca-first": cut.runs[:1]}.get(cut.directions, ())
    leading = [point for run in spanning for point in run.points]
    if not leading:
        return []
    objective = found.sweep.objective
    origin = found.points[0].theta
    differences = torch.stack([one.theta - origin for one in leading])
    moving = objective.pieces if cut.block is None else blocks.matching(objective.pieces, cut.block)
    triangle, along = np.zeros((0, len(leading))), np.zeros((len(leading), len(directions)))
    moves = np.zeros(len(leading), dtype=bool)
    pairs = zip(by_piece(objective, differences), by_piece(objective, directions), strict=True)
    for (piece, part), (_, axes) in pairs:
        if piece in moving:
            triangle = np.linalg.qr(np.vstack([triangle, part.T]), mode="r")
            along, moves = along + part @ axes.T, moves | part.any(axis=1)
    values = np.linalg.svd(triangle, compute_uv=False) ** 2
    shares = values / values.sum()
    along = (along**2).sum(0) / values.sum()
    worst = float(np.abs(along - shares[: len(along)]).max())
    if explained is not None:
        worst = largest_gap(worst, float(np.abs(explained - shares[:2]).max()))
    meaning = "variance explained, and that along the directions, against singular values of θ_t − θ*"
    proofs = [Check("principal components", worst, checks.rounding(objective), meaning)]
    walk = found.axes.random_walk
    if walk is not None:
        moved = int(moves.sum())
        angles = (2 * np.arange(1, 3) - 1) * np.pi / (2 * (2 * moved + 1))
        wanted = 1 / (4 * np.sin(angles) ** 2) / (moved * (moved + 1) / 2)
        gap = float(np.abs(walk[: min(2, moved)] - wanted[: len(walk)]).max())
        meaning = "variance explained of a random walk as long against 1/(4 sin²((2k − 1)π/(4T + 2)))"
        proofs.append(Check("random walk", gap, 1e-12, meaning))
    return proofs


def _projections(found: Slice, cut: Cut, directions: Any) -> list[Check]:
    """Stored coordinates lead to where the points are, up to the stored distance; their losses are the points' own."""
    sweep, origin = found.sweep, found.points[0].theta
    proofs = []
    seen = [
        ("point", found.given, found.points),
        ("checkpoint", found.shown, cut.trajectory),
        ("mark", found.marked, cut.marks),
    ]
    for what, projection, points in seen:
        if projection is None:
            continue
        offsets = torch.stack([one.theta - origin for one in points])
        left, far, long, slants = 0.0, 0.0, 0.0, 0.0
        pairs = zip(by_piece(sweep.objective, offsets), by_piece(sweep.objective, directions), strict=True)
        for (_, part), (_, plane) in pairs:
            rest = part - projection.coordinates @ plane
            left, far = left + (rest**2).sum(1), far + (part**2).sum(1)
            long, slants = long + (plane**2).sum(1), slants + rest @ plane.T
        scale = max(float(np.sqrt(far).max()), 1e-300)
        gap = np.abs(np.sqrt(left) - projection.residual).max() / scale
        slant = np.abs(slants / np.sqrt(long)).max() / scale
        bound = checks.rounding(sweep.objective)
        meaning = f"what the coordinates of every {what} leave: as long as stated, and across the directions"
        proofs.append(Check(f"{what} coordinates", float(max(gap, slant)), bound, meaning))
        one = int(np.random.default_rng(cut.seed).integers(len(points)))
        proofs.append(_loss_check(what, sweep.objective, sweep.reference(points[one]), projection.loss[one]))
    return proofs


def _loss_check(what: str, objective: Objective, point: Point, loss: float) -> Check:
    seen = plain.measure(objective, plain.by_name(objective, point)).loss
    bound = checks.rounding(objective)
    return checks.close(f"{what} loss", float(loss), seen, bound, f"a {what} against the model itself")
