"""Several points side by side: what is seen at each by one seed, span and scale, its measures, and what proves them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from landscape.curvature.sharpness import Asked, Measured, measured, measured_ahead
from landscape.curvature.sharpness_proofs import proven
from landscape.objective import checks
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.sweep import Sweep
from landscape.paths import agreement_proofs, compare_proofs
from landscape.paths.profile import PathLoss
from landscape.paths.slice_proofs import stated_checks
from landscape.paths.slices import Cut, Slice, sliced
from landscape.paths.sublevel import HalfWidths, common_rise, half_widths, in_numbers, widths_check
from landscape.progress import Progress, Within
from landscape.result import Check
from landscape.symmetry.rescaling import rescaled

NORMS = ("none", "filter")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class About(NamedTuple):
    """What is better of a measure, and which rescalings of ReLU-like units it does not see: none, layer or unit."""

    better: str
    unchanged_by: str


# Those relative to the filters do not see one of whole layers, as every filter of a layer is rescaled alike.
MEASURES = {
    "convexity": About("high", "layer"),
    "width": About("high", "layer"),
    "lambda_max": About("low", "none"),
    "trace": About("low", "none"),
    "noise_rise": About("low", "none"),
    "noise_rise_filter": About("low", "layer"),
    "ball_rise_at_least": About("low", "none"),
    "ball_rise_at_least_filter": About("low", "layer"),
    "sam_rise": About("low", "none"),
    "sam_rise_filter": About("low", "layer"),
    "critical_sharpness": About("low", "none"),
    "directional_sharpness": About("low", "none"),
    "relative_critical_sharpness": About("low", "none"),
    "relative_flatness": About("low", "layer"),
    "fisher_rao_norm": About("low", "unit"),
    "barrier": About("low", "none"),
    "loss": About("low", "unit"),
    "test_loss": About("low", "unit"),
    "generalisation_gap": About("low", "unit"),
    "error_gap": About("low", "unit"),
}
# What is no flatness: a norm, how the points are connected, how good they are, and how good on other data.
OTHERS = ("fisher_rao_norm", "barrier", "loss", "test_loss", "generalisation_gap", "error_gap")
GAPS = ("generalisation_gap", "error_gap")
# What a search ends with an error of, which is no spread.
SEARCHED = ("lambda_max", "critical_sharpness", "relative_critical_sharpness")


class Seen(NamedTuple):
    """Everything at one point; ``goodness`` are the losses and what follows from them, with their errors."""

    point: Point
    name: str
    sharpness: Measured
    slice: Slice
    widths: HalfWidths
    goodness: dict[str, tuple[float, float]]


def seen_at(
    objective: Objective,
    places: Sequence[Point],
    test: Objective | None,
    cut: Cut,
    asked: Asked,
    rise: float | None,
    progress: Progress,
) -> tuple[list[Seen], float]:
    """What is seen at every point, and the rise that ends their sublevel sets."""
    kept = asked.journal
    names = [LETTERS[i] if i < len(LETTERS) else f"P{i + 1}" for i in range(len(places))]
    slices = [
        sliced(Sweep(objective, None, "frozen", Within(kept, f"{name} "), progress), [point], cut, 1)
        for name, point in zip(names, places, strict=True)
    ]
    height = common_rise(slices) if rise is None else rise
    at = {f"at {name}": point for name, point in zip(names, places, strict=True)}
    measured_ahead(objective, at, NORMS, asked, progress)
    found = []
    for name, point, one in zip(names, places, slices, strict=True):
        sharp = measured(objective, point, f"at {name}", NORMS, asked, progress)
        table = Sweep(objective, test, "frozen", kept, progress).measure(
            f"{name} alone", 1, lambda _, thetas, point=point: thetas.copy_(point.theta[None]), [point]
        )[0]
        good = goodness(table.tolist(), checks.rounding(objective), test is not None)
        found.append(Seen(point, name, sharp, one, half_widths(one, height), good))
    return found, height


def goodness(row: Sequence[float], rounding: float, has_test: bool) -> dict[str, tuple[float, float]]:
    """Losses and gaps with their errors from a ``row`` of :meth:`~landscape.objective.sweep.Sweep.measure`.

    The training data are what they are, so that a gap has the standard error of the test data and rounding alone.
    """
    loss, accuracy, test_loss, test_accuracy, loss_error, accuracy_error = row
    found = {"loss": (loss, rounding * abs(loss))}
    if has_test:
        found["test_loss"] = (test_loss, loss_error)
        found["generalisation_gap"] = (test_loss - loss, np.hypot(loss_error, rounding * abs(loss)))
    if has_test and np.isfinite(accuracy) and np.isfinite(test_accuracy):
        found["error_gap"] = (accuracy - test_accuracy, accuracy_error)
    return found


def table_of(
    objective: Objective, one: Seen, heights: np.ndarray, errors: np.ndarray
) -> dict[str, tuple[float, float]]:
    """(value, error) by measure; ``heights`` of the lines to all other points with their ``errors``."""
    found = {
        **in_numbers(one.slice.losses, one.widths, checks.rounding(objective)),
        **one.sharpness.table,
        "barrier": (heights.mean(), errors.mean()),
        **one.goodness,
    }
    return {name: (float(found[name][0]), float(found[name][1])) for name in MEASURES if name in found}


def badness_of(
    objective: Objective, names: Sequence[str], values: np.ndarray, errors: np.ndarray, rise: float
) -> tuple[np.ndarray, np.ndarray]:
    """Values turned so that less is better, and what rounding, or a search, makes of each measure."""
    signs = np.array([-1.0 if MEASURES[name].better == "high" else 1.0 for name in names])
    size = np.abs(np.where(np.isfinite(values), values, 0.0)).max(axis=1)
    loss = size[names.index("loss")]
    # A rise is a difference of two losses, and a width what a rise is over the slope.
    beside = [size[k] * loss / rise if name == "width" else loss for k, name in enumerate(names)]
    differences = ("barrier", "width", "generalisation_gap")
    is_rise = np.array(["rise" in name or name in differences for name in names])
    room = 10 * checks.rounding(objective) * (size + np.where(is_rise, beside, 0.0))
    for k, name in enumerate(names):
        # Other errors are no room, and are NaN where a loss has no terms of samples.
        if name in SEARCHED:
            room[k] += 2 * np.nan_to_num(errors[k]).max()
    return values * signs[:, None], room


def proofs_of(
    objective: Objective,
    result: Any,
    seen: Sequence[Seen],
    lines: dict[tuple[int, int], PathLoss],
    cut: Cut,
    asked: Asked,
    test: Objective | None,
    times: float,
    is_given: bool,
    refined: tuple[int, float],
) -> list[Check]:
    """Every point's measures, one straight line, and the ranks, each as the result states them.

    ``times``: the errors of a difference that tell points apart; ``is_given``: the rise was asked for; ``refined``:
    how many places lines begin with, and the tolerance that they are refined to.
    """
    names, found = result.measure.tolist(), [checks.finite(result.values)]
    for i, one in enumerate(seen):
        numbers = zip(result.values[:, i].tolist(), result.errors[:, i].tolist(), strict=True)
        stated = {**one.sharpness.table, **dict(zip(names, numbers, strict=True))}
        rises = {}
        for norm, ending in (("none", ""), ("filter", "_filter")):
            rise, error = stated[f"noise_rise{ending}"]
            rises[norm] = (np.array([rise]), np.array([error]))
        proofs, notes = proven(objective, one.point, one.sharpness, asked, stated, rises)
        proofs += one.slice.checks
        proofs.append(
            checks.agreement("loss", objective, stated["loss"][0], one.point, "loss against a plain loop")
        )
        rows = result.slice_loss[i]
        ways = torch.cat(one.slice.axes.draws).double()
        # Of a sharded module they stay in parts.
        ways = ways if objective.is_sharded else ways.cpu().numpy()
        proofs += stated_checks(one.slice, cut, (result.alpha,), (rows[0], None, None), rows, ways)
        reach = result.half_width[i], result.is_reached[i]
        widths = HalfWidths(reach[0], one.widths.error, reach[1])
        proofs += widths_check(one.slice, result.rise, widths, asked.seed)
        proofs.append(agreement_proofs.brackets_check(one.slice, result.rise, *reach))
        if test:
            proofs.append(
                checks.agreement(
                    "test loss", test, stated["test_loss"][0], one.point, "loss against a plain loop"
                )
            )
        proofs += _rescaled(objective, result.notes, one, asked)
        found += [replace(check, name=f"{check.name} at {one.name}") for check in proofs]
        result.notes += [note for note in notes if note not in result.notes]
    if test:
        which = int(np.random.default_rng(asked.seed).integers(len(seen)))
        gaps, unsure = (
            {name: float(rows[names.index(name), which]) for name in GAPS if name in names}
            for rows in (result.values, result.errors)
        )
        found.append(compare_proofs.gaps_check(objective, test, seen[which].point, gaps, unsure))
    pairs = sorted(lines)
    i, j = pairs[int(np.random.default_rng(asked.seed).integers(len(pairs)))]
    found += compare_proofs.line_proofs(
        lines[i, j], float(result.barrier[i, j]), float(result.barrier_error[i, j]), asked.seed, *refined
    )
    summed = result.values[[names.index(name) for name in ("convexity", "width", "barrier")]]
    drawn = result.slice_loss, result.half_width, result.barrier
    found.append(compare_proofs.summaries_check(summed, *drawn, checks.rounding(objective)))
    found.append(compare_proofs.ranks_check(result, SEARCHED, checks.rounding(objective)))
    found.append(compare_proofs.agreement_check(result.ranks, result.tau))
    flat = [k for k, name in enumerate(names) if name not in OTHERS]
    found.append(agreement_proofs.verdicts_check(result, flat, times))
    found.append(agreement_proofs.intervals_check(result, flat, asked.seed))
    errors = {name: result.errors[names.index(name)] for name in ("convexity", "width")}
    left, rounding = np.stack([one.widths.error for one in seen]), checks.rounding(objective)
    found.append(agreement_proofs.errors_check(errors, *drawn[:2], left, rounding))
    if not is_given:
        found.append(agreement_proofs.rise_check(result.slice_loss, seen[0].slice.middle, result.rise))
    return found


def _rescaled(objective: Objective, notes: list[str], one: Seen, asked: Asked) -> list[Check]:
    """That slices do not see a rescaling of whole layers, where the module has such layers; else a note."""
    moved = rescaled(objective, one.point, per="layer", seed=asked.seed, tolerance=checks.rounding(objective))
    if moved.point is None:
        note = f"what rescaling leaves a measure as it is has not been tried: {moved.reason}"
        notes += [note] if note not in notes else []
        return []
    return [compare_proofs.rescaled_check(objective, one.slice, moved.point, asked.ignore, asked.seed)]
