"""Where the sublevel sets {F ≤ c} of a grid are born and merge: merge tree, persistence, lowest passes between cells.

A grid of one or two axes is joined along its axes alone: 2 neighbours of a cell on a line, 4 on a plane, none over
the rim, for nothing here is periodic. Along such an edge the function between the cells (linear, and bilinear
inside) is never above its ends, so that a path of cells is a path in the plane and its height a bound from above. A
diagonal step crosses a cell whose middle is the mean of four values, two of which nobody asked: with 8 neighbours what
is joined would be a guess. Cells that are not finite are left out, as if they were walls.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np


class MergeTree(NamedTuple):
    """Minima of a grid with values (…), one or two axes, each until it merges into one that is deeper.

    Ordered by persistence, the largest first. A plateau is one minimum, or none where a cell beside it is lower.

    birth        (k,) the value of the minimum
    death        (k,) the value at which its component meets one born lower; ∞ where it never does
    place        (k,) flat index of a cell of the minimum
    saddle       (k,) flat index of the cell at which it merges; −1 where it never does
    parent       (k,) the minimum it merges into; −1 where it never does
    basin        (…) the minimum that a cell runs down to, over its lowest neighbours; −1 where it is left out
    num_left_out cells that are not finite
    """

    birth: np.ndarray
    death: np.ndarray
    place: np.ndarray
    saddle: np.ndarray
    parent: np.ndarray
    basin: np.ndarray
    num_left_out: int

    @property
    def persistence(self) -> np.ndarray:
        """death − birth (k,)."""
        return self.death - self.birth

    def deeper(self, persistence: float | np.ndarray) -> MergeTree:
        """The minima of more than ``persistence`` alone, one for all or (k,); others go to what they merge into."""
        is_kept = self.persistence > persistence
        heir = np.arange(len(self.birth))
        for k in range(len(heir)):
            while not is_kept[heir[k]]:
                heir[k] = self.parent[heir[k]]
        kept = np.flatnonzero(is_kept)
        number = (np.cumsum(is_kept) - 1)[heir]
        basin = np.where(self.basin < 0, -1, number[np.maximum(self.basin, 0)] if len(number) else -1)
        birth, death, place, saddle, parent = (
            part[kept] for part in (self.birth, self.death, self.place, self.saddle, self.parent)
        )
        parent = np.where(parent < 0, -1, number[parent] if len(number) else -1)
        return MergeTree(birth, death, place, saddle, parent, basin, self.num_left_out)


class Pass(NamedTuple):
    """The lowest way between two cells: its height, and flat indices of the cells of one that reaches no higher."""

    height: float
    cells: np.ndarray


def merge_tree(values: np.ndarray) -> MergeTree:
    """The minima of a grid and where their components merge, by union-find over the cells in ascending order.

    The younger of two components that meet dies (elder rule); of equal ones, that whose cell comes later.
    Those that die where they were born, which are parts of a plateau, are none. Takes O(n log n) for n cells.
    """
    flat = np.asarray(values, dtype=np.float64).ravel()
    beside = _neighbours(np.shape(values))
    is_left_out = ~np.isfinite(flat)
    # Stable: equal values in the order of the grid.
    order = [int(cell) for cell in np.argsort(flat, kind="stable") if not is_left_out[cell]]
    heights = flat.tolist()
    root = [-1] * len(flat)
    down = [-1] * len(flat)
    deaths: dict[int, tuple[int, int]] = {}
    for cell in order:
        root[cell] = down[cell] = cell
        lower = [other for other in beside[cell] if root[other] >= 0]
        if not lower:
            continue
        met = {_find(root, other) for other in lower}
        elder = min(met, key=lambda one: (heights[one], one))
        down[cell] = down[min(lower, key=lambda one: (heights[one], one))]
        root[cell] = elder
        for one in met - {elder}:
            root[one] = elder
            deaths[one] = (cell, elder)
    born = [cell for cell in order if down[cell] == cell]
    return _tree(flat, np.shape(values), born, down, deaths, int(is_left_out.sum()))


def lowest_pass(values: np.ndarray, first: int, last: int) -> Pass:
    """The least height over all paths of cells from ``first`` to ``last`` (flat indices), and the shortest such path.

    ∞ and no cells where what is not finite stands between them.
    """
    flat = np.asarray(values, dtype=np.float64).ravel()
    beside = _neighbours(np.shape(values))
    height = _height(flat, beside, first, last)
    return Pass(height, _shortest(flat, beside, first, last, height))


def halved(length: int, keep: int) -> slice:
    """Every second of ``length`` cells, ``keep`` among them.

    >>> list(range(7))[halved(7, 3)]
    [1, 3, 5]
    """
    return slice(keep % 2, length, 2)


def _tree(
    flat: np.ndarray,
    shape: tuple[int, ...],
    born: list[int],
    down: list[int],
    deaths: dict[int, tuple[int, int]],
    num_left_out: int,
) -> MergeTree:
    """What remains where components that died at their birth are given to those they died for."""

    def kept(cell: int) -> int:
        while cell in deaths and flat[deaths[cell][0]] == flat[cell]:
            cell = deaths[cell][1]
        return cell

    ends = {cell: flat[deaths[cell][0]] if cell in deaths else math.inf for cell in born}
    minima = [cell for cell in born if kept(cell) == cell]
    minima.sort(key=lambda cell: (-(ends[cell] - flat[cell]), flat[cell], cell))
    number = {cell: k for k, cell in enumerate(minima)}
    basin = np.array([-1 if cell < 0 else number[kept(cell)] for cell in down], dtype=np.int64)
    return MergeTree(
        birth=flat[minima],
        death=np.array([ends[cell] for cell in minima]),
        place=np.array(minima, dtype=np.int64),
        saddle=np.array([deaths[cell][0] if cell in deaths else -1 for cell in minima], dtype=np.int64),
        parent=np.array(
            [number[kept(deaths[cell][1])] if cell in deaths else -1 for cell in minima], dtype=np.int64
        ),
        basin=basin.reshape(shape),
        num_left_out=num_left_out,
    )


def _height(flat: np.ndarray, beside: list[list[int]], first: int, last: int) -> float:
    root = [-1] * len(flat)
    for cell in np.argsort(flat, kind="stable").tolist():
        if not math.isfinite(flat[cell]):
            continue
        root[cell] = cell
        for other in beside[cell]:
            if root[other] >= 0:
                root[_find(root, other)] = cell
        if root[first] >= 0 and root[last] >= 0 and _find(root, first) == _find(root, last):
            return float(flat[cell])
    return math.inf


def _shortest(flat: np.ndarray, beside: list[list[int]], first: int, last: int, height: float) -> np.ndarray:
    """Breadth first within {F ≤ height}."""
    if not math.isfinite(height):
        return np.empty(0, dtype=np.int64)
    before, rim = {first: -1}, [first]
    while last not in before:
        ahead = []
        for cell in rim:
            for other in beside[cell]:
                if other not in before and flat[other] <= height:
                    before[other] = cell
                    ahead.append(other)
        rim = ahead
    way = [last]
    while before[way[-1]] >= 0:
        way.append(before[way[-1]])
    return np.array(way[::-1], dtype=np.int64)


def _neighbours(shape: tuple[int, ...]) -> list[list[int]]:
    """Of every cell of a grid those one step along an axis."""
    if len(shape) not in (1, 2):
        raise ValueError(f"a grid of {len(shape)} axes")
    cells = np.arange(math.prod(shape)).reshape(shape)
    found: list[list[int]] = [[] for _ in range(cells.size)]
    for axis in range(len(shape)):
        turned = np.moveaxis(cells, axis, 0)
        for one, other in zip(turned[:-1].ravel().tolist(), turned[1:].ravel().tolist(), strict=True):
            found[one].append(other)
            found[other].append(one)
    return found


def _find(root: list[int], cell: int) -> int:
    while root[cell] != cell:
        root[cell] = root[root[cell]]
        cell = root[cell]
    return cell
