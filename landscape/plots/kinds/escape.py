"""Steps until a point is left against the size of the push, beside theory, and the losses on the way."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from landscape.plots.axes import legend, log_across, log_axis
from landscape.plots.page import BLUE, DASHED, GREEN, GREY, Page
from landscape.plots.words import input_names, short, titled
from landscape.result import with_error

CURVES = 6


def escape(page: Page, result: Any) -> str:
    """Above every run's steps with both lines, below losses of the stack, median runs thick."""
    steps, losses = page.panels(2.3, 2.1, shared=False)
    _steps(page, steps, result)
    _losses(page, losses, result)
    noise = result.config.get("options", {}).get("noise", "")
    pushed = {"none": "from starts beside it", "": "pushed", "sgd": "under the noise of batches"}
    what = f"Leaving a point {pushed.get(noise, f'under noise ({noise})')}"
    return titled(f"{what}:", result) if input_names(result) else what


def _steps(page: Page, axes: Axes, result: Any) -> None:
    amplitude, steps = np.asarray(result.amplitude), np.asarray(result.steps)
    positive = amplitude > 0
    x = np.repeat(amplitude, steps.shape[1])
    seen = np.isfinite(steps).ravel() & (x > 0)
    if steps.shape[1] > 1:
        axes.plot(x[seen], steps.ravel()[seen], ".", color=GREY, alpha=0.4, markersize=2.5, label="one run")
    mean = np.asarray(result.mean_steps)
    label = "mean" if steps.shape[1] > 1 else "steps"
    axes.plot(amplitude[positive], mean[positive], "o", color=BLUE, markersize=4, label=label, zorder=4)
    used = positive & (np.asarray(result.share_left) == 1)
    if result.steps_per_decade is not None and used.sum() > 1:
        _lines(axes, result, amplitude[used], mean[used])
    if positive.any():
        log_across(axes, amplitude)
    if result.fit == "algebraic":
        log_axis(page, axes, mean[positive])
    is_moved = result.config.get("options", {}).get("noise") == "none"
    axes.set_xlabel("distance of the start" if is_moved else "size of the noise")
    axes.set_ylabel(f"steps until F < {short(float(result.level))}")
    missing = int((~np.isfinite(steps)).sum())
    if missing:
        page.note(
            f"{missing} of {steps.size} runs did not leave in {result.max_steps} steps: no dot of theirs"
        )
    legend(axes)


def _lines(axes: Axes, result: Any, amplitude: np.ndarray, mean: np.ndarray) -> None:
    """The line that fits, and through the same middle the one of theory."""
    ends = np.geomspace(amplitude.min(), amplitude.max(), 100)
    x, centre = -np.log10(ends), -np.log10(amplitude).mean()
    if result.fit == "algebraic":
        line = 10 ** (np.log10(mean).mean() + result.power * (x - centre))
        label = f"amplitude to the power −{with_error(result.power, result.power_error)}"
    else:
        line = mean.mean() + result.steps_per_decade * (x - centre)
        label = f"{with_error(result.steps_per_decade, result.steps_per_decade_error)} per decade"
    axes.plot(ends, line, color=GREEN, linestyle="-", label=label)
    theory = result.steps_per_decade_theory
    if theory is not None:
        told = f"ln 10/ln(1 + α|λ|) = {short(theory, 4)}"
        axes.plot(ends, mean.mean() + theory * (x - centre), label=told, **DASHED)


def _losses(page: Page, axes: Axes, result: Any) -> None:
    record, losses = np.asarray(result.record), np.asarray(result.loss_on_the_way)
    count = losses.shape[1]
    shown = np.unique(np.linspace(0, count - 1, min(count, CURVES)).round().astype(int))
    for place, which in enumerate(shown.tolist()):
        colour = _shade(place, len(shown))
        steps = np.asarray(result.steps)[which]
        order = np.argsort(np.where(np.isfinite(steps), steps, np.inf), kind="stable")
        middle = int(order[len(order) // 2])
        for one in order[:: max(1, len(order) // 10)].tolist() if len(order) > 1 else ():
            axes.plot(record, losses[:, which, one], color=colour, alpha=0.25, linewidth=0.6, linestyle="-")
        label = short(float(result.amplitude[which]))
        axes.plot(record, losses[:, which, middle], color=colour, linewidth=1.4, linestyle="-", label=label)
    axes.axhline(result.stillest_loss, color=GREY, linewidth=0.5, zorder=0)
    axes.axhline(result.level, linewidth=0.8, **{k: v for k, v in DASHED.items() if k != "linewidth"})
    if result.fit == "algebraic":
        log_across(axes, record)
        axes.set_xlim(left=max(1.0, float(record[1:2].sum()) / 2))
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    legend(axes)
    several = "the median run of each amplitude thick, others thin; " if losses.shape[2] > 1 else ""
    page.note(f"losses: {several}grey that at the stillest point without noise, dashed the level")


def _shade(place: int, count: int) -> Any:
    from matplotlib import colormaps

    return colormaps["viridis"](0.9 * place / max(count - 1, 1))
