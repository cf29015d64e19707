"""What an escape says of itself, by another road: steps with their noise drawn again, exits, curvature, the lines."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.descent.escape import DIRECTIONS, SAMPLES, Bottom, Leave, falls
from landscape.descent.replay import slope_and_error
from landscape.descent.stated_kicks import KICKS, stated_kick
from landscape.numerics.decades import Decades
from landscape.numerics.steps.leaving import NOT_YET
from landscape.objective import checks, plain
from landscape.objective.objective import Objective
from landscape.result import Check, largest_gap

EXITS = 3
# Of a run that diverges, whose squares are numbers yet.
FARTHEST = 1e140
# Random directions along which it is tried whether F falls.
FALLING = 16
# Steps of a difference of gradients, over 1 + ‖θ‖, and what it may be off by; the best step counts, as of many units
# some have a kink beside. Half types have no digits for one.
DIFFERENCES = {torch.float64: ((1e-4, 1e-6, 1e-8), 1e-5), torch.float32: ((1e-2, 1e-3, 1e-4), 2e-2)}
# A normal variable is farther from its mean than so many deviations once in a million.
MILLIONTH = 4.9


def escape_checks(
    wide: Objective, saddle: Tensor, asked: Leave, bottom: Bottom, found: dict[str, Any]
) -> list[Check]:
    """Of the runs ``found``: ``noisy step`` and ``exit step``; of the saddle: ``lowest curvature``, ``threshold``."""
    steps = _steps(wide, asked, found)
    curvature = [_curvature(wide, saddle, bottom)] if wide.coarsest in DIFFERENCES else []
    return [*([steps] if steps else []), _exits(wide, asked, found), *curvature, *bottom.checks]


def _steps(wide: Objective, asked: Leave, found: dict[str, Any]) -> Check | None:
    """Some first steps, from where the runs stood: by plain loops, and with noise drawn by its own words."""
    gaps, every = [], torch.arange(wide.num_samples)
    for run, step, (before, after) in zip(
        found["seen_runs"].tolist(), found["seen_steps"].tolist(), found["seen"], strict=True
    ):
        # Under noise no run stands still before its last step.
        stays = found["steps"][run] == NOT_YET and not found["diverged"][run]
        if asked.noise != "none" and stays and step < asked.max_steps and np.isnan(before).all():
            gaps.append(math.inf)
        # Lengths of what lies further out are no numbers.
        if not float(np.abs(after).max()) < FARTHEST:
            continue
        theta = torch.from_numpy(before).to(wide.device)
        _, slope, error = slope_and_error(wide, wide, theta, every, training=False)
        size = asked.amplitude_of(run)
        if asked.quiet_above is not None and float(slope.norm()) > asked.quiet_above:
            size = 0.0
        kick = torch.zeros_like(slope)
        if asked.noise == "sgd":
            seed = (asked.seed, run % asked.num_seeds, SAMPLES, step)
            rows = np.random.default_rng(seed).integers(wide.num_samples, size=asked.batch_size)
            _, batch, off = slope_and_error(wide, wide, theta, torch.from_numpy(rows), training=False)
            kick, error = batch - slope, error + size * (off + error)
        elif asked.noise != "none":
            seed = (asked.seed, run % asked.num_seeds, KICKS)
            kick = torch.from_numpy(stated_kick(asked.noise, len(before), seed, step)).to(slope)
        wanted = theta - asked.step_size * (slope + size * kick)
        # The stack steps in the dtype of θ, which NumPy may not have.
        eps = max(torch.finfo(one).eps for one in (theta.dtype, wide.dtype))
        allowed = asked.step_size * error + 4 * eps * (
            float(theta.norm()) + asked.step_size * size * float(kick.norm())
        )
        gap = float((torch.from_numpy(after).to(wanted) - wanted).norm())
        gaps.append(gap / max(allowed, 1e-300) if math.isfinite(gap) else math.inf)
    if not gaps:
        return None
    meaning = (
        f"{len(gaps)} steps of runs of the stack against plain loops over the module, their noise drawn again from "
        "seed and step, over what rounding allows"
    )
    return Check("noisy step", largest_gap(*gaps), 1.0, meaning)


def _exits(wide: Objective, asked: Leave, found: dict[str, Any]) -> Check:
    """That F is below the level where a run is said to have left, and was not the step before."""
    left = np.flatnonzero(found["steps"] != NOT_YET)
    chosen = np.random.default_rng(asked.seed).permutation(left)[:EXITS].tolist()
    wrong = 0
    for run in chosen:
        there = _plainly(wide, found["exits"][run])
        slack = checks.rounding(wide) * max(abs(asked.level), abs(there), 1e-300)
        wrong += not there < asked.level + slack
        if found["steps"][run] > 0:
            wrong += not _plainly(wide, found["entries"][run]) >= asked.level - slack
    meaning = (
        "points where a run left, and those a step before, on the wrong side of the level by a plain loop"
    )
    return Check("exit step", float(wrong), 0.0, meaning)


def _plainly(wide: Objective, theta: np.ndarray) -> float:
    point = wide.as_point(torch.from_numpy(np.array(theta)).to(wide.device))
    return plain.measure(wide, plain.by_name(wide, point)).loss


def _curvature(wide: Objective, saddle: Tensor, bottom: Bottom) -> Check:
    """λ_min along its vector against a central difference of plain gradients."""
    _, bound = DIFFERENCES[wide.coarsest]
    gap = _bend(wide, saddle, bottom.vectors[0], bottom.smallest, max(bottom.largest, 1e-3))
    meaning = (
        "λ_min of the Hessian against a difference of plain gradients along its vector, over the largest |λ|"
    )
    return Check("lowest curvature", gap, bound, meaning)


def largest_checks(wide: Objective, stated: float, ends: Sequence[tuple[Tensor, Bottom]]) -> list[Check]:
    """L, as ``stated``, against differences of plain gradients along the steepest vector of each point of ``ends``.

    It is that of the steeper one. Each quotient is held against the largest |λ| of its own point, as the step across a
    kink of the other may be nearer to L than one within.
    """
    if wide.coarsest not in DIFFERENCES:
        return []
    size = max(stated, 1e-3)
    gaps = [abs(_bend(wide, theta, one.steepest, one.largest, size, is_size=True)) for theta, one in ends]
    gaps.append(abs(stated - max(one.largest for _, one in ends)) / size)
    meaning = "L against differences of plain gradients along the steepest vectors of both points, relative"
    _, bound = DIFFERENCES[wide.coarsest]
    return [Check("largest curvature", largest_gap(*gaps), bound, meaning)]


def _bend(
    wide: Objective, theta: Tensor, way: np.ndarray, stated: float, size: float, *, is_size: bool = False
) -> float:
    """vᵀHv by a central difference beside what is ``stated``, over ``size``; |vᵀHv|, and the sign, of a size."""
    vector, best = torch.from_numpy(way.copy()).to(theta), math.inf
    steps, bound = DIFFERENCES[wide.coarsest]
    for part in steps:
        h = part * (1 + float(theta.norm()))
        ahead, behind = (
            plain.gradient(wide, plain.by_name(wide, wide.as_point(theta + side * h * vector)))
            for side in (1, -1)
        )
        quotient = float(vector.double() @ (ahead - behind)) / (2 * h)
        gap = (abs(quotient) - stated) / size if is_size else abs(quotient - stated) / size
        best = min(best, gap, key=abs)
        if abs(best) <= bound:
            break
    return best


def falls_checks(wide: Objective, saddle: Tensor, radius: float, directions: int, seed: int) -> list[Check]:
    """Along how many of the first random directions F is lower, and lower or higher, by plain loops. 17 F."""
    count = min(directions, FALLING)
    if not count:
        return []
    losses = []
    for k in range(count):
        way = torch.from_numpy(stated_kick("sphere", len(saddle), (seed, DIRECTIONS, KICKS), k)).to(saddle)
        losses.append(checks.independent_loss(wide, wide.as_point(saddle + radius * way)))
    here = checks.independent_loss(wide, wide.as_point(saddle))
    changes, room = np.array(losses) - here, 10 * checks.rounding(wide) * abs(here)
    open_ = int((np.abs(changes) <= room).sum())
    # Of losses that are NaN nothing is seen.
    lower, seen = falls(wide, saddle, radius, count, seed)
    surely = int((changes < -room).sum()), int((np.abs(changes) > room).sum())
    wrong = sum(not least <= said <= least + open_ for said, least in zip((lower, seen), surely, strict=True))
    meaning = "random directions along which F falls, or changes, counted by plain loops otherwise (0 = none)"
    return [Check("falling directions", float(wrong), 0.0, meaning)]


def share_check(num_lower: int, count: int, share: float) -> Check:
    """How many random directions fall against the share that the eigenvalues give."""
    allowed = MILLIONTH * math.sqrt(count * share * (1 - share)) + 10
    meaning = "directions along which F falls against the share by the eigenvalues, over what sampling allows"
    return Check("falling share", abs(num_lower - count * share) / allowed, 1.0, meaning)


def line_check(amplitude: np.ndarray, steps: np.ndarray, found: Decades) -> Check:
    """Slope and power against polynomials of degree 1 through the means, and their errors by their words."""
    rows = [[max(one, 0.5) for one in row] for row in steps.tolist()]
    x = [math.log10(1 / one) for one in amplitude.tolist()]
    gaps = []
    for said, error, turn, least in (
        (found.per_decade, found.error, float, 1.0),
        (found.power, found.power_error, math.log10, 0.1),
    ):
        means = [turn(sum(row) / len(row)) for row in rows]
        line = np.polyfit(x, means, 1)
        gaps.append(abs(said - float(line[0])) / max(abs(float(line[0])), least))
        spread = sum((one - sum(x) / len(x)) ** 2 for one in x)
        left = [mean - float(np.polyval(line, at)) for at, mean in zip(x, means, strict=True)]
        errors = [_whole(rows, spread, turn is float)]
        if len(x) > 2:
            errors.append(math.sqrt(sum(one * one for one in left) / (len(x) - 2) / spread))
        if len(rows[0]) > 1:
            slopes = [float(np.polyfit(x, [turn(row[k]) for row in rows], 1)[0]) for k in range(len(rows[0]))]
            errors.append(float(np.std(slopes, ddof=1)) / math.sqrt(len(slopes)))
        gaps.append(abs(error - max(errors)) / max(max(errors), 1e-3 * least))
    meaning = (
        "steps per decade, the power and their errors, against lines through the means over the seeds and through "
        "those of each, relative"
    )
    return Check("table", largest_gap(*gaps), 1e-9, meaning)


def _whole(rows: list[list[float]], spread: float, is_linear: bool) -> float:
    """What whole numbers of steps leave open of a slope: ±½ of each, as the deviation of an even law."""
    if is_linear:
        return 1 / math.sqrt(12 * spread * len(rows[0]))
    means = [sum(row) / len(row) for row in rows]
    return max(1 / (math.sqrt(12) * mean * math.log(10)) for mean in means) / math.sqrt(spread)
