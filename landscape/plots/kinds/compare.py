"""Several points side by side: their slices on one scale, and every measure with its ranks."""

import math
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from landscape.plots.axes import log_axis
from landscape.plots.page import BLUE, GREY, VERMILLION, WIDTH, Page
from landscape.plots.words import EQUALS, input_names, short, text_inches, uncertain, wrapped

# Measures as they are written, and those whose error says more than rounding.
SYMBOLS = {
    "convexity": "convex share",
    "width": "width",
    "lambda_max": "λₘₐₓ",
    "trace": "tr H",
    "noise_rise": "noise",
    "noise_rise_filter": "noise, filter",
    "ball_rise_at_least": "ball ≥",
    "ball_rise_at_least_filter": "ball, filter ≥",
    "sam_rise": "SAM step",
    "sam_rise_filter": "SAM, filter",
    "critical_sharpness": "2/η critical",
    "directional_sharpness": "gᵀHg / gᵀg",
    "relative_critical_sharpness": "2/η, test",
    "relative_flatness": "rel. flatness",
    "fisher_rao_norm": "Fisher–Rao",
    "barrier": "mean barrier",
    "loss": "loss",
    "test_loss": "test loss",
    "generalisation_gap": "test − loss",
    "error_gap": "gap of errors",
}
WITH_ERROR = ("convexity", "width", "trace", "noise_rise", "noise_rise_filter", "barrier", "test_loss")
WITH_ERROR += ("relative_flatness", "generalisation_gap", "error_gap")
UNCHANGED = {"none": "–", "layer": "layers", "unit": "units"}
# Panels in a row; as many points get values with errors, values, and beyond those ranks alone.
IN_A_ROW, WITH_ERRORS, WITH_VALUES = 4, 3, 6
# How much higher than in one column the panels are, at most: beside their table, which is no higher.
MOST_HIGH = 2.0
# In inches: a row of panels, of the table, the columns of names, of which a part lies under the labels of the panels,
# and the other columns.
PANEL, ROW, NAMES, UNDER, ENDS = 1.15, 0.145, 0.62, 0.37, 0.34
TEXT = 6.0
# Of a cell, how much its number may fill.
FILLED = 0.92
# Of ranks, from the first to the last.
DARK, LIGHT = 0.75, 0.05


def compare(page: Page, result: Any) -> str:
    """Slices of every point, the sublevel set marked; below a row for each measure, shaded by rank."""
    count, measures = len(result.point), len(result.measure)
    rows = -(-count // IN_A_ROW)
    heights = [*[PANEL * min(page.width / WIDTH, MOST_HIGH)] * rows, ROW * (measures + 1)]
    page.figure.set_size_inches(page.width, sum(heights) + 0.75)
    columns = min(count, IN_A_ROW)
    grid = page.figure.add_gridspec(rows + 1, columns, height_ratios=heights)
    panels: list[Axes] = []
    for i in range(count):
        first: Any = panels[0] if panels else None
        cell = grid[i // columns, i % columns]
        panels.append(page.figure.add_subplot(cell, sharex=first, sharey=first))
    _slices(page, panels, result)
    _table(page, page.figure.add_subplot(grid[rows, :]), result)
    names = input_names(result)
    if len(names) == count:
        page.note("; ".join(map(EQUALS.join, zip(map(str, result.point.tolist()), names, strict=True))))
    if count > WITH_ERRORS:
        page.note(
            "values, their errors in the file" if count <= WITH_VALUES else "ranks, their values in the file"
        )
    page.note(
        f"σ{EQUALS}{short(result.sigma)}, ρ{EQUALS}{short(result.rho)}; darker: better rank; ≈: not apart from another "
        "by two errors; free of: rescalings of ReLU-like units that leave the measure as it is; filter: relative to "
        "the lengths of the filters"
    )
    return result.headline


def _slices(page: Page, panels: list[Axes], result: Any) -> None:
    losses = np.where(np.isfinite(result.slice_loss), result.slice_loss, np.nan)
    hidden = int(np.isnan(losses).sum())
    if hidden:
        page.note(f"{hidden} of {losses.size} losses NaN or infinite: not drawn")
    middle = result.slice_loss.shape[2] // 2
    for i, axes in enumerate(panels):
        axes.plot(result.alpha, losses[i].T, color="0.75", linewidth=0.5, linestyle="-", marker="")
        mean = losses[i].mean(axis=0)
        axes.plot(result.alpha, mean, color=BLUE, linestyle="-", linewidth=1.2, marker="")
        level = result.slice_loss[i, 0, middle] + result.rise
        left, right = result.half_width[i].mean(axis=0)
        axes.plot([-left, right], [level, level], color=VERMILLION, linestyle="-", linewidth=2, marker="")
        axes.set_title(str(result.point[i]), fontsize=8, pad=2)
        axes.xaxis.set_major_locator(MaxNLocator(2, steps=[1, 2, 5]))
        axes.set_xlabel("α", labelpad=0)
        if i % IN_A_ROW:
            axes.tick_params(labelleft=False, which="both")
        else:
            axes.set_ylabel("training loss")
    if page.log:
        log_axis(page, panels[0], losses.ravel())
    draws = result.slice_loss.shape[1]
    page.note(
        f"grey: F along {draws} filter-normalised directions, the same and on one scale for all; blue: their mean; "
        f"red: mean width where F rises by {short(result.rise)}"
    )


def _table(page: Page, axes: Axes, result: Any) -> None:
    count, measures = len(result.point), len(result.measure)
    names = result.measure.tolist()
    against = names.index("test_loss") if "test_loss" in names else None
    total = page.width - 0.1 - UNDER
    cell = (total - NAMES - ENDS * (1 if against is None else 2)) / count
    edges = NAMES + ENDS + cell * np.arange(count)
    axes.set(xlim=(0, total), ylim=(measures - 0.5, -1.6))
    axes.axis("off")
    middle: Any = {"ha": "center", "va": "center", "fontsize": TEXT}
    axes.text(NAMES + ENDS / 2, -1, "free of", **middle)
    for i, name in enumerate(result.point.tolist()):
        axes.text(edges[i] + cell / 2, -1, name, fontweight="bold", **middle)
    if against is not None:
        axes.text(total - ENDS / 2, -1, "τ, test", **middle)
    for row, name in enumerate(names):
        power = _power(result.values[row])
        unit = f" ({short(10.0**power, 1, powers=True)})" if power else ""
        said = axes.text(-UNDER, row, f"{SYMBOLS.get(name, name)}{unit}", va="center", fontsize=TEXT)
        said.set_in_layout(False)
        axes.text(
            NAMES + ENDS / 2, row, UNCHANGED.get(str(result.unchanged_by[row]), "?"), color=GREY, **middle
        )
        for i in range(count):
            colour, ink = _shade(float(result.ranks[row, i]), count)
            axes.add_patch(Rectangle((edges[i], row - 0.5), cell, 1, facecolor=colour, edgecolor="white"))
            text = _cell(result, i, row, power)
            fitting = {**middle, "fontsize": TEXT * min(1.0, FILLED * cell / text_inches(text, TEXT))}
            axes.text(edges[i] + cell / 2, row, text, color=ink, **fitting)
        if against is not None and row != against:
            axes.text(total - ENDS / 2, row, _tau(float(result.tau[row, against])), **middle)
    if against is not None:
        low = min(float(one) for one in np.append(result.tau_p[:, against], 1.0) if np.isfinite(one))
        page.note(
            wrapped(f"τ: Kendall’s, of the ranks with those of the test loss, least p {short(low, 2)}", 9)
        )


def _cell(result: Any, i: int, row: int, power: int) -> str:
    """The value, with its error where there is room, or the rank alone."""
    name, scale = str(result.measure[row]), 10.0**-power
    value, error = float(result.values[row, i]) * scale, float(result.errors[row, i]) * scale
    mark = "" if result.told_apart[row, i] else "≈"
    if len(result.point) > WITH_VALUES:
        return f"{mark}{result.ranks[row, i]:.0f}"
    if len(result.point) <= WITH_ERRORS and name in WITH_ERROR and np.isfinite(error) and error > 0:
        return mark + uncertain(value, error).replace("\u00a0", "")
    return mark + short(value, 3 if len(result.point) <= WITH_ERRORS else 2)


def _power(values: np.ndarray) -> int:
    """The power of ten that a row is written in; 0 where its numbers are short as they are."""
    known = np.abs(values[np.isfinite(values) & (values != 0)])
    if not len(known) or (known.max() >= 0.1 and known.max() < 1e3):
        return 0
    return math.floor(math.log10(known.max()))


def _tau(value: float) -> str:
    return "–" if np.isnan(value) else short(round(value, 2), 2)


def _shade(rank: float, count: int) -> tuple[Any, str]:
    """The colour of a rank, the first the darkest, and what is read on it."""
    share = (rank - 1) / max(count - 1, 1)
    depth = DARK + (LIGHT - DARK) * share
    return colormaps["Blues"](depth), "white" if depth > 0.5 else "black"
