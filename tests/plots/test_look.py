"""How a picture looks: its breadth, title, one panel, style, and text that stays text."""

import re
from typing import Any

import numpy as np
import pytest
from pictured import line_between, plane

from landscape.errors import BadInput
from landscape.plots import plot as drawn
from landscape.plots.words import brief

plot: Any = drawn


def small_print(figure) -> str:
    return " ".join(figure.get_supxlabel().split())


@pytest.mark.parametrize("width", [3.5, 7.0, 12.0])
@pytest.mark.parametrize("kind", ["contour", "surface"])
def test_the_page_is_as_broad_as_asked_and_keeps_its_proportions(width, kind):
    figure = plot(plane(), width=width, kind=kind)
    assert figure.get_size_inches()[0] == width
    assert 0.5 < figure.get_size_inches()[1] / width < 1.5
    # Letters keep their size: that of the paper, not of the page.
    assert figure.axes[0].xaxis.get_ticklabels()[0].get_fontsize() == (7 if kind == "contour" else 6.5)


def test_a_title_without_a_name_does_not_end_in_a_preposition():
    assert plot(plane(provenance={})).get_suptitle() == "Loss on a plane"
    assert plot(plane()).get_suptitle() == "Loss on a plane through one.h5@final"


def test_a_title_and_none():
    assert plot(plane(), title="My own $x$ title").get_suptitle() == r"My own \$x\$ title"
    assert plot(plane(), title="").get_suptitle() == ""


def test_without_a_caption_nothing_is_said_below():
    gap = plane(np.where(np.eye(5, 7), np.nan, 1.0))
    assert "NaN" in small_print(plot(gap))
    assert small_print(plot(gap, caption=False)) == ""


def test_dots_to_the_inch(tmp_path):
    from matplotlib.image import imread

    plot(line_between(), tmp_path / "a.png", dpi=100, width=4)
    assert imread(tmp_path / "a.png").shape[1] == 400
    plot(line_between(), tmp_path / "b.png", width=4)
    assert imread(tmp_path / "b.png").shape[1] == 1200


def test_one_panel_by_name_or_number():
    result = line_between(accuracy=np.linspace(0, 1, 7))
    both = plot(result)
    assert len([one for one in both.axes if one.lines]) == 2
    for name in ("accuracy", "2"):
        figure = plot(result, panel=name)
        (axes,) = figure.axes
        (line,) = [one for one in axes.lines if one.get_label() == "training"]
        np.testing.assert_array_equal(line.get_ydata(), result.accuracy)
        assert axes.get_xlabel() == both.axes[1].get_xlabel()
    with pytest.raises(BadInput, match=r"'depth' names no panel.*1 training loss; 2 training accuracy"):
        plot(result, panel="depth")
    with pytest.raises(BadInput, match="'training' names 2 panels"):
        plot(result, panel="training")


def test_one_panel_keeps_its_colour_bar():
    axes, bar = plot(plane(), panel="training loss").axes
    assert bar.get_ylabel() == "training loss"
    assert axes.get_xlabel()


def test_a_style_of_ones_own(tmp_path):
    sheet = tmp_path / "own.mplstyle"
    sheet.write_text("axes.facecolor: 0.2\nfont.family: serif\n")
    figure = plot(line_between(), style=str(sheet))
    assert figure.axes[0].get_facecolor()[:3] == (0.2, 0.2, 0.2)
    assert plot(line_between(), style="dark_background").get_facecolor()[:3] == (0, 0, 0)
    with pytest.raises(BadInput, match="there is no style 'nothing'"):
        plot(line_between(), style="nothing")


def test_text_of_an_svg_is_text(tmp_path):
    plot(plane(), tmp_path / "a.svg", title="searched for")
    text = (tmp_path / "a.svg").read_text()
    assert "searched for</text>" in text
    assert re.search(r"<text[^>]*>training loss</text>", text)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [({"width": 1}, "2 to 40"), ({"dpi": 5}, "20 to 2400"), ({"spacing": "even"}, "quantile")],
)
def test_what_means_nothing_is_refused(options, wanted):
    with pytest.raises(BadInput, match=wanted):
        plot(plane(), **options)


def test_names_are_as_short_as_they_are_told_apart():
    assert brief(["a.h5@1", "a.h5@2", "b.h5@1"]) == ["a@1", "a@2", "b@1"]
    assert brief(["x/a.h5@final", "y/a.h5@final"]) == ["x/a.h5@final", "y/a.h5@final"]
    assert brief(["plain", "other"]) == ["plain", "other"]


def test_a_run_is_titled_by_its_file_where_that_is_known():
    from landscape.analyses import Train
    from landscape.plots.inline import inlined

    steps = np.arange(3)
    run = Train(
        step=steps,
        loss=1.0 / (1 + steps),
        gradient_norm=1.0 / (1 + steps),
        step_size=np.ones(3),
        epoch=steps,
        num_steps=2,
        num_observations=2,
        final_loss=0.5,
        final_gradient_norm=0.5,
    )
    assert plot(run).get_suptitle() == "Training"
    assert plot(run, names=["net-0"]).get_suptitle() == "Training of net-0"
    assert plot(plane(), names=["net-0"]).get_suptitle() == "Loss on a plane through one.h5@final"
    assert inlined(run, "net-0") != inlined(run)
