"""The tree of a grid's basins by what is said of each: where it is born and dies, what it joins, what runs there."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from landscape.result import Check, largest_gap

# Cells that are followed down; sums of persistences.
FOLLOWED, SUMS = 64, 1e-12


def basins_check(coordinates: Sequence[np.ndarray], values: np.ndarray, found: Mapping[str, Any]) -> Check:
    """``values`` (β, α) or (α,) over ``coordinates``, α first; ``found`` are the fields of a result by name."""
    wrong, names = 0, ("alpha", "beta")[: len(coordinates)]

    def heights(kind: str) -> list[float]:
        places = zip(*(found[f"{kind}_{name}"].tolist() for name in names), strict=True)
        return [_height(coordinates, values, place) for place in places]

    birth, death, parent = (found[name].tolist() for name in ("birth", "death", "parent"))
    for k, (low, high) in enumerate(zip(heights("birth"), heights("saddle"), strict=True)):
        is_last = math.isinf(death[k])
        wrong += birth[k] != low or (not is_last and death[k] != high) or (is_last and not math.isnan(high))
        wrong += found["persistence"][k] != death[k] - birth[k]
        wrong += (parent[k] < 0) != is_last or (parent[k] >= 0 and birth[parent[k]] > birth[k])
        wrong += parent[k] == k
    for kind in ("mark", "path"):
        if found.get(f"{kind}_loss") is not None:
            wrong += heights(kind) != found[f"{kind}_loss"].tolist()
    wrong += _followed(coordinates, values, found, names)
    meaning = (
        "births, deaths, parents and cells that are not where, or what, the grid says of them (0 = none)"
    )
    return Check("basins", float(wrong), 0.0, meaning)


def roughness_check(values: np.ndarray, found: Mapping[str, Any]) -> Check:
    """Total, mean and relative persistence of what merges, added up."""
    merging = [one for one in found["persistence"].tolist() if math.isfinite(one)]
    known = [one for one in values.ravel().tolist() if math.isfinite(one)]
    mean, span = math.fsum(merging) / max(1, len(merging)), max(known) - min(known)
    wanted = {"total": math.fsum(merging), "mean": mean, "relative": mean / span if span > 0 else 0.0}
    gaps = [abs(found[f"{name}_persistence"] - one) / max(one, 1e-300) for name, one in wanted.items() if one]
    meaning = "total, mean and relative persistence against sums over the stated basins, relative"
    return Check("roughness", largest_gap(*gaps), SUMS, meaning)


def changes_check(coarse: np.ndarray, found: Mapping[str, Any]) -> Check:
    """What persistences and numbers of basins change by from half the grid, the values ``coarse`` of which are given.

    What a change leaves of a persistence is one of those there, which flooding the cells one by one finds, and they
    come in order.
    """
    merging = np.sort(_persistences(coarse))
    finite = np.isfinite(found["persistence"]) & np.isfinite(found["persistence_change"])
    left = found["persistence"][finite] - found["persistence_change"][finite]
    span = float(np.ptp(coarse[np.isfinite(coarse)])) or 1.0
    own = left[left > SUMS * span]
    wrong = int((left < -SUMS * span).sum()) + int((np.diff(own) > SUMS * span).sum())
    for one in own.tolist():
        near = int(np.abs(merging - one).argmin()) if len(merging) else -1
        if near < 0 or not abs(merging[near] - one) <= SUMS * span:
            wrong += 1
            continue
        merging = np.delete(merging, near)
    least = found["persistence"][np.isfinite(found["persistence"])].min(initial=math.inf)
    wrong += int(len(found["persistence"]) != found["num_basins"]) + int(least <= 0)
    meaning = (
        "persistences of half the grid, by their changes, that flooding its cells does not find (0 = none)"
    )
    return Check("changes of the basins", float(wrong), 0.0, meaning)


def _persistences(values: np.ndarray) -> np.ndarray:
    """death − birth of every basin that merges, cells added from the lowest on: the higher born of two ends."""
    order = np.argsort(values, axis=None, kind="stable").tolist()
    flat, shape = values.ravel().tolist(), values.shape
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    root: dict[int, int] = {}
    ended = []
    for cell in (one for one in order if math.isfinite(flat[one])):
        root[cell] = cell
        for size, stride in zip(shape, strides, strict=True):
            for step in (-1, 1):
                other = cell + step * stride
                if not 0 <= cell // stride % size + step < size or other not in root:
                    continue
                one, beside = _top(root, cell), _top(root, other)
                if one != beside:
                    low, high = sorted((one, beside), key=lambda top: (flat[top], top))
                    ended.append(flat[cell] - flat[high])
                    root[high] = low
    return np.array([one for one in ended if one > 0])


def _top(root: dict[int, int], cell: int) -> int:
    """The lowest cell of a part; the way there is made shorter."""
    while root[cell] != cell:
        root[cell] = root[root[cell]]
        cell = root[cell]
    return cell


def _height(coordinates: Sequence[np.ndarray], values: np.ndarray, place: Sequence[float]) -> float:
    """F in the cell at a place; NaN where that is none."""
    if any(math.isnan(one) for one in place):
        return math.nan
    index = [int(np.abs(axis - one).argmin()) for axis, one in zip(coordinates, place, strict=True)]
    return float(values[tuple(index[::-1])])


def _followed(
    coordinates: Sequence[np.ndarray], values: np.ndarray, found: Mapping[str, Any], names: Sequence[str]
) -> int:
    """Cells, from the first to the last at even gaps, whose lowest neighbours lead to another basin than is stated."""
    basin, wrong = found["basin_of"], 0
    for k, place in enumerate(zip(*(found[f"birth_{name}"].tolist() for name in names), strict=True)):
        index = [int(np.abs(axis - one).argmin()) for axis, one in zip(coordinates, place, strict=True)]
        wrong += int(basin[tuple(index[::-1])]) != k
    for start in np.linspace(0, values.size - 1, FOLLOWED).astype(int).tolist():
        cell = tuple(int(one) for one in np.unravel_index(start, values.shape))
        if not math.isfinite(values[cell]):
            wrong += int(basin[cell]) != -1
            continue
        stated = int(basin[cell])
        while (lower := _lowest(values, cell)) is not None:
            cell = lower
        wrong += int(basin[cell]) != stated
    return wrong


def _lowest(values: np.ndarray, cell: tuple[int, ...]) -> tuple[int, ...] | None:
    """The lowest of the neighbours that come before a cell, by F and then by their place; None where there is none."""
    beside = []
    for axis, size in enumerate(values.shape):
        for step in (-1, 1):
            other = tuple(one + step * (k == axis) for k, one in enumerate(cell))
            if 0 <= other[axis] < size and math.isfinite(values[other]):
                beside.append((float(values[other]), other))
    return min((one for one in beside if one < (float(values[cell]), cell)), default=(0.0, None))[1]
