"""A whole run of an escape taken again, and what is summed up of all of them by the formulas of its words."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.descent.escape import DIRECTIONS, SAMPLES, Bottom, Leave
from landscape.descent.replay import slope_and_error
from landscape.descent.stated_kicks import KICKS, stated_kick
from landscape.numerics.arrays import farthest
from landscape.numerics.spectra.inertia import STATIONARY
from landscape.numerics.steps.leaving import NOT_YET
from landscape.objective import checks, plain
from landscape.objective.objective import Objective
from landscape.result import Check, largest_gap

# Steps of a run that is taken again, if they are no more than this part of all.
LONGEST, PART = 64, 0.1
# What sums of a run may be off by beside what one begun an ε away is, and sums in float64 over numbers beyond TINY.
APART, SUMS, TINY = 1e-9, 1e-9, 1e-12
# By how much less a gradient is surely shorter.
STILLER = 1e-6


def leaving_checks(
    wide: Objective,
    start: Tensor,
    saddle: Tensor,
    asked: Leave,
    found: dict[str, Any],
    alone: dict[str, Any],
    result: Any,
) -> list[Check]:
    """Of the arrays ``found`` by run, those of descent without noise, ``alone``, and the ``result`` made of them.

    Six gradients, two values and one run.
    """
    again = _again(wide, start, asked, found, result)
    own = [_still(wide, start, saddle, result), _plain(wide, saddle, asked, alone, result)]
    own.append(_starts(wide, start, asked, found))
    return [*own, *([again] if again else [])]


def _begun(start: Tensor, asked: Leave, run: int) -> Tensor:
    """Where a run begins, by the words of the command: at ``start`` (d,), or without noise so far from it."""
    if asked.noise != "none":
        return start.clone()
    way = np.array(asked.direction, dtype=float) if asked.direction is not None else None
    if way is None:
        way = stated_kick("sphere", len(start), (asked.seed, run % asked.num_seeds, DIRECTIONS), 0)
    return start + asked.amplitudes[run // asked.num_seeds] * torch.from_numpy(way).to(start)


def _starts(wide: Objective, start: Tensor, asked: Leave, found: dict[str, Any]) -> Check:
    """F where a seeded run begins, and where the last one does, against plain loops at these places by their words."""
    gap, last = 0.0, asked.count - 1
    for run in {last, int(np.random.default_rng(asked.seed).integers(asked.count))}:
        point = wide.as_point(_begun(start, asked, run))
        seen, said = plain.measure(wide, plain.by_name(wide, point)).loss, float(found["first"][run])
        is_same = said == seen or not (math.isfinite(said) or math.isfinite(seen))
        gap = largest_gap(gap, 0.0 if is_same else abs(said - seen) / max(abs(seen), 1e-3))
    meaning = "F where two runs begin against plain loops at the places that amplitude and seed say, relative"
    return Check("starts", gap, checks.rounding(wide), meaning)


def _still(wide: Objective, start: Tensor, saddle: Tensor, result: Any) -> Check:
    """What is said of the point and of the stillest one, by plain loops; the distance by a sum of squares."""
    worst = 0.0
    for theta, loss, norm in (
        (start, result.loss, result.gradient_norm),
        (saddle, result.stillest_loss, result.stillest_gradient_norm),
    ):
        seen, slope, error = slope_and_error(
            wide, wide, theta, torch.arange(wide.num_samples), training=False
        )
        size = float(slope.norm())
        worst = largest_gap(worst, _over(norm - size, SUMS * size + 10 * error))
        worst = largest_gap(worst, _over(loss - seen, checks.rounding(wide) * max(1e-3, abs(seen))))
    far = math.sqrt(math.fsum(one * one for one in (saddle.double() - start.double()).tolist()))
    worst = largest_gap(worst, _over(result.stillest_distance - far, SUMS * far))
    meaning = (
        "F and ‖∇F‖ of both points by plain loops, and how far they are apart, over what rounding allows"
    )
    return Check("still points", worst, 1.0, meaning)


def _over(gap: float, allowed: float) -> float:
    return abs(gap) / max(allowed, 1e-300) if gap else 0.0


def _lemma(asked: Leave, curvature: float, losses: list[float], squares: list[float], broken: int) -> float:
    """Whether so many steps broke the descent lemma (0), but for what rounding decides."""
    fewest = most = 0
    for before, after, square in zip(losses, losses[1:], squares, strict=False):
        least = asked.step_size * (1 - asked.step_size * curvature / 2) * square
        room = 1e-12 * (abs(before) + abs(after))
        fewest += before - after < least - room
        most += before - after < least + room
    return 0.0 if fewest <= broken <= most else math.inf


def _again(wide: Objective, start: Tensor, asked: Leave, found: dict[str, Any], result: Any) -> Check | None:
    """The run that left first: its number of steps, Σ‖∇F‖², broken steps, and losses on the way. None of long ones."""
    left = np.flatnonzero(found["steps"] != NOT_YET)
    if not len(left):
        return None
    run = int(left[np.argmin(found["steps"][left])])
    count = int(found["steps"][run])
    taken = np.where(found["steps"] == NOT_YET, asked.max_steps, found["steps"]).sum()
    if count > LONGEST or not 0 < 2 * count <= PART * float(taken):
        return None
    begun = _begun(start, asked, run)
    losses, squares = _way(wide, begun, asked, run, count)
    others = _way(wide, begun * (1 + torch.finfo(begun.dtype).eps), asked, run, count)
    gaps = []
    every, records = int(found["every"]), found["records"][run]
    said = [(float(found["sums"][run]), math.fsum(squares[:-1]), math.fsum(others[1][:-1]))]
    said += [(float(records[k // every]), losses[k], others[0][k]) for k in range(0, count, every)]
    if result.lemma_broken is not None:
        gaps.append(_lemma(asked, result.curvature, losses, squares, int(result.lemma_broken.flat[run])))
    for stated, true, beside in said:
        allowed = APART * max(abs(true), 1e-3) + 100 * abs(true - beside)
        gaps.append(abs(stated - true) / allowed)
    meaning = (
        f"Σ‖∇F‖² and the losses on the way of the run that left first, all of its {count} steps by plain loops, over "
        "what rounding allows"
    )
    return Check("run again", largest_gap(*gaps), 1.0, meaning)


def _plain(wide: Objective, saddle: Tensor, asked: Leave, alone: dict[str, Any], result: Any) -> Check:
    """Of descent without noise from the point itself: when it left, by F on its way, and where, by plain loops.

    And that it was no stiller at its ends, nor behind the stillest point. Four gradients. Of more than 256 steps every
    other one is on record, and so on.
    """
    losses, every = alone["records"][:, 0].tolist(), int(alone["every"])
    count, has_left = result.plain_steps, result.plain_status == "left"
    wrong = int((count is not None) != has_left) + sum(one < asked.level for one in losses[:-1])
    if count is not None:
        wrong += len(losses) - 1 != count // every
        wrong += (losses[-1] < asked.level) != (count % every == 0)
        exit_, entry = (
            torch.from_numpy(alone[name][0].copy()).to(wide.device) for name in ("exits", "entries")
        )
        rows = torch.arange(wide.num_samples)
        there, _, _ = slope_and_error(wide, wide, exit_, rows, training=False)
        before, slope, error = slope_and_error(wide, wide, entry, rows, training=False)
        slack = checks.rounding(wide) * max(abs(asked.level), abs(there))
        wrong += not there < asked.level + slack
        wrong += not before >= asked.level - slack
        allowed = asked.step_size * error + 4 * torch.finfo(entry.dtype).eps * float(entry.norm())
        wrong += not float((entry - asked.step_size * slope - exit_).norm()) <= 2 * allowed
        on_the_way = [(result.gradient_norm, 0.0), (float(slope.norm()), error)]
        _, slope, _ = slope_and_error(wide, wide, saddle, rows, training=False)
        behind = (saddle.double() - asked.step_size * slope).to(saddle.dtype)
        value, slope, error = slope_and_error(wide, wide, behind, rows, training=False)
        on_the_way += [(float(slope.norm()), error)] if value >= asked.level + slack else []
        norm = result.stillest_gradient_norm
        wrong += any(one < norm * (1 - STILLER) - 10 * off for one, off in on_the_way)
    else:
        wrong += bool(losses) and losses[-1] < asked.level
    meaning = (
        "what descent without noise says of when it left, and where it was stillest, that F on its way, or steps by "
        "plain loops, do not (0 = none)"
    )
    return Check("plain descent", float(wrong), 0.0, meaning)


def _way(
    wide: Objective, theta: Tensor, asked: Leave, run: int, count: int
) -> tuple[list[float], list[float]]:
    """F and ‖∇F‖² at every place of a run, its start and where it left among them."""
    losses, squares, every = [], [], torch.arange(wide.num_samples)
    for step in range(count + 1):
        loss, slope, _ = slope_and_error(wide, wide, theta, every, training=False)
        losses.append(loss)
        squares.append(float(slope.double().square().sum()))
        theta = theta - asked.step_size * (slope + _added(wide, theta, slope, asked, run, step))
    return losses, squares


def _added(wide: Objective, theta: Tensor, slope: Tensor, asked: Leave, run: int, step: int) -> Tensor:
    """The noise of a step, drawn by its own words."""
    size = asked.amplitude_of(run)
    is_loud = asked.quiet_above is not None and float(slope.norm()) > asked.quiet_above
    if asked.noise == "none" or is_loud:
        return torch.zeros_like(slope)
    if asked.noise == "sgd":
        seed = (asked.seed, run % asked.num_seeds, SAMPLES, step)
        rows = np.random.default_rng(seed).integers(wide.num_samples, size=asked.batch_size)
        _, batch, _ = slope_and_error(wide, wide, theta, torch.from_numpy(rows), training=False)
        return size * (batch - slope)
    seed = (asked.seed, run % asked.num_seeds, KICKS)
    return size * torch.from_numpy(stated_kick(asked.noise, len(theta), seed, step)).to(slope)


def summary_check(
    result: Any, asked: Leave, bottom: Bottom, found: dict[str, Any], dimension: int, num_seen: int
) -> Check:
    """Means and shares over the seeds, bounds, cosines, the width of the noise and the rate, one run after another.

    ``num_seen`` random directions are those of the falling share.
    """
    gaps, alpha, seeds = [0.0], asked.step_size, asked.num_seeds
    law = _squares(asked.noise, dimension)
    for i, amplitude in enumerate(asked.amplitudes):
        rows = [float(one) for one in result.steps[i].tolist()]
        gone = [one for one in rows if not math.isnan(one)]
        gaps.append(farthest(result.share_left[i], len(gone) / seeds, TINY))
        gaps.append(farthest(result.mean_steps[i], math.fsum(gone) / len(gone) if gone else math.nan, TINY))
        if result.smoothing is not None:
            gaps.append(farthest(result.smoothing[i], alpha * amplitude * math.sqrt(law / dimension), TINY))
        for k, steps in enumerate(rows):
            gaps += _of_run(result, asked, bottom, found, law, (i, k), steps)
    fitted = sum(
        size > 0 and all(map(math.isfinite, row))
        for size, row in zip(asked.amplitudes, result.steps.tolist(), strict=True)
    )
    gaps.append(0.0 if (fitted > 1) == (result.steps_per_decade is not None) else math.inf)
    if num_seen:
        share = float(result.falling_share)
        least = math.sqrt(max(share - share * share, 1 / (4 * num_seen)) / num_seen)
        gaps.append(farthest(result.falling_share_error, least, TINY))
    is_strict = result.stillest_gradient_norm <= STATIONARY and bottom.smallest < -bottom.threshold
    if is_strict != (result.steps_per_decade_theory is not None):
        gaps.append(math.inf)
    elif is_strict:
        # ln(1 + x), which keeps its digits where x is small.
        x = -alpha * bottom.smallest
        gaps.append(
            farthest(result.steps_per_decade_theory, math.log(10) / (2 * math.atanh(x / (2 + x))), TINY)
        )
    if np.isfinite(result.loss_on_the_way).any():
        gaps.append(farthest(result.record, found["every"] * np.arange(len(result.loss_on_the_way)), TINY))
        gaps.append(farthest(result.loss_on_the_way[0].ravel(), found["first"], TINY))
    gaps.append(farthest(result.seed, range(seeds), TINY))
    meaning = (
        "means, shares, bounds, cosines, τ and the rate of theory by their formulas, run after run, relative"
    )
    return Check("summary", float(largest_gap(*gaps)), SUMS, meaning)


def _squares(noise: str, dimension: int) -> float:
    """E‖ξ‖² of noise of one; NaN for that of batches, which has no law."""
    known = {"sphere": 1.0, "ball": dimension / (dimension + 2), "gaussian": float(dimension), "none": 0.0}
    return known.get(noise, math.nan)


def _of_run(
    result: Any,
    asked: Leave,
    bottom: Bottom,
    found: dict[str, Any],
    law: float,
    at: tuple[int, int],
    steps: float,
) -> list[float]:
    """Σ‖∇F‖² at most, the last loss and the way out of run ``at``, by their formulas, as far as they are stated."""
    run, stays = at[0] * asked.num_seeds + at[1], math.isnan(steps)
    first, last = float(found["first"][run]), float(found["losses"][run])
    end = last if stays else float(found["at_exit"][run])
    alpha, curvature = asked.step_size, float(result.curvature)
    taken, gamma = asked.max_steps if stays else steps, alpha * (1 - alpha * curvature / 2)
    wanted, size = math.nan, TINY
    if gamma > 0:
        noise = alpha**2 * curvature * asked.amplitudes[at[0]] ** 2 * law * taken / 2 if law else 0.0
        # Terms that cancel leave of their size what rounding does.
        wanted, size = (first - end + noise) / gamma, 1e-3 * max(abs(first), abs(end), noise) / gamma
    gaps = [_unbroken(result, at, taken, gamma, abs(first) + abs(end))]
    has_left = bool(found["steps"][run] != NOT_YET and not found["diverged"][run])
    said = str(result.end_status[at]) == "left", not stays, stays or steps == found["steps"][run]
    gaps.append(0.0 if said == (has_left, has_left, True) else math.inf)
    gaps += [
        farthest(result.gradient_bound[at], wanted, max(TINY, size)),
        farthest(result.final_loss[at], last, TINY),
        farthest(result.gradient_sum[at], found["sums"][run], TINY),
        farthest(result.loss_on_the_way[(slice(None), *at)], found["records"][run], TINY),
    ]
    if not stays and result.steps_per_decade_theory is not None:
        gaps.append(
            farthest(result.exit_cosine[at], _cosine(found["exits"][run], found["saddle"], bottom), 1.0)
        )
    return gaps


def _unbroken(result: Any, at: tuple[int, int], taken: float, gamma: float, size: float) -> float:
    """Where no step broke the lemma Σ‖∇F‖² is within its bound, and no more steps did than were taken (0)."""
    if result.lemma_broken is None or not np.isfinite(result.gradient_bound[at]):
        return 0.0
    broken, room = int(result.lemma_broken[at]), 1e-12 * (1 + taken) * size / gamma
    is_within = result.gradient_sum[at] <= result.gradient_bound[at] * (1 + SUMS) + room
    return 0.0 if 0 <= broken <= taken and (broken or is_within) else math.inf


def _cosine(point: np.ndarray, saddle: np.ndarray, bottom: Bottom) -> float:
    way = (point - saddle).tolist()
    size = math.sqrt(math.fsum(one * one for one in way))
    along = [math.fsum(a * b for a, b in zip(way, row, strict=True)) for row in bottom.vectors.tolist()]
    return math.sqrt(math.fsum(one * one for one in along)) / size if size else math.nan
