"""What a table of descents sums up, from the ends that it states: quantiles, the best, shares, errors, growth."""

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from landscape.descent.counts import CONFIDENCE, SAME_COST
from landscape.descent.starts import Family
from landscape.descent.table import Table
from landscape.numerics.arrays import farthest
from landscape.result import Check

# Tails of a binomial distribution by a root of the beta function.
TAILS = 1e-9
# Costs below count as of this size.
LEAST = 1e-3


def stated_checks(found: Mapping[str, Any], family: Family, table: Table, seed: int) -> list[Check]:
    """``found``: the fields of a result by name, of the cells of a ``table``."""
    return [_table(found), _sizes(found, family, [rows[0][0].num_samples for rows in table], seed)]


def _table(found: Mapping[str, Any]) -> Check:
    """``found``: the fields of a result by name, over (samples, depth, width, …) or without the first of these."""
    gaps = [0.0]
    last = found["cost"] if found.get("polished_cost") is None else found["polished_cost"]
    for cell in np.ndindex(found["done"].shape[:-1]):
        row = {name: found[name][cell] for name in found if np.ndim(found[name]) >= len(cell)}
        gaps += [_quantiles(row, name) for name in ("cost", "polished_cost") if found.get(name) is not None]
        gaps.append(_best(row, last[cell], found.get("floor") is not None))
        gaps.append(_parts(row, found.get("polished_cost") is not None))
    gaps.append(_growth(found))
    gaps.append(farthest(found["quantile"], [k / 4 for k in range(5)], LEAST))
    gaps.append(farthest(found["restart"], range(found["done"].shape[-1]), LEAST))
    meaning = (
        "quantiles, F_best, its share and interval, errors and the power law of the counts against the ends stated, "
        "one by one, relative"
    )
    worst = max(float(np.nan_to_num(one, nan=np.inf)) for one in gaps)
    return Check("summary of the ends", worst, TAILS, meaning)


def _sizes(found: Mapping[str, Any], family: Family, counted: Sequence[int], seed: int) -> Check:
    """The parameters of every cell counted on a module made anew, tied ones once, its samples, and where n ≤ d₀d₁."""
    counts = found["samples"]
    labels = [found["num_samples"]] if counts is None else counts.tolist()
    wrong = sum(said != own for said, own in zip(labels, counted, strict=True))
    for (i, depth), (j, width) in product(enumerate(found["depth"]), enumerate(found["width"])):
        module = family(int(width), int(depth), seed).module
        moved = {id(one): one.numel() for one in module.parameters() if one.requires_grad}
        wrong += sum(moved.values()) != int(found["num_parameters"][i, j])
    for n, row in zip(counted, np.atleast_2d(found["is_wide"]).tolist(), strict=True):
        wrong += sum(
            said != (-(-n // found["num_inputs"]) <= width)
            for said, width in zip(row, found["width"], strict=True)
        )
    meaning = "cells whose parameters or samples are not as many as its own, or where n ≤ d₀d₁ is not as said (0 = no)"
    return Check("sizes", float(wrong), 0.0, meaning)


def _quantiles(row: Mapping[str, Any], name: str) -> float:
    """Between the two neighbours in order, in proportion."""
    ranked = sorted(one for one in row[name].tolist() if math.isfinite(one))
    if not ranked:
        return farthest(row[f"{name}_quantiles"], [math.nan] * 5, LEAST)
    wanted = []
    for share in (0, 1, 2, 3, 4):
        place, rest = divmod(share * (len(ranked) - 1), 4)
        above = ranked[min(place + 1, len(ranked) - 1)]
        wanted.append(ranked[place] + rest / 4 * (above - ranked[place]))
    return farthest(row[f"{name}_quantiles"], wanted, LEAST)


def _best(row: Mapping[str, Any], last: np.ndarray, has_floor: bool) -> float:
    known = [one for one in last.tolist() if not math.isnan(one)]
    best = float(row["floor"]) if has_floor else math.nan
    best = min(known, default=math.nan) if math.isnan(best) else best
    asked = sum(bool(one) for one in row["done"].tolist())
    there = sum(abs(one - best) <= SAME_COST * max(1.0, abs(best)) for one in known if math.isfinite(one))
    gap = max(farthest(row["best_cost"], best, LEAST), farthest(row["best_share"], there / asked, LEAST))
    return max(gap, _interval(row["best_share_interval"].tolist(), there, asked))


def _interval(said: list[float], count: int, total: int) -> float:
    """By the tails: at the lower end so many or more have half of what is left, at the upper end so many or fewer."""
    from scipy.stats import binom

    tail, (low, high) = (1 - CONFIDENCE) / 2, said
    least = abs(float(binom.sf(count - 1, total, low)) - tail) if count else abs(low)
    most = abs(float(binom.cdf(count, total, high)) - tail) if count < total else abs(high - 1)
    return max(least, most)


def _parts(row: Mapping[str, Any], is_polished: bool) -> float:
    if not is_polished:
        return 0.0
    before, after, best = row["cost"], row["polished_cost"], float(row["best_cost"])
    size = np.maximum(1e-3, np.abs(before))
    with np.errstate(invalid="ignore"):
        gaps = [
            np.abs(row["convergence_error"] - (before - after)) / size,
            np.abs(row["global_error"] - (after - best)) / size,
        ]
    known = np.isfinite(before) & np.isfinite(after)
    worst = max(float(one[known].max(initial=0.0)) for one in gaps)
    if not known.any():
        return worst
    count = int(known.sum())
    convergence, beyond = (math.fsum(one[known].tolist()) / count for one in (before - after, after - best))
    means = np.abs(row["mean_error"] - [convergence + beyond, convergence, beyond])
    return max(worst, float(means.max()) / max(1e-3, abs(convergence), abs(beyond)))


def _tell_apart(columns: list[np.ndarray]) -> bool:
    """Whether no axis is a combination of the others over the cells that have a count."""
    centred = np.stack([one - one.mean() for one in columns], 1)
    return int(np.linalg.matrix_rank(centred)) == len(columns)


def _growth(found: Mapping[str, Any]) -> float:
    """The power law by its normal equations, with the error of the lack of fit."""
    counts = np.asarray(found["num_distinct_minima"], dtype=float)
    names = [name for name in ("samples", "depth", "width") if found.get(name) is not None]
    if found.get("exponent") is None:
        cells = np.argwhere(counts > 0)
        vary = [k for k, name in enumerate(names) if len(found[name]) > 1]
        # Cells that do not tell the axes apart have no law.
        logs = [np.log(np.asarray(found[names[k]], dtype=float))[cells[:, k]] for k in vary]
        return math.inf if vary and len(cells) and _tell_apart(logs) else 0.0
    rows, logs = [], []
    for cell in np.ndindex(counts.shape):
        if counts[cell] > 0:
            at = {name: math.log(found[name][k]) for name, k in zip(names, cell, strict=True)}
            rows.append([1.0, *(at[name] for name in found["axis"].tolist())])
            logs.append(math.log(counts[cell]))
    design, y = np.array(rows), np.array(logs)
    inverse = np.linalg.inv(design.T @ design)
    law = inverse @ design.T @ y
    freedom, left = len(y) - len(law), y - design @ law
    errors = np.full(len(law) - 1, math.inf)
    if freedom:
        errors = np.sqrt(max(0.0, float(left @ left)) / freedom * np.diag(inverse)[1:])
    # Such logarithms cancel: to half of the digits.
    gaps = [np.abs(found["exponent"] - law[1:]), np.abs(found["growth_factor"] / math.exp(law[0]) - 1)]
    if freedom:
        gaps.append(np.abs(found["exponent_error"] - errors))
    elif not np.isinf(found["exponent_error"]).all():
        return math.inf
    return float(max(np.max(one) for one in gaps))
