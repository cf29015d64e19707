"""Runs on a plane: each its own line with its epochs, start and end, and points of others marked beside."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.patheffects import withStroke

from landscape.plots.axes import legend
from landscape.plots.fields import clear
from landscape.plots.page import PURPLE, SKY, VERMILLION, WIDTH, Page
from landscape.plots.placing import AT_CORNERS, Places
from landscape.plots.words import short

# Colour, outline, marker and dashes of one run after the other: light and dark in turn, so that they are told apart
# without colours, and on every colour of the map.
LOOKS: tuple[tuple[str, str, str, Any], ...] = (
    ("white", "black", "o", "-"),
    (VERMILLION, "white", "s", "-"),
    ("black", "white", "^", "-"),
    (SKY, "black", "D", "-"),
    (PURPLE, "white", "v", "-"),
    ("0.6", "black", "p", "-"),
)
MARK: Any = {
    "marker": "X",
    "color": "#F0E442",
    "markeredgecolor": "black",
    "markeredgewidth": 0.7,
    "markersize": 6.5,
}
# Runs and marks that a legend names; of more the small print says what they are.
MOST_NAMED = 8
# How far apart the numbers of epochs of a run stand, and how near starts are the same, as shares of the panel;
# how broad that is in a column, in inches, and what of the height of a page is beside it.
ROOM, NEAR, BROAD, UNDER = 0.09, 0.02, 2.4, 0.9


class Run(NamedTuple):
    """One run's checkpoints: their places, losses, distances from the plane and epochs; NaN where nobody knows."""

    name: str
    alpha: np.ndarray
    beta: np.ndarray
    loss: np.ndarray
    residual: np.ndarray
    epoch: np.ndarray


class Letter(NamedTuple):
    """What is written beside a place of as many coordinates as the panel has."""

    text: str
    place: tuple[float, ...]
    weight: str = "bold"


def runs_of(result: Any) -> list[Run]:
    """Every run that is drawn, in the order in which they were named."""
    if result.trajectory_alpha is None:
        return []
    count = len(result.trajectory_alpha)
    whose = np.zeros(count, dtype=int) if result.trajectory_run is None else result.trajectory_run
    names = [""] if result.run is None else [str(one) for one in result.run]
    columns = [result.trajectory_alpha, result.trajectory_beta]
    for one in (result.trajectory_loss, result.trajectory_residual, result.trajectory_epoch):
        columns.append(np.full(count, np.nan) if one is None else one)
    found = [Run(name, *(one[whose == i] for one in columns)) for i, name in enumerate(names)]
    return [run for run in found if len(run.alpha)]


def draw(
    page: Page,
    axes: Any,
    result: Any,
    star: tuple[float, float],
    at: Callable[..., Any],
    letters: Sequence[Letter] = (),
    labels: Sequence[Any] = (),
) -> None:
    """The runs and the marks, with a ``star`` at θ*, and the ``letters`` of points; said is what lies elsewhere.

    Of the ``labels`` of contours those are taken away that are in their way.
    """
    runs = runs_of(result)
    if runs and page.kind == "surface" and result.trajectory_loss is None:
        page.note("checkpoints of unknown loss are not drawn on the surface")
        runs = []
    rings = [_num_within(result, runs, i) for i in range(len(runs))]
    for i, run in enumerate(runs):
        alpha, beta = run.alpha, run.beta
        within = _within(result, alpha, beta)
        if not within.all():
            of = f" of {run.name}" if len(runs) > 1 else ""
            page.note(f"{int((~within).sum())} of {len(alpha)} checkpoints{of} outside the picture")
        if page.kind == "surface":  # which would draw beyond its box
            alpha, beta = (np.where(within, part, np.nan) for part in (alpha, beta))
        label = run.name if len(runs) > 1 else ""
        _line(axes, i, label, star, rings[i], within, *at(alpha, beta, run.loss))
    _say(page, result, runs)
    _name(page, axes, runs, rings, [*letters, *_marks(page, axes, result, at)], labels)
    if len(runs) > 1 or result.mark_alpha is not None:
        if len(runs) + (0 if result.mark is None else len(result.mark)) <= MOST_NAMED:
            _legend(page, axes)
        elif len(runs) > 1:
            page.note("runs in the order " + ", ".join(run.name for run in runs))


def _legend(page: Page, axes: Any) -> None:
    """Over the panel; in the corner behind a surface, which has no place in the layout."""
    if page.kind == "surface":
        axes.legend(loc="upper left", bbox_to_anchor=(-0.08, 0.95))
    else:
        legend(axes, broad=BROAD + page.column - WIDTH)


def draw_lines(axes: Any, result: Any, star: tuple[float, float]) -> None:
    """The runs alone, on a panel of something else."""
    for i, run in enumerate(runs_of(result)):
        within = _within(result, run.alpha, run.beta)
        _line(axes, i, "", star, _num_within(result, runs_of(result), i), within, run.alpha, run.beta)


def cleared(axes: Any, texts: Any, result: Any) -> None:
    """Takes away what is written where runs or marks lie."""
    for run in runs_of(result):
        fine, known = np.linspace(0, len(run.alpha) - 1, 400), np.arange(len(run.alpha))
        alpha, beta = (np.interp(fine, known, part) for part in (run.alpha, run.beta))
        clear(axes, texts, alpha, beta, 0.05)
    if result.mark_alpha is not None:
        clear(axes, texts, result.mark_alpha, result.mark_beta)


def _within(result: Any, alpha: np.ndarray, beta: np.ndarray) -> np.ndarray:
    return (np.abs(alpha - np.clip(alpha, result.alpha[0], result.alpha[-1])) == 0) & (
        np.abs(beta - np.clip(beta, result.beta[0], result.beta[-1])) == 0
    )


def _num_within(result: Any, runs: list[Run], number: int) -> int:
    """How many earlier runs start where this one does, and marks lie there: all within its ring."""
    sides = np.array([np.ptp(result.alpha), np.ptp(result.beta)])
    starts = [(run.alpha[0], run.beta[0]) for run in runs]
    others = starts[:number]
    if result.mark_alpha is not None:
        others += zip(result.mark_alpha, result.mark_beta, strict=True)
    return sum(bool((np.abs(np.subtract(starts[number], one)) < NEAR * sides).all()) for one in others)


def _line(
    axes: Any, number: int, label: str, star: tuple[float, float], num_rings: int, within: Any, *places: Any
) -> None:
    """Checkpoints with a line through them in their order; the first in a ring, the last larger but for the star."""
    colour, edge, marker, dashes = LOOKS[number % len(LOOKS)]
    size = 3 if len(places[0]) <= 60 else 1.5
    line = {"color": colour, "path_effects": [withStroke(linewidth=2.2, foreground=edge)], "linewidth": 1.0}
    # What lies on the frame is whole, what lies beyond it is not there.
    dot: Any = {"marker": marker, "linestyle": "", "color": colour, "markeredgecolor": edge, "clip_on": False}
    shown = [np.where(within, part, np.nan) for part in places]
    axes.plot(*places, dashes, zorder=6, **line)
    axes.plot(*shown, zorder=7, markeredgewidth=size / 6, markersize=size, **dot)
    if label:
        axes.plot(*[[]] * len(places), dashes, marker=marker, markersize=3, label=label, **line)
    first, last = ([part[k:][:1] for part in shown] for k in (0, -1))
    ring: Any = {"marker": "o", "linestyle": "", "markerfacecolor": "none", "zorder": 7.2, "clip_on": False}
    ring["markersize"] = _ring(num_rings)
    axes.plot(*first, markeredgecolor=edge, markeredgewidth=2.2, **ring)
    axes.plot(*first, markeredgecolor=colour, markeredgewidth=1.1, **ring)
    if (float(last[0][0]), float(last[1][0])) != star:
        axes.plot(*last, zorder=7.4, markeredgewidth=0.8, markersize=6.5, **dot)


def _ring(num_within: int) -> int:
    """How broad the ring at a start is, in points, with so many others and marks within it."""
    return 7 + 3 * num_within


def _name(
    page: Page,
    axes: Any,
    runs: list[Run],
    rings: Sequence[int],
    letters: Sequence[Letter],
    labels: Sequence[Any],
) -> None:
    """The letters of points and numbers of marks, then epochs beside as many checkpoints as there is room for."""
    if page.kind == "surface":
        outline = [withStroke(linewidth=2, foreground="white")]
        for text, place, weight in letters:
            if np.isfinite(place).all():
                axes.text(*place, f"  {text}", fontsize=8, weight=weight, path_effects=outline, zorder=9)
        return
    broad = BROAD + page.column - WIDTH
    high = min(broad * (page.stretch or 0.8), page.highest - UNDER)
    places = Places(axes, high / page.stretch if page.stretch else broad, high)
    for run, num_rings in zip(runs, rings, strict=True):
        places.keep_off(run.alpha, run.beta)
        places.keep_clear(run.alpha, run.beta, 0.03)
        places.keep_clear(run.alpha[-1:], run.beta[-1:], 0.06)
        places.keep_clear(run.alpha[:1], run.beta[:1], _ring(num_rings) / 2 / 72 + 0.01)
    for _, (x, y), _ in letters:
        places.keep_clear(x, y, 0.06)
    for text, (x, y), weight in letters:
        if np.isfinite((x, y)).all():
            places.put(text, x, y, size=8, weight=weight, zorder=9)
    for i, run in enumerate(runs):
        _epochs(places, run, LOOKS[i % len(LOOKS)][0])
    for label in labels:
        label.set_visible(label.get_visible() and places.holds(label))


def _epochs(places: Places, run: Run, colour: str) -> None:
    """The number of epochs, first beside those at even steps of all."""
    last = None
    colour = colour if colour.startswith("#") else "black"
    for epoch, x, y, here in zip(
        run.epoch, run.alpha, run.beta, places.shares(run.alpha, run.beta), strict=True
    ):
        if not np.isfinite(epoch) or (last is not None and np.abs(here - last).max() < ROOM):
            continue
        style: Any = {"size": 5.5, "sides": AT_CORNERS, "away": 0.05, "color": colour, "zorder": 8.5}
        if places.put(f"{epoch:g}", x, y, must=False, **style):
            last = here


def _say(page: Page, result: Any, runs: list[Run]) -> None:
    """What the signs mean, and how far the runs are off the plane."""
    if not runs:
        return
    signs = "checkpoints, ring: start, large: end"
    if any(np.isfinite(run.epoch).any() for run in runs):
        signs += ", numbers: epochs"
    if len(runs) == 1:
        signs = f"white: {signs}"
    if result.centre is not None:  # the plane is the whole space
        page.note(signs)
        return
    if result.trajectory_residual is None:
        page.note(f"{signs}; how far off the plane is not known")
        return
    if len(runs) == 1:
        page.note(f"{signs}; up to {short(np.nanmax(runs[0].residual, initial=0.0))} off the plane")
        return
    page.note(signs)
    told = (f"{run.name} {short(np.nanmax(run.residual, initial=0.0))}" for run in runs)
    page.note(f"off the plane up to: {', '.join(told)}")


def _marks(page: Page, axes: Any, result: Any, at: Callable[..., Any]) -> list[Letter]:
    """Points of other runs; their numbers, which are to be written beside them."""
    if result.mark_alpha is None:
        return []
    told, found = [], []
    for i, name in enumerate(result.mark):
        alpha, beta = result.mark_alpha[i : i + 1], result.mark_beta[i : i + 1]
        told.append(f"mark {i + 1} by {short(float(result.mark_residual[i]))}")
        if not _within(result, alpha, beta).all():
            page.note(f"mark {i + 1}, {name}, outside the picture")
            continue
        place = at(alpha, beta, result.mark_loss[i : i + 1])
        axes.plot(*place, linestyle="", zorder=7.9, label=f"{i + 1} {name}", clip_on=False, **MARK)
        found.append(Letter(f"{i + 1}", tuple(float(part[0]) for part in place)))
    if len(result.mark) > MOST_NAMED:
        page.note("marks: " + ", ".join(f"{i + 1} {name}" for i, name in enumerate(result.mark)))
    page.note(f"off the plane: {', '.join(told)}")
    return found
