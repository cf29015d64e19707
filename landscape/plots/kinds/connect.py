"""The trained curve between two points: loss along it, its barrier, its plane."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from landscape.plots.axes import error_band, legend, line, log_axis, whose_statistics
from landscape.plots.fields import clear, draw_flat, field
from landscape.plots.levels import barrier_range
from landscape.plots.page import BLUE, DASHED, ORANGE, SKY, VERMILLION, WIDTH, Page
from landscape.plots.placing import Places
from landscape.plots.profiles import barrier, chord, ends_marked
from landscape.plots.words import short, titled_points, wrapped


def connect(page: Page, result: Any) -> str:
    """The curve against the straight line; below, its plane where there is one, and how it was trained."""
    has_plane = result.plane_loss is not None and page.kind != "surface"
    panels = page.panels(
        2.1, *([2.4] if has_plane else []), *([1.0] if len(result.epoch) else []), shared=False
    )
    _profile(page, panels[0], result)
    if has_plane:
        _plane(page, panels[1], result)
    if len(result.epoch):
        _training(page, panels[-1], result)
    whose_statistics(page, result)
    return titled_points("Curve from", result, "AB", " to ")


def _profile(page: Page, axes: Axes, result: Any) -> None:
    t = result.t
    straight = "straight line"
    if result.barrier_chord_unaligned is not None:
        page.note(
            f"B aligned first; before, the straight barrier was {short(result.barrier_chord_unaligned)}"
        )
    line(page, axes, t, result.loss_straight, straight, marker="", **DASHED)
    line(page, axes, t, result.loss, "curve", color=BLUE, marker="")
    tests = []
    if result.test_loss is not None:
        tests = [result.test_loss, result.test_loss_straight]
        thin = {"linewidth": 0.8, "marker": ""}
        line(page, axes, t, tests[1], "straight line, test", color=ORANGE, linestyle="-.", **thin)
        line(page, axes, t, tests[0], "curve, test", color=SKY, linestyle=(0, (5, 1, 1, 1)), **thin)
        error_band(page, axes, t, tests[1], result.test_loss_straight_error, ORANGE)
        error_band(page, axes, t, tests[0], result.test_loss_error, SKY)
    chord(axes, t, result.loss)
    if page.log:
        log_axis(page, axes, result.loss, result.loss_straight, *tests)
    straight_height = result.barrier_chord_straight, result.barrier_chord_straight_error
    barrier(page, axes, t, result.loss_straight, straight_height, VERMILLION)
    barrier(page, axes, t, result.loss, (result.barrier_chord, result.barrier_chord_error), BLUE)
    ends_marked([axes])
    axes.set_ylabel("loss" if tests else "training loss")
    # A and B stand above, and a label broader than the plane below would keep that away from its colour bar.
    axes.set_xlabel(page.labels["t"].partition(" (")[0])
    legend(axes, above=1.9)


def _plane(page: Page, axes: Axes, result: Any) -> None:
    """The loss on the plane, the curve on it, its control points, A and B."""
    one = field(page, result.plane_alpha, result.plane_beta, result.plane_loss, page.labels["plane_loss"])
    alpha, beta = (np.asarray(part) for part in (result.curve_alpha, result.curve_beta))
    ends = np.stack([alpha, beta], axis=1)[[0, -1]]
    texts = draw_flat(page, axes, one, 2.4, needs=barrier_range(one.x, one.y, one.values, ends))
    clear(axes, texts, alpha, beta, 0.05)
    outline = [withStroke(linewidth=2.2, foreground="black")]
    axes.plot(alpha, beta, "-", color="white", linewidth=1.0, path_effects=outline, zorder=6)
    axes.plot(
        alpha[[0, -1]], beta[[0, -1]], ":", color="white", linewidth=0.9, path_effects=outline, zorder=5
    )
    bends: Any = {
        "color": "white",
        "markeredgecolor": "black",
        "markersize": 3.5,
        "linestyle": "",
        "zorder": 7,
    }
    bends["clip_on"] = False
    axes.plot(result.control_alpha, result.control_beta, marker="s", **bends)
    places = Places(axes, 2.3 + page.column - WIDTH, 2.0 * page.column / WIDTH)
    places.keep_off(alpha, beta)
    places.keep_off(alpha[[0, -1]], beta[[0, -1]])
    places.keep_clear(result.control_alpha, result.control_beta, 0.03)
    for letter, i in (("A", 0), ("B", -1)):
        axes.plot(alpha[i], beta[i], marker="o", **bends)
        places.put(letter, alpha[i], beta[i], size=8, weight="bold", zorder=9)
    for text in texts:
        text.set_visible(text.get_visible() and places.holds(text))
    axes.set_xlabel(wrapped(page.labels["plane_alpha"], 3.0))
    axes.set_ylabel(wrapped(page.labels["plane_beta"], 2.2))
    page.note(
        f"squares: control points, up to {short(np.max(result.control_residual))} off the plane; "
        f"curve up to {short(np.max(result.curve_residual))}"
    )
    page.note("the two axes of the plane have different scales")


def _training(page: Page, axes: Axes, result: Any) -> None:
    line(page, axes, result.epoch, result.epoch_loss, "mean batch loss", color=BLUE)
    line(page, axes, result.training_epoch, result.training_barrier, "barrier", color=VERMILLION, marker="o")
    positive = [part[np.asarray(part) > 0] for part in (result.epoch_loss, result.training_barrier)]
    if page.log or all(len(part) for part in positive):
        log_axis(page, axes, result.epoch_loss, result.training_barrier)
    axes.set(xlabel=page.labels["epoch"])
    axes.set_ylabel("loss, barrier\nin training")
    legend(axes)
