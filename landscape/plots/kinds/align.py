"""The straight line between two points, before and after one is aligned to the other."""

from typing import Any

from landscape.plots.axes import legend, line, log_axis, whose_statistics
from landscape.plots.page import BLUE, DASHED, VERMILLION, Page
from landscape.plots.profiles import barrier, chord, ends_marked
from landscape.plots.words import titled_points


def align(page: Page, result: Any) -> str:
    """The straight line from A to B as it was and to B aligned, with the barriers of both."""
    (axes,) = page.panels(2.1)
    line(page, axes, result.alpha, result.loss_before, "to B", **DASHED)
    line(page, axes, result.alpha, result.loss_after, "to B aligned", color=BLUE)
    chord(axes, result.alpha, result.loss_before)
    if page.log:
        log_axis(page, axes, result.loss_before, result.loss_after)
    before, after = result.barrier_before_error, result.barrier_after_error
    barrier(page, axes, result.alpha, result.loss_before, (result.barrier_before, before), VERMILLION)
    barrier(page, axes, result.alpha, result.loss_after, (result.barrier_after, after), BLUE)
    ends_marked([axes])
    axes.set_ylabel("training loss")
    axes.set_xlabel(page.labels["alpha"])
    legend(axes, above=1.9)
    page.note(f"{result.num_movable} of {result.num_parameters} parameters movable")
    whose_statistics(page, result)
    return titled_points("Straight line from", result, "AB", " to ")
