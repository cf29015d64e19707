"""Merge trees and passes of grids against closed forms, a search of every level, and gudhi where it is installed."""

import itertools
import math

import numpy as np
import pytest

from landscape.numerics.merging import halved, lowest_pass, merge_tree


def components(inside: np.ndarray) -> np.ndarray:
    """The parts of a set of cells by number, by spreading from one cell at a time; 0 outside."""
    label, count = np.zeros(inside.shape, dtype=int), 0
    for start in itertools.product(*map(range, inside.shape)):
        if not inside[start] or label[start]:
            continue
        count += 1
        label[start], rim = count, [start]
        while rim:
            here = rim.pop()
            for axis, step in itertools.product(range(inside.ndim), (-1, 1)):
                there = tuple(place + step * (axis == k) for k, place in enumerate(here))
                is_within = all(0 <= place < size for place, size in zip(there, inside.shape, strict=True))
                if is_within and inside[there] and not label[there]:
                    label[there] = count
                    rim.append(there)
    return label


def every_level(values: np.ndarray) -> list[tuple[float, float]]:
    """Births and deaths by the definition: which parts of {F ≤ c} lie in which of the next level, for every c.

    Takes O(cells²). A part is known by its lowest value; of those that come together all but one of the lowest die.
    """
    found, before = [], None
    for level in np.unique(values[np.isfinite(values)]):
        label = components(np.isfinite(values) & (values <= level))
        for part in range(1, label.max() + 1):
            if before is not None:
                inside = [k for k in np.unique(before[label == part]) if k]
                lows = sorted(float(values[before == k].min()) for k in inside)
                found += [(low, float(level)) for low in lows[1:]]
        before = label
    if before is not None:
        found += [(float(values[before == k].min()), math.inf) for k in range(1, before.max() + 1)]
    return sorted(found)


def pairs_of(values: np.ndarray) -> list[tuple[float, float]]:
    tree = merge_tree(values)
    return sorted(zip(tree.birth.tolist(), tree.death.tolist(), strict=True))


def random_grid(seed: int) -> np.ndarray:
    """One or two axes, ties often, walls sometimes."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 8, size=1 + seed % 2))
    values = rng.integers(0, 6, shape).astype(float) if seed % 3 else rng.normal(size=shape)
    if seed % 5 == 0:
        values[rng.random(shape) < 0.2] = math.nan
    return values


@pytest.mark.parametrize("start", range(0, 400, 50))
def test_births_and_deaths_are_those_of_a_search_of_every_level(start):
    for seed in range(start, start + 50):
        values = random_grid(seed)
        assert pairs_of(values) == every_level(values), seed


def test_1000_grids_as_gudhi_has_them():
    gudhi = pytest.importorskip(
        "gudhi", reason="gudhi is not installed: pip install torch-landscape[topology]"
    )
    for seed in range(1000):
        values = random_grid(seed)
        values = np.nan_to_num(values, nan=math.inf)
        # Of values at the vertices: joined along the axes, as ours. Top cells would be joined at corners too.
        cells = gudhi.CubicalComplex(vertices=values)
        cells.compute_persistence()
        found = cells.persistence_intervals_in_dimension(0)
        theirs = sorted((float(birth), float(death)) for birth, death in found if math.isfinite(birth))
        assert pairs_of(values) == theirs, seed


@pytest.mark.parametrize(
    ("values", "pairs"),
    [
        ([3, 1, 1, 2, 0, 4], [(0, math.inf), (1, 2)]),
        ([3, 1, 1, 0, 4], [(0, math.inf)]),
        ([1, 2, 1], [(1, math.inf), (1, 2)]),
        ([0, 3, 3, 3, 0], [(0, math.inf), (0, 3)]),
        ([5], [(5, math.inf)]),
        ([2, 2, 2], [(2, math.inf)]),
        ([1, math.nan, 0], [(0, math.inf), (1, math.inf)]),
        ([math.nan], []),
        # Joined at a corner alone is not joined, and the rim is no neighbour of the rim.
        ([[0, 9], [9, 0]], [(0, math.inf), (0, 9)]),
        ([[0, 9, 1]], [(0, math.inf), (1, 9)]),
    ],
)
def test_small_grids(values, pairs):
    values = np.array(values, dtype=float)
    assert pairs_of(values) == sorted(pairs)
    tree = merge_tree(values)
    assert tree.num_left_out == int(np.isnan(values).sum())
    assert ((tree.basin < 0) == np.isnan(values)).all()


@pytest.mark.parametrize("count", [41, 201])
@pytest.mark.parametrize("axes", [1, 2])
def test_wells_of_a_polynomial(count, axes):
    # 3x⁴ − 4x³ − 12x² (+ y²): F(−1) = −5, F(2) = −32, between them F(0) = 0.
    x = np.linspace(-2, 3, 5 * (count // 5) + 1)
    f = 3 * x**4 - 4 * x**3 - 12 * x**2
    if axes == 2:
        f = f + np.linspace(-1, 1, 21)[:, None] ** 2
    tree = merge_tree(f)
    np.testing.assert_allclose(tree.birth, [-32, -5], atol=1e-12)
    np.testing.assert_allclose(tree.death, [math.inf, 0], atol=1e-12)
    found = lowest_pass(f, *tree.place.tolist())
    assert found.height == tree.death[1]
    assert f.ravel()[found.cells].max() == found.height
    assert {*found.cells[[0, -1]].tolist()} == {*tree.place.tolist()}


def test_a_circle_of_minima_is_one():
    # On a grid the circle is a ring of cells of nearly equal values: one is left that is deeper than these differ.
    x = np.linspace(-1.5, 1.5, 121)
    tree = merge_tree((x**2 + x[:, None] ** 2 - 1) ** 2)
    assert int((tree.persistence > 0.01).sum()) == 1
    two = merge_tree((x**2 - 1) ** 2)
    np.testing.assert_allclose(sorted(two.persistence), [1, math.inf], atol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_the_lowest_pass_is_the_least_level_that_joins(seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(6, 7))
    first, last = rng.choice(values.size, 2, replace=False).tolist()
    joined = (
        level
        for level in np.sort(values.ravel())
        if (label := components(values <= level).ravel())[first] and label[first] == label[last]
    )
    found = lowest_pass(values, first, last)
    assert found.height == next(joined) == values.ravel()[found.cells].max()
    rows, columns = np.unravel_index(found.cells, values.shape)
    assert (np.abs(np.diff(rows)) + np.abs(np.diff(columns)) == 1).all()


def test_behind_a_wall_there_is_no_pass():
    found = lowest_pass(np.array([0.0, math.nan, 0.0]), 0, 2)
    assert (found.height, len(found.cells)) == (math.inf, 0)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_shallow_goes_to_what_it_merges_into(seed):
    values = np.random.default_rng(seed).normal(size=(8, 9))
    whole = merge_tree(values)
    kept = whole.deeper(0.8)
    assert (kept.persistence > 0.8).all()
    assert len(kept.birth) == int((whole.persistence > 0.8).sum())
    assert ((kept.parent < 0) == np.isinf(kept.death)).all()
    # Below the least saddle of those that stay every part holds no more than one of them.
    level = float(np.min(kept.death)) if len(kept.death) > 1 else math.inf
    label = components(values < level)
    for part in range(1, label.max() + 1):
        born = kept.basin[label == part]
        inside = [k for k, place in enumerate(kept.place) if label.ravel()[place] == part]
        assert len(inside) <= 1
        assert not inside or set(born.tolist()) == set(inside)


def test_half_of_a_grid_holds_the_cell_that_is_to_stay():
    for length, keep in ((51, 25), (50, 0), (5, 4)):
        cells = range(length)[halved(length, keep)]
        assert keep in cells
        assert set(np.diff(cells)) == {2}
