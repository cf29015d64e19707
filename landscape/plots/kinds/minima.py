"""Ends of many descents: their costs against the width, their index against their cost, what they predict."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, MaxNLocator

from landscape.plots.axes import legend, log_axis
from landscape.plots.growth import growth
from landscape.plots.page import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, Page
from landscape.plots.words import short, titled

COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)


def minima(page: Page, result: Any) -> str:
    """Boxes and dots on a linear axis, medians and quartiles on a logarithmic one, index, zero levels, growth."""
    result, whole = _of_most_samples(page, result), result
    is_polished = result.polished_cost is not None
    cost = result.polished_cost if is_polished else result.cost
    cost = np.where(np.asarray(result.done, dtype=bool) & np.isfinite(cost), cost, np.nan)
    more = [2.4] if result.prediction is not None else []
    more += [1.5] if result.axis is not None else []
    panels = page.panels(1.7, 1.4, 1.3, *more, shared=False)
    name = "cost after polishing" if is_polished else "cost"
    _boxes(panels[0], result, cost)
    _quartiles(page, panels[1], result, cost)
    for axes in panels[:2]:
        axes.set(ylabel=name, xlabel="width")
        axes.xaxis.set_major_locator(FixedLocator(range(len(result.width))))
        axes.set_xticks(range(len(result.width)), [short(float(width)) for width in result.width])
    for i, depth in enumerate(result.depth):
        label = f"depth {short(float(depth))}" if len(result.depth) > 1 else ""
        is_short = np.ravel(result.end_status[i]) == "cut short"
        x, y, spot = cost[i].ravel(), np.ravel(result.index[i]), {"color": COLOURS[i % 6], "markersize": 3}
        panels[2].plot(x[~is_short], y[~is_short], "o", label=label, **spot)
        # Where ‖∇F‖ is not small the index means little.
        panels[2].plot(x[is_short], y[is_short], "o", markerfacecolor="none", markeredgewidth=0.5, **spot)
    panels[2].set(xlabel=name, ylabel="index")
    panels[2].yaxis.set_major_locator(MaxNLocator(4, integer=True))
    most = float(np.nanmax(result.index, initial=1.0))
    panels[2].set_ylim(-0.1 * most, 1.1 * most)
    legend(panels[2])
    if bool((np.asarray(result.end_status) == "cut short").any()):
        page.note("index: hollow where the descent was cut short")
    if result.prediction is not None:
        _zero_levels(page, panels[3], result)
    if result.axis is not None:
        growth(page, panels[-1], whole)
    num_lost = int((np.asarray(result.done, dtype=bool) & ~np.isfinite(cost)).sum())
    if num_lost:
        page.note(f"{num_lost} ends that diverged are not drawn")
    return titled("Ends of descents", result)


def _of_most_samples(page: Page, result: Any) -> Any:
    """What is drawn of the costs: the cells of the most samples, where there are several numbers of them."""
    if result.samples is None:
        return result
    place = int(np.argmax(result.samples))
    page.note(f"costs, indices and curves: of {short(float(result.samples[place]))} samples")
    cut = {
        one.name: getattr(result, one.name)[place]
        for one in fields(result)
        if one.metadata.get("dims", ("",))[0] == "samples"
        and one.name != "samples"
        and getattr(result, one.name) is not None
    }
    return replace(result, **cut)


def _boxes(axes: Axes, result: Any, cost: np.ndarray) -> None:
    step = 0.8 / len(result.depth)
    for i, j in np.ndindex(*cost.shape[:2]):
        seen = cost[i, j][np.isfinite(cost[i, j])]
        place, colour = j - 0.4 + (i + 0.5) * step, COLOURS[i % 6]
        if len(seen):
            thin = {"color": colour, "linewidth": 0.7}
            axes.boxplot(
                [seen],
                positions=[place],
                widths=0.8 * step,
                showfliers=False,
                manage_ticks=False,
                boxprops=thin,
                whiskerprops=thin,
                capprops=thin,
                medianprops=thin,
            )
        # Spread by rank, so that equal costs are seen to be many.
        aside = (np.arange(len(seen)) / max(1, len(seen) - 1) - 0.5) * 0.5 * step
        axes.plot(place + aside, np.sort(seen), ".", color=colour, markersize=2, alpha=0.5)


def _quartiles(page: Page, axes: Axes, result: Any, cost: np.ndarray) -> None:
    x = np.arange(len(result.width))
    drawn = []
    for i, depth in enumerate(result.depth):
        rows = np.full((3, len(x)), np.nan)
        for j in range(len(x)):
            seen = cost[i, j][np.isfinite(cost[i, j])]
            if len(seen):
                rows[:, j] = np.percentile(seen, [25, 50, 75])
        colour = COLOURS[i % 6]
        axes.fill_between(x, rows[0], rows[2], color=colour, alpha=0.25, linewidth=0)
        label = f"depth {short(float(depth))}" if len(result.depth) > 1 else ""
        axes.plot(x, rows[1], marker=".", linestyle="-", color=colour, label=label)
        drawn.append(rows)
    log_axis(page, axes, *[rows.ravel() for rows in drawn])
    page.note("logarithmic panel: medians and quartiles")
    legend(axes)


def _zero_levels(page: Page, axes: Axes, result: Any) -> None:
    """The samples, and where the best end of each width changes its mind, for the first depth."""
    if result.sample is not None:
        seen = np.unique(result.sample_target)
        middle = float(seen[0] + seen[-1]) / 2
        is_high = result.sample_target > middle
        names = [f"target ≤ {short(middle)}", f"target > {short(middle)}"]
        if len(seen) == 2:
            names = [f"target {short(float(one))}" for one in seen]
        for mask, marker, name in ((~is_high, "x", names[0]), (is_high, "o", names[1])):
            spot = {"color": GREY, "markersize": 2.5, "markeredgewidth": 0.6, "label": name}
            axes.plot(result.sample_x[mask], result.sample_y[mask], marker, **spot)
    for j, width in enumerate(result.width[:6]):
        values = result.prediction[0, j]
        if np.isfinite(values).all() and values.min() < 0 < values.max():
            axes.contour(
                result.x, result.y, values, levels=[0.0], colors=[COLOURS[j]], linewidths=0.9, linestyles="-"
            )
            axes.plot([], [], color=COLOURS[j], linestyle="-", label=f"width {short(float(width))}")
    axes.set(xlabel=page.labels["x"], ylabel=page.labels["y"])
    axes.set_aspect("equal", adjustable="datalim")
    axes.use_sticky_edges = False
    axes.margins(0.05)
    legend(axes)
    page.note(
        f"curves: where the output of the best end is 0, depth {short(float(result.depth[0]))}, first widths"
    )
