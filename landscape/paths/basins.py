"""The basins of a grid of F, the lowest way in the plane between marked cells, and what half of the grid says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from landscape.errors import BadInput
from landscape.numerics.merging import MergeTree, Pass, halved, lowest_pass, merge_tree
from landscape.paths.basin_proofs import basins_check, changes_check, roughness_check
from landscape.result import Check

# What rounding makes of F, in ε of the dtype it was computed in.
ROUNDINGS = 100
LEVELS = 5
# Cells of half a grid up to which they are flooded once more.
FEW = 2**16


class Grid(NamedTuple):
    """F on a grid: coordinates (one or two, that of the last axis first) and values (β, α) or (α,)."""

    coordinates: tuple[np.ndarray, ...]
    values: np.ndarray

    def cell(self, place: Sequence[float]) -> int:
        """The flat index of the cell nearest to (α, β). Raises BadInput for a place beyond the grid, or a wall."""
        index = []
        for at, axis in zip(place, self.coordinates, strict=True):
            step = float(np.abs(np.diff(axis)).max(initial=0.0))
            if not axis.min() - step / 2 <= at <= axis.max() + step / 2:
                raise BadInput(f"a mark at {at:g}", f"a place from {axis.min():g} to {axis.max():g}")
            index.append(int(np.abs(axis - at).argmin()))
        return int(np.ravel_multi_index(index[::-1], self.values.shape))

    def at(self, cells: np.ndarray) -> tuple[np.ndarray, ...]:
        """The coordinates of cells by flat index."""
        index = np.unravel_index(np.asarray(cells, dtype=np.int64), self.values.shape)[::-1]
        return tuple(axis[one] for axis, one in zip(self.coordinates, index, strict=True))

    @property
    def half(self) -> Grid:
        """Every second row and column, the cell at 0 among them, or else the one in the middle."""
        kept = [
            halved(len(axis), int(np.abs(axis).argmin()) if axis.min() <= 0 <= axis.max() else len(axis) // 2)
            for axis in self.coordinates
        ]
        coordinates = tuple(axis[one] for axis, one in zip(self.coordinates, kept, strict=True))
        return Grid(coordinates, self.values[tuple(kept[::-1])])


class Ways(NamedTuple):
    """The lowest ways between all pairs of marked cells, and how much each rises over the worse of its ends."""

    pairs: list[tuple[int, int]]
    passes: list[Pass]
    barriers: np.ndarray

    @property
    def highest(self) -> int:
        """The pair with the largest barrier."""
        return int(np.argmax(self.barriers))


def rounding_of(grid: Grid, tree: MergeTree, dtype: str) -> np.ndarray:
    """What of each persistence (k,) in ``tree``, that of the grid, may be rounding.

    F of outputs h is (h − y)², and h is known to ε of what it is at the rim: a level c to ε√(c max|F|), which at the
    rim is that of F itself.
    """
    highest = np.abs(grid.values[np.isfinite(grid.values)]).max(initial=0.0)
    epsilon = np.finfo(np.float64 if dtype == "float64" else np.float32).eps
    level = np.maximum(np.abs(tree.birth), np.where(np.isfinite(tree.death), np.abs(tree.death), 0.0))
    return ROUNDINGS * epsilon * np.sqrt(highest * np.maximum(level, epsilon**2 * highest))


def ways(grid: Grid, cells: Sequence[int]) -> Ways:
    """Between every two of ``cells``."""
    flat = grid.values.ravel()
    pairs = list(combinations(range(len(cells)), 2))
    passes = [lowest_pass(grid.values, cells[i], cells[j]) for i, j in pairs]
    ends = np.array([max(flat[cells[i]], flat[cells[j]]) for i, j in pairs])
    return Ways(pairs, passes, np.array([one.height for one in passes]) - ends)


def basins_of(
    grid: Grid, marks: Sequence[Sequence[float]], persistence: float | None, dtype: str = "float64"
) -> tuple[dict[str, Any], list[Check], list[str]]:
    """The fields of the result, by name, its checks and notes.

    ``marks`` are places (α, β); without any they are the two deepest basins. Without a ``persistence`` basins are none
    that rounding in ``dtype`` may have made. Raises BadInput for a grid without a finite value, and for a mark that is
    not on it.
    """
    if not np.isfinite(grid.values).any():
        raise BadInput("a grid without a finite value", "a slice with some that are")
    whole = merge_tree(grid.values)
    coarser = merge_tree(grid.half.values)
    least, coarse = (
        rounding_of(grid, one, dtype) if persistence is None else np.full(len(one.birth), persistence)
        for one in (whole, coarser)
    )
    tree, half = whole.deeper(least), coarser.deeper(coarse)
    notes = []
    if whole.num_left_out:
        notes.append(
            f"{whole.num_left_out} of {grid.values.size} cells are not finite: left out, as if walls stood there"
        )
    places = [tuple(map(float, mark)) for mark in marks]
    if not places and len(tree.birth) > 1:
        places = list(zip(*(axis.tolist() for axis in grid.at(tree.place[:2])), strict=True))
    cells = [grid.cell(place) for place in places]
    if any(not math.isfinite(grid.values.ravel()[cell]) for cell in cells):
        raise BadInput("a mark at a cell that is not finite", "cells with a value")
    found = {
        "birth": tree.birth,
        "death": tree.death,
        "persistence": tree.persistence,
        "persistence_change": _persistence_change(tree, half),
        "parent": tree.parent,
        "basin_of": tree.basin,
        "num_basins": len(tree.birth),
        "num_basins_change": len(tree.birth) - len(half.birth),
        "least_persistence": float(least.max(initial=0.0, where=whole.persistence <= least))
        if persistence is None
        else persistence,
        "num_left_out": whole.num_left_out,
    }
    seen = grid.at(tree.place), grid.at(np.maximum(tree.saddle, 0))
    found |= _roughness(grid, tree, half)
    for axis, born, met in zip(("alpha", "beta"), *seen, strict=False):
        found[f"birth_{axis}"] = born
        found[f"saddle_{axis}"] = np.where(tree.saddle < 0, math.nan, met)
    left_out = float(whole.persistence.sum(where=whole.persistence <= least))
    left_out_there = float(coarser.persistence.sum(where=coarser.persistence <= coarse))
    there = found["total_persistence"] - found["total_persistence_change"] + left_out_there
    proofs = [
        _sublevel_check(grid, whole),
        _total_check(grid.values, found["total_persistence"] + left_out, ""),
    ]
    if np.isfinite(every_second := _every_second(grid)).any():
        proofs.append(_total_check(every_second, there, " of every second cell"))
        if every_second.size <= FEW:
            proofs.append(changes_check(every_second, found))
    if len(cells) > 1:
        joined = ways(grid, cells)
        found |= _ways_fields(grid, cells, joined)
        half_grid = grid.half
        try:
            rough = ways(half_grid, [half_grid.cell(place) for place in places])
        except BadInput:
            notes.append("a mark lies beyond half of the grid, so nothing is said of how its passes change")
        else:
            fine, less = float(joined.barriers.max()), float(rough.barriers.max())
            found["in_plane_barrier_change"] = 0.0 if fine == less else fine - less
        proofs.append(_pass_check(grid, cells, joined))
        if np.isinf(found["in_plane_barrier"]):
            notes.append(
                "what is not finite parts the marked cells: there is no way between them on the grid"
            )
    elif len(tree.birth) == 1:
        found["in_plane_barrier"] = 0.0
        notes.append("one basin: nothing to pass on the way to it")
    proofs.append(basins_check(grid.coordinates, grid.values, found))
    proofs.append(roughness_check(grid.values, found))
    return found, proofs, notes


def _roughness(grid: Grid, tree: MergeTree, half: MergeTree) -> dict[str, float]:
    """Total and mean of the persistences of the basins that merge, and the mean over the range of F; each with change.

    The mean is the average persistence of Xie et al. (2024), the saddle-minimum average distance of Chen et al. (2026).
    """
    numbers = []
    for one, values in ((tree, grid.values), (half, grid.half.values)):
        merging = one.persistence[np.isfinite(one.persistence)]
        known = values[np.isfinite(values)]
        span = float(known.max() - known.min()) if len(known) else 0.0
        mean = float(merging.mean()) if len(merging) else 0.0
        numbers.append((float(merging.sum()), mean, mean / span if span > 0 else 0.0))
    found = {}
    for name, here, there in zip(("total", "mean", "relative"), *numbers, strict=True):
        found |= {f"{name}_persistence": here, f"{name}_persistence_change": here - there}
    return found


def _persistence_change(tree: MergeTree, half: MergeTree) -> np.ndarray:
    """By rank: the k-th largest persistence less that of half the grid, which has none where it has fewer basins."""
    there = np.zeros(len(tree.birth))
    known = half.persistence[: len(there)]
    there[: len(known)] = known
    both = np.isinf(tree.persistence) & np.isinf(there)
    with np.errstate(invalid="ignore"):
        return np.where(both, 0.0, tree.persistence - there)


def _ways_fields(grid: Grid, cells: Sequence[int], joined: Ways) -> dict[str, Any]:
    path = grid.at(joined.passes[joined.highest].cells)
    marked = grid.at(np.array(cells))
    found: dict[str, Any] = {
        "mark_loss": grid.values.ravel()[cells],
        "pass_first": np.array([i for i, _ in joined.pairs]),
        "pass_second": np.array([j for _, j in joined.pairs]),
        "pass_height": np.array([one.height for one in joined.passes]),
        "pass_barrier": joined.barriers,
        "in_plane_barrier": float(joined.barriers.max()),
        "in_plane_height": float(joined.passes[joined.highest].height),
        "path_loss": grid.values.ravel()[joined.passes[joined.highest].cells],
    }
    for axis, mark, way in zip(("alpha", "beta"), marked, path, strict=False):
        found |= {f"mark_{axis}": mark, f"path_{axis}": way}
    return found


def _parts(inside: np.ndarray) -> np.ndarray:
    """Connected parts along the axes by number, 0 outside: by SciPy's labelling of pixels."""
    from scipy.ndimage import label

    numbered: Any = label(inside)
    return numbered[0]


def _sublevel_check(grid: Grid, whole: MergeTree) -> Check:
    """The number of parts of {F ≤ c} at a few levels, from births and deaths and by labelling."""
    seen = np.unique(grid.values[np.isfinite(grid.values)])
    levels = seen[np.linspace(0, len(seen) - 1, LEVELS).astype(int)]
    wrong = 0
    for level in levels:
        alive = int(((whole.birth <= level) & (whole.death > level)).sum())
        with np.errstate(invalid="ignore"):
            wrong = max(wrong, abs(alive - int(_parts(grid.values <= level).max())))
    return Check(
        "sublevel sets",
        float(wrong),
        0.0,
        f"parts of {{F ≤ c}} at {LEVELS} levels by births and deaths against a labelling of the cells (0 = same)",
    )


def _every_second(grid: Grid) -> np.ndarray:
    """The values at even steps from the cell at 0 on every axis, or the middle one."""
    values = grid.values
    for place, axis in enumerate(reversed(grid.coordinates)):
        zero = int(np.abs(axis).argmin()) if axis.min() <= 0 <= axis.max() else len(axis) // 2
        even = [k for k in range(len(axis)) if (k - zero) % 2 == 0]
        values = values.take(even, axis=place)
    return values


def _total_check(values: np.ndarray, stated: float, what: str) -> Check:
    """Σ (death − birth), as the edges of a least spanning forest, less the cells but for the lowest of every part.

    An edge between two cells is as high as the higher of them: it ends a part of {F ≤ c}, and a cell begins one.
    """
    from scipy.ndimage import minimum
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    is_known = np.isfinite(values)
    low = float(values[is_known].min())
    span = float(values[is_known].max()) - low
    # From 1 to 2, as an edge of 0 would be none.
    heights = np.where(is_known, (values - low) / (span or 1.0) + 1, np.nan)
    number = np.arange(heights.size).reshape(heights.shape)
    edges = []
    for axis in range(heights.ndim):
        (first, last), (before, after) = (
            [np.delete(one, end, axis).ravel() for end in (-1, 0)] for one in (heights, number)
        )
        edges.append(np.stack([np.maximum(first, last), before, after]))
    every = np.concatenate(edges, axis=1)
    weights, before, after = every[:, ~np.isnan(every[0])]
    cells = before.astype(int), after.astype(int)
    forest: Any = minimum_spanning_tree(coo_array((weights, cells), shape=(heights.size,) * 2).tocsr())
    parts = _parts(is_known)
    lowest = np.asarray(minimum(heights, parts, np.arange(1, parts.max() + 1)))
    born = np.concatenate([-heights[is_known], lowest])
    total = span * math.fsum([*forest.data.tolist(), *born.tolist()])
    return Check(
        f"total persistence{what}",
        float(np.nan_to_num(abs(stated - total) / max(stated, span, 1e-300), nan=np.inf)),
        1e-10,
        "with what was left out, against a least spanning forest of the cells, over the range of F",
    )


def _pass_check(grid: Grid, cells: Sequence[int], joined: Ways) -> Check:
    """At the height of each pass the labelling joins its ends, below it does not, and its cells go step by step."""
    wrong = 0
    for (i, j), way in zip(joined.pairs, joined.passes, strict=True):
        with np.errstate(invalid="ignore"):
            at, below = (
                _parts(inside).ravel() for inside in (grid.values <= way.height, grid.values < way.height)
            )
        is_joined = bool(at[cells[i]] and at[cells[i]] == at[cells[j]]) if math.isfinite(way.height) else True
        is_parted = not below[cells[i]] or below[cells[i]] != below[cells[j]]
        index = np.unravel_index(way.cells, grid.values.shape)
        steps = sum(np.abs(np.diff(one)) for one in index) if len(way.cells) else np.array([])
        is_way = bool(np.all(steps == 1)) and (
            not len(way.cells) or float(grid.values.ravel()[way.cells].max()) == way.height
        )
        wrong += not (is_joined and is_parted and is_way)
    return Check(
        "passes",
        float(wrong),
        0.0,
        "lowest passes that a labelling of {F ≤ c} does not find there and not below, or no path takes (0 = none)",
    )
