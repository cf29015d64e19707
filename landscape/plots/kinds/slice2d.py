"""The loss on a plane, with what lies on it."""

import itertools
import re
from dataclasses import replace
from typing import Any

import numpy as np

from landscape.plots import trajectories
from landscape.plots.fields import Field, clear, draw_flat, field
from landscape.plots.levels import Range, barrier_range, valley_range
from landscape.plots.page import STAR, Page
from landscape.plots.profiles import how_cut
from landscape.plots.surface import draw_surface, height, seen
from landscape.plots.words import input_names, short, text_inches, titled, titled_points, uncertain, wrapped

# What has panels of its own below the loss, where it is there.
BELOW = ("smooth_loss", "curvature_ratio")
DOT: Any = {"color": "white", "markeredgecolor": "black", "markersize": 4, "clip_on": False}
MOST_TITLED = 4  # points that a title names
MAX_STRETCH = 2.0  # a plane longer than this many times its breadth would be too thin to read at one scale


def slice2d(page: Page, result: Any) -> str:
    """The loss on the plane, with θ* or the three given points, and the trajectory where there is one."""
    is_principal = result.explained_variance is not None
    several = result.point_alpha is not None
    three = several and not is_principal
    if result.test_loss_error is not None:
        centre = int(np.abs(result.beta).argmin()), int(np.abs(result.alpha).argmin())
        tested = uncertain(float(result.test_loss[centre]), float(result.test_loss_error[centre]))
        page.note(f"test loss at {'A' if three else 'θ*'} {tested} (standard error over the test samples)")
    result, origin, names = _in_parameters(result)
    values, label = result.loss, page.labels["loss"]
    # A trajectory was projected on the plane of the first draw, so it goes with that draw alone.
    if result.loss_mean is not None and result.trajectory_alpha is None:
        values, label = result.loss_mean, page.labels["loss_mean"]
        page.note(
            f"{len(result.draw_loss)} draws, standard deviation up to "
            f"{short(np.nanmax(result.loss_spread, initial=0.0))}"
        )
    if is_principal:
        whose = _whose(result)
        walk = result.random_walk_variance
        of_a_walk = "" if walk is None else f" (of a random walk's: {np.sum(walk):.0%})"
        page.note(
            f"the directions hold {_share(np.sum(result.explained_variance))} of {whose} variance{of_a_walk}"
        )
        names = names or [
            f"component {i + 1} ({_share(share)} of variance)"
            for i, share in enumerate(result.explained_variance)
        ]
    one = field(page, result.alpha, result.beta, values, label, result.done)
    labels: Any = ()
    if page.kind == "surface":
        if result.smooth_loss is not None:
            page.note("averages over noise are drawn as contours alone")
        axes = draw_surface(page, one, None if several else (*origin, float(result.centre_loss)))
        first, second = names or ("step α", "step β")
        if is_principal and result.centre is None:
            # Beneath a surface there is no room for more.
            first, second = (
                f"step {axis} ({_share(share)})"
                for axis, share in zip("αβ", result.explained_variance, strict=True)
            )
        axes.set_xlabel(first, labelpad=-4)
        axes.set_ylabel(second, labelpad=-4)
    else:
        more = [name for name in BELOW if getattr(result, name) is not None]
        # A page of two panels is not fitted to one of them.
        page.stretch = 0.0 if more else _stretch(page, result)
        inches = 2.2 * (page.stretch or 0.95)
        axes: Any
        axes, *below = page.panels(*[inches + 0.4] * (1 + len(more)), shared=False)
        labels = draw_flat(page, axes, one, inches, needs=_needs(one, origin, result))
        _cleared(axes, labels, origin, result)
        first, second = names or (page.labels["alpha"], page.labels["beta"])
        for panel in (axes, *below):
            panel.set_xlabel(_on_one_line(first, 2.4))
            panel.set_ylabel(_on_one_line(second, inches))
        for panel, name in zip(below, more, strict=True):
            second = field(page, result.alpha, result.beta, getattr(result, name), page.labels[name])
            as_cells = name == "curvature_ratio"
            _cleared(panel, draw_flat(page, panel, second, inches, as_cells=as_cells), origin, result)
            if several:
                panel.plot(result.point_alpha, result.point_beta, "o", zorder=8, **DOT)
            else:
                panel.plot(*origin, linestyle="", zorder=8, **STAR)
            if name == "smooth_loss":
                trajectories.draw_lines(panel, result, origin)
        if result.smooth_loss is not None:
            whose = " on the first draw's plane" if result.draw_loss is not None else ""
            error = short(np.nanmax(result.smooth_loss_error, initial=0.0))
            page.note(
                f"averaged over N(0, {short(result.smooth_sigma)}² I) by {result.smooth_pairs} pairs ±ξ{whose}, "
                f"standard error up to {error}"
            )

    def at(alpha: Any, beta: Any, loss: Any) -> Any:
        places = (np.atleast_1d(alpha), np.atleast_1d(beta))
        if page.kind != "surface":
            return places
        placed = np.stack([*places, height(one, np.atleast_1d(loss))], axis=1)
        hidden = np.isfinite(placed).all(axis=1) & ~seen(one, axes, placed)
        if hidden.any():
            page.note("what the surface hides in this view is not drawn")
        return tuple(np.where(hidden, np.nan, placed.T))

    star = origin if not three else (np.nan, np.nan)
    letters = []
    if several:
        for index, letter in enumerate(letters_of(len(result.point_alpha))):
            place = at(result.point_alpha[index], result.point_beta[index], result.point_loss[index])
            if is_principal and index == 0:
                axes.plot(*place, linestyle="", zorder=8, **STAR)
            elif result.trajectory_alpha is None or three:
                axes.plot(*place, "o", zorder=8, **DOT)
            letters.append(trajectories.Letter(letter, tuple(float(part[0]) for part in place)))
    else:
        place = at(*origin, result.centre_loss)
        if np.isfinite(place).all():
            axes.plot(*place, linestyle="", zorder=8, **STAR)
        letters.append(trajectories.Letter("θ*", tuple(float(part[0]) for part in place), "normal"))
    trajectories.draw(page, axes, result, star, at, letters, labels)
    how_cut(page, result)
    if three:
        return titled_points("Loss on the plane through", result, "ABC", ", ")
    if several:
        letters = letters_of(len(result.point_alpha))
        if len(letters) > MOST_TITLED:
            return f"Loss on the principal plane of {len(letters)} points, from {input_names(result)[0]} on"
        return titled_points("Loss on the principal plane of", result, letters, ", ")
    return titled("Loss on the principal plane of" if is_principal else "Loss on a plane through", result)


def _needs(one: Field, origin: tuple[float, float], result: Any) -> list[Range]:
    """The barriers between the given points, else the valley round θ*."""
    if result.point_alpha is None or len(result.point_alpha) > MOST_TITLED:
        return valley_range(one.x, one.y, one.values, origin)
    places = np.stack([result.point_alpha, result.point_beta], axis=1)
    pairs = itertools.combinations(range(len(places)), 2)
    return [need for i, j in pairs for need in barrier_range(one.x, one.y, one.values, places[[i, j]])]


def letters_of(count: int) -> str:
    """A, B, C, …: what so many points are called."""
    return "".join(chr(ord("A") + i) for i in range(count))


def _share(value: float) -> str:
    """In per cent, of which a little is not nothing.

    >>> _share(0.612), _share(0.0042), _share(0.9971), _share(1.0)
    ('61%', '0.4%', '99.7%', '100%')
    """
    digits = 1 if 0 < value < 0.01 or 0.99 < value < 0.9995 else 0
    return f"{value:.{digits}%}"


def _on_one_line(label: str, inches: float) -> str:
    """The label, without what it says besides where there is no room for that; broken where there is none still.

    >>> _on_one_line("component 2 (8% of variance)", 1.2)
    'component 2 (8%)'
    """
    if text_inches(label, 8) > inches:
        label = re.sub(r" along .*|(?<=%) of variance", "", label)
    return wrapped(label, inches)


def _whose(result: Any) -> str:
    """Of which runs the principal directions are."""
    options = result.config.get("options", {})
    many = (result.run is not None and len(result.run) > 1) or result.point_alpha is not None
    if not many:
        return "the run's"
    return "the first run's" if options.get("directions") == "pca-first" else "the runs'"


def _cleared(axes: Any, texts: Any, origin: tuple[float, float], result: Any) -> None:
    """Takes away what is written where points or the trajectory lie."""
    clear(axes, texts, np.array(origin[:1]), np.array(origin[1:]))
    if result.point_alpha is not None:
        clear(axes, texts, result.point_alpha, result.point_beta)
    trajectories.cleared(axes, texts, result)


def _in_parameters(result: Any) -> tuple[Any, tuple[float, float], list[str]]:
    """With θ* added to every step, where θ* lies, and the axes' names; where they are not the module's own, as it is.

    What has two parameters is read in their own values, not in distances from a point.
    """
    names = [f"parameter {name}" for piece in result.parameters for name in piece.entries]
    if result.centre is None or len(names) != 2:
        return result, (0.0, 0.0), []
    moved = {
        name: values + start
        for axis, start in zip(("alpha", "beta"), result.centre, strict=True)
        for name in (axis, f"trajectory_{axis}")
        if (values := getattr(result, name)) is not None
    }
    return replace(result, **moved), (float(result.centre[0]), float(result.centre[1])), names


def _stretch(page: Page, result: Any) -> float:
    """Breadth of the plane over its length, 0 where the axes have no common scale.

    Only where the directions are as long as each other and at right angles is a circle on paper a circle in θ.
    """
    if result.gram is None:  # of directions that nobody knows
        return 0.0
    gram = np.asarray(result.gram, dtype=float)
    size = gram[0, 0]
    if not (size > 0 and max(abs(gram[1, 1] - size), abs(gram[0, 1])) < 1e-3 * size):
        return 0.0
    stretch = float(np.ptp(result.beta) / np.ptp(result.alpha))
    if 1 / MAX_STRETCH <= stretch <= MAX_STRETCH:
        return stretch
    page.note("the two axes have different scales")
    return 0.0
