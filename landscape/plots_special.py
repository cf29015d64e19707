"""One drawing per kind: what the kind's question wants to see first. Each returns the title."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.patheffects import withStroke

from landscape.plots_curvature import sharpness
from landscape.plots_efficiency import efficiency
from landscape.plots_fields import clear, draw_flat, draw_surface, field, height
from landscape.plots_minima import minima
from landscape.plots_noise import noise
from landscape.plots_parts import (
    BLUE,
    DASHED,
    EQUALS,
    GREY,
    ORANGE,
    Page,
    accuracies_of,
    accuracy_panel,
    legend,
    line,
    log_axis,
    short,
    table,
    titled,
    titled_points,
    whose_statistics,
    wrapped,
)
from landscape.plots_paths import align, connect, interpolate, modes
from landscape.plots_spectrum import hessian

STAR = {"marker": "*", "markersize": 9, "color": "white", "markeredgecolor": "black", "markeredgewidth": 0.7}
MAX_STRETCH = 2.0  # a plane longer than this many times its breadth would be too thin to read at one scale


def train(page: Page, result: Any) -> str:
    """Loss, gradient norm and accuracy over the passes through the data, or over steps where they are few."""
    passes = result.epoch.max(initial=0) >= 1
    time = result.epoch if passes else result.step
    accuracies = accuracies_of(result)
    panels = page.panels(1.6, 1.0, *([1.0] if accuracies else []))
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
    panels[-1].set_xlabel(page.labels["epoch" if passes else "step"])
    return titled("Training", result)


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
        _residual_note(page, result, "circles: checkpoints at their own loss", "line")
    if np.isfinite(result.centre_loss):
        axes.plot(0, result.centre_loss, linestyle="", zorder=5, **STAR, label="θ*")
    if page.log:
        log_axis(page, axes, *drawn)
    axes.set_ylabel("training loss" if result.test_loss is None or result.draw_loss is not None else "loss")
    legend(axes)
    if accuracies:
        accuracy_panel(page, panels[1], alpha, accuracies)
    panels[-1].set_xlabel(page.labels["alpha"])
    _how_cut(page, result)
    return titled("Loss along one direction from", result)


def slice2d(page: Page, result: Any) -> str:
    """The loss on the plane, with θ* or the three given points, and the trajectory where there is one."""
    three = result.point_alpha is not None
    result, origin, names = _in_parameters(result)
    values, label = result.loss, page.labels["loss"]
    # A trajectory was projected on the plane of the first draw, so it goes with that draw alone.
    if result.loss_mean is not None and result.trajectory_alpha is None:
        values, label = result.loss_mean, page.labels["loss_mean"]
        page.note(
            f"{len(result.draw_loss)} draws, standard deviation up to "
            f"{short(np.nanmax(result.loss_spread, initial=0.0))}"
        )
    if result.explained_variance is not None:
        share, walk = np.sum(result.explained_variance), np.sum(result.random_walk_variance)
        page.note(f"the directions hold {share:.0%} of the run's variance (of a random walk's: {walk:.0%})")
    one = field(page, result.alpha, result.beta, values, label, result.done)
    if page.kind == "surface":
        axes = draw_surface(page, one)
        first, second = names or ("step α", "step β")
        axes.set_xlabel(first, labelpad=-4)
        axes.set_ylabel(second, labelpad=-4)
    else:
        is_mapped = result.curvature_ratio is not None
        # A page of two panels is not fitted to one of them.
        page.stretch = 0.0 if is_mapped else _stretch(page, result)
        inches = 2.2 * (page.stretch or 0.95)
        axes: Any
        axes, *below = page.panels(*[inches + 0.4] * (2 if is_mapped else 1), shared=False)
        if page.stretch:
            axes.set_aspect("equal")
        texts = draw_flat(page, axes, one, inches)
        clear(axes, texts, np.array(origin[:1]), np.array(origin[1:]))
        if three:
            clear(axes, texts, result.point_alpha, result.point_beta)
        if result.trajectory_alpha is not None:
            fine = np.linspace(0, len(result.trajectory_alpha) - 1, 400)
            known = np.arange(len(result.trajectory_alpha))
            alpha, beta = (
                np.interp(fine, known, part) for part in (result.trajectory_alpha, result.trajectory_beta)
            )
            clear(axes, texts, alpha, beta, 0.05)
        first, second = names or (page.labels["alpha"], page.labels["beta"])
        for panel in (axes, *below):
            panel.set_xlabel(wrapped(first, 2.4))
            panel.set_ylabel(wrapped(second, inches))
        for panel in below:
            label = page.labels["curvature_ratio"]
            second = field(page, result.alpha, result.beta, result.curvature_ratio, label)
            draw_flat(page, panel, second, inches, as_cells=True)
            panel.plot(*origin, linestyle="", zorder=8, **STAR)

    def at(alpha: Any, beta: Any, loss: Any) -> Any:
        places = (np.atleast_1d(alpha), np.atleast_1d(beta))
        return (*places, height(one, np.atleast_1d(loss))) if page.kind == "surface" else places

    if result.trajectory_alpha is not None:
        _trajectory(page, axes, result, at)
    outline = [withStroke(linewidth=2, foreground="white")]
    if three:
        for index, letter in enumerate("ABC"):
            place = at(result.point_alpha[index], result.point_beta[index], result.point_loss[index])
            axes.plot(*place, "o", color="white", markeredgecolor="black", markersize=4, zorder=8)
            flat = tuple(float(part[0]) for part in place)
            axes.text(*flat, f" {letter}", fontsize=8, weight="bold", path_effects=outline, zorder=9)
    else:
        place = at(*origin, result.centre_loss)
        if np.isfinite(place).all():
            axes.plot(*place, linestyle="", zorder=8, **STAR)
            axes.text(*(float(part[0]) for part in place), "  θ*", path_effects=outline, zorder=9)
    _how_cut(page, result)
    if three:
        return titled_points("Loss on the plane through", result, "ABC", ", ")
    return titled("Loss on a plane through", result)


def imported(page: Page, result: Any) -> str:
    """The numbers, as a table."""
    table(page, result)
    return titled("Imported", result)


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
    gram = np.asarray(result.gram, dtype=float)
    size = gram[0, 0]
    if not (size > 0 and max(abs(gram[1, 1] - size), abs(gram[0, 1])) < 1e-3 * size):
        return 0.0
    stretch = float(np.ptp(result.beta) / np.ptp(result.alpha))
    if 1 / MAX_STRETCH <= stretch <= MAX_STRETCH:
        return stretch
    page.note("the two axes have different scales")
    return 0.0


def _how_cut(page: Page, result: Any) -> None:
    """What the directions are and whose batch-norm statistics were used, where the configuration tells."""
    options = result.config.get("options", {})
    if options.get("directions") == "random" and getattr(result, "point_alpha", None) is None:
        norm = {"none": "not normalised"}.get(options["norm"], f"{options['norm']}-normalised")
        page.note(f"random directions, {norm}, seed {result.config['seed']}")
    elif options.get("directions") == "pca":
        page.note("principal directions of the run")
    elif getattr(result, "direction_curvature", None) is not None:
        values = ", ".join(short(value) for value in result.direction_curvature)
        page.note(f"along eigenvectors of the Hessian at θ*, λ{EQUALS}{values}")
    whose_statistics(page, result)


def _residual_note(page: Page, result: Any, start: str, where: str) -> None:
    farthest = np.nanmax(result.trajectory_residual, initial=0.0)
    page.note(f"{start}, up to {short(farthest)} off the {where}")


def _trajectory(page: Page, axes: Any, result: Any, at: Callable[..., Any]) -> None:
    alpha, beta = result.trajectory_alpha, result.trajectory_beta
    within = (np.abs(alpha - np.clip(alpha, result.alpha[0], result.alpha[-1])) == 0) & (
        np.abs(beta - np.clip(beta, result.beta[0], result.beta[-1])) == 0
    )
    if not within.all():
        page.note(f"{int((~within).sum())} of {len(alpha)} checkpoints outside the picture")
    if page.kind == "surface":  # which would draw beyond its box
        alpha, beta = (np.where(within, part, np.nan) for part in (alpha, beta))
    outline = [withStroke(linewidth=2.2, foreground="black")]
    places = at(alpha, beta, result.trajectory_loss)
    axes.plot(*places, "-", color="white", linewidth=1.0, path_effects=outline, zorder=6)
    size = 3 if len(alpha) <= 60 else 1.5
    axes.plot(
        *places,
        "o",
        color="white",
        markeredgecolor="black",
        markeredgewidth=size / 6,
        markersize=size,
        zorder=7,
    )
    if result.centre is not None:  # the plane is the whole space
        page.note("white: checkpoints")
    else:
        _residual_note(page, result, "white: checkpoints", "plane")


DRAWINGS: dict[str, Callable[[Page, Any], str]] = {
    "train": train,
    "hessian": hessian,
    "sharpness": sharpness,
    "interpolate": interpolate,
    "align": align,
    "efficiency": efficiency,
    "connect": connect,
    "minima": minima,
    "modes": modes,
    "noise": noise,
    "slice1d": slice1d,
    "slice2d": slice2d,
    "import": imported,
}
