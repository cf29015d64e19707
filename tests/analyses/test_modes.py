"""Many modes: every pair as `connect` alone finds it, and a tree that joins them over the lowest passes."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from plain import another, named

from landscape.analyses import connect, modes
from landscape.errors import BadInput
from landscape.runs.journal import Journal

SHORT = {"epochs": 3, "batch_size": 8, "lr": 0.02, "num_points": 9}


def test_every_pair_is_what_connect_says(classifier):
    points = [another(classifier, seed) for seed in (1, 2, 3)]
    result = modes(classifier, points, seed=2, **SHORT)
    for i, j in combinations(range(3), 2):
        alone = connect(classifier, points[i], points[j], seed=2, **SHORT)
        for matrix, value in (
            (result.barrier_straight, alone.barrier_chord_straight),
            (result.barrier_curved, alone.barrier_chord),
            (result.barrier_straight_error, alone.barrier_chord_straight_error),
            (result.barrier_curved_error, alone.barrier_chord_error),
        ):
            assert matrix[i, j] == matrix[j, i] == value
        assert result.mode_loss[i] == alone.loss[0]
        distance = float((points[i].theta - points[j].theta).norm())
        assert result.distance[i, j] == pytest.approx(distance, rel=1e-12)
    assert (np.diag(result.barrier_curved) == 0).all()
    assert result.status == "complete"
    assert set(named(result)) >= {"point 0", "point 2", "not finite", "module untouched"}
    assert result.mode.tolist() == ["seed 1", "seed 2", "seed 3"]


def test_aligned_pairs_are_what_connect_says_of_them(classifier):
    points = [another(classifier, seed) for seed in (1, 2, 3)]
    result = modes(classifier, points, seed=2, align=True, **SHORT)
    plain = modes(classifier, points, seed=2, **SHORT)
    np.testing.assert_array_equal(result.barrier_straight, plain.barrier_straight)
    assert result.barrier_aligned is not None
    for i, j in combinations(range(3), 2):
        alone = connect(classifier, points[i], points[j], seed=2, align=True, **SHORT)
        assert result.barrier_aligned[i, j] == result.barrier_aligned[j, i] == alone.barrier_chord_straight
        assert result.barrier_curved[i, j] == alone.barrier_chord
    assert named(result)["function preserved"].passed


def test_the_tree_takes_the_lowest_passes(classifier):
    points = [another(classifier, seed) for seed in (1, 2, 3)]
    result = modes(classifier, points, **SHORT)
    three = sorted(result.barrier_curved[np.triu_indices(3, 1)])
    assert result.tree_barrier.tolist() == three[:2]
    assert result.largest_barrier == three[1]
    edges = zip(result.tree_from, result.tree_to, result.tree_barrier, strict=True)
    assert all(result.barrier_curved[i, j] == height for i, j, height in edges)


def test_resumed_in_any_pair_it_ends_bit_for_bit(classifier, tmp_path: Path):
    points = [another(classifier, seed) for seed in (1, 2, 3)]
    whole = modes(classifier, points, **SHORT)
    kills = 0
    again = None
    while again is None:
        # Later each time, so that every attempt gets further.
        left = iter(range(5 * (kills + 1)))

        def progress(done: int, total: int, what: str, left=left) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt

        journal = Journal(tmp_path / "x.part", {})
        try:
            again = modes(classifier, points, journal=journal, progress=progress, **SHORT)
        except KeyboardInterrupt:
            kills += 1
            journal.close()
    assert kills > 2
    for one, other in zip(again.arrays(), whole.arrays(), strict=True):
        np.testing.assert_array_equal(one.values, other.values, err_msg=one.name)


def test_notes_say_which_pairs_they_are_of(regression):
    point = regression.theta
    result = modes(regression, [point, point, point + 1], epochs=1, num_points=3)
    assert any("the same" in note and note.endswith("(0–1)") for note in result.notes)
    assert result.barrier_curved[0, 1] == 0


def test_two_points_are_for_connect(regression):
    with pytest.raises(BadInput, match="2 points; expected at least three"):
        modes(regression, [regression.theta, torch.zeros(15)])
