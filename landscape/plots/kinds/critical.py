"""Critical points: the share of negative eigenvalues against the loss, beside what a closed form says."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from landscape.plots.axes import legend, log_across
from landscape.plots.page import BLUE, DASHED, GREY, ORANGE, PURPLE, SKY, VERMILLION, Page
from landscape.plots.words import short, titled

RUNS = "running-to-infinity"
# What is no critical point, by colour and marker.
OTHERS = {
    "gradient-flat": (ORANGE, "s"),
    "kink": (PURPLE, "D"),
    RUNS: (VERMILLION, "^"),
    "not-converged": (GREY, "v"),
}
# Of the height of the panel: where what has no index stands, below all that has one.
BELOW = -0.12


def critical(page: Page, result: Any) -> str:
    """A dot for each point, larger where more ended, crosses for the closed form, hollow what is none; what runs away.

    Where everything runs to infinity there is nothing else to see.
    """
    runs = np.asarray(result.end_status) == RUNS
    if result.norm is not None and runs.all():
        _far_out(page, page.panels(2.6, shared=False)[0], result)
        return titled("No critical point", result)
    axes, *more = page.panels(*([2.4, 1.7] if result.norm is not None else [3.0]), shared=False)
    _index(page, axes, result)
    for below in more:
        _far_out(page, below, result)
    _said(page, result)
    return titled("Critical points", result)


def _index(page: Page, axes: Axes, result: Any) -> None:
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


def _far_out(page: Page, axes: Axes, result: Any) -> None:
    """The loss against ‖θ‖ from the start to the end of what ran to infinity, and the closed form."""
    runs = (np.asarray(result.end_status) == RUNS) & np.isfinite(result.exponent)
    pairs = [(result.start_norm, result.start_loss), (result.norm, result.loss)]
    (begun, first), (size, last) = ([one[runs] for one in pair] for pair in pairs)
    colour, marker = OTHERS[RUNS]
    if result.known_norm is None:
        axes.plot(np.stack([begun, size]), np.stack([first, last]), color=GREY, linewidth=0.5, linestyle="-")
    else:
        axes.plot(result.known_norm, result.known_far_loss, label="closed form", **DASHED)
    hollow = {"linestyle": "", "markersize": 4, "markeredgewidth": 0.7, "markerfacecolor": "none"}
    axes.plot(begun, first, "o", color=BLUE, label="start", **hollow)
    axes.plot(size, last, marker, color=colour, label=f"end, {RUNS}: {runs.sum()}", **hollow)
    log_across(axes, np.append(begun, size))
    axes.set(xlabel="‖θ‖", ylabel="loss")
    legend(axes)
    if not runs.any():
        return
    low, high = (short(float(one), 3) for one in (result.exponent[runs].min(), result.exponent[runs].max()))
    told = low if low == high else f"{low} to {high}"
    page.note(f"{RUNS}: ‖∇F‖ falls, at the end like ‖θ‖ to the power {told}")


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
