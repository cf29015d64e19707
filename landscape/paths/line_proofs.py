"""The proofs of a loss along a path from what a result states: a point inside, heights, means and their errors."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch

from landscape.numerics.curves.barriers import RESAMPLES
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.row_proofs import Row, numbers, place, row_checks
from landscape.objective.sweep import Sweep
from landscape.paths.profile import PathLoss
from landscape.result import Check, largest_gap

# Sums of a few hundred losses in float64, in another order.
SUMS = 1e-12
# Numbers of a resampling at a time.
BLOCK = 2**24


def inner(t: np.ndarray, seed: int, block_size: int) -> int | None:
    """A position that is no end, drawn by the seed from the last block."""
    start = (len(t) - 1) // block_size * block_size
    inside = [i for i in range(len(t)) if t[i] not in (0, 1)]
    last = [i for i in inside if i >= start] or inside
    return int(np.random.default_rng(seed).choice(last)) if last else None


def line_checks(
    sweep: Sweep,
    ends: tuple[Point, Point],
    t: np.ndarray,
    columns: tuple[np.ndarray | None, ...],
    *,
    seed: int,
    name: str = "seeded",
) -> list[Check]:
    """One point inside the straight line, (1 − t)A + tB. ``columns``: as :class:`Row`, over ``t``."""
    i = inner(t, seed, sweep.block_size)
    if i is None:
        return []
    first, second = map(numbers, (one.theta for one in ends))
    row = Row.of(columns, i)
    found, more = place(sweep, row, (1 - t[i]) * first + t[i] * second, ends, [1 - t[i], t[i]])
    return [*row_checks(sweep, [found], "a point inside the line", name), *more]


def distance_check(ends: tuple[Point, Point], distance: float, name: str = "distance") -> Check:
    """‖B − A‖ by numpy."""
    first, second = map(numbers, (one.theta for one in ends))
    wanted, own = (float((one**2).sum()) ** 0.5 for one in (second - first, first))
    scale = max(wanted, own, 1e-300)
    eps = torch.finfo(ends[0].theta.dtype).eps
    # The difference is rounded once, and a sum of d squares in float64 by the square root of d as a rule.
    bound = 2 * eps + len(first) ** 0.5 * float(np.finfo(float).eps)
    meaning = "distance of the two points against a sum of squares written out, relative to them"
    return Check(name, abs(distance - wanted) / scale, bound, meaning)


def refinement_check(
    lines: Sequence[PathLoss], begun: Sequence[np.ndarray], tolerance: float, name: str = "refinement"
) -> Check:
    """Nothing is left to refine at the losses of ``lines``, each of which begins with its own places."""
    worst = 0.0
    for line, places in zip(lines, begun, strict=True):
        if set(places.tolist()) - set(line.t.tolist()):
            worst = np.inf
        if line.is_refined and tolerance < np.inf:
            allowed = max(tolerance, line.rounding()) + line.rounding()
            worst = largest_gap(worst, _highest_secant(line.t.tolist(), line.loss.tolist()) / allowed)
    meaning = (
        "how far a barrier would rise between the places where the loss is stated, if it went on across a gap as it "
        "comes there, over the tolerance (infinite: a place lacks that was asked for)"
    )
    return Check(name, worst, 1.0 + SUMS, meaning)


def _highest_secant(t: list[float], loss: list[float]) -> float:
    """The most that a line through two neighbours, drawn on over the next gap, lies above the largest loss."""
    inside = [(at, value) for at, value in zip(t, loss, strict=True) if 0 <= at <= 1]
    (_, first), (_, last) = inside[0], inside[-1]
    if not np.isfinite([value for _, value in inside]).all():
        return 0.0
    over = [(at, (1 - at) * (value - first) + at * (value - last)) for at, value in inside]
    most = 0.0
    for curve in (inside, over):
        top = max(value for _, value in curve)
        for way in (curve, curve[::-1]):
            for (a, low), (b, high), (c, _) in zip(way, way[1:], way[2:], strict=False):
                most = max(most, high - top + (high - low) * (c - b) / (b - a))
    return most


def heights(t: np.ndarray, loss: np.ndarray) -> dict[str, float]:
    """Barriers over the chord, the worse end and the mean of the ends, and the top, written out."""
    found = {"chord": -np.inf, "ends": -np.inf, "mean": -np.inf, "top": -np.inf}
    inside = [(at, value) for at, value in zip(t.tolist(), loss.tolist(), strict=True) if 0 <= at <= 1]
    (_, first), (_, last) = inside[0], inside[-1]
    if np.isnan([value for _, value in inside]).any() or np.isinf([first, last]).any():
        return dict.fromkeys(found, np.nan)
    for at, value in inside:
        found["chord"] = max(found["chord"], value - ((1 - at) * first + at * last))
        found["ends"] = max(found["ends"], value - max(first, last))
        found["mean"] = max(found["mean"], value - (first + last) / 2)
        found["top"] = max(found["top"], value)
    return found


def numbers_check(name: str, stated: Mapping[str, float], wanted: Mapping[str, float], meaning: str) -> Check:
    """Stated numbers against others of the same names, the worst of them, relative to the largest."""
    finite = [abs(one) for one in wanted.values() if np.isfinite(one)]
    scale = max([*finite, 1e-300])
    worst = 0.0
    for key, value in stated.items():
        other = wanted[key]
        if value == other or (np.isnan(value) and np.isnan(other)):
            continue
        worst = largest_gap(worst, float(np.nan_to_num(abs(value - other) / scale, nan=np.inf)))
    return Check(name, worst, SUMS, meaning)


def barrier_check(
    t: np.ndarray, loss: np.ndarray, stated: Mapping[str, float], name: str = "barrier"
) -> Check:
    """Barriers as they are stated against their definitions over the stated losses."""
    wanted = heights(t, loss)
    kept = {"scale": float(np.abs(loss[np.isfinite(loss)]).max(initial=0)), **wanted}
    return numbers_check(name, stated, kept, "heights of the stated losses by their definitions, relative")


def mean_check(
    t: np.ndarray, loss: np.ndarray, gaps: np.ndarray, stated: Mapping[str, float], name: str = "mean loss"
) -> Check:
    """The means over t and over arc length, ``gaps`` the lengths of the pieces, by the trapezoidal rule written out."""
    wanted = {}
    for key, widths in (("t", np.diff(t)), ("arc", gaps)):
        total = float(
            sum(w * (a + b) / 2 for w, (a, b) in zip(widths.tolist(), pairwise(loss.tolist()), strict=True))
        )
        wanted[key] = total / float(widths.sum()) if widths.sum() > 0 else float(loss.mean())
    found = numbers_check(name, stated, wanted, "trapezoidal means of the stated losses, relative")
    return Check(found.name, found.value, 100 * SUMS, found.meaning)


def error_check(
    t: np.ndarray,
    losses: np.ndarray,
    stated: Mapping[str, float],
    seed: int,
    name: str = "barrier errors",
    *,
    objective: Objective,
) -> Check | None:
    """Standard errors of barriers by the same resamples of samples, in one product, and their spread written out.

    ``losses`` (T, n) of every sample, which ``objective`` has or not. None where there is nothing to resample.
    """
    count = losses.shape[1]
    if count != (objective.num_samples if objective.tells_samples_apart else 0):
        return Check(name, np.inf, SUMS, "losses of samples, that errors are from, are not there")
    if count < 2 or not np.isfinite(losses).all():
        return None
    generator = np.random.default_rng(seed)
    drawn: list[np.ndarray] = []
    rows = max(1, BLOCK // count)
    for start in range(0, RESAMPLES, rows):
        times = np.zeros((min(rows, RESAMPLES - start), count))
        for one in times:
            np.add.at(one, generator.integers(count, size=count), 1.0)
        drawn.append(times @ losses.T / count)
    means = np.concatenate(drawn)
    over = {
        "chord": (means - np.outer(means[:, 0], 1 - t) - np.outer(means[:, -1], t)).max(1),
        "ends": (means - np.maximum(means[:, :1], means[:, -1:])).max(1),
        "mean": means.max(1) - (means[:, 0] + means[:, -1]) / 2,
        "top": means.max(1),
    }
    wanted = {
        key: float(np.sqrt(((one - one.mean()) ** 2).sum() / (len(one) - 1))) for key, one in over.items()
    }
    scale = max(float(np.abs(means).max()), 1e-300)
    worst = max(np.nan_to_num(abs(value - wanted[key]), nan=np.inf) / scale for key, value in stated.items())
    meaning = (
        "standard errors of the barriers by the same draws, written out, relative to the largest mean loss"
    )
    return Check(name, float(worst), SUMS, meaning)


def loss_errors_check(losses: np.ndarray, stated: np.ndarray) -> Check:
    """Standard errors (T,) of losses that are means over samples (T, n): √(Σ(ℓ − F)²/(n(n − 1)))."""
    count = losses.shape[1]
    with np.errstate(invalid="ignore", over="ignore"):
        apart = losses - losses.sum(axis=1, keepdims=True) / count
        wanted = np.sqrt((apart**2).sum(axis=1) / (count * (count - 1)))
        gaps = np.abs(stated - wanted) / np.maximum(np.abs(losses).max(axis=1), 1e-300)
    known = np.isfinite(losses).all(axis=1)
    worst = float(np.nan_to_num(gaps[known], nan=np.inf).max(initial=0.0))
    meaning = "standard errors of the losses against the losses of the samples, written out, over the largest of these"
    return Check("loss errors", worst, 100 * SUMS, meaning)


def errors_check(
    objective: Objective,
    t: np.ndarray,
    lines: Sequence[tuple[np.ndarray, Mapping[str, float | None]]],
    seed: int,
) -> list[Check]:
    """:func:`error_check` of some lines over ``t``, losses of every sample (T, n) and errors as stated; the worst.

    What is not stated is NaN, or None, where there is nothing to resample.
    """
    inside, found = (t >= 0) & (t <= 1), []
    for losses, stated in lines:
        said = {key: np.nan if one is None else one for key, one in stated.items()}
        one = error_check(t[inside], losses[inside], said, seed, objective=objective)
        found += [] if one is None else [one]
    return [max(found, key=lambda one: largest_gap(one.value))] if found else []
