"""The straight line between two points."""

from typing import Any

import numpy as np

from landscape.plots.axes import (
    accuracies_of,
    accuracy_panel,
    error_band,
    legend,
    line,
    log_axis,
    whose_statistics,
)
from landscape.plots.page import BLUE, DASHED, ORANGE, VERMILLION, Page
from landscape.plots.profiles import barrier, chord, ends_marked
from landscape.plots.words import titled_points


def interpolate(page: Page, result: Any) -> str:
    """The loss on the line with its chord, its barrier and its bumps; accuracy below."""
    accuracies = accuracies_of(result)
    panels = page.panels(2.1, *([1.0] if accuracies else []))
    axes, alpha = panels[0], result.alpha
    line(page, axes, alpha, result.loss, "training", color=BLUE)
    if result.test_loss is not None:
        line(page, axes, alpha, result.test_loss, "test", **DASHED)
        error_band(page, axes, alpha, result.test_loss, result.test_loss_error, VERMILLION)
    chord(axes, alpha, result.loss)
    if len(result.bump_alpha):
        tops = np.interp(result.bump_alpha, alpha, result.loss)
        axes.plot(
            result.bump_alpha, tops, "v", color=ORANGE, markeredgecolor="black", markersize=4.5, label="bump"
        )
    if page.log:
        log_axis(page, axes, result.loss, result.test_loss)
    barrier(page, axes, alpha, result.loss, (result.barrier_chord, result.barrier_chord_error), BLUE)
    ends_marked(panels)
    axes.set_ylabel("training loss" if result.test_loss is None else "loss")
    legend(axes, above=1.9)
    if accuracies:
        accuracy_panel(page, panels[1], alpha, accuracies, result.test_accuracy_error)
    panels[-1].set_xlabel(page.labels["alpha"])
    whose_statistics(page, result)
    return titled_points("Straight line from", result, "AB", " to ")
