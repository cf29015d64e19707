"""Cells of all numbers of samples, depths and widths as arrays; and what lies between an end and the best there is."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from landscape.descent.cells import Cell, Descents
from landscape.descent.counts import SAME_COST, growth, share_interval
from landscape.descent.starts import Family
from landscape.objective.tasks import Task, ahead

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
# The parts of F − F_best, the first their sum.
PARTS = ("F − F_best", "F − F_polished", "F_polished − F_best")
# By samples, depth and width.
Table = Sequence[Sequence[Sequence[Cell]]]


def tables(
    families: Mapping[int, Family],
    depths: Sequence[int],
    widths: Sequence[int],
    descents: Sequence[Descents],
    axes: tuple[np.ndarray, np.ndarray] | None,
    notes: list[str],
) -> Table:
    """Every cell of ``families`` by their numbers of samples, 0 for all; ``descents`` are those of each depth."""

    def cell(count: int, depth: int, how: Descents, width: int) -> Cell:
        return replace(how, family=families[count]).cell(width, depth, axes, notes, _of(count))

    def tasks() -> list[Task]:
        found = [
            task
            for count in families
            for depth, how in zip(depths, descents, strict=True)
            for width in widths
            for task in replace(how, family=families[count]).tasks(width, depth, _of(count))
        ]
        # The largest first, so that none is waited for alone.
        return found[::-1]

    ahead(descents[0].journal, tasks, descents[0].progress, "stacks and their ends")
    return [
        [
            [cell(count, depth, how, width) for width in widths]
            for depth, how in zip(depths, descents, strict=True)
        ]
        for count in families
    ]


def _of(count: int) -> str:
    """Of which number of samples a cell is, where there are several."""
    return f"samples {count}, " if count else ""


def every(table: Table) -> list[Cell]:
    """Its cells."""
    return [cell for rows in table for row in rows for cell in row]


def of_each(table: Table, values: Callable[[Cell], Any], has_samples: bool) -> np.ndarray:
    """``values`` of every cell, (samples, depth, width, …), without the first axis where it was not asked for."""
    found = np.array([[[values(cell) for cell in row] for row in rows] for rows in table])
    # Words as wide as the longest, which is how they come back from a file.
    found = np.array(found.tolist()) if found.dtype.kind == "U" else found
    return found if has_samples else found[0]


def arrays_of(table: Table, has_samples: bool, has_axes: bool) -> dict[str, Any]:
    """What is measured and counted, by field of :class:`~landscape.analyses.minima.Minima`."""
    cells = every(table)
    most = max(len(cell.rows["done"]) for cell in cells)

    def each(values: Callable[[Cell], Any]) -> np.ndarray:
        return of_each(table, values, has_samples)

    found: dict[str, Any] = {
        one: each(lambda cell, one=one: _padded(cell.rows[one], most)) for one in cells[0].rows
    }
    found |= {f"{one}_quantiles": _quantiles(found[one]) for one in ("cost", "polished_cost") if one in found}
    names = ("num_distinct", "num_distinct_costs", "num_distinct_minima", "num_minima", "coverage")
    found |= {name: each(lambda cell, name=name: getattr(cell.counts, name)) for name in names}
    found["num_parameters"] = of_each(table, lambda cell: cell.num_parameters, False)
    found["prediction"] = each(lambda cell: cell.prediction) if has_axes else None
    return {"quantile": np.array(QUANTILES), "restart": np.arange(most), **found}


def errors_of(rows: dict[str, Any], floor: np.ndarray) -> dict[str, Any]:
    """F − F_best of every end and its parts, and how many ends are at F_best.

    F_best is the ``floor`` (…, depth, width) where one is known, and else the lowest cost met there.
    """
    last = rows["polished_cost"] if "polished_cost" in rows else rows["cost"]
    with warnings.catch_warnings():
        # Cells of which nothing is left.
        warnings.simplefilter("ignore", RuntimeWarning)
        best = np.where(np.isnan(floor), np.nanmin(last, axis=-1), floor)
        is_there, here = np.isfinite(last), best[..., None]
        at_best = (is_there & (np.abs(last - here) <= SAME_COST * np.maximum(1.0, np.abs(here)))).sum(-1)
        total = np.asarray(rows["done"]).sum(-1)
        found: dict[str, Any] = {
            "best_cost": best,
            "best_share": at_best / total,
            "best_share_interval": share_interval(at_best, total),
        }
        if "polished_cost" in rows:
            parts = (rows["cost"] - here, rows["cost"] - last, last - here)
            found |= {"convergence_error": parts[1], "global_error": parts[2], "part": np.array(PARTS)}
            found["mean_error"] = np.stack([np.nanmean(one, axis=-1) for one in parts], -1)
    return found


def growth_of(
    counts: np.ndarray, samples: Sequence[int] | None, depths: Sequence[int], widths: Sequence[int]
) -> dict[str, Any]:
    """The power law of ``counts`` ((samples,) depth, width) along those of its axes that have several values."""
    axes = {"depth": depths, "width": widths}
    found = growth(counts, axes if samples is None else {"samples": samples, **axes})
    if found is None:
        return {}
    law = {"axis": found.axes, "exponent": found.exponents, "exponent_error": found.errors}
    return {**law, "growth_factor": found.factor}


def _padded(values: np.ndarray, count: int) -> np.ndarray:
    """``values`` (k,) with what was not asked for: NaN, no, or no word."""
    empty = {"f": math.nan, "i": 0, "b": False, "U": ""}[values.dtype.kind]
    return np.concatenate([values, np.full(count - len(values), empty, dtype=values.dtype)])


def _quantiles(cost: np.ndarray) -> np.ndarray:
    """Over the restarts that did not diverge, in front of (…, restart); NaN where all did."""
    found = np.full((*cost.shape[:-1], len(QUANTILES)), math.nan)
    for cell in np.ndindex(*cost.shape[:-1]):
        seen = cost[cell][np.isfinite(cost[cell])]
        if len(seen):
            found[cell] = np.quantile(seen, QUANTILES)
    return found
