"""What is certain of a point: spectra, ranks, every assumption; a run from its start on; kernels and their limit."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from landscape.plots.axes import error_band, legend, line, log_across, log_axis
from landscape.plots.page import BLUE, DASHED, GREEN, GREY, ORANGE, VERMILLION, Page
from landscape.plots.words import input_names, short, titled, uncertain, wrapped

# How the state of an assumption is drawn: colour, sign.
STATES = {"holds": (GREEN, "o"), "fails": (VERMILLION, "X"), "cannot be known": (ORANGE, "D")}
TEXT, ROW = 6.0, 0.125
# Inches of a line under the theorems: what the axes have beside their tick labels.
LINE = 2.4
MOST_TICKS = 4
HALF = "p to the power −1/2"


def certify(page: Page, result: Any) -> str:
    """The kernel's limit by width; or a run from its first point on; or the spectrum of K, ranks and assumptions."""
    if result.width_exponent is not None:
        _limit(page, result)
        start = "Tangent kernel against its limit"
        return titled(f"{start},", result) if input_names(result) else start
    if result.point is not None and len(result.point) > 1:
        _run(page, result)
        names = input_names(result)
        return (
            f"Certificates along {names[0].partition('@')[0]}" if names else "Certificates at several points"
        )
    _point(page, result)
    page.note(str(np.ravel(result.verdict)[0]))
    if result.smooth_loss is not None:
        told = uncertain(float(np.ravel(result.smooth_loss)[0]), float(np.ravel(result.smooth_loss_error)[0]))
        page.note(f"averaged over N(0, {short(result.smooth_sigma)}² I) the loss is {told}")
    return titled("Certificates at", result) if input_names(result) else "Certificates"


# --- one point --------------------------------------------------------------------------------


def _point(page: Page, result: Any) -> None:
    heights, drawings = [], []
    if result.ntk_spectrum is not None:
        heights, drawings = [1.5], [_spectrum]
    if result.layer is not None and result.feature_rank is not None:
        heights.append(0.35 + 0.16 * len(result.layer))
        drawings.append(_features)
    if result.path_loss is not None:
        heights.append(1.3)
        drawings.append(_path)
    heights.append(_rows(result) * ROW)
    drawings.append(_assumptions)
    for axes, draw in zip(page.panels(*heights, shared=False), drawings, strict=True):
        draw(page, axes, result)


def _spectrum(page: Page, axes: Axes, result: Any) -> None:
    values = np.ravel(result.ntk_spectrum)
    threshold = float(np.ravel(result.ntk_threshold)[0])
    counted = values > threshold
    place = np.arange(1, len(values) + 1)
    axes.plot(place[counted], values[counted], ".", color=BLUE, markersize=3, label="eigenvalue of K")
    if (~counted).any():
        # What rounding made of zero has no place of its own.
        zero = np.full(int((~counted).sum()), max(threshold, np.finfo(float).tiny))
        axes.plot(place[~counted], zero, "x", color=VERMILLION, markersize=3, label="zero, to rounding")
    if threshold > 0:
        axes.axhline(threshold, color=GREY, linewidth=0.7, linestyle=":", label="threshold")
    log_axis(page, axes, values[counted])
    rank = int(np.ravel(result.ntk_rank)[0])
    axes.set_xlabel(
        f"rank {rank} of nk = {result.num_outputs}; {_moving(result)} of P = {result.num_parameters} move"
    )
    axes.set_ylabel("eigenvalue")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    legend(axes)


def _moving(result: Any) -> int:
    return int(np.ravel(result.num_moving)[0])


def _features(page: Page, axes: Axes, result: Any) -> None:
    rank, width = (np.atleast_2d(one)[-1] for one in (result.feature_rank, result.feature_width))
    rows = np.arange(len(rank))
    axes.barh(rows, width, color="0.88", height=0.75, label="width")
    axes.barh(rows, rank, color=BLUE, height=0.4, label="rank")
    axes.set_yticks(rows, [wrapped(str(name), 0.9, TEXT) for name in result.layer], fontsize=TEXT)
    axes.set_ylim(len(rank) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("features that each layer multiplies")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    legend(axes)


def _path(page: Page, axes: Axes, result: Any) -> None:
    line(page, axes, result.t, result.path_loss, "loss", color=BLUE)
    axes.plot(result.t, result.path_law, label="F* + (1 − s)²(F − F*)", zorder=3, **DASHED)
    axes.axhline(result.path_floor, color=GREY, linewidth=0.6, linestyle=":")
    axes.set_xlabel("position s on the path of the last layer")
    axes.set_ylabel("loss")
    legend(axes)


def _rows(result: Any) -> int:
    return len(result.claim) + len(result.assumption) + sum(_lines(text) for text in _conclusions(result)) + 1


def _conclusions(result: Any) -> list[str]:
    return [wrapped(str(text), LINE, TEXT) for text in np.atleast_2d(result.conclusion)[-1]]


def _lines(text: str) -> int:
    return text.count("\n") + 1


def _assumptions(page: Page, axes: Axes, result: Any) -> None:
    """Each theorem with its assumptions, a sign before each, and what follows."""
    axes.axis("off")
    axes.set(xlim=(0, 1), ylim=(_rows(result) - 0.3, -0.7))
    states = np.atleast_2d(result.state)[-1]
    row = 0
    for claim, conclusion in zip(result.claim, _conclusions(result), strict=True):
        axes.text(0.0, row, str(claim), fontsize=TEXT, va="center", weight="bold")
        row += 1
        for text, owner, state in zip(result.assumption, result.assumed_by, states, strict=True):
            if owner == claim:
                color, sign = STATES.get(str(state), (GREY, "."))
                axes.plot([0.02], [row], sign, color=color, markersize=2.6)
                axes.text(0.05, row, str(text), fontsize=TEXT, va="center")
                row += 1
        axes.text(0.05, row - 0.5, conclusion, fontsize=TEXT, va="top", style="italic", color=GREY)
        row += _lines(conclusion)
    for one in axes.texts:
        # Long lines would otherwise narrow every panel.
        one.set_in_layout(False)
    for state, (color, sign) in STATES.items():
        axes.plot([], [], sign, color=color, linestyle="", markersize=3, label=state)
    legend(axes)


# --- along a run ------------------------------------------------------------------------------


def _run(page: Page, result: Any) -> None:
    place = np.arange(len(result.point))
    panels = page.panels(1.3, 1.3, 1.5)
    counted = result.ntk_smallest > result.ntk_threshold
    panels[0].plot(place, np.where(counted, result.ntk_smallest, np.nan), ".-", color=BLUE, label="λ_min(K)")
    if not counted.all():
        zero = np.where(counted, np.nan, result.ntk_threshold)
        panels[0].plot(place, zero, "x", color=VERMILLION, linestyle="", label="zero, to rounding")
    panels[0].plot(place, result.ntk_largest, color=GREY, linestyle="-.", linewidth=0.8, label="λ_max(K)")
    panels[0].plot(place, result.ntk_threshold, label="threshold", color=GREY, linestyle=":", linewidth=0.8)
    log_axis(
        page, panels[0], np.where(counted, result.ntk_smallest, result.ntk_threshold), result.ntk_threshold
    )
    panels[0].set_ylabel("eigenvalue of K")
    # At the first point both are 0.
    changes: list[tuple[str, str, dict[str, Any]]] = [
        ("kernel_change", "‖K − K₀‖/‖K₀‖", {"color": BLUE}),
        ("weight_change", "‖θ − θ₀‖/‖θ₀‖", DASHED),
    ]
    for name, label, style in changes:
        values = getattr(result, name)
        if values is not None and np.isfinite(values).any():
            line(page, panels[1], place, values, label, **style)
    panels[1].set_ylabel("change")
    panels[1].set_ylim(bottom=0)
    line(page, panels[2], place, result.loss, "loss", color=BLUE)
    if result.linear_loss is not None:
        line(page, panels[2], place, result.linear_loss, "of the linearised model", **DASHED)
    if result.smooth_loss is not None:
        label = f"averaged over N(0, {short(result.smooth_sigma)}² I)"
        line(page, panels[2], place, result.smooth_loss, label, color=ORANGE, linestyle="-")
        told = f"orange: ± standard error of {result.smooth_pairs} pairs ±ξ"
        error_band(page, panels[2], place, result.smooth_loss, result.smooth_loss_error, ORANGE, told)
    bound = np.where(np.isfinite(result.loss_bound), result.loss_bound, np.nan)
    if np.isfinite(bound).any() and page.log:
        line(page, panels[2], place, bound, "bound", color=GREEN, linestyle="-.")
    if result.decay_bound is not None:
        line(page, panels[2], place, result.decay_bound, "F₀ exp(−4ct/nk)", color=GREY, linestyle=":")
    if page.log:
        log_axis(page, panels[2], result.loss, result.linear_loss, result.smooth_loss)
    panels[2].set_ylabel("loss")
    for axes in panels:
        legend(axes)
    _named(panels[-1], [str(one) for one in result.point])
    page.note(f"at the last point: {result.verdict[-1]}")


def _named(axes: Axes, names: list[str]) -> None:
    every = max(1, -(-len(names) // MOST_TICKS))
    ticks = sorted({*range(0, len(names), every), len(names) - 1})
    if len(ticks) > 2 and ticks[-1] - ticks[-2] < every:
        del ticks[-2]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda x, _: names[round(x)] if 0 <= round(x) < len(names) else "")
    )
    axes.set_xlabel("point of the run")


# --- the limit --------------------------------------------------------------------------------


def _limit(page: Page, result: Any) -> None:
    """How far K is from its limit by width; below, where known, how far training takes K and θ."""
    is_trained = result.lazy_kernel_change is not None
    axes, *more = page.panels(*([1.9, 1.9] if is_trained else [2.3]))
    width, draws = np.asarray(result.width, dtype=float), result.kernel_error.shape[1]
    axes.plot(width, result.kernel_error_rms, "o", color=BLUE, markersize=4, label="root mean square")
    low, high = (short(float(end), 3) for end in np.ravel(result.width_exponent_interval)[[0, -1]])
    fitted = f"p to the power {short(result.width_exponent, 3)} ({low} to {high})"
    one = {"color": GREY, "label": "one net"}
    _dots(axes, width, result.kernel_error, one)
    _laws(axes, width, result.kernel_error_rms, {fitted: (result.width_exponent, GREEN, "-")})
    log_axis(page, axes, result.kernel_error.ravel())
    axes.set_ylabel("‖K − K∞‖ / ‖K∞‖")
    legend(axes)
    if is_trained:
        _lazy(page, more[0], width, result)
    log_across(axes, width)
    (more[0] if more else axes).set_xlabel("width p")
    page.note(f"{draws} nets of each width at their start; interval: 95 %")


def _lazy(page: Page, axes: Axes, width: np.ndarray, result: Any) -> None:
    values, middles = [], []
    for name, symbol, color, marker in (
        ("kernel", "‖K − K₀‖/‖K₀‖", BLUE, "o"),
        ("weight", "‖θ − θ₀‖/‖θ₀‖", ORANGE, "s"),
    ):
        changes = getattr(result, f"lazy_{name}_change")
        value, error = (getattr(result, f"lazy_{name}_exponent{end}") for end in ("", "_error"))
        told = short(value, 3) if error is None else uncertain(value, error)
        middle = np.exp(np.log(np.where(changes > 0, changes, np.nan)).mean(1))
        _dots(axes, width, changes, {"color": color})
        label = f"{symbol}: p to the power {told}"
        axes.plot(width, middle, marker, color=color, markersize=4, label=label)
        values.append(changes.ravel())
        middles.append(middle)
    for middle in middles:
        _laws(axes, width, middle, {})
    log_across(axes, width)
    log_axis(page, axes, *values)
    axes.set_ylabel("change by training")
    legend(axes)
    page.note("changes: dots are nets, marks their geometric means; ±: standard error over the nets")


def _dots(axes: Axes, width: np.ndarray, values: np.ndarray, style: dict[str, Any]) -> None:
    axes.plot(np.repeat(width, values.shape[1]), values.ravel(), ".", alpha=0.4, markersize=2.5, **style)


def _laws(
    axes: Axes, width: np.ndarray, middles: np.ndarray, fitted: dict[str, tuple[float, str, str]]
) -> None:
    """Powers of the width through the middle of ``middles``: those ``fitted``, by label, and −1/2."""
    seen = (width > 0) & (middles > 0) & np.isfinite(middles)
    if not seen.any():
        return
    logs, level = np.log(width[seen]), np.log(middles[seen]).mean()

    def at(exponent: float) -> np.ndarray:
        return np.exp(level + exponent * (logs - logs.mean()))

    for label, (exponent, color, linestyle) in fitted.items():
        axes.plot(width[seen], at(exponent), label=label, color=color, linestyle=linestyle)
    has_one = any(one.get_label() == HALF for one in axes.lines)
    axes.plot(width[seen], at(-0.5), label=None if has_one else HALF, **DASHED)
