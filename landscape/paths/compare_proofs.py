"""The proofs of several points side by side: a line between two, what sums the slices up, ranks and their agreement."""

import math
from collections.abc import Collection, Mapping
from itertools import combinations
from typing import Any

import numpy as np

from landscape.objective import checks, plain
from landscape.objective.accuracy import tied_share
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.paths.directions import random_directions
from landscape.paths.line_proofs import barrier_check, error_check, line_checks, refinement_check
from landscape.paths.profile import PathLoss
from landscape.paths.slices import Slice
from landscape.result import Check, largest_gap

# What two roads to the same sum differ by, relative.
SAME = 1e-9


def line_proofs(
    line: PathLoss, height: float, error: float, seed: int, num_points: int, tolerance: float
) -> list[Check]:
    """Of one straight line: a point inside it, where it was looked at, its barrier as stated, and its error."""
    found = line_checks(
        line.sweep, line.path.ends, line.t, (line.loss, None, None), seed=seed, name="straight line"
    )
    found.append(refinement_check([line], [np.linspace(0, 1, num_points)], tolerance))
    found.append(barrier_check(line.t, line.loss, {"chord": height}, "straight barrier"))
    about = {"name": "straight barrier errors", "objective": line.sweep.objective}
    drawn = error_check(line.t, line.samples, {"chord": error}, seed, **about)
    return found if drawn is None else [*found, drawn]


def rescaled_check(
    objective: Objective, found: Slice, moved: Point, ignore: Collection[str], seed: int
) -> Check:
    """A cell of the slice by a plain loop, at the point with its layers rescaled and by its own directions. One F."""
    cells = np.flatnonzero(found.grid[0])
    cell = int(np.random.default_rng(seed).choice(cells))
    way = random_directions(
        objective, moved.theta, 1, norm="filter", ignore=ignore, orthogonal=False, seed=seed
    )[0]
    theta = moved.theta.double() + float(found.grid[0][cell]) * way.double()
    there = plain.measure(
        objective, plain.by_name(objective, Point(theta.to(moved.theta.dtype), moved.fixed))
    ).loss
    meaning = "a cell of the slice against a plain loop at the point with its layers rescaled"
    return checks.close(
        "rescaled slice", float(found.losses[0, cell]), there, 10 * checks.rounding(objective), meaning
    )


def gaps_check(
    objective: Objective,
    test: Objective,
    point: Point,
    gaps: Mapping[str, float],
    errors: Mapping[str, float],
) -> Check:
    """Gaps of loss and of errors by plain loops over either data, within rounding and ties. Two evaluations.

    And their ``errors`` over the test samples, from each of these alone, where they are known: one more.
    """
    here, there = (plain.measure(one, plain.by_name(one, point)) for one in (objective, test))
    size = max(abs(here.loss), abs(there.loss), 1e-3)
    worst = abs(gaps["generalisation_gap"] - (there.loss - here.loss)) / (
        2 * size * checks.rounding(objective)
    )
    if "error_gap" in gaps:
        room = 1e-12 + tied_share(objective) + tied_share(test)
        worst = largest_gap(
            worst, abs(gaps["error_gap"] - ((1 - there.accuracy) - (1 - here.accuracy))) / room
        )
    if np.isfinite(errors["generalisation_gap"]):
        seen = plain.errors(test, plain.by_name(test, point))
        wanted = math.hypot(seen.loss, checks.rounding(objective) * abs(here.loss))
        room = 4 * checks.rounding(test) * max(seen.size, 1e-300)
        worst = largest_gap(worst, abs(errors["generalisation_gap"] - wanted) / room)
        if "error_gap" in errors and np.isfinite(seen.accuracy):
            room = 1e-12 + (tied_share(test) / test.num_samples) ** 0.5
            worst = largest_gap(worst, abs(errors["error_gap"] - seen.accuracy) / room)
    meaning = (
        "test less training loss, and errors, by plain loops at one point, over what rounding makes of it"
    )
    return Check("generalisation gap", worst, 1.0, meaning)


def summaries_check(
    stated: np.ndarray, slices: np.ndarray, widths: np.ndarray, barrier: np.ndarray, rounding: float
) -> Check:
    """``stated`` convexity, width and barrier (3, points) from losses, half-widths and barriers, one after another.

    ``rounding`` is that of a loss, relative, of which a second difference has four times as much.
    """
    worst, clearly = 0.0, max(1e-3, 4 * rounding)
    for i, row in enumerate(stated.T.tolist()):
        length = sum(widths[i].ravel().tolist()) / widths[i].size
        height = math.fsum(one for j, one in enumerate(barrier[i].tolist()) if j != i) / (len(barrier) - 1)
        is_known = np.isfinite(height) and np.isfinite(slices[i]).all()
        for value, wanted in zip(row[1:], (length, height), strict=True) if is_known else ():
            worst = largest_gap(worst, abs(value - wanted) / max(abs(wanted), 1e-300))
        # Places bent downwards beyond rounding are not convex, those bent upwards are.
        clear = [_bend(line[k - 1 : k + 2]) for line in slices[i].tolist() for k in range(1, len(line) - 1)]
        low = sum(one > clearly for one in clear) / len(clear)
        high = 1 - sum(one < -clearly for one in clear) / len(clear)
        worst = largest_gap(worst, low - row[0], row[0] - high) if is_known else worst
    meaning = "convexity, width and barrier of every point against the stated slices and lines, relative"
    return Check("summaries", float(worst), 1e-10, meaning)


def _bend(three: list[float]) -> float:
    """How far the middle lies below the mean of its neighbours, over the largest of them."""
    return (three[0] - 2 * three[1] + three[2]) / max(*map(abs, three), 1e-300)


def ranks_check(found: Any, searched: Collection[str], rounding: float) -> Check:
    """Pairs of points of a comparison that are ranked against their values, or apart where rounding is as large.

    ``rounding`` is that of a loss, relative; ``searched`` are the measures with the errors of a search.
    """
    wrong, names = 0, found.measure.tolist()
    sizes = {name: _largest(row) for name, row in zip(names, found.values.tolist(), strict=True)}
    rows = zip(
        names,
        found.better.tolist(),
        found.values.tolist(),
        found.errors.tolist(),
        found.ranks.tolist(),
        strict=True,
    )
    for name, better, values, errors, places in rows:
        near = sizes[name]
        if name == "width":
            near *= 1 + sizes["loss"] / found.rise
        elif "rise" in name or name in ("barrier", "generalisation_gap"):
            near += sizes["loss"]
        near = 10 * rounding * near + (2 * _largest(errors) if name in searched else 0.0)
        for i, j in combinations(range(len(values)), 2):
            gap = values[j] - values[i] if better == "high" else values[i] - values[j]
            if math.isnan(gap):
                continue
            order = (places[i] > places[j]) - (places[i] < places[j])
            wrong += order * gap < 0 or (order != 0 and abs(gap) <= near * (1 - SAME))
            wrong += order == 0 and not abs(gap) <= len(values) * near * (1 + SAME)
    meaning = "pairs of points that are ranked against their values, or tied and surely apart (0 = none)"
    return Check("ranks", float(wrong), 0.0, meaning)


def _largest(row: Collection[float]) -> float:
    return max((abs(one) for one in row if math.isfinite(one)), default=0.0)


def agreement_check(ranks: np.ndarray, tau: np.ndarray) -> Check:
    """τ-b of every two measures from the pairs of points in one order, in the other, and tied."""
    worst = 0.0
    for k, m in combinations(range(len(ranks)), 2):
        same, ties = 0, [0, 0]
        pairs = list(combinations(range(ranks.shape[1]), 2))
        for i, j in pairs:
            a, b = ranks[k, i] - ranks[k, j], ranks[m, i] - ranks[m, j]
            same += int(a * b > 0) - int(a * b < 0)
            ties = [ties[0] + int(a == 0), ties[1] + int(b == 0)]
        room = (len(pairs) - ties[0]) * (len(pairs) - ties[1])
        if room == 0 or np.isnan(tau[k, m]):
            worst = largest_gap(worst, 0.0 if room == 0 and np.isnan(tau[k, m]) else np.inf)
        else:
            worst = largest_gap(worst, abs(tau[k, m] - same / math.sqrt(room)), abs(tau[k, m] - tau[m, k]))
    meaning = "Kendall's τ of every two measures from the pairs in one order, the other, and tied"
    return Check("agreement of ranks", float(worst), 1e-12, meaning)
