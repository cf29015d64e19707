"""Outliers of a spectrum: planted ones are counted, whatever their order, and what errors leave open is said."""

import math
from itertools import pairwise

import numpy as np
import pytest

from landscape.numerics.spectra.outliers import outliers


@pytest.mark.parametrize("count", [1, 3, 9])
def test_planted_outliers_over_a_bulk_are_counted(count):
    """A spiked covariance (Johnstone 2001): Marchenko and Pastur's bulk ends at 4, spikes of 49 stand far off."""
    draws = np.random.default_rng(count)
    n, d = 400, 100
    scale = np.ones(d)
    scale[:count] = 7.0
    data = draws.standard_normal((n, d)) * scale
    values = np.linalg.eigvalsh(data.T @ data / n)[::-1][:20]
    found = outliers(values, np.zeros(20))
    assert found is not None
    assert found.number == count
    assert found.gap > 5
    # By logarithms and a loop, in another order.
    logs = [math.log(one) for one in values]
    steps = {a - b: m for m, (a, b) in enumerate(pairwise(logs), 1)}
    assert outliers(values[::-1], np.zeros(20)) == found
    assert found.number == steps[max(steps)]
    assert found.gap == pytest.approx(math.exp(max(steps)))


def test_what_errors_leave_open_is_said():
    values = np.array([4.0, 2.0, 0.95])
    assert outliers(values, np.full(3, 1e-3)) == (2, pytest.approx(2 / 0.95), True)
    found = outliers(values, np.array([0.2, 0.1, 0.05]))
    assert found is not None
    assert not found.is_told
    # An error as large as the value leaves everything open.
    found = outliers(values, np.array([0.0, 0.0, 1.0]))
    assert found is not None
    assert not found.is_told


@pytest.mark.parametrize("values", [[1.0, 0.5], [3.0, -1.0, 0.0, -2.0], [math.nan] * 5])
def test_of_fewer_than_three_positive_ones_there_is_no_gap_to_compare(values):
    assert outliers(np.array(values), np.zeros(len(values))) is None
