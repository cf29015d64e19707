"""Letters, numbers and marks: beside their places, on no line, whole at the frame."""

from typing import Any

import numpy as np
import pytest
from pictured import line_between, plane, with_run

from landscape.plots import plot as drawn
from landscape.plots.page import STYLE
from landscape.plots.placing import Box, Places

plot: Any = drawn


def panel(width=2.0, height=2.0):
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure((width, height))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(-1, 1), ylim=(-1, 1))
    return axes, Places(axes, width, height)


def covers(axes, text, x, y) -> bool:
    """Whether a text as it is drawn lies on one of many places of the panel."""
    box = text.get_window_extent(axes.figure.canvas.get_renderer())
    box = box.padded(-0.1 * box.width, -0.15 * box.height)  # letters, not their line
    pixels = axes.transData.transform(np.stack([x, y], axis=1))
    return bool(np.any([box.contains(*one) for one in pixels]))


def along(x, y, count=400):
    fine, known = np.linspace(0, len(x) - 1, count), np.arange(len(x))
    return np.interp(fine, known, x), np.interp(fine, known, y)


class TestPlaces:
    def test_the_first_side_that_is_free(self):
        axes, places = panel()
        places.put("B", 0.0, 0.0, size=8)
        assert axes.texts[0].xyann[0] > 0
        assert axes.texts[0].xyann[1] == 0
        assert axes.texts[0].xy == (0.0, 0.0)

    def test_it_stands_on_no_line_and_on_nothing_written_before(self):
        axes, places = panel()
        places.keep_off([0.1, 0.1], [-1, 1])
        places.put("B", 0.0, 0.0, size=8)
        assert axes.texts[0].xyann[0] < 0
        places.put("C", 0.0, 0.0, size=8)
        x, y = axes.texts[1].xyann
        assert (x, abs(y)) == (0.0, pytest.approx(abs(y)))
        assert abs(y) > 0.05

    def test_within_the_panel(self):
        axes, places = panel()
        places.put("a long name", 0.95, 0.0, size=8)
        assert axes.texts[0].xyann[0] < 0.6

    def test_what_may_be_left_away_is_left_away(self):
        axes, places = panel()
        places.keep_clear(0.0, 0.0, 1.5)
        assert not places.put("7", 0.0, 0.0, size=6, must=False)
        assert not axes.texts
        assert places.put("A", 0.0, 0.0, size=8)

    def test_boxes(self):
        assert Box(0, 0, 1, 1).meets(Box(0.5, 0.5, 2, 2))
        assert not Box(0, 0, 1, 1).meets(Box(1, 0, 2, 1))
        assert not Box(0, 0.2, 0.5, 0.5).is_inside


def two_runs(**changes):
    """B ends at (0.5, 1), and the way of A goes up on the right of it, where its letter would stand."""
    return plane(
        explained_variance=np.array([0.6, 0.3]),
        run=np.array(["a.h5", "b.h5"]),
        point_alpha=np.array([0.0, 0.5]),
        point_beta=np.array([0.0, 1.0]),
        point_loss=np.array([0.75, 1.5]),
        trajectory_run=np.array([0, 0, 0, 1, 1]),
        trajectory_epoch=np.array([0.0, 5.0, 10.0, 0.0, 10.0]),
        trajectory_alpha=np.array([0.7, 0.65, 0.0, 0.7, 0.5]),
        trajectory_beta=np.array([1.8, 0.5, 0.0, 1.8, 1.0]),
        trajectory_loss=np.array([3.0, 2.0, 0.75, 3.0, 1.5]),
        trajectory_residual=np.zeros(5),
        **changes,
    )


def test_no_letter_and_no_number_lies_on_a_run():
    result = two_runs()
    figure = plot(result)
    axes = figure.axes[0]
    found = {one.get_text(): one for one in axes.texts if hasattr(one, "xy")}
    assert {"A", "B", "5"} <= set(found)
    assert found["B"].xy == (0.5, 1.0)
    for run in (0, 1):
        own = result.trajectory_run == run
        way = along(result.trajectory_alpha[own], result.trajectory_beta[own])
        for text in found.values():
            assert not covers(axes, text, *way), text.get_text()


def test_rings_at_a_start_hold_one_another_and_a_mark_there():
    marked = two_runs(
        mark=np.array(["slow.h5@final"]),
        mark_alpha=np.array([0.71]),
        mark_beta=np.array([1.79]),
        mark_loss=np.array([3.0]),
        mark_residual=np.array([0.1]),
    )
    for result, within in ((two_runs(), 0), (marked, 1)):
        axes = plot(result).axes[0]
        rings = [one for one in axes.lines if one.get_markerfacecolor() == "none"]
        assert sorted({one.get_markersize() for one in rings}) == [7 + 3 * within, 10 + 3 * within]
        marks = [one for one in axes.lines if one.get_marker() == "X" and len(one.get_xdata())]
        assert len(marks) == within
        for one in marks:
            assert one.get_markersize() + 2 * one.get_markeredgewidth() < min(
                r.get_markersize() for r in rings
            )


def test_what_lies_on_the_frame_is_whole_and_what_lies_beyond_is_not_there():
    result = with_run()
    result.trajectory_alpha[:2] = -1.5, 5.0
    axes = plot(result).axes[0]
    dots = [one for one in axes.lines if one.get_marker() == "o" and len(one.get_xdata()) == 3]
    assert [one.get_clip_on() for one in dots] == [False]
    np.testing.assert_array_equal(dots[0].get_xdata(), [-1.5, np.nan, 0.0])
    (star,) = [one for one in axes.lines if one.get_marker() == "*"]
    assert not star.get_clip_on()


@pytest.mark.parametrize("value", [2.25, 1e-3, 1e-9])
def test_a_barrier_is_a_line_with_ends_however_low(value):
    """The heads of an arrow would cross on one that is lower than they are long."""
    axes = plot(line_between(barrier_chord=value)).axes[0]
    (height,) = [one for one in axes.lines if one.get_marker() == "_"]
    top, bottom = height.get_ydata()[1], height.get_ydata()[0]
    assert top - bottom == pytest.approx(value, rel=1e-6)
    assert top == 3.0
    assert not [one for one in axes.texts if getattr(one, "arrow_patch", None)]


@pytest.mark.parametrize("kind", ["contour", "heatmap"])
@pytest.mark.parametrize("stretch", [0.5, 0.7, 1.0, 2.0])
def test_the_colour_bar_is_as_high_as_a_plane_of_any_length(stretch, kind):
    figure = plot(plane(beta=1.5 * stretch * np.linspace(-1, 1, 5)), kind=kind)
    axes, bar = figure.axes
    own, other = (one.get_window_extent() for one in (axes, bar))
    assert other.height == pytest.approx(own.height, rel=0.02)
    assert other.y0 == pytest.approx(own.y0, abs=2)
    low, high = np.transpose([axes.get_xlim(), axes.get_ylim()])
    assert own.height / own.width == pytest.approx((high - low)[1] / (high - low)[0], rel=1e-3)
    label = axes.yaxis.label.get_window_extent()
    assert label.height <= own.height


def test_a_label_without_room_says_less_rather_than_break():
    flat = plane(beta=0.8 * np.linspace(-1, 1, 5), explained_variance=np.array([0.9, 0.08]))
    assert plot(flat).axes[0].get_ylabel() == "component 2 (8%)"
    assert plot(plane(beta=0.8 * np.linspace(-1, 1, 5))).axes[0].get_ylabel() == "step β"
    assert "along" in plot(plane()).axes[0].get_ylabel()
