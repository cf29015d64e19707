"""Functions of two coordinates as contours, cells or surfaces."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.patheffects import withStroke
from matplotlib.text import Text

from landscape.plots.axes import MISSING, NARROW, cell_edges
from landscape.plots.levels import NUM_LEVELS, Range, Scale, levels_between, scale_for
from landscape.plots.page import WIDTH, Page
from landscape.plots.placing import Places
from landscape.plots.words import numbers, short, wrapped

COLOUR_MAP = "viridis"
BESIDE_PANEL = 1.2  # inches of the page that the labels of the axes and the bar take


class Field(NamedTuple):
    """A function of two coordinates made ready: masked where it cannot be shown, with its colours' scale."""

    x: np.ndarray
    y: np.ndarray
    values: np.ma.MaskedArray
    label: str
    log: bool
    low: float
    high: float
    offset: float = 0.0  # what was subtracted from the values, low and high


def field(
    page: Page, x: np.ndarray, y: np.ndarray, values: np.ndarray, label: str, done: np.ndarray | None = None
) -> Field:
    """Masks what has no place in the picture, says so in the small print, and settles the scale."""
    shown = np.ma.masked_invalid(np.array(values, dtype=float))
    absent = np.zeros(shown.shape, dtype=bool) if done is None else ~np.asarray(done, dtype=bool)
    where = "left open" if page.kind == "surface" else "hatched"
    invalid = int((np.ma.getmaskarray(shown) & ~absent).sum())
    if absent.any():
        page.note(f"{int(absent.sum())} of {shown.size} cells not computed ({where})")
    if invalid:
        page.note(f"{invalid} of {shown.size} cells NaN or infinite ({where})")
    shown = np.ma.masked_where(absent, shown)
    if not shown.count():
        page.note("no finite value")
        return Field(x, y, shown, label, False, 0.0, 1.0)
    low, high = float(shown.min()), float(shown.max())
    log = page.log
    if low == high:
        page.note(f"constant: {low:.12g} in every cell")
        room = 0.05 * abs(low) or 1.0
        return Field(x, y, shown, label, False, low - room, high + room)
    # Levels that were typed are values of the loss itself, so then nothing is subtracted.
    if high - low < NARROW * max(abs(low), abs(high)) and not isinstance(page.levels, list):
        if log:
            page.note("the range is too narrow for a logarithmic scale")
        label = f"{label} above its minimum {low:.12g}"
        return Field(x, y, shown - low, label, False, 0.0, high - low, low)
    if log and high <= 0:
        page.note("no positive value: the scale is linear")
        log = False
    if log and low <= 0:
        page.note(f"{int((shown <= 0).sum())} of {shown.size} cells not positive ({where})")
        shown = np.ma.masked_where(np.ma.filled(shown, 1.0) <= 0, shown)
        low = float(shown.min())
        if low == high:
            return Field(x, y, shown, label, False, 0.0, 2 * high)
    return Field(x, y, shown, label, log, low, high)


def draw_flat(
    page: Page,
    axes: Axes,
    one: Field,
    inches: float = 2.3,
    *,
    as_cells: bool = False,
    needs: Sequence[Range] = (),
    beside: list[Axes] | None = None,
) -> list[Text]:
    """Contours, or cells centred on the coordinates, with a colour bar; returns the contours' labels.

    ``inches`` is the height there is for the ticks of the bar, ``needs`` what :func:`scale_for` must let be seen;
    the bar stands ``beside`` these axes, their own where nothing is said, none where the list is empty.
    """
    as_contours = page.kind == "contour" and not as_cells and min(one.values.shape) > 1 and not _is_flat(one)
    limits = [centres if as_contours else cell_edges(centres) for centres in (one.x, one.y)]
    axes.set_xlim(limits[0].min(), limits[0].max())
    axes.set_ylim(limits[1].min(), limits[1].max())
    axes.spines[["top", "right"]].set_visible(True)
    if np.ma.getmaskarray(one.values).any():
        axes.patch.set(**MISSING)
    if not one.values.count():
        return []
    scale = _scale(page, one, needs, as_cells)
    if as_contours:
        return _contours(page, axes, one, scale, inches, [axes] if beside is None else beside)
    is_log = scale.spacing == "log"
    norm = LogNorm(one.low, one.high) if is_log else Normalize(one.low, one.high)
    norm = scale.norm if scale.spacing == "quantile" else norm
    # A vector format would show the seams between thousands of cells.
    mesh = axes.pcolormesh(
        limits[0], limits[1], one.values, norm=norm, cmap=COLOUR_MAP, rasterized=True, shading="flat"
    )
    ticks = levels_between(one.low, one.high, int(5 * inches), is_log)
    if _is_flat(one):
        ticks = np.array([float(one.values.min())])
    elif scale.spacing == "quantile":
        ticks = _thinned(scale.levels, inches)
    ticks = ticks[(ticks >= one.low) & (ticks <= one.high)]
    _colour_bar(page, [axes] if beside is None else beside, mesh, one, ticks, numbers(ticks, is_log))
    return []


def _scale(page: Page, one: Field, needs: Sequence[Range], as_cells: bool) -> Scale:
    """The levels that were typed, or those that suit the values; what is not linear is said."""
    if isinstance(page.levels, list):
        spacing = "log" if one.log else "linear" if page.spacing == "auto" else page.spacing
        return Scale(spacing, np.array(page.levels))
    if _is_flat(one):
        return Scale("linear", np.array([one.low, one.high]))
    spacing = "log" if one.log else "linear" if as_cells or page.log else page.spacing
    # Who asks for so many levels gets no more of them.
    needs = () if page.levels else needs
    found = scale_for(one.values.compressed(), page.levels or NUM_LEVELS, needs, spacing)
    if not one.log and found.spacing == "log":
        page.note("colours by the logarithm")
    elif found.spacing == "quantile":
        page.note("colours by quantiles: as much of the plane in each")
    return found


def _contours(
    page: Page, axes: Axes, one: Field, scale: Scale, inches: float, beside: list[Axes]
) -> list[Text]:
    levels, is_log = scale.levels, scale.spacing == "log"
    below, above = one.low < levels[0], one.high > levels[-1]
    extend = {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[int(below), int(above)]
    if below or above:
        page.note(f"values from {short(one.low)} to {short(one.high)}: beyond the levels in the end colours")
    filled = axes.contourf(
        one.x, one.y, one.values, levels=levels, norm=scale.norm, cmap=COLOUR_MAP, extend=extend
    )
    named = inside = levels[(levels > one.low) & (levels < one.high)]
    if scale.spacing == "quantile":
        write: Callable[[float], str] = _exactly(levels)
        # In the panel short numbers alone: the bar has every level.
        named = inside[[float(f"{level:.2g}") == level for level in inside]]
    else:
        write = numbers(levels, is_log, least=6 if isinstance(page.levels, list) else 3)
    _colour_bar(page, beside, filled, one, _thinned(levels, inches), write)
    if not len(inside):
        page.note("no level within the range")
        return []
    lines = axes.contour(
        one.x, one.y, one.values, levels=inside, colors="black", linewidths=0.4, negative_linestyles="solid"
    )
    # Not inline, so that a label can be taken away again and its line is whole.
    texts = list(axes.clabel(lines, named, fontsize=5.5, fmt=write, inline=False) or ())
    for text in texts:
        text.set_path_effects([withStroke(linewidth=1.5, foreground="white", alpha=0.8)])
    # Cut by the frame, or on a neighbour where contours are dense.
    places = Places(axes, page.column - BESIDE_PANEL, inches * page.column / WIDTH)
    for text in texts:
        text.set_visible(places.holds(text))
    return [text for text in texts if text.get_visible()]


def _thinned(levels: np.ndarray, inches: float) -> np.ndarray:
    """As many of the levels as a bar has room for."""
    return levels[:: math.ceil(len(levels) / (5 * inches))]


def _exactly(levels: np.ndarray) -> Callable[[float], str]:
    """Each level with the digits that it has, of those that tell it from its neighbours."""
    gaps = np.diff(levels)

    def write(value: float) -> str:
        nearest = int(np.abs(levels - value).argmin())
        gap = float(gaps[max(0, nearest - 1) : nearest + 1].min()) if len(gaps) else abs(value)
        digits = (n for n in range(1, 16) if abs(float(f"{value:.{n}g}") - value) <= gap / 100)
        return short(value, next(digits, 15))

    return write


def clear(axes: Axes, texts: list[Text], x: np.ndarray, y: np.ndarray, room: float = 0.08) -> None:
    """Takes away the labels nearer to any of the places than ``room``, as a share of the panel."""
    width, height = np.ptp(axes.get_xlim()), np.ptp(axes.get_ylim())
    for text in texts:
        here = text.get_position()
        if ((np.abs(x - here[0]) < room * width) & (np.abs(y - here[1]) < room * height)).any():
            text.set_visible(False)


def _colour_bar(
    page: Page,
    beside: list[Axes],
    mappable: Any,
    one: Field,
    ticks: np.ndarray,
    write: Callable[[float], str],
) -> None:
    if not beside:
        return
    bar = page.figure.colorbar(mappable, ax=beside, pad=0.02)
    bar.set_ticks(ticks.tolist())
    bar.minorticks_off()
    bar.ax.yaxis.set_major_formatter(lambda value, _: write(value))
    bar.ax.tick_params(labelsize=6.5)
    bar.outline.set_linewidth(0.6)  # type: ignore[operator]
    bar.set_label(wrapped(one.label, 2.2))


def _is_flat(one: Field) -> bool:
    return not one.values.count() or one.values.min() == one.values.max()
