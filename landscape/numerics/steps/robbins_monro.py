"""Whether the step sizes of a schedule, for ever, sum to infinity and their squares do not (Robbins and Monro 1951).

Decided by the formula of the schedule: no partial sum can tell. It is asked of an infinite run, which none is.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

# Terms that are added one by one before an integral takes their place.
TERMS = 1000


class StepSums(NamedTuple):
    """Σα and Σα² over all steps, infinite or not, and what follows: ``holds``, ``fails: …``, ``cannot be known: …``."""

    total: float
    squares: float
    verdict: str


def step_sums(name: str, parameters: Mapping[str, float], first: float, every: int) -> StepSums:
    """Of a schedule of :mod:`landscape.numerics.steps.schedules` that begins with ``first``, ``every`` steps a period.

    What follows the loss, as a plateau does, has sums that nobody knows beforehand: NaN.

    >>> step_sums("polynomial", {"beta": 1.0, "gamma": 1.0}, 1.0, 1).verdict
    'holds'
    >>> step_sums("polynomial", {"beta": 1.0, "gamma": 0.5}, 1.0, 1).verdict
    'fails: Σα² is infinite'
    >>> round(step_sums("exponential", {"rate": 0.2}, 1.0, 1).total, 10)  # 1 + 1/(e^0.2 − 1)
    5.5166555661
    """
    if name == "plateau":
        return StepSums(math.nan, math.nan, "cannot be known: the steps follow the loss")
    total, squares = (first**power * every * _sum(name, parameters, power) for power in (1, 2))
    wrong = [] if math.isinf(total) else ["Σα is finite"]
    wrong += ["Σα² is infinite"] if math.isinf(squares) else []
    return StepSums(total, squares, f"fails: {' and '.join(wrong)}" if wrong else "holds")


def _sum(name: str, parameters: Mapping[str, float], power: int) -> float:
    """Σ over k = 0, 1, … of the factors of a schedule, to a power."""
    if name == "piecewise":
        return _geometric(parameters["gamma"] ** power)
    if name == "exponential":
        return -1 / math.expm1(-power * parameters["rate"]) if parameters["rate"] else math.inf
    if name == "polynomial":
        return _powers(parameters["beta"], power * parameters["gamma"])
    return math.inf


def _geometric(ratio: float) -> float:
    return math.inf if ratio >= 1 else 1 / (1 - ratio)


def _powers(beta: float, exponent: float) -> float:
    """Σ (βk + 1)^−s: infinite where s ≤ 1, else by the formula of Euler and Maclaurin from TERMS on."""
    if beta == 0 or exponent <= 1:
        return math.inf
    begun = math.fsum((beta * k + 1) ** -exponent for k in range(TERMS))
    last = beta * TERMS + 1
    tail = last ** (1 - exponent) / (beta * (exponent - 1)) + last**-exponent / 2
    return begun + tail + exponent * beta * last ** (-exponent - 1) / 12
