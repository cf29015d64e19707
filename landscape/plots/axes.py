"""Lines, axes and legends that say what they leave out."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogFormatter

from landscape.plots.page import BLUE, DASHED, WIDTH, Page
from landscape.plots.words import short, text_inches

NARROW = 1e-4  # below this relative range labels would need more digits than anyone reads
MISSING = {"facecolor": "0.93", "edgecolor": "0.65", "hatch": "////", "linewidth": 0}


def line(
    page: Page,
    axes: Axes,
    x: np.ndarray,
    y: np.ndarray,
    label: str = "",
    done: np.ndarray | None = None,
    **style: Any,
) -> None:
    """A line whose points are seen where there are few; gaps hatched and counted in the small print."""
    style.setdefault("marker", "." if len(x) <= 60 else "")
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    absent = np.zeros(len(y), dtype=bool) if done is None else ~np.asarray(done, dtype=bool)
    invalid = ~np.isfinite(y) & ~absent
    axes.plot(x, np.where(absent, np.nan, y), label=label, **style)
    for missing, what in ((absent, "not computed"), (invalid, "NaN or infinite")):
        if missing.any():
            of = f" ({label})" if label else ""
            page.note(f"{int(missing.sum())} of {len(y)} values{of} {what}, hatched")
    # A coordinate that is not finite has no place on the axis, every other one has its cell.
    placed = np.isfinite(x)
    edges = cell_edges(x[placed])
    for index in np.flatnonzero((absent | invalid)[placed]):
        axes.axvspan(edges[index], edges[index + 1], zorder=0, **MISSING)


def error_band(
    page: Page,
    axes: Axes,
    x: np.ndarray,
    y: np.ndarray,
    error: np.ndarray | None,
    colour: str,
    told: str = "shaded: ± standard error over the test samples",
) -> None:
    """y ± its standard error, where there is one, behind the lines; the small print says what it is."""
    if error is None or not np.isfinite(error).any():
        return
    low, high = np.subtract(y, error), np.add(y, error)
    known = np.isfinite(low) & np.isfinite(high)
    axes.fill_between(x, low, high, where=known.tolist(), color=colour, alpha=0.25, linewidth=0, zorder=1)
    page.note(told)


def log_axis(page: Page, axes: Axes, *values: np.ndarray | None, nonpositive: str = "mask") -> None:
    """A logarithmic vertical axis, if anything can be seen on it; what cannot is counted.

    ``nonpositive``: ``mask`` leaves gaps in lines, ``clip`` lets error bars run out of the panel.
    """
    everything = np.concatenate([np.asarray(part, dtype=float) for part in values if part is not None])
    everything = everything[np.isfinite(everything)]
    positive = everything[everything > 0]
    if not len(positive):
        page.note("no positive value: the axis is linear")
        return
    low, high = float(positive.min()), float(positive.max())
    if high - low < NARROW * high:
        page.note("the range is too narrow for a logarithmic axis")
        return
    if len(positive) < len(everything):
        hidden = len(everything) - len(positive)
        page.note(f"{hidden} of {len(everything)} values not positive: not on the logarithmic axis")
    axes.set_yscale("log", nonpositive=nonpositive)
    if low > 1e-3 and high < 1e4:
        axes.yaxis.set_major_formatter(_Plain(high / low))
        axes.yaxis.set_minor_formatter(_Plain(high / low))


def log_across(axes: Axes, x: Any) -> None:
    """A logarithmic horizontal axis; what is no decade long has short numbers on it."""
    axes.set_xscale("log")
    seen = np.asarray(x, dtype=float)
    seen = seen[np.isfinite(seen) & (seen > 0)]
    if len(seen) and seen.max() <= 10 * seen.min():
        # Small ones are written with their power of ten, for which there is less room.
        axes.xaxis.set_minor_formatter(_Plain(seen.max() / seen.min() if seen.min() > 1e-3 else 10))


def apart(x: np.ndarray, most: int) -> list[float]:
    """Those of ascending positive values that are no closer than ``most`` in a row on a logarithmic axis."""
    kept: list[float] = []
    for value in x[x > 0].tolist():
        if not kept or math.log(value / kept[-1]) >= math.log(x[-1] / kept[0]) / most:
            kept.append(value)
    return kept


class _Plain(LogFormatter):
    """Numbers in full on a logarithmic axis: 1, 10, 100; or 1, 2, 5, 10; or those that matplotlib labels."""

    def __init__(self, ratio: float):
        super().__init__()
        self.labelled = "1" if ratio > 100 else "125" if ratio > 5 else ""

    def __call__(self, x: float, pos: int | None = None) -> str:
        if self.labelled:
            is_round = abs(float(f"{x:.0e}") - x) < 1e-9 * x
            return short(x) if is_round and f"{x:.0e}"[0] in self.labelled else ""
        return short(x, 8) if super().__call__(x, pos) else ""


def legend(axes: Axes, above: float = 0.3, broad: float | None = None) -> None:
    """Over the panel, where it can hide nothing, ``above`` it by so many letters, at most ``broad``, in inches."""
    figure, cell = axes.get_figure(root=True), axes.get_subplotspec()
    columns = cell.get_topmost_subplotspec().get_gridspec().ncols if cell else 1
    own = float(figure.get_size_inches()[0]) / columns if figure else WIDTH
    most = own - 0.5 if broad is None else broad
    handles, labels = axes.get_legend_handles_labels()
    columns = len(labels)
    while columns > 1 and _legend_width(labels, columns) > most:
        columns -= 1
    axes.legend(
        handles,
        labels,
        loc="lower center",
        bbox_to_anchor=(0.5, 1),
        borderaxespad=above,
        ncols=columns,
        columnspacing=1.2,
    )


def _legend_width(labels: list[str], columns: int) -> float:
    """In inches; 0.42 of them are the sample of the line and the space around it."""
    return sum(
        0.42 + max(text_inches(label, 7) for label in column) for column in np.array_split(labels, columns)
    )


def cell_edges(centres: np.ndarray) -> np.ndarray:
    """Edges midway between the centres; the outer cells as wide as their neighbours.

    >>> cell_edges(np.array([0., 1., 3.])).tolist()
    [-0.5, 0.5, 2.0, 4.0]
    """
    centres = np.asarray(centres, dtype=float)
    if len(centres) < 2:
        return np.concatenate([centres - 0.5, centres[-1:] + 0.5])
    middle = centres[:-1] + np.diff(centres) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def accuracies_of(result: Any) -> list[tuple[str, np.ndarray]]:
    """Training and test accuracy by name, those that are there."""
    both = (("training", result.accuracy), ("test", getattr(result, "test_accuracy", None)))
    return [(label, values) for label, values in both if values is not None]


def accuracy_panel(
    page: Page,
    axes: Axes,
    x: np.ndarray,
    parts: list[tuple[str, np.ndarray]],
    test_error: np.ndarray | None = None,
) -> None:
    """Accuracies over x, that of the test with its standard error."""
    for label, values in parts:
        style: Any = {"color": BLUE} if label == "training" else DASHED
        line(page, axes, x, values, label, **style)
        if label == "test":
            error_band(page, axes, x, values, test_error, style["color"])
    axes.set_ylabel(f"{parts[0][0]}\naccuracy" if len(parts) == 1 else "accuracy")


def whose_statistics(page: Page, result: Any) -> None:
    """Small print on where batch-norm statistics came from, where it matters."""
    if result.config.get("options", {}).get("batchnorm") == "repair":
        page.note("straight line repaired: every layer rescaled to the spread of the ends'")
    # Notes alone tell batch norm from other norms, which have no statistics.
    if any(note.startswith("batch-norm statistics were taken anew") for note in result.notes):
        page.note("batch-norm statistics taken anew at every point")
    elif any(note.startswith("batch-norm statistics of the cells") for note in result.notes):
        page.note("batch-norm statistics of θ*, of points their own")
    elif any(note.startswith("batch-norm statistics") for note in result.notes):
        page.note("batch-norm statistics of the points, mixed")
