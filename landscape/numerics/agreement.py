"""Do two measures put the same things in the same order? Kendall's τ, its interval, and what chance would give."""

import math
from itertools import combinations, permutations
from typing import NamedTuple

import numpy as np

# Up to so many things every order of theirs is looked at, ties and all: 5040 orders.
MOST_PERMUTED = 7
# An agreement that chance gives less often is one.
LEVEL = 0.05
NORMAL_QUANTILE = 1.959964
# Of artanh τ, times n − 4 (Fieller, Hartley and Pearson 1957).
FIELLER = 0.437


class Agreement(NamedTuple):
    """Kendall's τ-b, the ends of its 95 % interval and the two-sided p of no agreement; NaN where there is none."""

    tau: float
    low: float
    high: float
    p: float


def agreement(one: np.ndarray, other: np.ndarray) -> Agreement:
    """How far two rows of numbers (n,) are in one order: τ from −1, the reverse, to 1, the same.

    The interval is Fieller, Hartley and Pearson's (1957), tanh(artanh τ ± 1.96 √(0.437/(n − 4))), each end moved
    outwards by half of what one pair of things makes of τ, for τ takes few values and theirs is of no width at ±1; for
    fewer than five things it is [−1, 1]. p is exact for up to 7 things, by all their orders, and beyond them where
    nothing ties; else that of the normal law. Where all of a row are equal, or one is NaN, everything is NaN.

    >>> agreement(np.arange(4), np.array([1, 2, 3, 5]))
    Agreement(tau=1.0, low=-1.0, high=1.0, p=0.08333333333333333)
    """
    from scipy.stats import kendalltau

    one, other = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    count = len(one)
    if count < 2 or np.isnan([one, other]).any() or any(len(np.unique(row)) < 2 for row in (one, other)):
        return Agreement(np.nan, np.nan, np.nan, np.nan)
    tau, p = np.asarray(kendalltau(one, other), dtype=float).tolist()
    if count <= MOST_PERMUTED:
        p = _by_all_orders(one, other)
    if count < 5:
        return Agreement(tau, -1.0, 1.0, p)
    return Agreement(tau, *fieller(tau, FIELLER / (count - 4), 1 / math.comb(count, 2)), p)


def fieller(value: float, variance: float, half: float) -> tuple[float, float]:
    """The 95 % interval of a rank correlation by the variance of its artanh, each end ``half`` a step further out.

    >>> [round(end, 3) for end in fieller(0.0, 1.06 / 27, 0.0)]
    [-0.37, 0.37]
    """
    wide = NORMAL_QUANTILE * math.sqrt(variance)
    with np.errstate(divide="ignore"):
        ends = np.arctanh(np.clip([value - half, value + half], -1, 1))
    low, high = np.tanh(ends + np.array([-wide, wide])).tolist()
    return low, high


def least_p(count: int) -> float:
    """The p of two equal orders of so many things: no agreement of theirs can be less of a chance.

    >>> [round(least_p(count), 3) for count in (2, 3, 4, 5)]
    [1.0, 0.333, 0.083, 0.017]
    """
    return min(1.0, 2 / math.factorial(count))


def fewest() -> int:
    """How many things it takes until an agreement of all of them is beyond chance.

    >>> fewest()
    5
    """
    return next(count for count in range(2, 10) if least_p(count) < LEVEL)


def _by_all_orders(one: np.ndarray, other: np.ndarray) -> float:
    """The share of the orders of ``other`` that agree or disagree with ``one`` as much."""
    first, second = np.array(list(combinations(range(len(one)), 2))).T
    orders = other[np.array(list(permutations(range(len(one)))))]
    score = np.sign(orders[:, first] - orders[:, second]) @ np.sign(one[first] - one[second])
    return float((np.abs(score) >= abs(score[0])).mean())


def ranked(values: np.ndarray, room: float) -> np.ndarray:
    """Ranks (n,) from the least value, 1; neighbours no further apart than ``room`` share one, NaN comes last.

    >>> ranked(np.array([3.0, 1.0, 1.0 + 1e-15, np.nan]), room=1e-12)
    array([3., 1., 1., 4.])
    """
    order = np.argsort(values, kind="stable")
    with np.errstate(invalid="ignore"):
        is_same = ~(np.diff(values[order]) > room) & ~np.isnan(values[order][1:])
    is_same |= np.isnan(values[order][1:]) & np.isnan(values[order][:-1])
    found = np.arange(1.0, len(values) + 1)
    for i in np.flatnonzero(is_same):
        found[i + 1] = found[i]
    ranks = np.empty_like(found)
    ranks[order] = found
    return ranks


def apart(values: np.ndarray, errors: np.ndarray, times: float) -> np.ndarray:
    """Whether each value (n,) differs from all others by more than so many errors of the difference.

    >>> apart(np.array([1.0, 1.1, 3.0]), np.array([0.1, 0.1, 0.1]), 2.0).tolist()
    [False, False, True]
    """
    errors = np.nan_to_num(errors)
    with np.errstate(invalid="ignore", over="ignore"):
        far = np.abs(values[:, None] - values) > times * np.hypot(errors[:, None], errors)
    return np.asarray((far | np.eye(len(values), dtype=bool)).all(axis=1))
