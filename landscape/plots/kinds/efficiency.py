"""What the same observations buy: a panel for each training-set size, a line for each method."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from landscape.plots.axes import legend, line, log_axis
from landscape.plots.page import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, Page
from landscape.plots.words import EQUALS, short, titled

MAX_PANELS = 4
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
LINES = ("-", "--", "-.", ":")


def efficiency(page: Page, result: Any) -> str:
    """Cost at the best step size against observations, mean ± s.d. over seeds, between two baselines."""
    num_panels = min(MAX_PANELS, len(result.size))
    panels = page.panels(*[1.7] * num_panels, shared=False, alike=True)
    if result.cost_curve_spread is not None:
        page.note(f"shaded: mean ± standard deviation over {len(result.seed)} seeds")
    for i, axes in enumerate(panels):
        drawn, bands = [], []
        for j, method in enumerate(result.method):
            if not np.isfinite(result.best_step[i, j]):
                page.note(f"{method} diverges at every step size, n{EQUALS}{short(result.size[i])}")
                continue
            used, cost = result.observations[i, j], result.cost_curve[i, j]
            style: Any = {"color": COLOURS[j % len(COLOURS)], "linestyle": LINES[j % len(LINES)]}
            line(page, axes, used, cost, f"{method}, α{EQUALS}{short(result.best_step[i, j])}", **style)
            drawn.append(cost)
            if result.cost_curve_spread is not None:
                bands.append((used, cost, result.cost_curve_spread[i, j], style["color"]))
        for name, label, dots in (
            ("zero_predictor", "outputs zero", ":"),
            ("least_squares", "least squares", (0, (1, 3))),
        ):
            values = getattr(result, name)
            if values is not None and np.isfinite(values[i]):
                axes.axhline(
                    values[i],
                    color=GREY,
                    linewidth=0.8,
                    linestyle=dots,
                    label=label if i == 0 else "",
                    zorder=0,
                )
        if drawn and (page.log or all((cost[np.isfinite(cost)] > 0).all() for cost in drawn)):
            log_axis(page, axes, *drawn)
        _shade(page, axes, bands)
        axes.set(ylabel=f"cost, n{EQUALS}{short(result.size[i], 6)}")
        axes.ticklabel_format(axis="x", style="plain")
        legend(axes)
    panels[-1].set_xlabel(page.labels["observations"])
    if num_panels < len(result.size):
        page.note(f"{len(result.size) - num_panels} larger or further sizes not drawn")
    return titled("What the same observations buy", result)


def _shade(page: Page, axes: Axes, bands: list[tuple[np.ndarray, np.ndarray, np.ndarray, str]]) -> None:
    """Mean ± spread over x; on a logarithmic axis it runs out of the panel where it comes near to zero."""
    lows = [mean - spread for _, mean, spread, _ in bands]
    floor = -np.inf
    if axes.get_yscale() == "log" and bands:
        every, bottom = np.concatenate(lows), axes.get_ylim()[0]
        # What is close to zero would stretch the axis over decades of nothing.
        floor = max(bottom / 10, min([bottom, *every[every > 0]]))
        if (every < floor).any():
            page.note("it runs out of the panel where it comes near to zero")
    for (x, mean, spread, colour), low in zip(bands, lows, strict=True):
        seen = np.where(low < floor, floor / 2, low)
        axes.fill_between(x, seen, mean + spread, color=colour, alpha=0.2, linewidth=0)
    if floor > 0:
        axes.set_ylim(bottom=floor)
