"""Ranks and their agreement: by definition, against SciPy, and in how many samples the interval holds the truth."""

from itertools import combinations, permutations

import numpy as np
import pytest
from scipy.stats import kendalltau

from landscape.numerics.agreement import agreement, apart, fewest, least_p, ranked


@pytest.mark.parametrize("count", [2, 3, 4, 6, 7, 9, 20])
def test_tau_is_that_of_its_definition_and_p_that_of_all_orders(count):
    rng = np.random.default_rng(count)
    one, other = rng.standard_normal((2, count))
    found = agreement(one, other)
    signs = [np.sign((one[i] - one[j]) * (other[i] - other[j])) for i, j in combinations(range(count), 2)]
    assert found.tau == pytest.approx(sum(signs) / len(signs), abs=1e-12)
    exact = kendalltau(one, other, method="exact")
    assert found.p == pytest.approx(exact.pvalue, abs=1e-12)
    assert -1 <= found.low <= found.tau <= found.high <= 1


def test_ties_are_tau_b_with_a_p_by_all_orders():
    one, other = np.array([1.0, 1.0, 2.0, 3.0, 4.0]), np.array([2.0, 1.0, 1.0, 3.0, 3.0])
    found = agreement(one, other)
    assert found.tau == pytest.approx(kendalltau(one, other).statistic, abs=1e-12)
    every = [abs(kendalltau(one, other[list(order)]).statistic) for order in permutations(range(5))]
    assert found.p == pytest.approx(np.mean(np.array(every) >= abs(found.tau) - 1e-12), abs=1e-12)


def test_few_things_tell_nothing():
    same = np.arange(4.0)
    assert agreement(same, same)[1:3] == (-1, 1)
    assert agreement(same, same).p == pytest.approx(least_p(4)) == pytest.approx(1 / 12)
    assert agreement(np.arange(5.0), np.arange(5.0)).p == pytest.approx(least_p(5)) == pytest.approx(1 / 60)
    assert fewest() == 5
    for row in (np.ones(4), np.array([1, 2, np.nan, 3])):
        assert np.isnan(agreement(same, row)).all()


@pytest.mark.parametrize("count", [6, 12])
def test_the_interval_holds_the_truth(count):
    """Of a bivariate normal with correlation ρ, τ = (2/π) arcsin ρ."""
    rng = np.random.default_rng(0)
    for rho in (0.0, 0.6, 0.9):
        truth, held = 2 / np.pi * np.arcsin(rho), 0
        for _ in range(150):
            one, noise = rng.standard_normal((2, count))
            found = agreement(one, rho * one + np.sqrt(1 - rho**2) * noise)
            held += found.low <= truth <= found.high
        # 95 of 100, a little more where τ takes few values; 150 tries are off by 4.6 once in a hundred.
        assert held / 150 >= 0.9
        assert count == 6 or held / 150 < 1


def test_ranks_share_what_rounding_does_not_tell_apart():
    values = np.array([2.0, 1.0, 1.0 + 1e-13, np.inf, 2.0 - 1e-13, np.nan])
    assert ranked(values, 1e-12).tolist() == [3, 1, 1, 5, 3, 6]
    assert ranked(np.array([3.0, 1.0, 2.0]), 0.0).tolist() == [3, 1, 2]
    assert apart(np.array([0.0, 1.0]), np.array([0.3, np.nan]), 2.0).tolist() == [True, True]
    assert apart(np.array([0.0, 1.0]), np.array([0.3, 0.5]), 2.0).tolist() == [False, False]
