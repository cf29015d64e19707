"""Exponents of power laws, and how often their intervals hold the truth."""

import numpy as np
import pytest
from scipy.stats import linregress

from landscape.errors import BadInput
from landscape.numerics.powerlaw import fit_power_law
from landscape.numerics.steps.stationarity import gradient_bound, random_steps


def test_the_fit_is_that_of_scipy():
    rng = np.random.default_rng(0)
    x = np.arange(1.0, 9.0)
    y = 3 * x**0.7 * np.exp(0.1 * rng.normal(size=8))
    law, known = fit_power_law(x, y), linregress(np.log(x), np.log(y))
    np.testing.assert_allclose([law.exponent, np.log(law.factor)], [known.slope, known.intercept])
    np.testing.assert_allclose(
        law.interval, known.slope + known.stderr * 2.446912 * np.array([-1, 1]), rtol=1e-6
    )


def test_the_interval_holds_the_exponent_as_often_as_it_says():
    """Means over 20 runs whose squared norms spread as a gamma variable does, at ten step sizes."""
    rng = np.random.default_rng(1)
    x, trials = np.arange(1, 11) * 1e-4, 4000
    runs = rng.gamma(3.0, size=(trials, 10, 20)) * x[:, None] ** 0.88
    held = 0
    for mean in runs.mean(2):
        low, high = fit_power_law(x, mean).interval
        held += low <= 0.88 <= high
    assert abs(held / trials - 0.95) < 0.015


def test_two_points_say_nothing_of_the_error():
    law = fit_power_law(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    assert law.exponent == pytest.approx(2)
    assert np.isinf(law.interval).all()


@pytest.mark.parametrize(("x", "y"), [([1, 1], [1, 2]), ([1, 2], [0, 1]), ([1, 2], [np.nan, 1])])
def test_what_has_no_power_law_is_refused(x, y):
    with pytest.raises(BadInput):
        fit_power_law(np.array(x), np.array(y))


@pytest.mark.parametrize(("num_steps", "count"), [(10, 3), (100, 7), (5, 5), (7, 1)])
def test_every_step_is_expected_equally_often(num_steps, count):
    rng = np.random.default_rng(0)
    drawn = np.concatenate([random_steps(num_steps, count, rng) for _ in range(20000)])
    often = np.bincount(drawn, minlength=num_steps) / 20000
    np.testing.assert_allclose(often, count / num_steps, atol=0.02)


def test_the_bound_has_no_value_where_the_theorem_has_none():
    assert np.isnan(gradient_bound(np.full(10, 0.51), lipschitz=2, variance=1, above=1))
    assert gradient_bound(np.full(10, 0.5), lipschitz=2, variance=1, above=1) == pytest.approx(1 + 0.4)
