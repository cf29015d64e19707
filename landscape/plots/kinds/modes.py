"""Many modes: the barrier between every two of them as a matrix."""

from typing import Any

import numpy as np
from matplotlib.patches import Rectangle

from landscape.plots.page import VERMILLION, Page
from landscape.plots.words import input_names, short, titled


def modes(page: Page, result: Any) -> str:
    """The matrices of barriers with their numbers, the spanning tree outlined in the curved one."""
    matrices = [
        (result.barrier_straight, "straight line"),
        (result.barrier_aligned, "straight line, aligned"),
        (result.barrier_curved, "trained curve"),
    ]
    matrices = [(values, title) for values, title in matrices if values is not None]
    panels = page.panels(*[2.0] * len(matrices), shared=False)
    count = len(result.mode)
    pairs = list(zip(result.tree_from.tolist(), result.tree_to.tolist(), strict=True))
    for axes, (values, title) in zip(panels, matrices, strict=True):
        off = np.where(np.eye(count, dtype=bool), np.nan, np.asarray(values, dtype=float))
        known = off[np.isfinite(off)]
        top = float(known.max(initial=0.0))
        axes.imshow(
            np.ma.masked_invalid(off), cmap="cividis", vmin=min(0.0, known.min(initial=0.0)), vmax=top or 1
        )
        axes.set_xticks(range(count), [str(i) for i in range(count)])
        axes.set_yticks(range(count), [str(i) for i in range(count)])
        axes.set_title(f"barrier over the chord, {title}", fontsize=8)
        for i, j in zip(*np.nonzero(~np.eye(count, dtype=bool)), strict=True):
            is_bright = np.isfinite(off[i, j]) and off[i, j] > 0.6 * top
            text = short(float(off[i, j]), 2)
            axes.text(
                j, i, text, ha="center", va="center", fontsize=6, color="black" if is_bright else "white"
            )
        for i, j in pairs if title == "trained curve" else []:
            for x, y in ((i, j), (j, i)):
                square = Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor=VERMILLION, linewidth=1.2)
                axes.add_patch(square)
    page.note("; ".join(f"{i}: {name}" for i, name in enumerate(result.mode)))
    page.note(f"outlined: the spanning tree, highest barrier {short(result.largest_barrier)}")
    others = f"and {count - 1} others"
    return (
        f"{titled('Barriers between', result)} {others}"
        if input_names(result)
        else f"Barriers of {count} points"
    )
