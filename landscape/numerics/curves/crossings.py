"""Where functions of one number first reach a height: many brackets narrowed together."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

# The part of x to which the bracket of a jump is halved, and how many times at most.
NARROW, HALVINGS = 1e-5, 60


class Crossings(NamedTuple):
    """Of every bracket: where f is 0, and how far off that may be: by the slope, f being known to the tolerance.

    Where f jumps, or is as good as, that is the bracket.
    """

    at: np.ndarray
    error: np.ndarray


def crossings(
    f: Callable[[int, np.ndarray], np.ndarray],
    low: np.ndarray,
    high: np.ndarray,
    f_low: np.ndarray,
    f_high: np.ndarray,
    *,
    tolerance: float,
    most_rounds: int = 20,
) -> Crossings:
    """The zeros of n functions between ``low`` and ``high`` (n,), where ``f_low`` < 0 ≤ ``f_high``.

    ``f(round, x)`` gives all of them at x (n,) at once. By the Illinois rule (Dowell and Jarratt 1971), of order 1.44:
    regula falsi that halves the value at an end that stays twice. A value that is not finite lies above, and the
    middle is taken. Ends where every |f| is at most ``tolerance``; after ``most_rounds``, where f jumps or as good as,
    brackets are halved to a hundred thousandth of x.

    >>> crossings(lambda _, x: x**2 - [2, 9], [0, 0], [2, 4], [-2, -9], [2, 7], tolerance=1e-12).at ** 2
    array([2., 9.])
    """
    a, b, fa, fb = (np.array(one, dtype=float) for one in (low, high, f_low, f_high))
    wide, tall = b - a, np.where(np.isfinite(fb), fb, np.inf) - fa
    x, value, last = b.copy(), fb.copy(), np.zeros(len(b))
    for number in range(most_rounds + HALVINGS):
        is_open = ~(np.abs(value) <= tolerance)
        if number >= most_rounds:
            is_open &= b - a > NARROW * np.maximum(np.abs(a), np.abs(b))
        if not is_open.any():
            break
        with np.errstate(all="ignore"):
            secant = (a * fb - b * fa) / (fb - fa)
        inside = np.isfinite(secant) & (secant > a) & (secant < b) & (number < most_rounds)
        x = np.where(is_open, np.where(inside, secant, (a + b) / 2), x)
        value = np.where(is_open, f(number, x), value)
        below = value < 0
        wide, tall = _slope(a, b, fa, fb, x, value, wide, tall)
        # The end that stays for the second time counts half.
        fb = np.where(is_open & below & (last < 0), fb / 2, fb)
        fa = np.where(is_open & ~below & (last > 0), fa / 2, fa)
        a, fa = np.where(is_open & below, x, a), np.where(is_open & below, value, fa)
        b, fb = np.where(is_open & ~below, x, b), np.where(is_open & ~below, value, fb)
        last = np.where(below, -1, 1)
    with np.errstate(all="ignore"):
        error = np.maximum(np.abs(value), tolerance) * wide / np.abs(tall)
    is_known = np.isfinite(error) & (np.abs(value) <= tolerance)
    return Crossings(x, np.where(is_known, np.minimum(error, b - a), b - a))


def _slope(
    a: np.ndarray,
    b: np.ndarray,
    fa: np.ndarray,
    fb: np.ndarray,
    x: np.ndarray,
    value: np.ndarray,
    wide: np.ndarray,
    tall: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Run and rise from x to the nearer end, the former ones where that is no slope."""
    near = x - a < b - x
    run = np.where(near, x - a, b - x)
    with np.errstate(invalid="ignore"):
        rise = np.abs(np.where(near, value - fa, fb - value))
    known = np.isfinite(rise) & (rise > 0) & (run > 0)
    return np.where(known, run, wide), np.where(known, rise, tall)
