"""Critical points: the share of negative eigenvalues against the loss, beside what a closed form says."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from landscape.plots.axes import legend
from landscape.plots.page import BLUE, GREY, ORANGE, PURPLE, SKY, VERMILLION, Page
from landscape.plots.words import short, titled

# What is no critical point, by colour and marker.
OTHERS = {
    "gradient-flat": (ORANGE, "s"),
    "kink": (PURPLE, "D"),
    "running-to-infinity": (VERMILLION, "^"),
    "not-converged": (GREY, "v"),
}
# Of the height of the panel: where what has no index stands, below all that has one.
BELOW = -0.12


def critical(page: Page, result: Any) -> str:
    """One panel: a dot for each start, larger where more ended, crosses for the closed form, hollow what is none."""
    (axes,) = page.panels(3.0, shared=False)
    status = np.asarray(result.end_status)
    top = float(np.nanmax(result.index_fraction, initial=0.0))
    if result.known_index is not None:
        top = max(top, float(np.max(result.known_index)) / result.num_parameters)
    top = top or 1.0
    _kinds(axes, result)
    if result.known_loss is not None:
        axes.plot(
            result.known_loss,
            np.asarray(result.known_index) / result.num_parameters,
            "x",
            color=VERMILLION,
            markersize=7,
            markeredgewidth=0.9,
            label="closed form",
        )
    for name, (colour, marker) in OTHERS.items():
        seen = (status == name) & np.isfinite(result.loss)
        if seen.any():
            spot = {"markersize": 4, "markeredgewidth": 0.7, "markerfacecolor": "none", "color": colour}
            axes.plot(
                result.loss[seen],
                np.full(seen.sum(), BELOW * top),
                marker,
                label=f"{name}: {seen.sum()}",
                **spot,
            )
    if (status != "critical").any():
        axes.axhline(BELOW / 2 * top, color=GREY, linewidth=0.5)
        page.note("hollow, below the line: no critical point, so no index")
    axes.set_ylim((2 * BELOW if (status != "critical").any() else BELOW) * top, 1.12 * top)
    axes.set(xlabel=page.labels["loss"], ylabel=f"index over d = {result.num_parameters}")
    legend(axes)
    _said(page, result)
    return titled("Critical points", result)


def _kinds(axes: Axes, result: Any) -> None:
    """A dot for each distinct point, its area the number of starts that ended there."""
    if not result.num_distinct:
        return
    share = np.asarray(result.kind_index) / result.num_parameters
    seen = np.isfinite(result.kind_loss) & np.isfinite(share)
    count = np.asarray(result.kind_count, dtype=float)[seen]
    if not seen.any():
        return
    size = 12 + 90 * count / count.max()
    label = f"critical points: {result.num_distinct} distinct"
    spots = result.kind_loss[seen], share[seen]
    axes.scatter(*spots, s=size, color=SKY, edgecolor=BLUE, linewidth=0.6, label=label)


def _said(page: Page, result: Any) -> None:
    lost = int((~np.isfinite(result.loss)).sum())
    if lost:
        page.note(f"{lost} starts whose loss is not finite are not drawn")
    if result.num_distinct and np.max(result.kind_count) > 1:
        page.note(f"area: starts that ended there, {int(np.max(result.kind_count))} at most")
    if np.isfinite(result.rank_correlation):
        low, high = (short(float(end), 2) for end in np.ravel(result.rank_correlation_interval)[[0, -1]])
        value = short(result.rank_correlation, 2)
        page.note(f"Spearman's correlation {value} ({low} to {high}, 95 %, over the starts)")
