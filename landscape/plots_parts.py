"""The parts every picture is made of: a page at column width, words, lines, tables and small print.

Fields are in :mod:`landscape.plots_fields`, the drawing of each kind in :mod:`landscape.plots_special`.
"""

import json
import math
import re
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ticker import LogFormatter, MaxNLocator

from landscape.result import Result, Variable, field_metadata

WIDTH = 3.5  # inches, one column of a paper
SMALL = 6.0  # points, the size of the small print
NARROW = 1e-4  # below this relative range labels would need more digits than anyone reads
FONT = "DejaVu Sans"  # comes with matplotlib and has every sign used here

# Okabe and Ito's colours, told apart under the common colour blindnesses; the line styles differ as well.
BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"
PURPLE, ORANGE, SKY = "#CC79A7", "#E69F00", "#56B4E9"
GREY = "0.4"
EQUALS = "\u00a0=\u00a0"  # with no-break spaces
DASHED = {"color": VERMILLION, "linestyle": (0, (4, 1.5))}

STYLE: Any = {
    "font.family": FONT,
    "font.size": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.borderaxespad": 0.0,
    "legend.handlelength": 2.2,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.prop_cycle": cycler(color=[BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY])
    + cycler(linestyle=["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3))]),
    "lines.linewidth": 1.2,
    "lines.markersize": 3,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "hatch.linewidth": 0.4,
    "text.usetex": False,
    "figure.dpi": 200,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,
    "svg.hashsalt": "landscape",
}
MISSING = {"facecolor": "0.93", "edgecolor": "0.65", "hatch": "////", "linewidth": 0}
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Page:
    """A figure being drawn, what was asked of it, and the small print gathered on the way."""

    def __init__(self, result: Result, kind: str, log: bool, levels: int | list[float] | None):
        self.kind, self.log, self.levels = kind, log, levels
        self.figure = Figure(layout="constrained")
        FigureCanvasAgg(self.figure)
        self.stretch = 0.0
        self.labels = {variable.name: axis_label(variable) for variable in result.arrays()}
        self.small_print = [f"status: {result.status}"] if result.outcome != "complete" else []
        self.small_print += [
            f"failed check: {check.name}, {short(check.value)} above {short(check.bound)}"
            for check in result.checks
            if not check.passed
        ]

    @property
    def height(self) -> float:
        """Of the page, in inches."""
        return float(self.figure.get_size_inches()[1])

    def panels(self, *heights: float, shared: bool = True) -> list[Axes]:
        """Axes one below the other, about ``heights`` inches, with a common horizontal axis or their own."""
        self.figure.set_size_inches(WIDTH, sum(heights) + 0.3 + (0.0 if shared else 0.25 * len(heights)))
        grid = self.figure.subplots(
            len(heights), 1, squeeze=False, sharex=shared, height_ratios=list(heights)
        )
        for axes in grid[:, 0]:
            axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]))
        return list(grid[:, 0])

    def note(self, text: str) -> None:
        """Adds to the small print, once."""
        if text not in self.small_print:
            self.small_print.append(text)

    def finish(self, title: str) -> Figure:
        """Title above, small print below; nothing may be added after."""
        self.figure.suptitle(wrapped(title, WIDTH - 0.1, 8), fontsize=8)
        if self.small_print:
            text = wrapped("; ".join(self.small_print), 0.95 * WIDTH, SMALL)
            self.figure.supxlabel(text, x=0.02, ha="left", fontsize=SMALL, color=GREY)
        self.figure.align_ylabels()
        # Ticks take their style when first drawn, so that must happen inside the style's context.
        self.figure.draw_without_rendering()
        if self.stretch:
            self._fit()
        return self.figure

    def _fit(self) -> None:
        """The page as high as a panel of the given height over width needs, with no empty margins."""
        for _ in range(2):  # labels move a little with the first change
            box = self.figure.axes[0].get_position(original=True)
            excess = box.height * self.height - self.stretch * box.width * WIDTH
            self.figure.set_size_inches(WIDTH, self.height - excess)
            self.figure.draw_without_rendering()


def axis_label(variable: Variable) -> str:
    """The long name, with units where there are any."""
    return f"{variable.long_name} ({variable.units})" if variable.units else variable.long_name


def short(value: float, digits: int = 3, *, powers: bool = False) -> str:
    """A number for the eye; with ``powers`` always as a power of ten.

    >>> short(0.12345), short(2e-7), short(1e8), short(0.1, powers=True)
    ('0.123', '2×10⁻⁷', '10⁸', '10⁻¹')
    """
    text = f"{value:.{digits - 1}e}" if powers else f"{value:.{digits}g}"
    mantissa, has_exponent, exponent = text.partition("e")
    if has_exponent:
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        power = "10" + str(int(exponent)).translate(_SUPERSCRIPTS)
        text = mantissa.replace("1", power) if mantissa in ("1", "-1") else f"{mantissa}×{power}"
    return text.replace("-", "−")


def numbers(values: np.ndarray, log: bool, least: int = 3) -> Callable[[float], str]:
    """How to write these ascending numbers: with digits enough to tell neighbours apart, and in one style."""
    digits = least
    if len(values) > 1:
        larger = np.maximum(np.abs(values[1:]), np.abs(values[:-1]))
        digits = min(15, max(least, math.ceil(math.log10((larger / np.diff(values)).max())) + 1))
    wide = log and len(values) > 1 and bool(values[-1] > 1e4 * values[0])
    return lambda value: short(value, digits, powers=wide)


def wrapped(text: str, inches: float, size: float = 8.0) -> str:
    """Lines no longer than ``inches``, as they stand: dollar signs are no formulas, unknown signs are boxes."""
    font = get_font(findfont(FontProperties(family=FONT)))
    text = "".join(sign if font.get_char_index(ord(sign)) else "□" for sign in text)
    lines = [""]
    for word in re.split(r"[ \n\t]+", text):  # not at no-break spaces
        start = f"{lines[-1]} " if lines[-1] else ""
        if text_inches(start + word, size) <= inches:
            lines[-1] = start + word
            continue
        while text_inches(word, size) > inches:  # a long name is broken where it must be
            fits = max(1, int(len(word) * inches / text_inches(word, size)) - 1)
            lines.append(word[:fits])
            word = word[fits:]
        lines.append(word)
    return "\n".join(lines).strip("\n").replace("$", r"\$")


def text_inches(text: str, size: float) -> float:
    """The width of one line of text."""
    font = get_font(findfont(FontProperties(family=FONT)))
    font.set_size(20 * size, 72)  # large, since widths are rounded to pixels
    font.set_text(text, 0.0)
    return font.get_width_height()[0] / 64 / 20 / 72


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


def legend(axes: Axes, above: float = 0.3) -> None:
    """Over the panel, where it can hide nothing, ``above`` it by so many letters, as broad as fits."""
    handles, labels = axes.get_legend_handles_labels()
    columns = len(labels)
    while columns > 1 and _legend_width(labels, columns) > WIDTH - 0.5:
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


def input_names(result: Result) -> list[str]:
    """What the result was computed from, as ``file@point`` without folders, in the order A, B, C."""
    inputs = result.provenance.get("inputs", [])
    try:
        inputs = json.loads(inputs) if isinstance(inputs, str) else inputs
        found = [(PurePath(str(one["path"])).name, str(one.get("point") or "")) for one in inputs]
    except (ValueError, TypeError, KeyError, AttributeError):
        return []  # written by someone else: the picture goes without names
    return [_shortened(f"{name}@{point}" if point else name) for name, point in found]


def _shortened(name: str, length: int = 36) -> str:
    return name if len(name) <= length else f"{name[: length // 2 - 1]}…{name[-length // 2 :]}"


def titled(start: str, result: Result) -> str:
    names = input_names(result)
    return f"{start} {names[0]}" if names else start


def titled_points(start: str, result: Result, letters: str, joint: str) -> str:
    names = input_names(result)
    if len(names) < len(letters):
        return f"{start} {joint.join(letters)}"
    return f"{start} {joint.join(map(EQUALS.join, zip(letters, names, strict=False)))}"


def table(page: Page, result: Result) -> None:
    """Every scalar of a result with what it means."""
    about = field_metadata(type(result))
    rows = [
        (wrapped(str(about[name]["long_name"]), 2.4), _cell(value), about[name]["units"])
        for name, value in result.scalars().items()
    ]
    (axes,) = page.panels(0.2 + sum(0.06 + 0.14 * (text.count("\n") + 1) for text, _, _ in rows))
    axes.axis("off")
    rule = {"color": "black", "linewidth": 0.8, "linestyle": "-"}
    total = sum(text.count("\n") + 1.4 for text, _, _ in rows) or 1
    axes.set(xlim=(0, 1), ylim=(total + 0.2, -0.2))
    axes.plot([0, 1], [-0.1, -0.1], **rule)
    axes.plot([0, 1], [total + 0.1, total + 0.1], **rule)
    line_at = 0.2
    for text, value, units in rows:
        axes.text(0.01, line_at, text, va="top")
        axes.text(0.99, line_at, f"{value} {units}".strip(), va="top", ha="right")
        line_at += text.count("\n") + 1.4
    if not rows:
        page.note("this result has nothing to draw")


def _cell(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return short(float(value), 6) if isinstance(value, int | float | np.number) else str(value)


def accuracies_of(result: Any) -> list[tuple[str, np.ndarray]]:
    """Training and test accuracy by name, those that are there."""
    both = (("training", result.accuracy), ("test", getattr(result, "test_accuracy", None)))
    return [(label, values) for label, values in both if values is not None]


def accuracy_panel(page: Page, axes: Axes, x: np.ndarray, parts: list[tuple[str, np.ndarray]]) -> None:
    """Accuracies over x."""
    for label, values in parts:
        style: Any = {"color": BLUE} if label == "training" else DASHED
        line(page, axes, x, values, label, **style)
    axes.set_ylabel(f"{parts[0][0]}\naccuracy" if len(parts) == 1 else "accuracy")


def whose_statistics(page: Page, result: Any) -> None:
    """Small print on where batch-norm statistics came from, where it matters."""
    if result.config.get("options", {}).get("batchnorm") == "repair":
        page.note("straight line repaired: every layer rescaled to the spread of the ends'")
    if result.parameters and not any(piece.role == "norm" for piece in result.parameters):
        return
    if result.config.get("options", {}).get("batchnorm") in ("recalibrate", "repair"):
        page.note("batch-norm statistics taken anew at every point")
    elif any(note.startswith("batch-norm statistics") for note in result.notes):
        page.note("batch-norm statistics of the points, mixed")
