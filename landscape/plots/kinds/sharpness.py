"""The measures of sharpness, and what a rescaling does to them."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from landscape.plots.axes import legend, log_across, log_axis
from landscape.plots.page import BLUE, GREY, VERMILLION, Page
from landscape.plots.words import EQUALS, input_names, short, titled, wrapped

# Measures as they are drawn; with an error where it says more than rounding.
SYMBOLS = {
    "lambda_max": "λₘₐₓ",
    "trace": "tr H",
    "trace_per_parameter": "tr H / d",
    "noise_rise": "noise",
    "ball_rise_at_least": "ball",
    "sam_rise": "SAM step",
    "critical_sharpness": "2/η, critical",
    "directional_sharpness": "gᵀHg / gᵀg",
    "relative_critical_sharpness": "2/η, test loss",
    "fisher_rao_norm": "Fisher–Rao",
    "relative_flatness": "rel. flatness",
}
WITH_ERROR = ("lambda_max", "trace", "trace_per_parameter", "noise_rise", "critical_sharpness")
WITH_ERROR += ("relative_critical_sharpness", "relative_flatness")
# The search along −∇F: by its prefix in the result, colour, marker and label. As far as so many critical steps.
SEARCHES = (("", BLUE, "o", "F"), ("relative_", VERMILLION, "s", "test loss"))
BEYOND = 1.05
CURVATURES = (
    ("lambda_max", BLUE, "o"),
    ("critical_sharpness", VERMILLION, "s"),
    ("directional_sharpness", GREY, "^"),
)
NOISES = (("", BLUE, "o", "plain noise"), ("_filter", VERMILLION, "s", "filter noise"))
# Where the columns of the lower panel begin, as parts of its width; names begin under the labels of the upper.
NAMES, VALUES, POINTS = -0.2, 0.12, 0.55
TEXT = 7.0


def sharpness(page: Page, result: Any) -> str:
    """The rise under noise over σ, here and rescaled; below each measure with its error, and how it changes."""
    places = [getattr(result, f"{start}critical_step") for start, *_ in SEARCHES]
    is_searched = any(one is not None and np.isfinite(one) for one in places)
    is_measured = not {name for name, *_ in CURVATURES}.isdisjoint(result.measure.tolist())
    is_along = result.values_along is not None and is_measured
    heights = [1.9, *([1.5] if is_searched else []), 0.2 + 0.16 * len(result.measure)]
    first, *panels = page.panels(*([1.6] if is_along else []), *heights, shared=False)
    if is_along:
        _along(page, first, result)
    panels = panels if is_along else [first, *panels]
    _noise(page, panels[0], result)
    if is_searched:
        _search(page, panels[1], result)
    _measures(page, panels[-1], result)
    page.note(
        f"noise at σ{EQUALS}{short(result.table_sigma)}, ball ‖ε‖\u00a0≤\u00a0ρ{EQUALS}{short(result.rho)} "
        "from below; filter: relative to the length of each filter; ±: residual of λ, standard errors"
    )
    files = [name.rpartition("@")[0] for name in input_names(result)[:1]] or ["a run"]
    return f"Sharpness along {files[0]}" if is_along else titled("Sharpness at", result)


def _along(page: Page, axes: Axes, result: Any) -> None:
    """Curvatures at every point of a run, of which all else is the last."""
    names, x, drawn = result.measure.tolist(), np.arange(len(result.point)), []
    for name, color, marker in CURVATURES:
        if name not in names:
            continue
        values = result.values_along[:, names.index(name)]
        known = np.where(np.isfinite(values), values, np.nan)
        axes.plot(x, known, color=color, marker=marker, markersize=2.8, linewidth=1.2, label=SYMBOLS[name])
        drawn.append(known)
    log_axis(page, axes, *drawn, nonpositive="clip")
    labels = [str(name).rpartition("@")[2] for name in result.point]
    step = -(-len(labels) // 6)
    axes.set_xticks(x[::step], labels[::step])
    axes.set(xlabel="point; all below is of the last", ylabel="curvature")
    legend(axes)


def _noise(page: Page, axes: Axes, result: Any) -> None:
    drawn = []
    for ending, color, marker, label in NOISES:
        for start in ("", "rescaled_"):
            rise = getattr(result, f"{start}noise_rise{ending}")
            if rise is None:
                continue
            style: Any = {"linestyle": "-", "linewidth": 1.2, "label": label}
            if start:
                style = {"linestyle": (0, (4, 1.5)), "linewidth": 0.8, "markerfacecolor": "white"}
            error = np.abs(np.nan_to_num(getattr(result, f"{start}noise_rise{ending}_error"), posinf=0.0))
            known = np.where(np.isfinite(rise), rise, np.nan)
            axes.plot(result.sigma, known, color=color, marker=marker, markersize=2.8, **style)
            bars: Any = {"fmt": "none", "capsize": 1.5, "elinewidth": 0.7, "zorder": 1}
            axes.errorbar(result.sigma, known, yerr=error, ecolor=color, **bars)
            if np.isnan(known).any():
                page.note(f"{int(np.isnan(known).sum())} of {len(known)} mean rises NaN or infinite")
            drawn.append(known)
    if result.rescaled_noise_rise is not None:
        hollow: Any = {"linestyle": (0, (4, 1.5)), "markerfacecolor": "white", "linewidth": 0.8}
        axes.plot([], [], color=GREY, marker="o", markersize=2.8, label="rescaled", **hollow)
    trace = _value(result, "trace")
    if np.isfinite(trace) and trace > 0:
        # A single place has no line through it.
        across = result.sigma if len(result.sigma) > 1 else result.sigma * np.array([0.7, 1.4])
        rise = 0.5 * trace * across**2
        axes.plot(across, rise, color="black", linestyle=":", zorder=3, label="σ² tr H / 2")
    log_across(axes, result.sigma)
    log_axis(page, axes, *drawn, nonpositive="clip")
    axes.set_xlabel(page.labels["sigma"])
    axes.set_ylabel(wrapped("mean rise E[F(θ\u00a0+\u00a0σξ)]\u00a0−\u00a0F(θ)", 1.3))
    legend(axes)


def _search(page: Page, axes: Axes, result: Any) -> None:
    """What was tried along −∇F up to a little beyond where F first rises, and the parabola of its slope and bend."""
    found = [getattr(result, f"{start}critical_step") for start, *_ in SEARCHES]
    end = BEYOND * max(one for one in found if one is not None and np.isfinite(one))
    lows, highs, said = [0.0], [0.0], []
    for (start, color, marker, label), place in zip(SEARCHES, found, strict=True):
        steps = getattr(result, f"{start}search_step")
        if steps is None:
            continue
        rises = getattr(result, f"{start}search_rise")
        shown = (steps <= end) & np.isfinite(rises)
        if not np.isfinite(rises).all():
            page.note(f"{int((~np.isfinite(rises)).sum())} of {len(rises)} rises NaN or infinite")
        x, y = np.append(0.0, steps[shown]), np.append(0.0, rises[shown])
        axes.plot(x, y, color=color, marker=marker, markersize=2.8, linewidth=1.2, linestyle="-", label=label)
        lows.append(float(y.min()))
        highs.append(float(y.max()))
        if place is not None and np.isfinite(place):
            axes.axvline(place, color=color, linewidth=0.8, linestyle=(0, (4, 1.5)), zorder=0)
            said.append(f"{label} at η{EQUALS}{short(place, 4)}")
    bend = _value(result, "directional_sharpness")
    if np.isfinite(bend):
        x = np.linspace(0, end, 100)
        parabola = result.gradient_norm**2 * (bend * x**2 / 2 - x)
        axes.plot(x, parabola, color="black", linestyle=":", linewidth=1, marker="", label="slope and gᵀHg")
    low, high = min(lows), max(highs)
    room = 0.08 * (high - low) or 1.0
    axes.set(xlim=(0, end), ylim=(low - room, high + room))
    axes.axhline(0, color=GREY, linewidth=0.6, zorder=0)
    axes.set_xlabel(page.labels["search_step"])
    axes.set_ylabel(wrapped("rise F(θ\u00a0−\u00a0η∇F)\u00a0−\u00a0F(θ)", 1.2))
    legend(axes)
    page.note(f"dashed: first rise along −∇F of {', of '.join(said)}")


def _measures(page: Page, axes: Axes, result: Any) -> None:
    """One row a measure: its value and error in words, and its change under a rescaling, if any, as a point."""
    rows = np.arange(len(result.measure))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.yaxis.set_major_locator(NullLocator())
    axes.spines["left"].set_visible(False)
    is_alone = result.rescaled_values is None
    for row, one in enumerate(zip(result.measure, result.values, result.errors, strict=True)):
        for x, text in zip((NAMES, POINTS if is_alone else VALUES), _texts(*one), strict=True):
            axes.text(x, row, text, transform=axes.get_yaxis_transform(), fontsize=TEXT, va="center")
    if is_alone:  # a table as broad as the page, ruled so that the eye keeps to its row
        axes.xaxis.set_major_locator(NullLocator())
        axes.spines["bottom"].set_visible(False)
        rules = axes.hlines(rows[:-1] + 0.5, NAMES, 1, color="0.85", linewidth=0.5)
        rules.set(transform=axes.get_yaxis_transform(), clip_on=False)
        page.note("not rescaled")
        return
    with np.errstate(all="ignore"):
        ratio = np.asarray(result.rescaled_values / result.values)
        spread = np.abs(np.nan_to_num(result.rescaled_errors / result.values, posinf=0.0))
    shown = np.isfinite(ratio) & (ratio > 0)
    if not shown.all():
        page.note(f"{int((~shown).sum())} of {len(ratio)} ratios not positive: not shown")
    if not shown.any():
        axes.xaxis.set_major_locator(NullLocator())
        return
    _ratio_axis(axes, np.append(ratio[shown], 1.0))
    axes.vlines(1, len(rows) - 0.4, -0.6, color=GREY, linewidth=0.6, linestyle=":", zorder=0)
    axes.hlines(rows[shown], 1, ratio[shown], color="0.8", linewidth=0.8, linestyle="-", zorder=1)
    changes = np.asarray(result.changes_under_rescaling, dtype=bool)
    for which, label, color, marker in (
        (changes & shown, "changes: no property of the function", VERMILLION, "D"),
        (~changes & shown, "unchanged within errors", BLUE, "o"),
    ):
        if which.any():
            axes.errorbar(
                ratio[which],
                rows[which],
                xerr=spread[which],
                linestyle="",
                marker=marker,
                color=color,
                markersize=3,
                capsize=1.5,
                elinewidth=0.7,
                label=label,
            )
    legend(axes)


def _ratio_axis(axes: Axes, ratios: np.ndarray) -> None:
    """A logarithmic axis of which the ratios take the right part, beside the words."""
    low, high = np.log10(ratios.min()) - 0.06, np.log10(ratios.max()) + 0.06
    margin = 0.08 * (high - low)
    low, high = low - margin, high + margin
    axes.set_xscale("log")
    axes.set_xlim(10 ** (high - (high - low) / (1 - POINTS)), 10**high)
    axes.spines["bottom"].set_bounds(10**low, 10**high)
    every = np.outer(10.0 ** np.arange(np.floor(low), np.ceil(high) + 1), [1, 2, 5]).ravel()
    ticks = every[(every >= 10**low) & (every <= 10**high)]
    if len(ticks) > 4:
        ticks = ticks[np.isclose(np.log10(ticks) % 1, 0)]
        ticks = ticks[:: -(-len(ticks) // 4)]
    axes.xaxis.set_major_locator(FixedLocator(ticks.tolist()))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("rescaled / here", x=(1 + POINTS) / 2)


def _texts(name: object, value: float, error: float) -> tuple[str, str]:
    """The measure, and its value with what is known of its error."""
    base = str(name).removesuffix("_filter")
    words = SYMBOLS.get(base, base) + (", filter" if base != str(name) else "")
    if base.endswith("at_least"):
        return words, f"≥ {short(value)}"
    # An error beyond the digits that are shown says nothing there.
    last = 10.0 ** (math.floor(math.log10(abs(value))) - 2) if value and math.isfinite(value) else 0.0
    is_told = base in WITH_ERROR and (error > last / 2 or math.isnan(error))
    return words, short(value) + (f" ± {short(error, 1)}" if is_told else "")


def _value(result: Any, name: str) -> float:
    found = [value for one, value in zip(result.measure, result.values, strict=True) if str(one) == name]
    return float(found[0]) if found else float("nan")
