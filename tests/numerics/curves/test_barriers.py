"""Barriers, bumps and grids: worked examples, and properties that hold for every path."""

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from landscape.numerics.curves.barriers import (
    barrier_errors,
    barriers,
    bumps,
    finer,
    mean_error,
    mean_weights,
    spanning_tree,
    unseen_rises,
)
from landscape.numerics.curves.grids import grid, grid_around, symmetric_grid

losses = st.lists(st.floats(-100, 100), min_size=2, max_size=20).map(np.array)


def positions(loss):
    return np.linspace(0, 1, len(loss))


def test_a_parabola_has_its_height():
    t = np.linspace(0, 1, 101)
    found = barriers(t, 4 * t * (1 - t) + 2 * t)
    assert found.chord == pytest.approx(1.0)
    assert found.at_chord == 0.5
    assert found.ends == pytest.approx(4 * 0.75 * 0.25 + 1.5 - 2)
    assert found.at_ends == pytest.approx(0.75)


def test_points_beyond_the_ends_do_not_count():
    found = barriers(np.array([-1.0, 0.0, 0.5, 1.0, 2.0]), np.array([99.0, 1.0, 2.0, 3.0, 99.0]))
    assert found.chord == 0
    assert found.ends == 0


@given(losses, st.floats(-10, 10), st.floats(-10, 10))
def test_the_chord_barrier_ignores_straight_lines_and_both_are_never_negative(loss, slope, shift):
    t = positions(loss)
    found, tilted = barriers(t, loss), barriers(t, loss + slope * t + shift)
    assert found.chord == pytest.approx(tilted.chord, abs=1e-10)
    assert found.chord >= -1e-13
    assert found.ends >= 0
    # The worse end lies nowhere below the chord.
    assert found.ends <= found.chord + 1e-10
    mirrored = barriers(t, loss[::-1])
    assert mirrored.chord == pytest.approx(found.chord, abs=1e-10)
    assert mirrored.ends == found.ends


def test_what_is_not_known_has_no_barrier():
    t = np.array([0, 0.5, 1])
    assert np.isnan(barriers(t, np.array([0, np.nan, 1]))).all()
    assert np.isnan(barriers(t, np.array([np.inf, 0, 1]))).all()
    assert barriers(t, np.array([0, np.inf, 1])).chord == np.inf
    assert barriers(t, np.array([0, np.inf, 1])).at_chord == 0.5


def test_a_barrier_needs_both_ends():
    with pytest.raises(ValueError, match="both ends"):
        barriers(np.array([0.0, 0.5]), np.array([1.0, 2.0]))


def test_bumps_by_hand():
    t = np.linspace(0, 1, 9)
    found = bumps(t, np.array([5.0, 3.0, 4.0, 4.5, 2.0, 1.0, 1.5, 0.5, 0.0]))
    np.testing.assert_array_equal(found.at, [3 / 8, 6 / 8])
    np.testing.assert_array_equal(found.heights, [1.5, 0.5])


def test_bumps_are_seen_from_the_worse_end():
    t = np.linspace(0, 1, 5)
    np.testing.assert_array_equal(bumps(t, np.array([0.0, 1.0, 0.5, 2.0, 4.0])).at, [0.25])


def test_small_rises_in_a_row_are_one_rise():
    """Rounding noise must neither make a bump nor hide one."""
    t = np.linspace(0, 1, 7)
    stairs = np.array([9.0, 0.0, 0.9, 0.8, 1.7, 1.6, 2.5])
    found = bumps(t, stairs, floor=1.0)
    np.testing.assert_array_equal(found.heights, [2.5])
    assert len(bumps(t, np.array([9.0, 5.0, 5.9, 5.0, 5.9, 5.0, 0.0]), floor=1.0).heights) == 0


@given(losses)
def test_a_path_is_monotone_exactly_when_its_losses_are_sorted(loss):
    walked = loss[::-1] if loss[-1] > loss[0] else loss
    assert (len(bumps(positions(loss), loss).heights) == 0) == bool((np.diff(walked) <= 0).all())


@given(losses)
def test_rises_and_falls_add_up(loss):
    """From the worse end to the better, the rises are the bumps (and a rise at the very end)."""
    walked = loss[::-1] if loss[-1] > loss[0] else loss
    rises = np.diff(walked)[np.diff(walked) > 0].sum()
    assert bumps(positions(loss), loss).heights.sum() == pytest.approx(rises, abs=1e-10)


def test_a_path_with_nan_is_not_called_monotone():
    found = bumps(np.linspace(0, 1, 4), np.array([3.0, np.nan, 1.0, 0.0]))
    assert found.at.tolist() == [1 / 3]
    assert np.isnan(found.heights).all()
    assert bumps(np.linspace(0, 1, 4), np.array([np.inf, 2.0, 1.0, 0.0])).heights.size == 0
    assert bumps(np.linspace(0, 1, 4), np.array([3.0, np.inf, 1.0, 0.0])).heights[0] == np.inf


@given(st.floats(-10, 0), st.floats(1, 10), st.integers(2, 200))
@example(-5, 6, 3)  # one cell holds both 0 and 1
@example(-10, 1, 3)
@example(-0.25, 1.25, 51)
def test_a_grid_holds_both_ends_exactly(low, high, num_points):
    values = grid(low, high, num_points)
    assert len(values) == num_points
    assert (values == 0).sum() == 1
    assert (values == 1).sum() == 1
    assert (np.diff(values) > 0).all()
    assert low <= values[0]
    assert values[-1] <= high


def test_a_grid_of_equal_steps_is_left_alone():
    np.testing.assert_allclose(np.diff(grid(-0.25, 1.25, 61)), 1.5 / 60, rtol=1e-12)
    assert grid(2.0, 3.0, 3).tolist() == [2.0, 2.5, 3.0]


@given(st.floats(1e-6, 1e6), st.integers(1, 200))
@example(0.1, 3)
def test_a_symmetric_grid_is_one(span, half):
    values = symmetric_grid(span, 2 * half + 1)
    assert len(values) == 2 * half + 1
    assert values[half] == 0
    assert values[-1] == span
    np.testing.assert_array_equal(values, -values[::-1])
    assert (np.diff(values) > 0).all()


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=5).map(np.array), st.integers(3, 80))
def test_a_grid_around_covers_its_values_and_zero(values, num_points):
    assume(np.ptp([0, *values]) == 0 or np.ptp([0, *values]) > 1e-6)
    found = grid_around(values, num_points)
    assert len(found) == num_points
    assert (found == 0).sum() == 1
    assert found[0] <= values.min()
    assert found[-1] >= values.max()
    np.testing.assert_allclose(np.diff(found), found[1] - found[0], rtol=1e-9)


def test_every_definition_on_a_tilted_tent():
    found = barriers(np.array([0.0, 0.25, 0.5, 1.0]), np.array([1.0, 5.0, 6.0, 4.0]))
    assert found == (3.5, 2.0, 0.5, 0.5, 3.5, 6.0)  # over chord 3.25 and 3.5, over 4, over 2.5
    found = barriers(np.array([0.0, 0.25, 1.0]), np.array([0.0, 4.0, 4.0]))
    assert found == (3.0, 0.0, 0.25, 0.25, 2.0, 4.0)


def test_finer_gaps_beside_an_end_and_a_corner():
    t = np.array([0, 0.2, 0.6, 1.0])
    assert finer(t, 0.0).tolist() == [0.1]
    assert finer(t, 0.6).tolist() == pytest.approx([0.4, 0.8])
    assert finer(t, 1.0).tolist() == [0.8]


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=12), st.floats(-1, 2), st.floats(0.1, 50))
def test_what_is_unseen_of_a_concave_loss_is_bounded_between_three_places_and_more(steps, middle, bend):
    t = np.concatenate([[0], np.cumsum(steps)]) / np.sum(steps)
    values = -bend * (t - middle) ** 2
    highest = -bend * (min(max(middle, 0), 1) - middle) ** 2
    assert values.max() + unseen_rises(t, values).max() >= highest - 1e-9


def test_nothing_is_unseen_of_straight_pieces_that_meet_at_places_or_where_values_fall_from_both_ends():
    assert unseen_rises(np.array([0, 0.5, 1]), np.array([2.0, 0, 2])).tolist() == [0, 0]
    assert unseen_rises(np.array([0, 0.25, 0.5, 1]), np.array([0.0, 1, 2, 4])).tolist() == [-3, -2, 0]


@given(st.integers(0, 1000), st.integers(2, 9))
def test_mean_weights_are_the_trapezoidal_rule(seed, count):
    generator = np.random.default_rng(seed)
    t = np.concatenate([[0], np.sort(generator.random(count)), [1]])
    loss, lengths = generator.normal(size=len(t)), generator.random(len(t) - 1) + 0.1
    assert mean_weights(t) @ loss == pytest.approx(np.trapezoid(loss, t), abs=1e-12)
    along = np.concatenate([[0], np.cumsum(lengths)])
    assert mean_weights(t, lengths) @ loss == pytest.approx(np.trapezoid(loss, along) / along[-1], abs=1e-12)


def bumpy(seed: int, size: int = 200):
    """Losses (T, n) of samples with heights 1 + ε: the barrier of the mean is the mean of the heights."""
    t = np.linspace(0, 1, 9)
    heights = 1 + 0.5 * np.random.default_rng(seed).normal(size=size)
    return t, np.outer(4 * t * (1 - t), heights) + 0.3 * np.outer(1 - t, np.ones(size)), heights


def test_bootstrap_errors_are_the_analytic_ones():
    t, losses, heights = bumpy(0)
    exact = heights.std(ddof=1) / np.sqrt(len(heights))
    found = barrier_errors(t, losses, seed=1, num_resamples=4000)
    assert found.chord == pytest.approx(exact, rel=0.05)
    assert found.mean == pytest.approx(exact, rel=0.05)
    assert found.at_chord == 0
    assert mean_error(mean_weights(t), losses) == pytest.approx(
        exact * np.trapezoid(4 * t * (1 - t), t), rel=1e-12
    )


def test_what_all_points_share_is_no_error_of_the_barrier():
    t, losses, _ = bumpy(0)
    shared = 100 * np.random.default_rng(5).normal(size=losses.shape[1])
    with_offset, without = (barrier_errors(t, one, seed=1) for one in (losses + shared, losses))
    assert with_offset.chord == pytest.approx(without.chord, rel=1e-9)
    assert with_offset.top > 10 * without.top


def test_bootstrap_intervals_cover_the_truth():
    """Barrier 1 within 1.96 errors in about 95 of 100 data sets: 300 of them, three standard deviations."""
    hits = 0
    for seed in range(300):
        t, losses, _ = bumpy(seed)
        estimate = barriers(t, losses.mean(1)).chord
        hits += abs(estimate - 1) < 1.96 * barrier_errors(t, losses, seed=seed, num_resamples=200).chord
    assert 0.91 < hits / 300 < 0.99


def test_errors_of_what_is_not_known():
    t, losses, _ = bumpy(0)
    assert np.isnan(barrier_errors(t, losses[:, :1], seed=0)).all()
    losses[3, 4] = np.inf
    assert np.isnan(barrier_errors(t, losses, seed=0)).all()


@given(st.integers(0, 10**6), st.integers(2, 7))
def test_the_spanning_tree_is_that_of_kruskal(seed, count):
    """Edges from the lowest, each that closes no ring; also where barriers are zero, negative or equal."""
    generator = np.random.default_rng(seed)
    matrix = np.triu(generator.integers(-2, 4, size=(count, count)), 1).astype(float)
    matrix += matrix.T
    group = list(range(count))
    heights = []
    pairs = sorted((matrix[i, j], i, j) for i in range(count) for j in range(i + 1, count))
    for height, i, j in pairs:
        if group[i] != group[j]:
            heights.append(height)
            group = [group[i] if one == group[j] else one for one in group]
    edges = spanning_tree(matrix)
    assert len(edges) == count - 1
    assert [matrix[i, j] for i, j in edges] == heights


@given(st.floats(-1e6, 1e6), st.integers(2, 30))
def test_a_level_path_has_a_barrier_of_exactly_zero(height, count):
    found = barriers(np.linspace(0, 1, count), np.full(count, height))
    assert (found.chord, found.ends, found.mean, found.top) == (0, 0, 0, height)
