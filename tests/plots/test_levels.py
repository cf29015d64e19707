"""Levels: what the picture must show is seen, on surfaces whose shape is known in closed form."""

import numpy as np
import pytest
from matplotlib.colors import LogNorm

from landscape.plots.levels import (
    LARGEST_SHARE,
    NUM_LEVELS,
    ByLevels,
    Range,
    barrier_range,
    largest_share,
    num_inside,
    quantiles,
    sampled,
    scale_for,
    valley_range,
)

AXIS = np.linspace(-1, 1, 41)
X, Y = np.meshgrid(AXIS, AXIS)
RADIUS = np.hypot(X, Y)
A, B = np.array([-0.5, 0.0]), np.array([0.5, 0.0])


def between_two(height):
    """Zero at A and B with a ridge of ``height`` between them, and walls a hundred times that at the frame."""
    ridge = height * np.exp(-((X / 0.15) ** 2)) * np.exp(-((Y / 0.4) ** 2))
    walls = 100 * height * np.clip(RADIUS - 0.55, 0, None) ** 2 / 0.2
    return 0.01 * height + ridge + walls


SURFACES = {
    "bowl": RADIUS**2,
    "saddle": X**2 - Y**2,
    "ratio 72": 0.05 + 3.55 * (RADIUS / np.sqrt(2)) ** 6,
    "sharp minimum": np.log1p(1000 * RADIUS**2),
    "exponential": np.exp(6 * RADIUS) - 0.9,
    "from 0 up steeply": np.expm1(8 * RADIUS**2),
    "deep point": 1e-12 + RADIUS**8,
    "negative": -np.exp(-20 * RADIUS**2),
    "survey 1": (1 - 1.69 * X * Y) ** 2,
    "survey 2": (1 + (1 + 2 * X) * (2 * Y) ** 2 / 8) ** 2,
    "barrier": between_two(1.0),
    "high barrier": between_two(40.0),
}


@pytest.mark.parametrize("name", SURFACES)
def test_no_colour_covers_more_than_a_quarter_and_valley_and_barrier_are_seen(name):
    values = SURFACES[name]
    needs = valley_range(AXIS, AXIS, values, (0.0, 0.0))
    if "barrier" in name:
        needs = barrier_range(AXIS, AXIS, values, np.stack([A, B]))
        assert [need.least for need in needs] == [2]
    scale = scale_for(values, needs=needs)
    assert largest_share(values, scale.levels) <= LARGEST_SHARE
    for need in needs:
        assert num_inside(scale.levels, need) >= need.least
    assert scale.levels[0] <= values.min()
    assert scale.levels[-1] >= values.max()
    assert (np.diff(scale.levels) > 0).all()
    assert len(scale.levels) <= NUM_LEVELS + 2 + 3


@pytest.mark.parametrize("name", SURFACES)
def test_levels_are_round_and_no_two_nearly_touch(name):
    """0.165 and 0.96 beside 0.95 tell nobody anything."""
    values = SURFACES[name]
    needs = valley_range(AXIS, AXIS, values, (0.0, 0.0))
    if "barrier" in name:
        needs = barrier_range(AXIS, AXIS, values, np.stack([A, B]))
    levels = scale_for(values, needs=needs).levels
    gaps = np.diff(levels)
    assert (gaps[1:-1] > np.minimum(gaps[:-2], gaps[2:]) / 5).all()
    for k in range(1, len(levels) - 1):
        room = min(gaps[k - 1], gaps[k])
        # No rounder number lies near: what is written has the digits that it takes, and no more.
        digits = len(f"{levels[k]:.12e}".partition("e")[0].rstrip("0").replace(".", "").lstrip("-"))
        assert digits <= 2 + max(0, np.ceil(np.log10(max(abs(levels[k]) / room, 1)))), levels[k]


def test_a_bowl_is_linear_with_its_valley_in_sight():
    for values in (SURFACES["bowl"], 0.7 + 2.9 * SURFACES["bowl"]):
        needs = valley_range(AXIS, AXIS, values, (0.0, 0.0))
        assert needs
        assert scale_for(values, needs=needs).spacing == "linear"


def test_the_plainest_spacing_that_does_is_taken():
    assert scale_for(SURFACES["bowl"]).spacing == "linear"
    assert scale_for(10 ** (3 * RADIUS)).spacing == "log"
    assert scale_for(1 - 10 ** (3 * RADIUS)).spacing == "quantile"
    # Logarithms of ten decades in a single point would leave the plane as it was.
    assert scale_for(SURFACES["deep point"] + 1e-12).spacing != "linear"


def test_a_ratio_of_72_is_not_one_colour():
    """As a plane of a trained net: linear levels would put more than half of it into the lowest colour."""
    values = SURFACES["ratio 72"]
    assert values.max() / values.min() == pytest.approx(72)
    assert largest_share(values, scale_for(values, spacing="linear").levels) > 0.5
    assert largest_share(values, scale_for(values).levels) <= LARGEST_SHARE


@pytest.mark.parametrize("name", ["survey 1", "survey 2"])
def test_the_valleys_of_the_surveys_figures_are_seen(name):
    """Below the saddle at F = 1 linear levels put one or two lines; there are at least three."""
    levels = scale_for(SURFACES[name]).levels
    assert num_inside(levels, Range(SURFACES[name].min(), 1.0, 3)) >= 3
    assert num_inside(scale_for(SURFACES[name], spacing="linear").levels, Range(0.0, 1.0, 3)) <= 2


@pytest.mark.parametrize("spacing", ["linear", "log", "quantile"])
def test_a_spacing_that_was_asked_for_is_taken(spacing):
    assert scale_for(1 + SURFACES["bowl"], spacing=spacing, needs=[Range(1.0, 1.001, 3)]).spacing == spacing


def test_a_need_that_nothing_meets_gets_levels_of_its_own():
    values = np.concatenate([np.linspace(0, 1e-6, 5), np.linspace(1, 2, 1000)])
    scale = scale_for(values, needs=[Range(0.0, 1e-6, 3)])
    assert num_inside(scale.levels, Range(0.0, 1e-6, 3)) == 3


def test_quantiles_hold_equally_much():
    levels = quantiles(SURFACES["exponential"], 11)
    counts = np.histogram(SURFACES["exponential"], levels)[0]
    assert counts.sum() == RADIUS.size
    np.testing.assert_allclose(counts / RADIUS.size, 0.1, atol=0.06)


def test_ties_leave_fewer_levels_and_harm_nothing():
    values = np.concatenate([np.full(900, 2.0), np.linspace(3, 400, 100)])
    scale = scale_for(values)
    assert scale.levels[0] <= 2.0
    assert scale.levels[-1] >= 400.0
    assert (np.diff(scale.levels) > 0).all()


def test_colours_are_even_over_quantiles_and_can_be_turned_back():
    norm = scale_for(1 - 10 ** (3 * RADIUS)).norm
    assert isinstance(norm, ByLevels)
    np.testing.assert_allclose(norm(norm.levels), np.linspace(0, 1, len(norm.levels)), atol=1e-15)
    np.testing.assert_allclose(norm.inverse(norm(norm.levels)), norm.levels, rtol=1e-12, atol=1e-12)
    assert isinstance(scale_for(10 ** (3 * RADIUS)).norm, LogNorm)


def test_sampling_is_exact_for_what_is_bilinear():
    x, y = np.array([0.0, 1.0, 3.0]), np.array([-1.0, 0.0, 2.0, 5.0])
    values = 2 + 3 * x - y[:, np.newaxis] + 0.5 * x * y[:, np.newaxis]
    places = np.random.default_rng(0).uniform([0, -1], [3, 5], (50, 2))
    exact = 2 + 3 * places[:, 0] - places[:, 1] + 0.5 * places[:, 0] * places[:, 1]
    np.testing.assert_allclose(sampled(x, y, values, places), exact, rtol=1e-13, atol=1e-13)
    assert np.isnan(sampled(x, y, values, np.array([[3.1, 0.0], [1.0, -1.1]]))).all()
    np.testing.assert_array_equal(sampled(x, y, values, np.array([[3.0, 5.0]])), values[-1:, -1])


def test_no_barrier_no_need():
    assert barrier_range(AXIS, AXIS, X, np.stack([A, B])) == []
    assert valley_range(AXIS, AXIS, -(RADIUS**2), (0.0, 0.0)) == []
    assert valley_range(AXIS, AXIS, X**2 - 0.01 * Y**2, (0.0, 0.0)) == []
    gaps = np.where(RADIUS < 0.1, np.nan, RADIUS)
    assert barrier_range(AXIS, AXIS, gaps, np.stack([A, B])) == []
    assert valley_range(AXIS, AXIS, gaps, (0.0, 0.0)) == []
