"""A plane with its basins coloured and their tree beside it; of a module how high the paths to the bottom go."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, MaxNLocator

from landscape.plots.axes import MISSING, cell_edges, legend, line, log_axis
from landscape.plots.fields import field
from landscape.plots.levels import levels_between
from landscape.plots.page import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, WIDTH, Page
from landscape.plots.surface import draw_surface
from landscape.plots.words import input_names, numbers, short, titled

COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
MOST = 12
OUTLINE = [withStroke(linewidth=2, foreground="white")]


def basins(page: Page, result: Any) -> str:
    """A grid where there is one, else widths."""
    if result.grid_loss is None and result.width is None:
        page.panels(1.8)[0].set_axis_off()
        page.note("neither a plane nor widths")
        return titled("Basins of", result)
    if result.grid_loss is None:
        return _by_width(page, result)
    if result.total_persistence is not None:
        page.note(
            f"total persistence {short(result.total_persistence)}, mean {short(result.mean_persistence)}, "
            f"{short(result.relative_persistence, 2)} of the range of F"
        )
    if result.beta is None:
        above, below = page.panels(1.8, 1.6, shared=False)
        _line(page, above, below, result)
    elif page.kind == "surface":
        one = field(page, result.alpha, result.beta, result.grid_loss, page.labels["grid_loss"])
        axes = draw_surface(page, one)
        axes.set_xlabel(page.labels["alpha"], labelpad=-4)
        axes.set_ylabel(page.labels["beta"], labelpad=-4)
    else:
        page.figure.set_size_inches(page.width, min(2.7 * page.width / WIDTH, page.highest))
        grid: Any = page.figure.subplots(1, 2, width_ratios=[1.9, 1.0])
        plane, tree = grid
        _plane(page, plane, result)
        _tree(page, tree, result)
    return titled("Basins of", result) if input_names(result) else "Basins of a plane"


def colour(basin: int) -> str:
    """That of a basin by its rank; grey beyond the first."""
    return COLOURS[basin % len(COLOURS)] if 0 <= basin < MOST else "0.6"


def _tinted(result: Any) -> np.ndarray:
    """Colours (β, α, 3): full below the loss at which a basin merges, light above, white where there is none."""
    met = result.death[np.isfinite(result.death)]
    highest = float(met.max()) if len(met) else math.inf
    shades = np.ones((*result.basin_of.shape, 3))
    for k in range(len(result.birth)):
        inside = result.basin_of == k
        pure = np.array(to_rgb(colour(k)))
        own = result.death[k] if np.isfinite(result.death[k]) else highest
        shades[inside] = 1 - 0.25 * (1 - pure)
        shades[inside & (result.grid_loss < own)] = 1 - 0.65 * (1 - pure)
    return shades


def _plane(page: Page, axes: Axes, result: Any) -> None:
    edges = cell_edges(result.alpha), cell_edges(result.beta)
    shades = np.ma.array(_tinted(result), mask=np.repeat((result.basin_of < 0)[..., None], 3, axis=2))
    if np.ma.getmaskarray(shades).any():
        axes.patch.set(**MISSING)
        page.note("hatched: not finite")
        shades = np.dstack([shades.filled(1.0), (result.basin_of >= 0).astype(float)])
    axes.pcolormesh(*edges, shades, rasterized=True, shading="flat")
    one = field(page, result.alpha, result.beta, result.grid_loss, page.labels["grid_loss"])
    if one.high > one.low and min(one.values.shape) > 1 and one.values.count():
        # Beside a loss that rises far, the passes would have no line at all.
        met = result.death[np.isfinite(result.death)] - one.offset
        top = 2 * float(met.max()) - one.low if len(met) else float(np.quantile(one.values.compressed(), 0.7))
        top = min(top, one.high) if top > one.low else one.high
        levels = page.levels if isinstance(page.levels, list) else levels_between(one.low, top, 8, one.log)
        if len(levels):
            axes.contour(one.x, one.y, one.values, levels=levels, colors="0.25", linewidths=0.4)
            page.note(f"lines: loss {short(float(levels[0]))} to {short(float(levels[-1]))}")
    if result.path_alpha is not None and len(result.path_alpha):
        axes.plot(
            result.path_alpha, result.path_beta, "-", color="black", linewidth=1.1, path_effects=OUTLINE
        )
        page.note(f"black: lowest path in the plane, up to {short(result.in_plane_height)}")
    drawn = range(min(MOST, len(result.birth)))
    axes.plot(
        result.birth_alpha[: len(drawn)],
        result.birth_beta[: len(drawn)],
        "v",
        color="black",
        markersize=3.5,
        clip_on=False,  # whole on the frame, too
    )
    if result.mark_alpha is not None:
        axes.plot(
            result.mark_alpha,
            result.mark_beta,
            "o",
            color="white",
            markeredgecolor="black",
            markersize=4,
            zorder=8,
        )
        for letter, x, y in zip("ABCDEFGH", result.mark_alpha, result.mark_beta, strict=False):
            axes.annotate(
                letter,
                (x, y),
                (3, 3),
                textcoords="offset points",
                weight="bold",
                path_effects=OUTLINE,
                zorder=9,
            )
    names = [f"parameter {name}" for piece in result.parameters for name in piece.entries]
    first, second = names if len(names) == 2 else (page.labels["alpha"], page.labels["beta"])
    axes.set(xlabel=first, ylabel=second)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.spines[["top", "right"]].set_visible(True)
    page.note("triangles: lowest cells; colours: the basin a cell runs down to, full below its pass")


def _tree(page: Page, axes: Axes, result: Any) -> None:
    """A line for every basin from birth to death, where it joins that of its parent."""
    count = min(MOST, len(result.birth))
    if count < len(result.birth):
        page.note(f"tree: the {count} most persistent of {len(result.birth)} basins")
    met = result.death[np.isfinite(result.death)]
    highest = float(max([*met[:count], *result.birth[:count]], default=0.0))
    lowest = float(np.min(result.birth[:count], initial=highest))
    room = 0.15 * (highest - lowest) or 0.1 * abs(highest) or 1.0
    for k in range(count):
        end = result.death[k] if np.isfinite(result.death[k]) else highest + room
        axes.plot([k, k], [result.birth[k], end], "-", color=colour(k), linewidth=2)
        axes.plot(k, result.birth[k], "v", color="black", markersize=3.5)
        if np.isfinite(result.death[k]) and result.parent[k] < count:
            axes.plot([k, result.parent[k]], [end, end], "-", color=GREY, linewidth=0.8)
    axes.set_xlim(-0.7, max(count - 0.3, 0.7))
    axes.set_xlabel("basin")
    axes.set_xticks(range(0, count, max(1, count // 4)))
    axes.set_ylabel("birth to death (loss)")
    ticks = axes.get_yticks()
    axes.yaxis.set_major_formatter(lambda value, _: numbers(np.asarray(ticks), False)(value))
    if page.log:
        log_axis(page, axes, result.birth[:count], met[:count])


def _line(page: Page, axes: Axes, below: Axes, result: Any) -> None:
    """F along one direction in the colours of its basins."""
    for k in range(len(result.birth)):
        inside = result.basin_of == k
        axes.plot(result.alpha[inside], result.grid_loss[inside], ".", color=colour(k), markersize=3)
    line(page, axes, result.alpha, result.grid_loss, color=GREY, linewidth=0.6, marker="")
    axes.set(xlabel=page.labels["alpha"], ylabel=page.labels["grid_loss"])
    if page.log:
        log_axis(page, axes, result.grid_loss)
    _tree(page, below, result)


def _by_width(page: Page, result: Any) -> str:
    """Losses of the ends and heights of their paths over the width, and the share of paths that never rise."""
    above, below = page.panels(2.0, 1.2, shared=False)
    x = np.arange(len(result.width))
    values, heights = (np.asarray(one, dtype=float) for one in (result.loss, result.path_height))
    aside = 0.5 * (np.arange(values.shape[1]) / max(1, values.shape[1] - 1) - 0.5)
    place = x[:, None] + aside[None]
    rises = heights > values + 1e-10 * np.maximum(np.abs(values), 1e-12)
    for i, k in np.argwhere(rises):
        above.plot([place[i, k]] * 2, [values[i, k], heights[i, k]], "-", color=GREY, linewidth=0.7)
    spot: Any = {"linestyle": "", "markersize": 3.5}
    above.plot(
        place[rises], heights[rises], marker="_", color=VERMILLION, label="path height (bound)", **spot
    )
    strict = np.asarray(result.is_strict, dtype=bool)
    above.plot(place[~strict], values[~strict], marker="o", color=BLUE, label="end", **spot)
    above.plot(
        place[strict],
        values[strict],
        marker="o",
        markerfacecolor="none",
        color=VERMILLION,
        label="end, strict minimum",
        **spot,
    )
    if page.log:
        log_axis(page, above, values.ravel(), heights.ravel())
    above.set_ylabel("loss")
    legend(above)
    below.plot(x, result.share_joined, ".-", color=BLUE)
    below.set(ylabel="share that need\nnot rise", xlabel="width", ylim=(-0.05, 1.05))
    for axes in (above, below):
        axes.set_xlim(-0.5, len(x) - 0.5)
        axes.xaxis.set_major_locator(FixedLocator(list(map(float, x))))
        axes.set_xticks(x, [short(float(width)) for width in result.width])
    num_lost = int((~np.isfinite(values)).sum())
    if num_lost:
        page.note(f"{num_lost} ends that diverged are not drawn")
    return titled("Paths to the best end", result) if input_names(result) else "Paths to the best end"
