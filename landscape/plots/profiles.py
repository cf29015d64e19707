"""What pictures of paths and cuts share: chord, barrier, the names of the ends, and how a cut was made."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.path import Path

from landscape.numerics.curves.barriers import barriers, is_below_its_error
from landscape.plots.axes import whose_statistics
from landscape.plots.page import GREY, Page
from landscape.plots.words import EQUALS, short, uncertain

# What a barrier looks like in the legend.
UPRIGHT = Path([(-0.4, 1), (0.4, 1), (0, 1), (0, -1), (-0.4, -1), (0.4, -1)], [1, 2, 1, 2, 1, 2])


def chord(axes: Axes, t: np.ndarray, loss: np.ndarray) -> None:
    """(1 − t)F(A) + tF(B), point by point, since on a logarithmic axis it is no straight line."""
    inside = (t >= 0) & (t <= 1)
    first, last = loss[inside][0], loss[inside][-1]
    if not (np.isfinite(first) and np.isfinite(last)):
        return
    chord = (1 - t[inside]) * first + t[inside] * last
    axes.plot(t[inside], chord, color=GREY, linestyle=":", linewidth=1.0, label="chord A to B")
    axes.plot([0, 1], [first, last], linestyle="", marker="o", color="black", markersize=3.5, zorder=5)


def barrier(
    page: Page,
    axes: Axes,
    t: np.ndarray,
    loss: np.ndarray,
    height: tuple[float, float | None],
    colour: str,
) -> None:
    """The barrier over the chord with its standard error, where there is one; the small print says if it is none."""
    value, error = height
    told = short(value) if error is None else uncertain(value, error)
    if is_below_its_error(value, error):
        page.note(f"barrier {told}: none beyond its error")
    if not (np.isfinite(value) and value > 0):
        return
    at = barriers(t, loss).at_chord
    top = float(loss[t == at][0])
    # A line with a bar at each end: of any height, where the heads of an arrow would cross on a low one.
    style: Any = {"color": colour, "linewidth": 0.8, "linestyle": "-", "zorder": 4}
    axes.plot([at, at], [top - value, top], marker="_", markersize=5, markeredgewidth=0.8, **style)
    # The value stands in the legend: beside the line it would lie on one of the others.
    axes.plot([], [], linestyle="", marker=UPRIGHT, markersize=7, color=colour, label=f"barrier {told}")


def ends_marked(panels: list[Axes]) -> None:
    for axes in panels:
        for position in (0, 1):
            axes.axvline(position, color=GREY, linewidth=0.5, zorder=0)
    top = panels[0].secondary_xaxis("top")
    top.set_xticks([0, 1], ["A", "B"], weight="bold")
    top.tick_params(length=0, pad=1)
    top.spines["top"].set_visible(False)


def how_cut(page: Page, result: Any) -> None:
    """What the directions are and whose batch-norm statistics were used, where the configuration tells."""
    if result.config.get("computed") == "elsewhere":
        page.note("computed elsewhere, not checked")
    options = result.config.get("options", {})
    if options.get("directions") == "random" and getattr(result, "point_alpha", None) is None:
        norm = {"none": "not normalised"}.get(options["norm"], f"{options['norm']}-normalised")
        page.note(f"random directions, {norm}, seed {result.config['seed']}")
    elif options.get("directions") in ("pca", "pca-first") and not hasattr(result, "explained_variance"):
        page.note("principal directions of the run")
    elif getattr(result, "direction_curvature", None) is not None:
        values = ", ".join(short(value) for value in result.direction_curvature)
        page.note(f"along eigenvectors of the Hessian at θ*, λ{EQUALS}{values}")
    if getattr(result, "block", None) is not None:
        page.note(f"only {result.block} moves")
    whose_statistics(page, result)


def residual_note(page: Page, result: Any, start: str, where: str) -> None:
    farthest = np.nanmax(result.trajectory_residual, initial=0.0)
    page.note(f"{start}, up to {short(farthest)} off the {where}")
