"""Measured gradient noise by another road: one measured step, one probe, and the table and laws by their formulas."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.descent.gradient_noise import FEW, Probe
from landscape.descent.known_sizes import FIXED, KnownSizes
from landscape.descent.noise import NoisyRuns, Setting, measured_steps
from landscape.descent.replay import (
    ROUNDING,
    Stated,
    draws,
    error_beside,
    plain_slope,
    slope_and_error,
    stack_checks,
)
from landscape.descent.step_sums import sum_gaps
from landscape.numerics.vectors import typical_share
from landscape.objective import checks, plain
from landscape.objective.objective import Objective
from landscape.objective.precision import in_float64
from landscape.result import Check, largest_gap

# Steps of difference quotients in float64, and what these may be off by: they bear no more.
DIFFERENCE, DIFFERENCE_BOUND = 1e-7, 1e-5
NEIGHBOURS = 3
# Gradients of single samples against the steps of all runs: a tenth of what the command takes.
PART = 0.1


def run_checks(
    objective: Objective,
    start: Tensor,
    settings: Sequence[Setting],
    runs: NoisyRuns,
    probes: Sequence[Probe],
    places: Sequence[Tensor],
    *,
    num_steps: int,
    measure_every: int | None,
    seed: int,
    known: KnownSizes = FIXED,
) -> list[Check]:
    """Steps of seeded runs, one measured step of theirs, and one of the ``probes``, which stand at ``places``.

    None of it where the module draws random numbers in training.
    """
    wide = in_float64(objective)
    if draws(wide, start.double()):
        return []
    num_seeds = runs.means.shape[1]
    count = len(settings) * num_seeds
    own = np.random.SeedSequence(seed).generate_state(2 * count, np.uint64).reshape(count, 2) >> 1
    stated = [
        Stated(
            settings[i // num_seeds].step_size,
            "uniform",
            settings[i // num_seeds].batch_size,
            int(own[i, 0]),
            *known,
        )
        for i in range(count)
    ]
    found = stack_checks(objective, wide, runs.seen, stated, start.repeat(min(count, NEIGHBOURS), 1))
    factors = known.factors(num_steps)
    steps = {
        int(i): measured_steps(num_steps, measure_every, int(own[i, 1]), factors)
        for i in runs.watched
        if i >= 0
    }
    shares = stated_factors(known, num_steps)
    found.append(due_check(runs, steps, num_steps, measure_every, shares))
    found += _measured_checks(objective, wide, runs, steps, seed, None if measure_every is None else shares)
    which = int(np.random.default_rng(seed).integers(min(1, len(probes) - 1), len(probes)))
    is_cheap = objective.num_samples <= PART * num_steps * count
    return found + _probe_checks(objective, wide, places[which], probes[which], with_variance=is_cheap)


def stated_factors(known: KnownSizes, num_steps: int) -> np.ndarray:
    """α_k/α₁ of every step (K,), by the formula of the schedule for one step after another."""
    first = Stated(1.0, schedule=known.schedule, arguments=known.arguments)
    return np.array([first.size(k) for k in range(num_steps)])


def due_check(
    runs: NoisyRuns,
    steps: Mapping[int, np.ndarray],
    num_steps: int,
    measure_every: int | None,
    shares: np.ndarray,
) -> Check:
    """``steps`` of each run that is watched, and how many of its values there are, against the words of the command.

    Every ``measure_every``-th step from the first on; where it is None, one in each of spans that are equal in the sum
    of their step sizes, of which ``shares`` (K,) are multiples: as many as there are hundreds of steps, or more.
    """
    wrong = 0
    past = np.concatenate([[0.0], np.cumsum(shares)])
    for run, values in zip(runs.watched.tolist(), runs.values, strict=True):
        if run not in steps or not np.isfinite(runs.means.ravel()[run]):
            continue
        own, count = steps[run], len(steps[run])
        if measure_every is not None:
            wrong += len(set(own.tolist()) ^ {k for k in range(num_steps) if k % measure_every == 0})
        else:
            borders, near = np.linspace(0, past[-1], count + 1), ROUNDING * past[-1]
            inside = np.clip(own, 0, num_steps - 1)
            is_out = (past[inside + 1] < borders[:-1] - near) | (past[inside] > borders[1:] + near)
            wrong += int((is_out | (own != inside)).sum())
            wrong += int(count < min(num_steps, num_steps / 100))
        wrong += abs(int(np.isfinite(values).sum()) - count)
    meaning = (
        "steps of watched runs that are measured and not due, or due and not measured: every N-th from the first, or "
        "one in each of spans of equal Σα"
    )
    return Check("measured steps", float(wrong), 0.0, meaning)


def _measured_checks(
    objective: Objective,
    wide: Objective,
    runs: NoisyRuns,
    steps: Mapping[int, np.ndarray],
    seed: int,
    shares: np.ndarray | None,
) -> list[Check]:
    """``shares`` (K,): what the values before the steps count for in a mean; None: all alike."""
    watched = runs.watched.tolist()
    means = runs.means.ravel()
    alike = [k for k, i in enumerate(watched) if i >= 0 and np.isfinite(means[i])]
    if not alike:
        return []
    gap = largest_gap(
        *(
            abs(_mean_of(runs.values[k], steps[watched[k]], shares) / float(means[watched[k]]) - 1)
            for k in alike
            if means[watched[k]]
        )
    )
    found = [
        Check(
            "mean of a run",
            gap,
            ROUNDING,
            "weighted mean of ‖∇F(θ_k)‖² of a run against all that was measured, relative",
        )
    ]
    seen = [
        k
        for k, i in enumerate(runs.seen.replicas.tolist())
        # One that took the place of a run that diverged was seen at that one's step.
        if i in [watched[j] for j in alike] and runs.seen.first[k] in steps[i]
    ]
    if not seen:
        return found
    k = int(np.random.default_rng(seed).choice(seen))
    run, first = int(runs.seen.replicas[k]), int(runs.seen.first[k])
    value = float(runs.values[watched.index(run), int(np.flatnonzero(steps[run] == first)[0])])
    theta = torch.from_numpy(runs.seen.thetas[k, 0]).to(wide.device).double()
    meaning = (
        "‖∇F(θ_k)‖² at one measured step against autograd on the module in float64, over what rounding allows"
    )
    return [*found, Check("measured step", _squared_gap(objective, wide, theta, value), 1.0, meaning)]


def _mean_of(values: np.ndarray, steps: np.ndarray, shares: np.ndarray | None) -> float:
    """Of all measured ``values`` before ``steps``, weighted by ``shares`` (K,)."""
    if len(values) != len(steps):
        return math.inf
    weights = [1.0] * len(steps) if shares is None else [float(shares[k]) for k in steps]
    each = (weight * float(value) for weight, value in zip(weights, values, strict=True))
    return math.fsum(each) / math.fsum(weights)


def _squared_gap(objective: Objective, wide: Objective, theta: Tensor, value: float) -> float:
    """How far ``value`` is from ‖∇F‖² at θ (d,), over what rounding allows of ∇F."""
    every = torch.arange(wide.num_samples)
    _, slope, error = slope_and_error(objective, wide, theta, every)
    norm = float(slope.norm())
    if abs(value - norm**2) > (2 * norm + error) * error:
        error += error_beside(objective, wide, theta, every, slope)
    gap = abs(value - norm**2) / max((2 * norm + error) * error, 1e-300)
    return gap if math.isfinite(gap) else math.inf


def _probe_checks(
    objective: Objective, wide: Objective, theta: Tensor, probe: Probe, *, with_variance: bool
) -> list[Check]:
    point, rounding = objective.as_point(theta), checks.rounding(objective)
    found = [
        checks.agreement(
            "loss at a probe", objective, probe.loss, point, "loss at a visited point by a plain loop"
        ),
        Check(
            "gradient at a probe",
            _squared_gap(objective, wide, theta.to(wide.device).double(), probe.squared_norm),
            1.0,
            "‖∇F‖² there against autograd on the module in float64, over what rounding allows",
        ),
    ]
    theta = theta.to(wide.device).double()
    if with_variance or not math.isnan(probe.moments[1]):
        found.append(_variance_check(objective, wide, theta, probe, of_all=with_variance))
    # Half types have no digits for a difference of gradients.
    if torch.finfo(wide.coarsest).bits >= 32 and not wide.doubts and not objective.doubts:
        found += _curvature_check(wide, theta, probe, rounding)
    return found


def _variance_check(
    objective: Objective, wide: Objective, theta: Tensor, probe: Probe, *, of_all: bool
) -> Check:
    """The variance of one sample's gradient against that of one gradient after another, or of a few E‖g‖² alone."""
    count = wide.num_samples if of_all else min(FEW, wide.num_samples)
    each = [torch.tensor([i]) for i in range(count)]
    slopes = torch.stack([plain_slope(wide, theta, rows)[1] for rows in each])
    squares = slopes.square().sum(1)
    size, (second, begun) = math.fsum(squares.tolist()) / count, probe.moments
    if of_all:
        gap = abs(probe.variance - float((slopes - slopes.mean(0)).square().sum(1).mean()))
        meaning = "variance there against that of one gradient after another, over their mean square; twice rounding"
    else:
        gap = largest_gap(abs(begun - size), abs(probe.variance - max(0.0, second - probe.squared_norm)))
        size = max(second, size)
        meaning = (
            f"E‖g‖² of {count} samples against one gradient after another, and the variance from that of all"
        )
    size, bound = max(size, 1e-300), 2 * max(checks.rounding(objective), ROUNDING)
    if gap > bound * size:
        # Where nothing but rounding is left of the gradient of a sample.
        off = [error_beside(objective, wide, theta, *one) for one in zip(each, slopes, strict=True)]
        norms = squares.sqrt().tolist()
        bound += math.fsum((2 * a + b) * b for a, b in zip(norms, off, strict=True)) / count / size
    return Check("variance at a probe", gap / size, bound, meaning)


def _curvature_check(wide: Objective, theta: Tensor, probe: Probe, rounding: float) -> list[Check]:
    """max |λ| against the change of ∇F along its direction; nothing where a kink lies that near."""
    way = torch.from_numpy(probe.direction).to(theta)
    way, length = way / way.norm(), float(theta.norm())
    bound, scale = max(5 * rounding, DIFFERENCE_BOUND), max(probe.curvature, 1e-300)
    meaning = (
        "max |λ| there against a difference of ∇F on the module along its eigenvector, float64, relative"
    )
    found: list[Check] = []
    # By what is typical where that fails, for a few weights may be so large that ‖θ‖ is none to step by.
    for size in dict.fromkeys((length, length * typical_share(theta))):
        step = DIFFERENCE * max(1.0, size)
        behind, here, ahead = (
            float(plain.gradient(wide, plain.by_name(wide, wide.as_point(theta + k * step * way))) @ way)
            for k in (-1, 0, 1)
        )
        is_smooth = abs(ahead - 2 * here + behind) / step <= bound * scale
        gap = abs(abs(ahead - behind) / (2 * step) - probe.curvature) / scale
        found = [Check("curvature at a probe", gap, bound, meaning)] if is_smooth else []
        if is_smooth and gap <= bound:
            break
    return found


def table_checks(
    table: Mapping[str, Any],
    *,
    lipschitz: float,
    variance: float,
    above: float,
    num_steps: int,
    laws: Mapping[str, tuple[float | None, np.ndarray | None]],
    known: KnownSizes = FIXED,
) -> list[Check]:
    """The columns of a result from its runs and probes by the formulas of its words, and its power laws.

    ``table``: ``step_size``, ``batch_size``, ``mean``, ``standard_error``, ``bound`` (setting,), ``run_step_sum`` and
    ``run_step_square_sum`` (setting,) or None, ``runs`` (setting, seed), ``probe_curvature`` and ``probe_variance``
    (probe,).
    ``laws``: of α and B the exponent and its interval.
    """
    runs, alpha, size = table["runs"], table["step_size"], table["batch_size"]
    count = runs.shape[1]
    mean = np.array([math.fsum(row) / count for row in runs])
    # Without squares, which may be infinite.
    length = np.array(
        [
            math.hypot(*(row - one)) if np.isfinite(one) else np.nan
            for row, one in zip(runs, mean, strict=True)
        ]
    )
    error = length / math.sqrt(count * (count - 1)) if count > 1 else np.full(len(runs), np.nan)
    largest, noise = max(table["probe_curvature"].tolist()), max(table["probe_variance"].tolist())
    shares = stated_factors(known, num_steps).tolist()
    total = alpha * math.fsum(shares)
    squares = alpha**2 * math.fsum(share * share for share in shares)
    # LM alone may be infinite.
    typical = math.fsum(share * share for share in shares) / math.fsum(shares)
    bound = largest * alpha * typical * (noise / size) + 2 * above / total
    bound[alpha * max(shares) * largest > 1] = np.nan
    pairs = [
        (table["mean"], mean),
        # Known to the rounding of the means that it is of.
        (table["standard_error"] + mean, error + mean),
        (table["bound"], bound),
        (np.array([lipschitz, variance]), np.array([largest, noise])),
    ]
    if table["run_step_sum"] is not None:
        pairs += [(table["run_step_sum"], total), (table["run_step_square_sum"], squares)]
    meaning = (
        "means, standard errors (n − 1), Σα and Σα² of a run, bounds, L and M against their formulas from runs and "
        "probes, relative"
    )
    found = [Check("table", largest_gap(*(_apart(*pair) for pair in pairs)), ROUNDING, meaning)]
    usable = np.isfinite(runs).all(1) & (mean > 0)
    fits = {
        "α": (alpha, usable & (size == size.min())),
        "B": (size, usable & (alpha == alpha.max())),
    }
    gaps = [_law_gap(x[which], mean[which], laws[name]) for name, (x, which) in fits.items()]
    meaning = (
        "exponents and intervals against the normal equations of the logarithms and Student's distribution"
    )
    return [*found, Check("power law", largest_gap(*gaps), ROUNDING, meaning)]


def probes_check(result: Any, probes: Sequence[Probe]) -> Check:
    """What stands of the start, of each of the ``probes`` and of runs that diverged, which have no mean."""
    columns = {
        "probe_loss": "loss",
        "probe_squared_gradient_norm": "squared_norm",
        "probe_variance": "variance",
        "probe_curvature": "curvature",
    }
    wrong = int(result.start_loss != probes[0].loss)
    for name, field in columns.items():
        said = getattr(result, name).tolist()
        wrong += sum(one != getattr(probe, field) for one, probe in zip(said, probes, strict=True))
    means = result.mean_squared_gradient_norm
    wrong += sum(
        math.isfinite(mean) == bool(lost) for mean, lost in zip(means.flat, result.diverged.flat, strict=True)
    )
    meaning = (
        "numbers of the start and of visited points that are not those found there, and runs without a mean that are "
        "not said to diverge (0 = none)"
    )
    return Check("as visited", float(wrong), 0.0, meaning)


def sums_checks(known: KnownSizes, first: float, total: float, squares: float, verdict: str) -> list[Check]:
    """Σα and Σα² for ever of a schedule from ``first`` on, by other formulas where finite, and what is said of them."""
    is_finite = not (math.isinf(total) and math.isinf(squares))
    gaps = [*sum_gaps(*known, known.every, first, (total, squares))] if is_finite else [0.0]
    # Robbins and Monro (1951) ask for an infinite Σα and a finite Σα².
    gaps.append(0.0 if (verdict == "holds") == (math.isinf(total) and math.isfinite(squares)) else math.inf)
    meaning = "Σα and Σα² for ever against other formulas where finite, relative, and the verdict on them"
    return [Check("step sums", largest_gap(*gaps), ROUNDING, meaning)]


def _apart(said: np.ndarray, true: np.ndarray) -> float:
    """The largest relative distance; two NaNs or equal infinities agree."""
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = np.abs(said - true) / np.maximum(np.abs(true), 1e-300)
    is_same = (said == true) | (np.isnan(said) & np.isnan(true))
    return float(np.nan_to_num(np.where(is_same, 0.0, gap), nan=np.inf).max(initial=0.0))


def _law_gap(x: np.ndarray, y: np.ndarray, said: tuple[float | None, np.ndarray | None]) -> float:
    """How far exponent and 95 % interval are from those of y ∝ x^exponent, over the larger of 1 and the exponent."""
    from scipy.special import stdtrit

    exponent, interval = said
    if exponent is None or interval is None or len(x) < 2:
        return 0.0 if exponent is None and len(x) < 2 else math.inf
    design = np.stack([np.ones(len(x)), np.log(x)], 1)
    inverse = np.linalg.inv(design.T @ design)
    line = inverse @ design.T @ np.log(y)
    freedom = len(x) - 2
    if freedom:
        residuals = np.log(y) - design @ line
        half = stdtrit(freedom, 0.975) * math.sqrt(float(residuals @ residuals) / freedom * inverse[1, 1])
    else:
        half = math.inf
    true = np.array([line[1], line[1] - half, line[1] + half])
    gaps = np.array([exponent, *interval])
    is_same = gaps == true
    with np.errstate(invalid="ignore"):
        far = np.where(is_same, 0.0, np.abs(gaps - true))
    return float(np.nan_to_num(far, nan=np.inf).max()) / max(1.0, abs(float(line[1])))
