"""Budgets and costs counted again: observations from the lengths of batches, costs on the way, the best step sizes."""

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import torch

from landscape.descent.replay import ROUNDING
from landscape.descent.witness import Seen
from landscape.objective import checks, trees
from landscape.objective.objective import Objective
from landscape.result import Check, largest_gap

# Samples of a subset that are looked at.
FEW = 32


def observations_check(
    observations: np.ndarray, sizes: Sequence[int], batches: np.ndarray, rule: str, per_sample: float
) -> Check:
    """``observations`` (size, method, record) against the lengths of ``batches`` (size, method) added up.

    ``rule`` is how batches are drawn: with replacement all are whole, else the last one of a pass may be short.
    """
    gap = 0
    for i, n in enumerate(sizes):
        total, num_records = round(per_sample * n), observations.shape[2] - 1
        for j, batch in enumerate(batches[i]):
            a_pass = [int(batch)] if rule == "uniform" else [int(batch)] * (n // batch) + [n % int(batch)]
            lengths = [one for one in a_pass if one] * (total // sum(a_pass) + 1)
            used = np.array([0, *accumulate(lengths)])
            for k in range(num_records + 1):
                gap = max(
                    gap, abs(int(used[used <= total * k // num_records].max()) - int(observations[i, j, k]))
                )
    meaning = "observations used by each record against the lengths of batches added up to at most its share"
    return Check("observations", float(gap), 0.0, meaning)


def subsets_check(objective: Objective, parts: Sequence[Objective], draw_seed: int, discarded: int) -> Check:
    """The samples of every subset against those that the words of the command draw, one after another."""
    draw, every, wrong = np.random.default_rng(draw_seed), np.arange(objective.num_samples), 0
    if discarded:
        draw.choice(every, discarded, replace=False)
    for part in parts:
        rows = draw.choice(every, part.num_samples, replace=False).tolist()
        wrong += sum(not _same_sample(objective, k, part, i) for i, k in enumerate(rows[:FEW]))
    meaning = f"of the first {FEW} samples of every subset those that the words of the command do not draw (0 = none)"
    return Check("subsets", float(wrong), 0.0, meaning)


def _same_sample(one: Objective, k: int, other: Objective, i: int) -> bool:
    """Whether sample k of one objective is sample i of the other, bit for bit."""
    rows = [
        trees.tensors(objective.samples.picked(torch.tensor([at])))
        for objective, at in ((one, k), (other, i))
    ]
    return all(torch.equal(a, b) for a, b in zip(*rows, strict=True))


def steps_check(steps: np.ndarray, is_finite: np.ndarray, planned: np.ndarray) -> Check:
    """``steps`` (R,) taken by replicas that ended at a finite cost, against those ``planned`` (R,)."""
    gap = float(np.abs(steps - planned)[is_finite].max(initial=0))
    return Check(
        "steps", gap, 0.0, "steps taken by replicas that did not diverge, against those of the budget"
    )


def recorded_check(part: Objective, seen: Seen, costs: np.ndarray, due: np.ndarray, seed: int) -> list[Check]:
    """One cost on the way: ``costs`` (R, records) at steps ``due`` (R, records) of a replica that was seen there.

    It is NaN where the loop finds no finite one.
    """
    said = [costs[i, np.flatnonzero(due[i] == first)[0]] for i, first in zip(*seen[:2], strict=True)]
    # Of larger ones the sum over samples may be infinite where the mean is not.
    largest = math.sqrt(torch.finfo(part.coarsest).max)
    known = [k for k, cost in enumerate(said) if not cost > largest]
    if not known:
        return []
    k = known[int(np.random.default_rng(seed).integers(len(known)))]
    found = checks.independent_loss(part, part.as_point(torch.from_numpy(seen.thetas[k, 0])))
    found = found if math.isfinite(found) else math.nan
    meaning = "a cost recorded on the way of a seeded replica against a plain loop over model.eval()"
    return [checks.close("recorded cost", float(said[k]), found, checks.rounding(part), meaning)]


def baselines_check(part: Objective, said: tuple[float, float]) -> list[Check]:
    """The square loss of zero, and that of least squares by the normal equations of centred data; none where NaN."""
    zero, least = said
    if np.isnan(zero):
        return []
    inputs, targets = part.samples
    y = targets.flatten(1).double().cpu()
    pairs = [(zero, float((y * y).mean()))]
    # Whether least squares can be had is asked of the data here: a NaN that should be a number fails.
    if len(inputs) == 1 and getattr(getattr(inputs[0], "dtype", None), "is_floating_point", False):
        x = inputs[0].flatten(1).double().cpu()
        x, y = x - x.mean(0), y - y.mean(0)
        line = torch.linalg.pinv(x.T @ x, hermitian=True) @ (x.T @ y)
        pairs.append((least, float((x @ line - y).square().mean())))
    # The normal equations square the condition of the data.
    gap = largest_gap(*(abs(one - other) for one, other in pairs)) / max(pairs[0][1], 1e-300)
    meaning = "square loss of zero and of least squares against the normal equations of centred data, over the first"
    return [Check("baselines", gap, 1e-6, meaning)]


def table_check(replica_cost: np.ndarray, steps: np.ndarray, said: Mapping[str, np.ndarray | None]) -> Check:
    """Means, spreads (n − 1) and best step sizes from ``replica_cost`` (size, method, step, seed, record), one by one.

    ``said`` are the fields of the result; those of one seed that it lacks are passed over.
    """
    num_sizes, num_methods, num_steps, num_seeds, num_records = replica_cost.shape
    found = {
        "cost": np.full((num_sizes, num_methods, num_steps), np.nan),
        "cost_spread": np.full((num_sizes, num_methods, num_steps), np.nan),
        "num_diverged": np.zeros((num_sizes, num_methods, num_steps)),
        "best_step": np.full((num_sizes, num_methods), np.nan),
        "best_cost": np.full((num_sizes, num_methods), np.nan),
        "best_cost_error": np.full((num_sizes, num_methods), np.nan),
        "cost_curve": np.full((num_sizes, num_methods, num_records), np.nan),
        "cost_curve_spread": np.full((num_sizes, num_methods, num_records), np.nan),
    }
    for i, j in np.ndindex(num_sizes, num_methods):
        lowest = np.inf
        for k in range(num_steps):
            ends = [float(one) for one in replica_cost[i, j, k, :, -1]]
            mean, spread = _mean_and_spread(ends)
            found["num_diverged"][i, j, k] = sum(not np.isfinite(one) for one in ends)
            found["cost"][i, j, k], found["cost_spread"][i, j, k] = mean, spread
            if not found["num_diverged"][i, j, k] and mean < lowest:
                lowest = mean
                curve = [_mean_and_spread(replica_cost[i, j, k, :, r].tolist()) for r in range(num_records)]
                found["best_step"][i, j], found["best_cost"][i, j] = steps[k], mean
                found["best_cost_error"][i, j] = spread / num_seeds**0.5
                found["cost_curve"][i, j], found["cost_curve_spread"][i, j] = zip(*curve, strict=True)
    gaps = [0.0]
    for name, true in found.items():
        value = said[name]
        if value is None and num_seeds > 1:
            gaps.append(np.inf)
        # Where every step diverges there is no best one to look at.
        is_known = (
            ~np.isnan(true) if name.startswith(("best_cost", "cost_curve")) else np.ones(true.shape, bool)
        )
        if value is not None:
            # A spread is known to the rounding of the values that it is of.
            base = np.nan_to_num(np.abs(found[name.removesuffix("_spread").removesuffix("_error")]))
            gap = np.abs(value - true) / np.maximum(np.maximum(1e-3, base), np.abs(true))
            is_same = (np.isnan(value) & np.isnan(true)) | ~is_known
            gaps.append(float(np.nan_to_num(np.where(is_same, 0.0, gap), nan=np.inf).max(initial=0.0)))
    meaning = (
        "means, spreads (n − 1), divergence and best step sizes against the costs of the replicas, one by one"
    )
    return Check("table", largest_gap(*gaps), ROUNDING, meaning)


def places_check(result: Any, every: Any, rows: Sequence[np.ndarray], per_sample: float) -> Check:
    """Costs of replicas, ``rows`` (replica, record) of each size, and labels, of which none is to stand elsewhere.

    ``every`` is what was trained: a replica by its step size, the number of its point and that of its method.
    """
    cost, wrong = result.replica_cost, 0
    steps, methods = result.step.tolist(), result.method.tolist()
    wrong += result.seed.tolist() != [every.seed + k for k in range(len(every.thetas))]
    for i, found in enumerate(rows):
        wrong += result.observations[i, :, -1].max() > round(per_sample * int(result.size[i]))
        for row, (alpha, point, method) in zip(found, every.replicas, strict=True):
            place = methods.index(every.methods[method]), steps.index(alpha), point
            wrong += not np.array_equal(cost[(i, *place)], row, equal_nan=True)
    shares = [per_sample * k / (len(result.record) - 1) for k in range(len(result.record))]
    wrong += not np.allclose(result.record, shares, rtol=1e-12, atol=0.0)
    zero, least = result.zero_predictor, result.least_squares
    if zero is not None and least is not None:
        # Zero is among what least squares choose from.
        wrong += int((least > zero * (1 + ROUNDING)).sum())
    meaning = "costs, records and baselines that are not of the size, method, step and seed they stand at (0 = none)"
    return Check("places", float(wrong), 0.0, meaning)


def _mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    mean = sum(values) / len(values)
    if len(values) == 1:
        return mean, 0.0
    # Not by squares, which overflow where a descent has nearly diverged.
    return mean, math.hypot(*(one - mean for one in values)) / (len(values) - 1) ** 0.5
