"""Many modes: the barrier between every two of them as a matrix."""

from typing import Any

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle

from landscape.plots.page import VERMILLION, Page
from landscape.plots.words import brief, input_names, short, titled, wrapped

COLOUR_MAP = "cividis"
MOST_WRITTEN = 8  # points between which every barrier is written as a number


def modes(page: Page, result: Any) -> str:
    """The matrices of barriers on one scale with one bar, the spanning tree outlined in the curved one."""
    matrices = [
        (result.barrier_straight, "straight line"),
        (result.barrier_aligned, "straight line, aligned"),
        (result.barrier_curved, "trained curve"),
    ]
    matrices = [(_off_diagonal(values), title) for values, title in matrices if values is not None]
    panels = page.panels(*[2.0] * len(matrices), shared=False, alike=True)
    names = brief([str(one) for one in result.mode])
    norm = _common([values for values, _ in matrices])
    pairs = list(zip(result.tree_from.tolist(), result.tree_to.tolist(), strict=True))
    for axes, (values, title) in zip(panels, matrices, strict=True):
        axes.imshow(values, cmap=COLOUR_MAP, norm=norm)
        axes.set_yticks(range(len(names)), names)
        axes.set_xticks(range(len(names)), names)
        if max(map(len, names)) * len(names) > 26:
            for label in axes.get_xticklabels():
                label.set(rotation=30, ha="right", rotation_mode="anchor")
        axes.tick_params(length=0)
        axes.set_title(title, fontsize=8)
        if len(names) <= MOST_WRITTEN:
            _written(axes, values, norm)
        for i, j in pairs if title == "trained curve" else []:
            for x, y in ((i, j), (j, i)):
                square = Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor=VERMILLION, linewidth=1.2)
                axes.add_patch(square)
    bar = page.figure.colorbar(
        panels[0].images[0], ax=panels, pad=0.03, aspect=20 * len(panels) / page.columns
    )
    bar.ax.tick_params(labelsize=6.5)
    bar.set_label("barrier over the chord")
    if names != result.mode.tolist():
        page.note("; ".join(f"{own}: {name}" for own, name in zip(names, result.mode, strict=True)))
    page.note(f"outlined: the spanning tree, highest barrier {short(result.largest_barrier)}")
    if not input_names(result):
        return f"Barriers of {len(names)} points"
    return wrapped(f"{titled('Barriers between', result)} and {len(names) - 1} others", page.width - 0.1, 8)


def _off_diagonal(values: Any) -> np.ma.MaskedArray:
    values = np.asarray(values, dtype=float)
    return np.ma.masked_invalid(np.where(np.eye(len(values), dtype=bool), np.nan, values))


def _common(matrices: list[np.ma.MaskedArray]) -> Normalize:
    """One scale for all matrices, which holds zero."""
    known = np.concatenate([one.compressed() for one in matrices])
    return Normalize(min(0.0, known.min(initial=0.0)), float(known.max(initial=0.0)) or 1.0)


def _written(axes: Any, values: np.ma.MaskedArray, norm: Normalize) -> None:
    """Each barrier in its cell, dark on bright cells."""
    for i, j in zip(*np.nonzero(~np.eye(len(values), dtype=bool)), strict=True):
        value = float(values[i, j]) if values[i, j] is not np.ma.masked else float("nan")
        is_bright = not np.isfinite(value) or norm(value) > 0.6
        colour = "black" if is_bright else "white"
        axes.text(j, i, short(value, 2), ha="center", va="center", fontsize=6, color=colour)
