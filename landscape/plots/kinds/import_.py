"""Points from elsewhere: the loss and accuracy of one in numbers, of several over their epochs."""

from typing import Any

import numpy as np

from landscape.plots.axes import accuracies_of, accuracy_panel, legend, line, log_axis
from landscape.plots.page import BLUE, DASHED, Page
from landscape.plots.table import table
from landscape.plots.words import titled


def import_(page: Page, result: Any) -> str:
    """One point as a table; the loss and accuracy of several over epochs or steps, or else in their order."""
    if result.loss is None:
        table(page, result)
        return (
            titled("Imported", result) if len(result.states) < 2 else f"{len(result.states)} recorded points"
        )
    unit = next((name for name in ("epoch", "step") if getattr(result, name) is not None), "")
    time = getattr(result, unit) if unit else np.arange(len(result.loss))
    accuracies = accuracies_of(result)
    panels = page.panels(1.6, *([1.0] if accuracies else []))
    line(page, panels[0], time, result.loss, "training", color=BLUE)
    if result.test_loss is not None:
        line(page, panels[0], time, result.test_loss, "test", **DASHED)
        legend(panels[0])
    shown = [part for part in (result.loss, result.test_loss) if part is not None]
    if page.log or all((part[np.isfinite(part)] > 0).all() for part in shown):
        log_axis(page, panels[0], *shown)
    panels[0].set_ylabel("training loss" if result.test_loss is None else "loss")
    if accuracies:
        accuracy_panel(page, panels[1], time, accuracies)
    panels[-1].set_xlabel(page.labels[unit] if unit else "place in the order given")
    title = titled(f"{len(result.loss)} points, {result.point[0]} to {result.point[-1]}, from", result)
    return title.partition("@")[0]  # the file alone: of its points the first is named already
