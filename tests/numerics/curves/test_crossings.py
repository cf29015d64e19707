"""Zeros of many functions at once: against closed forms, with values that are not finite, and as far as it got."""

import numpy as np
import pytest
from scipy.optimize import brentq

from landscape.numerics.curves.crossings import crossings

FUNCTIONS = [
    (lambda x: x**2 - 2, 0.0, 2.0),
    (lambda x: np.exp(x) - 100, 0.0, 10.0),
    (lambda x: x**9 - 1e-6, 0.0, 1.0),
    (lambda x: np.arctan(50 * (x - 0.3)), 0.0, 1.0),
]


def every(_: int, at: np.ndarray) -> np.ndarray:
    return np.array([f(x) for (f, _, _), x in zip(FUNCTIONS, at, strict=True)])


def test_the_zeros_are_those_of_brent():
    low, high = (np.array([one[k] for one in FUNCTIONS]) for k in (1, 2))
    found = crossings(every, low, high, every(0, low), every(0, high), tolerance=1e-13, most_rounds=60)
    wanted = np.array([brentq(f, a, b, xtol=1e-15) for f, a, b in FUNCTIONS])
    np.testing.assert_allclose(found.at, wanted, rtol=1e-6, atol=1e-12)
    assert (np.abs(every(0, found.at)) <= 1e-13).all()


@pytest.mark.parametrize("rounds", [1, 2, 4, 8])
def test_what_is_left_is_within_the_stated_error_where_a_function_is_a_line_or_a_square(rounds):
    low, high = np.zeros(2), np.full(2, 4.0)
    f = lambda _, x: np.array([x[0] - 1.0, x[1] ** 2 - 3.0])  # noqa: E731
    found = crossings(f, low, high, f(0, low), f(0, high), tolerance=1e-14, most_rounds=rounds)
    assert (np.abs(found.at - [1, np.sqrt(3)]) <= 2 * found.error + 1e-14).all()


def test_values_that_are_not_finite_lie_above():
    f = lambda _, x: np.where(x > 0.5, [np.inf, np.nan], x - 0.25)  # noqa: E731
    found = crossings(
        f, np.zeros(2), np.ones(2), np.full(2, -0.25), np.array([np.inf, np.nan]), tolerance=1e-12
    )
    np.testing.assert_allclose(found.at, 0.25, atol=1e-12)


@pytest.mark.parametrize("place", [0.3, 0.70710678, 0.999])
def test_a_jump_is_held_between_the_ends_of_its_bracket(place):
    found = crossings(
        lambda _, x: np.where(x < place, x - 2.0, 5.0 + x),
        np.zeros(1),
        np.ones(1),
        np.array([-2.0]),
        np.array([6.0]),
        tolerance=1e-12,
    )
    assert abs(found.at[0] - place) <= found.error[0] <= 1e-5
