"""Ends of descents counted: how many differ, how much of all that there is they are, and how their number grows."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from landscape.numerics.distinct import groups_of_rows, num_distinct_values

# Costs, relative beyond 1, and outputs, that are one minimum's.
SAME_COST = 1e-6
SAME_OUTPUT = 1e-3
# Ends without a negative eigenvalue: what may be a minimum, degenerate ones and kinks among them.
MINIMA = ("minimum", "degenerate", "kink")
# Below it so many ends are the only one of their kind that most minima have not been met.
WELL_COVERED = 0.9
CONFIDENCE = 0.95


class Counts(NamedTuple):
    """Groups of ends, by outputs and by cost; of the ``num_minima`` in MINIMA groups by outputs, and those of one."""

    num_distinct: int
    num_distinct_costs: int
    num_distinct_minima: int
    num_minima: int
    num_once: int

    @property
    def coverage(self) -> float:
        """The share of descents to minima that would end at one of those found (Good 1953): 1 − once/ends."""
        return 1 - self.num_once / self.num_minima if self.num_minima else math.nan


def counted(outputs: np.ndarray, costs: np.ndarray, status: np.ndarray) -> Counts:
    """Of ends with ``outputs`` (k, m) on the data, ``costs`` (k,) and ``status`` (k,)."""
    is_minimum = np.isin(status, MINIMA)
    groups = groups_of_rows(outputs[is_minimum], SAME_OUTPUT)
    sizes = np.unique(groups, return_counts=True)[1]
    return Counts(
        len(np.unique(groups_of_rows(outputs, SAME_OUTPUT))),
        num_distinct_values(costs, SAME_COST),
        len(sizes),
        int(is_minimum.sum()),
        int((sizes == 1).sum()),
    )


class Growth(NamedTuple):
    """count = factor · Π axis^exponent: ``exponents`` (a,) of ``axes`` and their standard ``errors``."""

    axes: np.ndarray
    exponents: np.ndarray
    errors: np.ndarray
    factor: float


def growth(counts: np.ndarray, axes: Mapping[str, Sequence[int]]) -> Growth | None:
    """The power law of positive ``counts`` (one dimension for each of ``axes``), by least squares of the logarithms.

    Axes of one value are left out; None where none is left, or where the cells with a count do not tell them apart.
    Errors are those of the lack of fit, infinite where no cell is left for it.

    >>> found = growth(np.array([[2.0, 4.0, 8.0], [8.0, 16.0, 32.0]]), {"n": [1, 2], "width": [1, 2, 4]})
    >>> found.axes.tolist(), found.exponents.round(9).tolist(), round(found.factor, 9)
    (['n', 'width'], [2.0, 1.0], 2.0)
    """
    grid = np.meshgrid(*(np.log(np.asarray(values, dtype=float)) for values in axes.values()), indexing="ij")
    names = [name for name, values in axes.items() if len(values) > 1]
    is_there = np.asarray(counts) > 0
    columns = [one[is_there] for name, one in zip(axes, grid, strict=True) if name in names]
    y = np.log(np.asarray(counts, dtype=float)[is_there])
    design = np.stack([np.ones(len(y)), *columns], 1)
    if not names or np.linalg.matrix_rank(design) < design.shape[1]:
        return None
    found = np.linalg.lstsq(design, y, rcond=None)[0]
    freedom = len(y) - len(found)
    if freedom:
        spread = float(np.square(y - design @ found).sum()) / freedom
        errors = np.sqrt(spread * np.diag(np.linalg.inv(design.T @ design)))[1:]
    else:
        errors = np.full(len(names), math.inf)
    # What rounding leaves of an exact law is no error.
    return Growth(np.array(names), found[1:].round(12) + 0.0, errors.round(12), float(np.exp(found[0])))


def share_interval(count: np.ndarray, total: np.ndarray) -> np.ndarray:
    """The exact 95 % interval (…, 2) of a probability that was met ``count`` of ``total`` times (Clopper 1934).

    >>> share_interval(np.array(0), np.array(10)).round(4).tolist()
    [0.0, 0.3085]
    """
    from scipy.stats import beta

    count, total = np.asarray(count, dtype=float), np.asarray(total, dtype=float)
    tail = (1 - CONFIDENCE) / 2
    low = beta.ppf(tail, np.maximum(count, 1e-300), total - count + 1)
    high = beta.ppf(1 - tail, count + 1, np.maximum(total - count, 1e-300))
    return np.stack([np.where(count > 0, low, 0.0), np.where(count < total, high, 1.0)], -1)
