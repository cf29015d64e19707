"""Several results in one picture: one scale, each by its name."""

from typing import Any

import numpy as np
import pytest
from pictured import line_between, plane

from landscape.errors import BadInput
from landscape.plots import plot as drawn
from landscape.plots.words import uncertain

plot: Any = drawn


def small_print(figure) -> str:
    return " ".join(figure.get_supxlabel().split())


def filled(axes):
    return next(one for one in axes.collections if getattr(one, "filled", False))


def test_planes_stand_side_by_side_on_one_scale():
    low, high = plane(), plane()
    high.loss = 40 * high.loss
    figure = plot([low, high], names=["a.slice2d", "b.slice2d"])
    *panels, bar = figure.axes
    assert [axes.get_title() for axes in panels] == ["a.slice2d", "b.slice2d"]
    assert bar.get_ylabel() == "training loss"
    first, second = (filled(axes) for axes in panels)
    np.testing.assert_array_equal(first.levels, second.levels)
    assert (first.norm.vmin, first.norm.vmax) == (second.norm.vmin, second.norm.vmax)
    assert first.levels[0] <= low.loss.min()
    assert first.levels[-1] >= high.loss.max()
    for axes in panels:
        assert [line for line in axes.lines if line.get_marker() == "*"]


@pytest.mark.parametrize("log", [False, True])
def test_heatmaps_have_one_scale(log):
    low, high = plane(), plane()
    high.loss = 3 * high.loss
    figure = plot([low, high], kind="heatmap", log=log)
    norms = [axes.collections[0].norm for axes in figure.axes[:2]]
    assert [(one.vmin, one.vmax) for one in norms] == [(0.5, 25.5)] * 2
    # Both came from one file, so the numbers tell them apart.
    assert figure.axes[0].get_title().startswith("1. ")


def test_many_planes_are_two_columns_broad_and_no_panel_is_empty():
    figure = plot([plane() for _ in range(5)], names=list("abcde"))
    assert figure.get_size_inches()[0] == 7
    assert [axes.get_title() for axes in figure.axes[:-1]] == list("abcde")


def test_different_spans_are_said():
    far = plane(alpha=np.linspace(-3, 3, 7))
    assert "different spans" in small_print(plot([plane(), far], names=["a", "b"]))
    assert "different spans" not in small_print(plot([plane(), plane()], names=["a", "b"]))


def test_lines_lie_over_one_another_with_their_barriers():
    first, second = line_between(), line_between(barrier_chord=1.5, barrier_chord_error=0.25)
    figure = plot([first, second], names=["one", "two"])
    (axes,) = figure.axes
    labels = [line.get_label() for line in axes.lines]
    assert labels == ["one, barrier 2.25", f"two, barrier {uncertain(1.5, 0.25)}"]
    for line, result in zip(axes.lines, (first, second), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), result.loss)
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines}) == 2


@pytest.mark.parametrize(
    ("results", "options", "said"),
    [
        ([plane(), line_between()], {}, "kinds interpolate, slice2d"),
        ([plane()] * 10, {}, "at most 9"),
        ([plane()] * 2, {"kind": "surface"}, "several surfaces"),
        ([], {}, "no result"),
    ],
)
def test_what_has_no_common_picture_is_refused(results, options, said):
    with pytest.raises(BadInput, match=said):
        plot(results, **options)
