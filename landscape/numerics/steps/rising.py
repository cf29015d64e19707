"""Where a function of one step first rises above what it is at 0: by doubling, looking between, and bisection."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

# Places at which is looked between 0 and where it has risen, as parts of it: no rise is missed that is as wide as a
# 17th of it, or reaches over a fifth of its own place down to a 64th.
LOOKS = np.unique(np.concatenate([np.arange(1, 17) / 17, 2.0 ** (-np.arange(1, 25) / 4)]))
MOST_DOUBLINGS = 200
# Why nothing was found.
AT_ONCE, NEVER, LOST = "at once", "never", "lost in rounding"


class Rising(NamedTuple):
    """A bracket of the first step at which f rises above f(0): surely below at ``low``, surely above at ``high``.

    ``steps`` and ``rises`` (k,), f − f(0), are all that was tried, ascending. ``why`` is '' where there is a bracket;
    else both ends are NaN and it is one of :data:`AT_ONCE`, :data:`NEVER`, :data:`LOST`.
    """

    low: float
    high: float
    steps: np.ndarray
    rises: np.ndarray
    why: str


def first_rise(
    rise: Callable[[float], float], start: float, *, most: float, room: float, tolerance: float
) -> Rising:
    """The first s > 0 with f(s) > f(0), for ``rise`` s ↦ f(s) − f(0), of which less than ``room`` says nothing.

    From ``start`` s is halved until f has fallen, or doubled until it has risen, up to ``most``. Then f is looked at
    between, at the parts :data:`LOOKS` of the rise, as long as an earlier one shows; what is narrower is missed. At
    last the bracket is halved until it is ``tolerance`` of its end, or all of it lost in ``room``. What is not a
    number counts as risen.
    """
    tried: dict[float, float] = {}

    def sign(step: float) -> int:
        if step not in tried:
            tried[step] = float(rise(step))
        value = tried[step]
        return -1 if value < -room else 0 if value <= room else 1

    def found(low: float, high: float, why: str = "") -> Rising:
        steps = np.array(sorted(tried))
        return Rising(low, high, steps, np.array([tried[step] for step in steps.tolist()]), why)

    def narrowed(low: float, high: float, is_low: Callable[[int], bool]) -> tuple[float, float]:
        while high - low > tolerance * high:
            middle = (low + high) / 2
            low, high = (middle, high) if is_low(sign(middle)) else (low, middle)
        return low, high

    step = high = start
    for _ in range(MOST_DOUBLINGS):
        if sign(step) <= 0:
            break
        step, high = step / 2, step
    while sign(step) <= 0 and step <= most and sign(high) <= 0:
        step, high = 2 * step, 2 * high
    if sign(high) <= 0:
        return found(np.nan, np.nan, NEVER if any(value < -room for value in tried.values()) else LOST)
    before = np.inf
    while high < before / 2:
        before = high
        high = next((before * part for part in LOOKS.tolist() if sign(before * part) > 0), before)
    fallen = [one for one in tried if one < high and sign(one) < 0]
    if not fallen:
        return found(np.nan, np.nan, AT_ONCE)
    low, above = narrowed(max(fallen), high, lambda one: one < 0)
    if sign(above) <= 0:
        _, above = narrowed(above, high, lambda one: one <= 0)
    return found(low, above)
