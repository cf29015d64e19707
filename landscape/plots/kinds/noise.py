"""The gradient norm of SGD against step size and batch size, with its power laws and the bound of theory."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from landscape.plots.axes import apart, legend, log_axis
from landscape.plots.page import BLUE, DASHED, GREEN, GREY, Page
from landscape.plots.words import input_names, short, titled

MOST_TICKS = 7


def noise(page: Page, result: Any) -> str:
    """Two panels, each logarithmic on both axes: means with their standard errors, fit and bound."""
    batch, step = np.asarray(result.batch_size), np.asarray(result.step_size)
    falls = (result.schedule or "constant") != "constant"
    panels = [(step, batch == batch.min(), "step_size", "α", result.slope_step, result.slope_step_interval)]
    if len(np.unique(batch)) > 1:
        which = step == step.max()
        panels.append((batch, which, "batch_size", "B", result.slope_batch, result.slope_batch_interval))
    for axes, (x, which, name, sign, slope, interval) in zip(
        page.panels(*[1.9] * len(panels), shared=False), panels, strict=True
    ):
        _panel(page, axes, result, x, which)
        used = which & ~np.asarray(result.diverged, dtype=bool).any(1) & (result.mean > 0)
        if slope is not None and np.isfinite(slope) and used.any():
            _fit(axes, x[used], result.mean[used], sign, slope, interval)
        other = f"B = {batch.min()}" if name == "step_size" else f"α = {short(float(step.max()))}"
        label = "first step size α" if falls and name == "step_size" else page.labels[name]
        axes.set_xlabel(f"{label}, at {other}")
        axes.set_ylabel("mean ‖∇F‖², weighted by α" if falls else "mean ‖∇F‖²")
        legend(axes)
    seeds = np.shape(result.mean_squared_gradient_norm)[-1]
    if seeds > 1:
        page.note(f"bars: standard error over {seeds} seeds; intervals: 95 %")
    if (count := int(np.nansum(result.diverged))) > 0:
        page.note(f"{count} of {result.diverged.size} runs diverged")
    how = f"{result.num_steps} {result.schedule} steps" if falls else f"{result.num_steps} steps"
    if falls:
        page.note(f"Robbins–Monro {result.robbins_monro}")
    start = f"SGD for {how}"
    return titled(f"{start} from", result) if input_names(result) else start


def _panel(page: Page, axes: Axes, result: Any, x: np.ndarray, which: np.ndarray) -> None:
    order = np.flatnonzero(which)[np.argsort(x[which])]
    dots = np.repeat(x[order], result.mean_squared_gradient_norm.shape[1])
    values = result.mean_squared_gradient_norm[order].ravel()
    axes.plot(dots, values, ".", color=GREY, alpha=0.4, markersize=2.5, label="one run")
    bars = np.nan_to_num(result.standard_error[order])
    axes.errorbar(
        x[order], result.mean[order], bars, fmt="o", color=BLUE, capsize=2, elinewidth=0.8, label="mean"
    )
    axes.plot(x[order], result.bound[order], label="bound", **DASHED)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(apart(x[order], MOST_TICKS)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(float(value))))
    axes.xaxis.set_minor_locator(NullLocator())
    log_axis(
        page, axes, result.mean_squared_gradient_norm[order].ravel(), result.bound[order], nonpositive="clip"
    )


def _fit(axes: Axes, x: np.ndarray, mean: np.ndarray, sign: str, slope: float, interval: np.ndarray) -> None:
    """The line of least squares, which goes through the mean of the logarithms."""
    ends = np.array([x.min(), x.max()], dtype=float)
    line = np.exp(np.log(mean).mean() + slope * (np.log(ends) - np.log(x).mean()))
    low, high = (short(float(end), 2) for end in interval)
    label = f"{sign} to the power {short(slope, 2)} ({low} to {high})"
    axes.plot(ends, line, color=GREEN, linestyle="-", label=label)
