"""What the same observations buy: a panel for each training-set size, a line for each method."""

from typing import Any

import numpy as np

from landscape.plots.axes import legend, line, log_axis
from landscape.plots.page import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, Page
from landscape.plots.words import EQUALS, short, titled

MAX_PANELS = 4
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
LINES = ("-", "--", "-.", ":")


def efficiency(page: Page, result: Any) -> str:
    """Cost at the best step size against observations, mean and spread over seeds, between two baselines."""
    num_panels = min(MAX_PANELS, len(result.size))
    panels = page.panels(*[1.7] * num_panels, shared=False)
    for i, axes in enumerate(panels):
        drawn = []
        for j, method in enumerate(result.method):
            if not np.isfinite(result.best_step[i, j]):
                page.note(f"{method} diverges at every step size, n{EQUALS}{short(result.size[i])}")
                continue
            used, cost = result.observations[i, j], result.cost_curve[i, j]
            style: Any = {"color": COLOURS[j % len(COLOURS)], "linestyle": LINES[j % len(LINES)]}
            line(page, axes, used, cost, f"{method}, α{EQUALS}{short(result.best_step[i, j])}", **style)
            drawn.append(cost)
            if result.cost_curve_spread is not None:
                spread = result.cost_curve_spread[i, j]
                # A logarithmic axis has no place below zero.
                low = np.maximum(cost - spread, 0.5 * np.nanmin(cost))
                axes.fill_between(used, low, cost + spread, color=style["color"], alpha=0.2, linewidth=0)
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
        axes.set(ylabel=f"cost, n{EQUALS}{short(result.size[i], 6)}")
        axes.ticklabel_format(axis="x", style="plain")
        legend(axes)
    panels[-1].set_xlabel(page.labels["observations"])
    if result.cost_curve_spread is not None:
        page.note(f"shaded: standard deviation over {len(result.seed)} seeds")
    if num_panels < len(result.size):
        page.note(f"{len(result.size) - num_panels} larger or further sizes not drawn")
    return titled("What the same observations buy", result)
