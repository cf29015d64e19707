"""A training run: loss, gradient norm, accuracy."""

from typing import Any

import numpy as np

from landscape.plots.axes import accuracies_of, accuracy_panel, legend, line, log_axis
from landscape.plots.page import BLUE, DASHED, Page
from landscape.plots.words import titled


def train(page: Page, result: Any) -> str:
    """Loss, gradient norm and accuracy over the passes through the data, or over steps where they are few."""
    passes = result.epoch.max(initial=0) >= 1
    time = result.epoch if passes else result.step
    accuracies = accuracies_of(result)
    biases = result.largest_bias
    panels = page.panels(1.6, 1.0, *([1.0] if accuracies else []), *([1.0] if biases is not None else []))
    line(page, panels[0], time, result.loss, "training", color=BLUE)
    if result.test_loss is not None:
        line(page, panels[0], time, result.test_loss, "test", **DASHED)
        legend(panels[0])
    shown = [part for part in (result.loss, result.test_loss) if part is not None]
    if page.log or all((part[np.isfinite(part)] > 0).all() for part in shown):
        log_axis(page, panels[0], *shown)
    panels[0].set_ylabel("training loss" if result.test_loss is None else "loss")
    line(page, panels[1], time, result.gradient_norm, color=BLUE)
    log_axis(page, panels[1], result.gradient_norm)
    panels[1].set_ylabel("‖∇F‖")
    if accuracies:
        accuracy_panel(page, panels[2], time, accuracies)
    if biases is not None and result.parameter_norm is not None:
        line(page, panels[-1], time, result.parameter_norm, "‖θ‖", color=BLUE)
        line(page, panels[-1], time, biases, "largest b", **DASHED)
        legend(panels[-1])
    panels[-1].set_xlabel(page.labels["epoch" if passes else "step"])
    return titled("Training of", result) if not page.name else f"Training of {page.name}"
