"""Several results of one kind in one picture: planes side by side on one scale, lines over one another."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from landscape.errors import BadInput
from landscape.plots import trajectories
from landscape.plots.axes import legend, line, log_axis
from landscape.plots.fields import NUM_LEVELS, draw_flat, field
from landscape.plots.levels import Range, barrier_range, scale_for, valley_range
from landscape.plots.page import STAR, WIDTH, Page
from landscape.plots.words import brief, input_names, short, uncertain, wrapped
from landscape.result import Result

# What is drawn over what, by kind.
LINES = {
    "slice1d": ("alpha", "loss"),
    "interpolate": ("alpha", "loss"),
    "connect": ("t", "loss"),
    "train": ("epoch", "loss"),
}
PLANES = ("slice2d",)
MOST_PLANES, MOST_LINES = 9, 6
DOT: Any = {"color": "white", "markeredgecolor": "black", "markersize": 3.5, "clip_on": False}


def together(page: Page, results: Sequence[Any], names: Sequence[str] | None = None) -> str:
    """Draws them on the page; returns the title. Raises BadInput for kinds that differ or have no common picture."""
    kinds = sorted({one.kind for one in results})
    if len(kinds) > 1:
        raise BadInput(f"results of kinds {', '.join(kinds)} in one picture", "one kind", "draw them apart")
    kind = kinds[0]
    if kind not in LINES and kind not in PLANES:
        raise BadInput(
            f"{len(results)} results of kind {kind} in one picture",
            f"kinds {', '.join([*PLANES, *LINES])}",
            "draw them apart",
        )
    most = MOST_LINES if kind in LINES else MOST_PLANES
    if len(results) > most:
        raise BadInput(f"{len(results)} results of kind {kind} in one picture", f"at most {most}")
    names = _names(results, names)
    for name, one in zip(names, results, strict=True):
        for said in Page.outcome(one):
            page.note(f"{name}: {said}")
    if kind in PLANES:
        return _planes(page, results, names)
    return _lines(page, results, names)


def _names(results: Sequence[Result], names: Sequence[str] | None) -> list[str]:
    found = list(names or [", ".join(input_names(one)) for one in results])
    found = brief(found, 24)
    if len(set(found)) < len(found) or not all(found):
        return [f"{i}. {name}".rstrip() for i, name in enumerate(found, 1)]
    return found


def _planes(page: Page, results: Sequence[Any], names: list[str]) -> str:
    """The losses as small multiples, with one bar for all; θ*, letters and runs as in the single picture."""
    if page.kind == "surface":
        raise BadInput("several surfaces in one picture", "kind 'contour' or 'heatmap'")
    values = [_finite(one, page.log) for one in results]
    known = np.concatenate(values)
    if len(known) and known.min() < known.max() and not isinstance(page.levels, list):
        needs = [] if page.levels else [need for one in results for need in _needs(one)]
        scale = scale_for(known, page.levels or NUM_LEVELS, needs, "log" if page.log else page.spacing)
        page.levels, page.spacing = scale.levels.tolist(), scale.spacing
        if scale.spacing != "linear" and not page.log:
            told = {"log": "the logarithm", "quantile": "quantiles of all panels"}[scale.spacing]
            page.note(f"colours by {told}")
    columns = min(len(results), 2 if page.width < 5 else 3)
    rows = math.ceil(len(results) / columns)
    side = (page.width - 1.1) / columns
    page.figure.set_size_inches(page.width, rows * (side + 0.25) + 0.75)
    grid = page.figure.subplots(rows, columns, squeeze=False)
    panels = list(grid.flat)
    for empty in panels[len(results) :]:
        empty.remove()
    panels = page.panel_axes = panels[: len(results)]
    label = page.labels["loss"]
    for i, (axes, one, name) in enumerate(zip(panels, results, names, strict=True)):
        made = field(page, one.alpha, one.beta, one.loss, label, one.done)
        if len(known) and made.values.count():
            made = made._replace(low=float(known.min()), high=float(known.max()))
        texts = draw_flat(page, axes, made, rows * side, beside=panels if i == len(panels) - 1 else [])
        for text in texts:  # there is no room for them; the bar has the levels
            text.set_visible(False)
        axes.set_box_aspect(1)
        axes.set_title(wrapped(name, side), fontsize=8)
        _marked(axes, one)
        if i >= len(panels) - columns:
            axes.set_xlabel("step α")
        if i % columns == 0:
            axes.set_ylabel("step β")
    spans = {(one.alpha[0], one.alpha[-1], one.beta[0], one.beta[-1]) for one in results}
    if len(spans) > 1:
        page.note("the panels have different spans")
    return "Loss on planes, on one scale"


def _finite(result: Any, log: bool) -> np.ndarray:
    """The losses that have a place on the scale."""
    known = np.asarray(result.loss, dtype=float)[np.asarray(result.done, dtype=bool)]
    known = known[np.isfinite(known)]
    return known[known > 0] if log else known


def _needs(result: Any) -> list[Range]:
    x, y = result.alpha, result.beta
    if result.point_alpha is None:
        return valley_range(x, y, result.loss, (0.0, 0.0))
    places = np.stack([result.point_alpha, result.point_beta], axis=1)
    return barrier_range(x, y, result.loss, places[:2])


def _marked(axes: Any, result: Any) -> None:
    trajectories.draw_lines(axes, result, (0.0, 0.0))
    if result.point_alpha is None:
        axes.plot(0, 0, linestyle="", zorder=8, **STAR)
        return
    axes.plot(result.point_alpha, result.point_beta, "o", zorder=8, **DOT)


def _lines(page: Page, results: Sequence[Any], names: list[str]) -> str:
    """The training losses over one another; a barrier stands in the legend."""
    x, y = LINES[results[0].kind]
    (axes,) = page.panels(2.4 if page.width == WIDTH else 2.0)
    for one, name in zip(results, names, strict=True):
        label = name
        if getattr(one, "barrier_chord", None) is not None:
            error = one.barrier_chord_error
            told = short(one.barrier_chord) if error is None else uncertain(one.barrier_chord, error)
            label = f"{name}, barrier {told}"
        line(page, axes, getattr(one, x), getattr(one, y), label)
    if page.log:
        log_axis(page, axes, *(getattr(one, y) for one in results))
    axes.set_xlabel(wrapped(page.labels[x], page.width - 0.5))
    axes.set_ylabel(wrapped(page.labels[y], 2.0))
    legend(axes)
    if any(getattr(one, "test_loss", None) is not None for one in results):
        page.note("test losses are not drawn")
    return {
        "slice1d": "Loss along one direction",
        "interpolate": "Straight lines from A to B",
        "connect": "Curves from A to B",
        "train": "Training",
    }[results[0].kind]
