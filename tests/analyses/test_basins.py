"""Basins of planes against closed forms."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import landscape
from landscape import Objective
from landscape.errors import BadInput
from landscape.inputs.models.toy import toy_product
from landscape.paths.basin_proofs import changes_check
from landscape.paths.basins import Grid, basins_of


def stored(alpha, beta, loss, **more):
    """A slice as one was stored, of these numbers."""
    one = torch.ones(1, 1, dtype=torch.float64)
    objective = Objective(nn.Linear(1, 1).double(), "mse", (one, one))
    found = landscape.slice2d(objective, objective.theta, num_points=3)
    return replace(found, alpha=alpha, beta=beta, loss=loss, done=np.isfinite(loss), checks=[], **more)


def plane(f, low=-2.0, high=3.0, count=51, beta=(-1.0, 1.0, 21)):
    x, y = np.linspace(low, high, count), np.linspace(*beta)
    return stored(x, y, f(x[None, :], y[:, None]))


def two_wells(x, y):
    return 3 * x**4 - 4 * x**3 - 12 * x**2 + y**2


@pytest.mark.parametrize(
    ("f", "births", "barrier"),
    [
        (two_wells, [-32, -5], 5),
        (lambda x, y: (x**2 - 1) ** 2 + y**2, [0, 0], 1),
        (lambda x, y: (x**2 - 1) ** 2 + 0 * y, [0, 0], 1),
        (lambda x, y: x**2 + y**2, [0], 0),
    ],
)
def test_wells_of_a_stored_plane(f, births, barrier):
    found = landscape.basins(plane(f))
    np.testing.assert_allclose(found.birth, births, atol=1e-10)
    assert found.num_basins == len(births)
    assert math.isinf(found.persistence[0])
    np.testing.assert_allclose(found.persistence[1:], [barrier] * (len(births) - 1), atol=1e-10)
    assert found.in_plane_barrier == pytest.approx(barrier, abs=1e-10)
    assert found.status == "complete"


def pits(x, y):
    """Level but for three cells apart, 3, 2 and 1 deep; the last lies between those of half the grid."""
    found = 0 * x + 0 * y
    found[2, 4], found[4, 10], found[6, 17] = -3, -2, -1
    return found


def test_a_plane_is_as_rough_as_its_basins_are_deep():
    """The deepest merges into none: 2 + 1 over two, in a range of 3; half the grid has 2 alone."""
    found = landscape.basins(plane(pits))
    assert (found.total_persistence, found.mean_persistence, found.relative_persistence) == (3, 1.5, 0.5)
    assert (found.total_persistence_change, found.mean_persistence_change) == (1, -0.5)
    assert found.relative_persistence_change == pytest.approx(0.5 - 2 / 3)
    assert landscape.basins(plane(pits), persistence=1.5).total_persistence == 2
    smooth = landscape.basins(plane(lambda x, y: x**2 + y**2))
    assert smooth.total_persistence == smooth.mean_persistence == smooth.relative_persistence == 0
    wells = landscape.basins(plane(two_wells))
    assert wells.total_persistence == pytest.approx(5)
    assert wells.relative_persistence == pytest.approx(5 / np.ptp(wells.grid_loss))
    level = landscape.basins(plane(lambda x, y: 1 + 0 * x + 0 * y))
    assert level.relative_persistence == 0
    assert level.status == "complete"


def test_walls_leave_what_never_merges_out_of_the_total():
    """Two halves parted by a wall, each with one more pit: two never merge."""

    def walled(x, y):
        found = pits(x, y)
        found[:, 25], found[4, 40], found[8, 44] = np.inf, -5, -0.5
        return found

    found = landscape.basins(plane(walled))
    assert np.isinf(found.persistence).sum() == 2
    assert found.total_persistence == 2 + 1 + 0.5
    assert found.status == "complete"
    assert "total persistence" in {check.name for check in found.checks}


def test_a_basin_shallower_than_asked_for_is_none():
    assert landscape.basins(plane(two_wells), persistence=4.9).num_basins == 2
    found = landscape.basins(plane(two_wells), persistence=5.1)
    assert (found.num_basins, found.in_plane_barrier, set(found.basin_of.ravel())) == (1, 0, {0})


def test_rounding_makes_no_basins():
    rng = np.random.default_rng(0)
    rough = plane(lambda x, y: 1 + x**2 + y**2 + 1e-15 * rng.normal(size=(21, 51)))
    assert landscape.basins(replace(rough, provenance={"dtype": "float64"})).num_basins == 1


@pytest.mark.parametrize(
    ("dtype", "reach", "scale"),
    [
        *(("float32", 40, scale) for scale in (1.0, 1e-3, 1e5)),
        ("float64", 3000, 1.0),
        *(pytest.param("float64", 3000, scale, marks=pytest.mark.slow) for scale in (1e-3, 1e5)),
    ],
)
def test_a_high_rim_hides_no_basins_in_its_middle(dtype, reach, scale):
    # (x² − 1)²: a rim of reach⁴, two wells as deep as 1.
    x = np.arange(-4 * reach, 4 * reach + 1) / 4
    loss = (scale * np.repeat((x**2 - 1)[None] ** 2, 3, 0)).astype(dtype).astype(float)
    found = landscape.basins(replace(stored(x, np.arange(3.0), loss), provenance={"dtype": dtype}))
    assert found.num_basins == 2
    assert found.persistence[1] == pytest.approx(scale)


def test_rounding_about_an_exact_fit_makes_no_basins():
    # In float32 F of outputs about 1 is (h − y)² of an h that is wrong in its last digit.
    x = np.linspace(-1e-5, 1, 4001)
    y = (1 + x).astype(np.float32)
    loss = np.repeat(((y - np.float32(1)) ** 2)[None], 3, 0).astype(float)
    rng = np.random.default_rng(0)
    loss[1] = (np.sqrt(loss[1]) + np.finfo(np.float32).eps * rng.normal(size=4001)) ** 2
    found = landscape.basins(replace(stored(x, np.arange(3.0), loss), provenance={"dtype": "float32"}))
    assert found.num_basins == 1


def test_marks_are_the_points_of_the_slice_or_what_is_asked_for():
    at = {
        "point_alpha": np.array([-1.0, 2, 0]),
        "point_beta": np.zeros(3),
        "point_loss": np.array([-5.0, -32, 0]),
    }
    found = landscape.basins(replace(plane(two_wells), **at))
    np.testing.assert_allclose(found.pass_height, [0, 0, 0], atol=1e-10)
    np.testing.assert_allclose(found.pass_barrier, [5, 0, 0], atol=1e-10)
    np.testing.assert_allclose(found.in_plane_barrier, 5, atol=1e-10)
    asked = landscape.basins(plane(two_wells), between=(-1, 0, 0, 0))
    assert asked.in_plane_barrier == pytest.approx(0, abs=1e-10)


def test_halving_the_grid_tells_what_hangs_on_it():
    # A pass at x = 0 is a cell of both grids, one at x = 0.1 of the finer alone.
    shifted = plane(lambda x, y: (x**2 - 1) ** 2 + y**2, -2, 2, 41)
    found = landscape.basins(shifted)
    assert (found.num_basins_change, found.in_plane_barrier_change) == (0, 0)
    spiky = landscape.basins(plane(lambda x, y: -((-1.0) ** np.arange(51))[None] + 0 * y))
    assert spiky.num_basins == 25 + 1
    assert spiky.num_basins_change == 25


def test_cells_that_are_not_finite_are_walls_counted_and_said():
    def walled(x, y):
        return np.where(np.abs(x) < 0.01, np.nan, two_wells(x, y))

    found = landscape.basins(plane(walled))
    assert found.num_left_out == 21
    assert any("21 of 1071" in note for note in found.notes)
    assert np.isinf(found.death).all()
    assert math.isinf(found.in_plane_barrier)


@pytest.mark.parametrize(
    ("preset", "count", "heights", "barriers"),
    [
        ("survey-1", 2, [1], [1]),
        # From the bad minimum A the plane has a path that never rises; from branch to branch it has none below 1.
        ("survey-2", 2, [1, 1, 1], [0, 0, 1]),
        ("survey-3", 1, [1], [0]),
    ],
)
def test_the_surfaces_of_the_survey(preset, count, heights, barriers, folder):
    found = landscape.measure(None, "basins", preset=preset, output="x.h5")
    assert found.num_basins == count
    np.testing.assert_allclose(found.pass_height, heights, atol=1e-10)
    np.testing.assert_allclose(found.pass_barrier, barriers, atol=1e-10)
    assert found.status == "complete"


def test_a_stored_slice_needs_no_model(folder, command):
    sliced = landscape.measure("a.h5", "slice2d", num_points=9, output="a.slice2d.h5")
    made = command("basins", "a.slice2d.h5", "--json").json
    again = landscape.basins(sliced)
    assert made["output"] == "a.slice2d.basins.h5"
    assert made["values"]["num_basins"] == again.num_basins
    assert made["values"]["birth"] == again.birth.tolist()
    assert "already there" in command("basins", "a.slice2d.h5").out
    assert landscape.plot(landscape.load("a.slice2d.basins.h5")).axes


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["basins", "a.h5"], "train"),
        (["basins", "none.h5"], "none.h5"),
        (["basins", "a.h5", "b.h5"], "2 files"),
        (["basins", "a.h5", "--widths", "2"], "--widths"),
        (["basins", "--plane", "0,1,0,1", "-o", "x.h5"], "module with two"),
        (["basins", "--preset", "survey-1", "--plane", "1,0,0,1", "-o", "x.h5"], "--plane"),
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence(words, said, command, folder):
    done = command(*words)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert said in done.err


@pytest.mark.parametrize("between", [(1.0, 2.0), (0.0, 0.0, 9.0, 0.0), (0.0, 0.0, 1.0)])
def test_marks_that_are_none(between):
    with pytest.raises(BadInput):
        landscape.basins(plane(two_wells), between=between)


def failed(found) -> set[str]:
    return {check.name for check in found.checks if not check.passed}


def test_trees_passes_and_cells_that_are_others_fail_their_checks(monkeypatch, folder):
    from landscape.paths import basins as grids

    tree, way, values = grids.merge_tree, grids.lowest_pass, Objective.values
    late = lambda *given: (found := way(*given))._replace(height=found.height + 0.5)  # noqa: E731
    monkeypatch.setattr(grids, "lowest_pass", late)
    assert failed(landscape.basins(plane(two_wells))) == {"passes"}
    monkeypatch.setattr(grids, "lowest_pass", way)
    early = lambda *given: (found := tree(*given))._replace(death=np.where(found.death == 0, -4, found.death))  # noqa: E731
    monkeypatch.setattr(grids, "merge_tree", early)
    assert "sublevel sets" in failed(
        landscape.basins(plane(lambda x, y: np.where(x < 9, two_wells(x, y), 0)))
    )
    assert "total persistence" in failed(landscape.basins(plane(two_wells)))
    monkeypatch.setattr(grids, "merge_tree", tree)
    monkeypatch.setattr(Objective, "values", lambda *given: values(*given) + 1e-6)
    assert "cell" in failed(landscape.measure(None, "basins", preset="survey-1", num_points=9, output="x.h5"))


def test_of_a_smoothed_slice_the_loss_itself_is_looked_at():
    one = torch.ones(1, 1, dtype=torch.float64)
    objective = Objective(toy_product(0.5, 0.5), "mse", (one, one))
    cut = landscape.slice2d(objective, objective.theta, num_points=5, smooth=0.3)
    found = landscape.basins(cut)
    np.testing.assert_array_equal(found.grid_loss, cut.loss)
    assert any("on average over noise is not looked at" in note for note in found.notes)


def test_ends_that_diverged_are_joined_to_nothing():
    loss = np.array([[math.nan, math.nan], [1.0, math.nan], [1.0, 1.0]])
    words = [one for one in by_paths(loss, loss, loss) if "is joined" in one]
    assert [one.split(" is joined")[0] for one in words] == [
        "width 2: every one of the 1 ends there are",
        "width 3: every end",
    ]


def by_paths(loss, height, end, strict=None) -> list[str]:
    from landscape.analyses.basins import Basins
    from landscape.valleys.words import said

    is_strict = np.zeros(loss.shape, dtype=bool) if strict is None else strict
    widths = np.arange(1, len(loss) + 1)
    return said(Basins(width=widths, loss=loss, path_height=height, path_end=end, is_strict=is_strict))


def test_a_path_that_rises_is_an_upper_bound_and_no_basin():
    loss = np.array([[0.5, 0.3, 0.0]])
    height = np.array([[0.5, 0.7, 0.0]])
    (_, words) = by_paths(loss, height, 0 * loss)
    assert words.startswith(
        "width 1: from 1 of 3 ends no path was found that never rises; the lowest found rise by 0.4"
    )
    assert words.endswith("whether these ends lie in a basin is not known")
    # A strict minimum above the best end is a bad one for certain, whatever the search.
    (_, words) = by_paths(loss, height, 0 * loss, np.array([[False, True, False]]))
    assert "strict minima above the best end" in words
    # A path that leads lower than every descent shows that the best end is not the bottom.
    *_, words = by_paths(loss + 0.1, loss + 0.1, 0 * loss)
    assert words == "width 1: paths lead to 0, lower than the best end of a descent, 0.1"


@pytest.mark.parametrize("seed", range(4))
def test_changes_of_persistences_that_are_others_fail_their_check(seed):
    values = np.random.default_rng(seed).normal(size=(13, 17))
    axes = np.linspace(-1, 1, 17), np.linspace(-1, 1, 13)
    found, proofs, _ = basins_of(Grid(axes, values), [], None)
    assert all(check.passed for check in proofs)
    half = values[::2, ::2]
    assert changes_check(half, found).passed
    turned = {**found, "persistence_change": -found["persistence_change"]}
    assert not changes_check(half, turned).passed
