"""How many distinct minima there are against samples, width or depth, and the power law through their numbers."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, NullLocator

from landscape.plots.axes import apart, legend
from landscape.plots.page import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, Page
from landscape.plots.words import short
from landscape.result import with_error

COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
# Lines that a legend has room for.
MOST_LINES = 6
MOST_TICKS = 10


def growth(page: Page, axes: Axes, result: Any) -> None:
    """Both axes logarithmic: the longest axis across, a line for each of the other values, the fit broken."""
    values = {"samples": result.samples, "depth": result.depth, "width": result.width}
    values = {name: np.asarray(one, dtype=float) for name, one in values.items() if one is not None}
    counts = np.asarray(result.num_distinct_minima, dtype=float)
    across = max(values, key=lambda name: len(values[name]))
    number = list(values).index(across)
    x, rest = values[across], [name for name in values if name != across]
    lines = np.moveaxis(counts, number, -1)
    law = dict(zip(map(str, result.axis), result.exponent.tolist(), strict=True))
    for k, place in enumerate(np.ndindex(*lines.shape[:-1])):
        own = {name: float(values[name][i]) for name, i in zip(rest, place, strict=True)}
        seen, colour = np.where(lines[place] > 0, lines[place], np.nan), COLOURS[k % 6]
        label = ", ".join(f"{name} {short(value)}" for name, value in own.items() if len(values[name]) > 1)
        told = label if k < MOST_LINES else ""
        axes.plot(x, seen, marker="o", markersize=3, linestyle="none", color=colour, label=told)
        fit = result.growth_factor * x ** law.get(across, 0.0)
        fit = fit * math.prod(value ** law.get(name, 0.0) for name, value in own.items())
        axes.plot(x, fit, linestyle="--", linewidth=0.8, color=colour)
    most = np.asarray(result.done).sum(-1).max()
    axes.axhline(most, color=GREY, linewidth=0.7, linestyle=":", label="restarts")
    axes.set(xscale="log", yscale="log", xlabel=across, ylabel="distinct minima")
    ticks = apart(np.sort(x), MOST_TICKS)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(ticks, [short(one) for one in ticks])
    axes.yaxis.set_minor_formatter(NullFormatter())
    legend(axes)
    errors = zip(result.axis, result.exponent, result.exponent_error, strict=True)
    said = ", ".join(
        f"in {name} {with_error(float(one), float(error)) if np.isfinite(error) else 'without an error'}"
        for name, one, error in errors
    )
    page.note(f"broken: a power law, its exponent {said}; dotted: more than so many descents cannot find")
