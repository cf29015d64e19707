"""The surface: what one sees of it, from where, and that nothing is drawn through it."""

from typing import Any

import numpy as np
import pytest
from pictured import plane

from landscape.errors import BadInput
from landscape.plots import plot as drawn
from landscape.plots.fields import Field
from landscape.plots.surface import visible

plot: Any = drawn
AXIS = np.linspace(-1, 1, 41)
X, Y = np.meshgrid(AXIS, AXIS)


def surface(values) -> Field:
    return Field(AXIS, AXIS, np.ma.asarray(values), "F", False, float(values.min()), float(values.max()))


def stars(figure):
    return [
        line
        for line in figure.axes[0].lines
        if line.get_marker() == "*" and np.isfinite(line.get_data_3d()[2]).all()
    ]


def test_what_lies_behind_a_wall_is_hidden_and_what_lies_before_it_is_not():
    """A wall across at x = 0, looked at from +x and nearly level: of two places on either side one is seen."""
    wall = surface(np.exp(-((X / 0.1) ** 2)))
    places = np.array([[-0.5, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, 0.0, 1.0]])
    assert visible(wall, places, 10, 0).tolist() == [False, True, True]
    assert visible(wall, places, 10, 180).tolist() == [True, False, True]
    assert visible(wall, places, 90, 0).tolist() == [True, True, True]


@pytest.mark.parametrize("elevation", [5, 20, 30, 36, 50, 80])
def test_a_well_is_seen_into_from_above_its_own_slope(elevation):
    """A cone over |x| ≤ 1: its walls rise 0.72 box heights over half a box, 55.2 degrees."""
    cone = surface(np.minimum(np.hypot(X, Y), 1.0))
    (is_seen,) = visible(cone, np.array([[0.0, 0.0, 0.0]]), elevation, 0)
    assert is_seen == (elevation > 56)


def test_from_below_the_far_side_is_hidden():
    bowl = surface(X**2 + Y**2)
    assert visible(bowl, np.array([[0.0, 0.0, 0.0]]), -30, 0)[0]
    assert not visible(surface(-(X**2) - Y**2), np.array([[0.0, 0.0, 0.0]]), -30, 0)[0]


def test_the_star_is_not_drawn_through_a_wall():
    alpha, beta = np.linspace(-1.5, 1.5, 31), np.linspace(-2, 2, 31)
    ridge = np.exp(-(((alpha - 0.6) / 0.15) ** 2)) + 0 * beta[:, np.newaxis]
    result = plane(ridge, alpha=alpha, beta=beta, done=np.ones_like(ridge, dtype=bool), centre_loss=0.0)
    behind = plot(result, kind="surface", view=(10, 0))
    assert not stars(behind)
    assert "hides" in behind.get_supxlabel()
    before = plot(result, kind="surface", view=(10, 180))
    assert len(stars(before)) == 1
    # Left alone, a side is chosen from which it is seen.
    chosen = plot(result, kind="surface")
    assert len(stars(chosen)) == 1
    assert "hides" not in chosen.get_supxlabel()


def test_the_view_is_the_one_asked_for():
    axes = plot(plane(), kind="surface", view=(15, 40)).axes[0]
    assert (axes.elev, axes.azim) == (15, 40)
    with pytest.raises(BadInput, match="kind 'surface'"):
        plot(plane(), view=(15, 40))
    with pytest.raises(BadInput, match="90 and 360"):
        plot(plane(), kind="surface", view=(100, 0))


@pytest.mark.parametrize("log", [False, True])
def test_its_bar_tells_the_colours_and_carries_the_label(log):
    axes, bar = plot(plane(), kind="surface", log=log).axes
    assert bar.get_ylabel() == "training loss"
    low, high = np.log10([0.5, 8.5]) if log else (0.5, 8.5)
    np.testing.assert_allclose(bar.get_ylim(), (low, high))
    np.testing.assert_allclose(axes.get_zlim(), (low, high))
    assert [tick.get_text() for tick in bar.get_yticklabels()] == [
        tick.get_text() for tick in axes.get_zticklabels()
    ]


@pytest.mark.parametrize("width", [3.5, 8.0])
@pytest.mark.parametrize("view", [None, (10, 20), (70, -100)])
def test_the_page_has_no_white_border(tmp_path, view, width):
    """Ink within a tenth of an inch of every edge but the right one, where the bar's label ends a little before."""
    from matplotlib.image import imread

    plot(
        plane(), tmp_path / "a.png", kind="surface", view=view, width=width, dpi=100, title="", caption=False
    )
    dark = imread(tmp_path / "a.png")[..., :3].min(axis=2) < 0.9
    rows, columns = np.flatnonzero(dark.any(axis=1)), np.flatnonzero(dark.any(axis=0))
    assert rows[0] <= 15
    assert rows[-1] >= dark.shape[0] - 15
    assert columns[0] <= 15
    assert columns[-1] >= dark.shape[1] - 30
