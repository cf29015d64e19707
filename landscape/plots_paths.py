"""Paths between points: the straight line, the trained curve with its plane, and the matrix of many modes."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from landscape.numerics.paths import barriers
from landscape.plots_fields import clear, draw_flat, field
from landscape.plots_parts import (
    BLUE,
    DASHED,
    GREY,
    ORANGE,
    SKY,
    VERMILLION,
    Page,
    accuracies_of,
    accuracy_panel,
    input_names,
    legend,
    line,
    log_axis,
    short,
    titled,
    titled_points,
    whose_statistics,
    wrapped,
)


def interpolate(page: Page, result: Any) -> str:
    """The loss on the line with its chord, its barrier and its bumps; accuracy below."""
    accuracies = accuracies_of(result)
    panels = page.panels(2.1, *([1.0] if accuracies else []))
    axes, alpha = panels[0], result.alpha
    line(page, axes, alpha, result.loss, "training", color=BLUE)
    if result.test_loss is not None:
        line(page, axes, alpha, result.test_loss, "test", **DASHED)
    _chord(axes, alpha, result.loss)
    if len(result.bump_alpha):
        tops = np.interp(result.bump_alpha, alpha, result.loss)
        axes.plot(
            result.bump_alpha, tops, "v", color=ORANGE, markeredgecolor="black", markersize=4.5, label="bump"
        )
    if page.log:
        log_axis(page, axes, result.loss, result.test_loss)
    _barrier(axes, alpha, result.loss, result.barrier_chord, BLUE)
    _ends(panels)
    axes.set_ylabel("training loss" if result.test_loss is None else "loss")
    legend(axes, above=1.9)
    if accuracies:
        accuracy_panel(page, panels[1], alpha, accuracies)
    panels[-1].set_xlabel(page.labels["alpha"])
    whose_statistics(page, result)
    return titled_points("Straight line from", result, "AB", " to ")


def align(page: Page, result: Any) -> str:
    """The straight line from A to B as it was and to B aligned, with the barriers of both."""
    (axes,) = page.panels(2.1)
    line(page, axes, result.alpha, result.loss_before, "to B", **DASHED)
    line(page, axes, result.alpha, result.loss_after, "to B aligned", color=BLUE)
    _chord(axes, result.alpha, result.loss_before)
    if page.log:
        log_axis(page, axes, result.loss_before, result.loss_after)
    _barrier(axes, result.alpha, result.loss_before, result.barrier_before, VERMILLION)
    _barrier(axes, result.alpha, result.loss_after, result.barrier_after, BLUE)
    _ends([axes])
    axes.set_ylabel("training loss")
    axes.set_xlabel(page.labels["alpha"])
    legend(axes, above=1.9)
    page.note(f"{result.num_movable} of {result.num_parameters} parameters movable")
    whose_statistics(page, result)
    return titled_points("Straight line from", result, "AB", " to ")


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


def modes(page: Page, result: Any) -> str:
    """The matrices of barriers with their numbers, the spanning tree outlined in the curved one."""
    matrices = [
        (result.barrier_straight, "straight line"),
        (result.barrier_aligned, "straight line, aligned"),
        (result.barrier_curved, "trained curve"),
    ]
    matrices = [(values, title) for values, title in matrices if values is not None]
    panels = page.panels(*[2.0] * len(matrices), shared=False)
    count = len(result.mode)
    pairs = list(zip(result.tree_from.tolist(), result.tree_to.tolist(), strict=True))
    for axes, (values, title) in zip(panels, matrices, strict=True):
        off = np.where(np.eye(count, dtype=bool), np.nan, np.asarray(values, dtype=float))
        known = off[np.isfinite(off)]
        top = float(known.max(initial=0.0))
        axes.imshow(
            np.ma.masked_invalid(off), cmap="cividis", vmin=min(0.0, known.min(initial=0.0)), vmax=top or 1
        )
        axes.set_xticks(range(count), [str(i) for i in range(count)])
        axes.set_yticks(range(count), [str(i) for i in range(count)])
        axes.set_title(f"barrier over the chord, {title}", fontsize=8)
        for i, j in zip(*np.nonzero(~np.eye(count, dtype=bool)), strict=True):
            is_bright = np.isfinite(off[i, j]) and off[i, j] > 0.6 * top
            text = short(float(off[i, j]), 2)
            axes.text(
                j, i, text, ha="center", va="center", fontsize=6, color="black" if is_bright else "white"
            )
        for i, j in pairs if title == "trained curve" else []:
            for x, y in ((i, j), (j, i)):
                square = Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor=VERMILLION, linewidth=1.2)
                axes.add_patch(square)
    page.note("; ".join(f"{i}: {name}" for i, name in enumerate(result.mode)))
    page.note(f"outlined: the spanning tree, highest barrier {short(result.largest_barrier)}")
    others = f"and {count - 1} others"
    return (
        f"{titled('Barriers between', result)} {others}"
        if input_names(result)
        else f"Barriers of {count} points"
    )


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
    _chord(axes, t, result.loss)
    if page.log:
        log_axis(page, axes, result.loss, result.loss_straight, *tests)
    _barrier(axes, t, result.loss_straight, result.barrier_chord_straight, VERMILLION)
    _barrier(axes, t, result.loss, result.barrier_chord, BLUE)
    _ends([axes])
    axes.set_ylabel("loss" if tests else "training loss")
    axes.set_xlabel(wrapped(page.labels["t"], 3.2))
    legend(axes, above=1.9)


def _plane(page: Page, axes: Axes, result: Any) -> None:
    """The loss on the plane, the curve on it, its control points, A and B."""
    one = field(page, result.plane_alpha, result.plane_beta, result.plane_loss, page.labels["plane_loss"])
    texts = draw_flat(page, axes, one, 2.4)
    alpha, beta = (np.asarray(part) for part in (result.curve_alpha, result.curve_beta))
    clear(axes, texts, alpha, beta, 0.05)
    outline = [withStroke(linewidth=2.2, foreground="black")]
    axes.plot(alpha, beta, "-", color="white", linewidth=1.0, path_effects=outline, zorder=6)
    axes.plot(
        alpha[[0, -1]], beta[[0, -1]], ":", color="white", linewidth=0.9, path_effects=outline, zorder=5
    )
    bends = {"color": "white", "markeredgecolor": "black", "markersize": 3.5, "linestyle": "", "zorder": 7}
    axes.plot(result.control_alpha, result.control_beta, marker="s", **bends)
    for letter, i in (("A", 0), ("B", -1)):
        axes.plot(alpha[i], beta[i], marker="o", **bends)
        halo = [withStroke(linewidth=2, foreground="white")]
        axes.text(alpha[i], beta[i], f" {letter}", fontsize=8, weight="bold", path_effects=halo, zorder=9)
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
    axes.set_ylabel("in training")
    legend(axes)


def _chord(axes: Axes, t: np.ndarray, loss: np.ndarray) -> None:
    """(1 − t)F(A) + tF(B), point by point, since on a logarithmic axis it is no straight line."""
    inside = (t >= 0) & (t <= 1)
    first, last = loss[inside][0], loss[inside][-1]
    if not (np.isfinite(first) and np.isfinite(last)):
        return
    chord = (1 - t[inside]) * first + t[inside] * last
    axes.plot(t[inside], chord, color=GREY, linestyle=":", linewidth=1.0, label="chord A to B")
    axes.plot([0, 1], [first, last], linestyle="", marker="o", color="black", markersize=3.5, zorder=5)


def _barrier(axes: Axes, t: np.ndarray, loss: np.ndarray, value: float, colour: str) -> None:
    if not (np.isfinite(value) and value > 0):
        return
    at = barriers(t, loss).at_chord
    top = float(loss[t == at][0])
    arrow = {"arrowstyle": "<->", "shrinkA": 0, "shrinkB": 0, "linewidth": 0.8, "mutation_scale": 6}
    drawn = axes.annotate(
        "", (at, top), xytext=(at, top - value), arrowprops={**arrow, "color": colour}, zorder=4
    )
    drawn.set_in_layout(False)  # it lies between lines that are
    # The value stands in the legend: beside the arrow it would lie on one of the lines.
    axes.plot(
        [],
        [],
        linestyle="",
        marker=r"$\updownarrow$",
        markersize=7,
        markeredgewidth=0,
        color=colour,
        label=f"barrier {short(value)}",
    )


def _ends(panels: list[Axes]) -> None:
    for axes in panels:
        for position in (0, 1):
            axes.axvline(position, color=GREY, linewidth=0.5, zorder=0)
    top = panels[0].secondary_xaxis("top")
    top.set_xticks([0, 1], ["A", "B"], weight="bold")
    top.tick_params(length=0, pad=1)
    top.spines["top"].set_visible(False)
