"""Runs on a plane: each its own line with its epochs, start and end, and points of others marked beside."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from matplotlib.patheffects import withStroke

from landscape.plots.axes import legend
from landscape.plots.fields import clear
from landscape.plots.page import PURPLE, SKY, VERMILLION, Page
from landscape.plots.words import short, text_inches

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
# How far apart the numbers of epochs of a run stand, as a share of the panel, and how broad that is, in inches.
ROOM, BROAD = 0.09, 2.4


class Run(NamedTuple):
    """One run's checkpoints: their places, losses, distances from the plane and epochs; NaN where nobody knows."""

    name: str
    alpha: np.ndarray
    beta: np.ndarray
    loss: np.ndarray
    residual: np.ndarray
    epoch: np.ndarray


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


def draw(page: Page, axes: Any, result: Any, star: tuple[float, float], at: Callable[..., Any]) -> None:
    """The runs and the marks, with a ``star`` at θ*; the small print says what lies elsewhere."""
    runs = runs_of(result)
    if runs and page.kind == "surface" and result.trajectory_loss is None:
        page.note("checkpoints of unknown loss are not drawn on the surface")
        runs = []
    for i, run in enumerate(runs):
        alpha, beta = run.alpha, run.beta
        within = _within(result, alpha, beta)
        if not within.all():
            of = f" of {run.name}" if len(runs) > 1 else ""
            page.note(f"{int((~within).sum())} of {len(alpha)} checkpoints{of} outside the picture")
        if page.kind == "surface":  # which would draw beyond its box
            alpha, beta = (np.where(within, part, np.nan) for part in (alpha, beta))
        label = run.name if len(runs) > 1 else ""
        _line(axes, i, label, star, _num_before(result, runs, i), *at(alpha, beta, run.loss))
    if page.kind != "surface":
        _epochs(page, axes, runs, _lettered(result, star))
    _say(page, result, runs)
    _marks(page, axes, result, at)
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
        legend(axes, broad=BROAD)


def draw_lines(axes: Any, result: Any, star: tuple[float, float]) -> None:
    """The runs alone, on a panel of something else."""
    for i, run in enumerate(runs_of(result)):
        _line(axes, i, "", star, _num_before(result, runs_of(result), i), run.alpha, run.beta)


def cleared(axes: Any, texts: Any, result: Any) -> None:
    """Takes away what is written where runs or marks lie."""
    for run in runs_of(result):
        fine, known = np.linspace(0, len(run.alpha) - 1, 400), np.arange(len(run.alpha))
        alpha, beta = (np.interp(fine, known, part) for part in (run.alpha, run.beta))
        clear(axes, texts, alpha, beta, 0.05)
    if result.mark_alpha is not None:
        clear(axes, texts, result.mark_alpha, result.mark_beta)


def _lettered(result: Any, star: tuple[float, float]) -> np.ndarray:
    """The places beside which a letter or a number stands, (count, 2)."""
    found = [np.array([star])]
    for name in ("point", "mark"):
        if getattr(result, f"{name}_alpha") is not None:
            found.append(np.stack([getattr(result, f"{name}_{axis}") for axis in ("alpha", "beta")], axis=1))
    return np.concatenate(found)


def _within(result: Any, alpha: np.ndarray, beta: np.ndarray) -> np.ndarray:
    return (np.abs(alpha - np.clip(alpha, result.alpha[0], result.alpha[-1])) == 0) & (
        np.abs(beta - np.clip(beta, result.beta[0], result.beta[-1])) == 0
    )


def _num_before(result: Any, runs: list[Run], number: int) -> int:
    """How many earlier runs start where this one does; their rings lie within one another."""
    width, height = np.ptp(result.alpha), np.ptp(result.beta)

    def is_near(one: Run, other: Run) -> bool:
        aside = abs(one.alpha[0] - other.alpha[0]) / width, abs(one.beta[0] - other.beta[0]) / height
        return max(aside) < 0.02

    return sum(is_near(runs[number], one) for one in runs[:number])


def _line(
    axes: Any, number: int, label: str, star: tuple[float, float], num_rings: int, *places: Any
) -> None:
    """Checkpoints with a line through them in their order; the first in a ring, the last larger but for the star."""
    colour, edge, marker, dashes = LOOKS[number % len(LOOKS)]
    size = 3 if len(places[0]) <= 60 else 1.5
    line = {"color": colour, "path_effects": [withStroke(linewidth=2.2, foreground=edge)], "linewidth": 1.0}
    dot: Any = {"marker": marker, "linestyle": "", "color": colour, "markeredgecolor": edge}
    axes.plot(*places, dashes, zorder=6, **line)
    axes.plot(*places, zorder=7, markeredgewidth=size / 6, markersize=size, **dot)
    if label:
        axes.plot(*[[]] * len(places), dashes, marker=marker, markersize=3, label=label, **line)
    first, last = ([part[k:][:1] for part in places] for k in (0, -1))
    ring: Any = {"marker": "o", "linestyle": "", "markerfacecolor": "none", "zorder": 7.2}
    ring["markersize"] = 7 + 3 * num_rings
    axes.plot(*first, markeredgecolor=edge, markeredgewidth=2.2, **ring)
    axes.plot(*first, markeredgecolor=colour, markeredgewidth=1.1, **ring)
    if (float(last[0][0]), float(last[1][0])) != star:
        axes.plot(*last, zorder=7.4, markeredgewidth=0.8, markersize=6.5, **dot)


class _Box(NamedTuple):
    """A rectangle, in shares of the panel."""

    left: float
    bottom: float
    right: float
    top: float

    def meets(self, other: "_Box") -> bool:
        across = self.left < other.right and other.left < self.right
        return across and self.bottom < other.top and other.bottom < self.top

    @property
    def is_inside(self) -> bool:
        return min(self.left, self.bottom) > 0.01 and max(self.right, self.top) < 0.99


def _epochs(page: Page, axes: Any, runs: list[Run], letters: np.ndarray) -> None:
    """The number of epochs beside as many checkpoints as there is room for, first those at even steps of all."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    high = BROAD * (page.stretch or 0.8)

    def placed(alpha: Any, beta: Any) -> list[tuple[float, float]]:
        return list(zip((alpha - left) / (right - left), (beta - bottom) / (top - bottom), strict=True))

    dots = [placed(run.alpha, run.beta) for run in runs]
    taken = [_Box(x - 0.015, y - 0.015, x + 0.015, y + 0.015) for run in dots for x, y in run]
    # Ends, stars and marks with the letters to the right of them.
    ends = [run[k] for run in dots for k in (0, -1)] + placed(letters[:, 0], letters[:, 1])
    taken += [_Box(x - 0.03, y - 0.03, x + 0.13, y + 0.04) for x, y in ends]
    for i, (run, places) in enumerate(zip(runs, dots, strict=True)):
        colour = LOOKS[i % len(LOOKS)][0]
        last = None
        for k, (x, y) in enumerate(places):
            if not np.isfinite(run.epoch[k]) or (
                last is not None and max(abs(x - last[0]), abs(y - last[1])) < ROOM
            ):
                continue
            text = f"{run.epoch[k]:g}"
            wide, tall = text_inches(text, 5.5) / BROAD + 0.01, 0.085 / high
            corners = [(x + 0.015, y + 0.012), (x - 0.015 - wide, y + 0.012)]
            corners += [(a, y - 0.012 - tall) for a, _ in corners]
            boxes = [_Box(a, b, a + wide, b + tall) for a, b in corners]
            free = [one for one in boxes if one.is_inside and not any(one.meets(other) for other in taken)]
            if not free:
                continue
            taken.append(free[0])
            last = (x, y)
            axes.text(
                left + (free[0].left + wide / 2) * (right - left),
                bottom + (free[0].bottom + tall / 2) * (top - bottom),
                text,
                fontsize=5.5,
                color=colour if colour.startswith("#") else "black",
                ha="center",
                va="center",
                path_effects=[withStroke(linewidth=1.5, foreground="white", alpha=0.9)],
                zorder=8.5,
            )


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


def _marks(page: Page, axes: Any, result: Any, at: Callable[..., Any]) -> None:
    """Points of other runs, numbered."""
    if result.mark_alpha is None:
        return
    told = []
    outline = [withStroke(linewidth=1.8, foreground="white")]
    for i, name in enumerate(result.mark):
        alpha, beta = result.mark_alpha[i : i + 1], result.mark_beta[i : i + 1]
        told.append(f"mark {i + 1} by {short(float(result.mark_residual[i]))}")
        if not _within(result, alpha, beta).all():
            page.note(f"mark {i + 1}, {name}, outside the picture")
            continue
        place = at(alpha, beta, result.mark_loss[i : i + 1])
        axes.plot(*place, linestyle="", zorder=7.9, label=f"{i + 1} {name}", **MARK)
        flat = tuple(float(part[0]) for part in place)
        if not np.isfinite(flat).all():
            continue
        axes.text(*flat, f"{i + 1}  ", fontsize=7, weight="bold", ha="right", path_effects=outline, zorder=9)
    if len(result.mark) > MOST_NAMED:
        page.note("marks: " + ", ".join(f"{i + 1} {name}" for i, name in enumerate(result.mark)))
    page.note(f"off the plane: {', '.join(told)}")
