"""The loss along one direction."""

from typing import Any

import numpy as np

from landscape.plots.axes import accuracies_of, accuracy_panel, error_band, legend, line, log_axis
from landscape.plots.page import BLUE, DASHED, GREEN, GREY, ORANGE, STAR, VERMILLION, Page
from landscape.plots.profiles import how_cut, residual_note
from landscape.plots.words import short, titled


def slice1d(page: Page, result: Any) -> str:
    """The loss along the direction; with draws their mean and spread; a trajectory by its true losses."""
    # Test loss and accuracy are those of the first draw: beside the mean of all they would mislead.
    accuracies = accuracies_of(result) if result.draw_loss is None else []
    panels = page.panels(2.1, *([1.0] if accuracies else []))
    axes, alpha = panels[0], result.alpha
    drawn = [result.loss, result.test_loss]
    if result.draw_loss is None:
        line(page, axes, alpha, result.loss, "training", result.done, color=BLUE)
    else:
        mean, spread = result.loss_mean, result.loss_spread
        for row in result.draw_loss:
            axes.plot(alpha, np.where(result.done, row, np.nan), color=GREY, linewidth=0.4, linestyle="-")
        known = np.isfinite(mean) & np.isfinite(spread) & result.done
        low, high = (
            np.add(mean, sign * spread, where=known, out=np.full_like(mean, np.nan)) for sign in (-1, 1)
        )
        axes.fill_between(alpha, low, high, color=BLUE, alpha=0.25, linewidth=0)
        line(page, axes, alpha, mean, f"mean ± s.d., {len(result.draw_loss)} draws", result.done, color=BLUE)
        drawn += list(result.draw_loss)
    if result.test_loss is not None and result.draw_loss is None:
        line(page, axes, alpha, result.test_loss, "test", **DASHED)
        error_band(page, axes, alpha, result.test_loss, result.test_loss_error, VERMILLION)
    if result.smooth_loss is not None:
        label = f"averaged over N(0, {short(result.smooth_sigma)}² I)"
        label += ", first draw" if result.draw_loss is not None else ""
        line(page, axes, alpha, result.smooth_loss, label, color=GREEN, linestyle="-.")
        told = f"green: ± standard error of {result.smooth_pairs} pairs ±ξ"
        error_band(page, axes, alpha, result.smooth_loss, result.smooth_loss_error, GREEN, told)
        drawn.append(result.smooth_loss)
    if result.trajectory_alpha is not None:
        axes.plot(
            result.trajectory_alpha,
            result.trajectory_loss,
            color=ORANGE,
            linestyle="-",
            linewidth=0.6,
            marker="o",
            markeredgecolor="black",
            markeredgewidth=0.4,
            label="checkpoints",
        )
        drawn.append(result.trajectory_loss)
        residual_note(page, result, "circles: checkpoints at their own loss", "line")
    if np.isfinite(result.centre_loss):
        axes.plot(0, result.centre_loss, linestyle="", zorder=5, **STAR, label="θ*")
    if page.log:
        log_axis(page, axes, *drawn)
    axes.set_ylabel("training loss" if result.test_loss is None or result.draw_loss is not None else "loss")
    legend(axes)
    if accuracies:
        accuracy_panel(page, panels[1], alpha, accuracies, result.test_accuracy_error)
    panels[-1].set_xlabel(page.labels["alpha"])
    how_cut(page, result)
    return titled("Loss along one direction from", result)
