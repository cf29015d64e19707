"""Several models, their mean with units arranged alike, and their mean as they are: losses and accuracies as bars."""

from typing import Any

import numpy as np

from landscape.plots.page import BLUE, GREY, VERMILLION, Page
from landscape.plots.words import brief, input_names, short


def merge(page: Page, result: Any) -> str:
    """A bar for each model and mean, their errors on it; on the test data beside the training data."""
    count = len(result.of) - 2
    names = [*brief([str(one) for one in result.of[:count]]), "merged", "not aligned"]
    colours = [GREY] * count + [BLUE, VERMILLION]
    columns = [
        ("loss", result.loss, result.loss_error, result.test_loss, result.test_loss_error),
        ("accuracy", result.accuracy, None, result.test_accuracy, result.test_accuracy_error),
    ]
    columns = [one for one in columns if one[1] is not None]
    panels = page.panels(*[1.7] * len(columns), shared=False, alike=True)
    places = np.arange(len(names))
    for axes, (name, train, error, test, test_error) in zip(panels, columns, strict=True):
        shift = 0.0 if test is None else 0.2
        width = 0.8 if test is None else 0.38
        axes.bar(places - shift, train, width, yerr=error, color=colours)
        if test is not None:
            axes.bar(
                places + shift, test, width, yerr=test_error, color="white", edgecolor=colours, hatch="////"
            )
        axes.axhline(float(np.mean(train[:count])), color=GREY, linewidth=0.8, linestyle="--")
        axes.set_xticks(places, names)
        for label in axes.get_xticklabels():
            label.set(rotation=30, ha="right", rotation_mode="anchor")
        axes.set_ylabel(name)
    page.note("dashed: the mean of the models" + ("" if result.test_loss is None else "; hatched: test data"))
    page.note(
        f"over the mean loss of the models: {short(result.barrier)}, {short(result.barrier_soup)} not aligned"
    )
    files = input_names(result)
    return f"Mean of {', '.join(files)}" if files else f"Mean of {count} models"
