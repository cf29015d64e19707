"""Positions on [0, 1]: even by their discrepancy, tilted by the density they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.numerics.curves.tilt import even_positions, observe, tilted_positions


@given(st.floats(0, 0.999), st.integers(0, 10**6), st.integers(5, 300))
def test_any_stretch_covers_the_interval_evenly(offset, first, number):
    """Three lengths of gap, none more than 2.7 times the mean one (the three-gap theorem for the golden ratio)."""
    t = np.sort(even_positions(offset, first, number))
    assert ((t >= 0) & (t < 1)).all()
    gaps = np.diff(np.append(t, t[0] + 1))
    assert gaps.max() < 2.7 / number
    assert gaps.min() > 0.3 / number


def test_a_stretch_in_two_is_the_stretch():
    whole = even_positions(0.3, 0, 10)
    np.testing.assert_array_equal(whole, np.append(even_positions(0.3, 0, 4), even_positions(0.3, 4, 6)))


@pytest.mark.parametrize("temperature", [0.25, 1.0])
def test_the_density_is_the_exponential_of_the_profile(temperature):
    profile = np.array([1.0, 3.0, 2.0, 1.5])
    t = tilted_positions(np.linspace(0, 1, 400001), profile, temperature)
    counts = np.histogram(t, np.linspace(0, 1, 5))[0] / 400001
    wanted = np.exp(profile / (temperature * 2))
    np.testing.assert_allclose(counts, wanted / wanted.sum(), atol=1e-5)
    assert counts[1] / counts[0] == pytest.approx(np.exp(1 / temperature), rel=1e-3)
    assert (t[0], t[-1]) == (0, 1)
    assert (np.diff(t) >= 0).all()


def test_the_scale_of_the_loss_does_not_matter():
    even, profile = even_positions(0.1, 0, 50), np.array([0.0, 4.0, 1.0])
    np.testing.assert_allclose(
        tilted_positions(even, 1e-6 * profile + 7, 0.5), tilted_positions(even, profile, 0.5), rtol=1e-8
    )


@pytest.mark.parametrize("profile", [[1.0, 1.0], [np.nan, 2.0], [np.inf, 1.0]])
def test_what_tells_nothing_tilts_nothing(profile):
    even = even_positions(0.1, 0, 50)
    np.testing.assert_array_equal(tilted_positions(even, np.array(profile), 0.5), even)


def test_bins_run_after_what_is_seen():
    profile = np.full(4, np.nan)
    observe(profile, np.array([0.0, 0.1, 0.6, 1.0]), np.array([1.0, 2.0, 5.0, 7.0]), rate=0.5)
    np.testing.assert_array_equal(profile, [1.5, np.nan, 5.0, 7.0])
