"""Slices whose directions keep to some layers: by name, at rest elsewhere, F by the module itself."""

import numpy as np
import pytest
import torch
from plain import another, named, plain_loss

from landscape import slice1d, slice2d
from landscape.errors import BadInput
from landscape.paths import directions

# The last layer of the classifier, 4.weight and 4.bias, as a part of θ.
LAST = slice(42, 63)


def outside(result) -> np.ndarray:
    return np.delete(result.directions, np.arange(LAST.start, LAST.stop), axis=1)


@pytest.mark.parametrize("block", ["4", "4.*", "[4]"])
def test_the_rest_stays_and_losses_are_a_plain_loop(classifier, block):
    whole = slice2d(classifier, classifier.theta, num_points=3, seed=3)
    result = slice2d(classifier, classifier.theta, num_points=3, seed=3, block=block)
    assert not outside(result).any()
    assert result.directions[:, LAST].any()
    # The same draw as of the whole θ.
    np.testing.assert_array_equal(result.directions[:, LAST], whole.directions[:, LAST])
    for row, beta in enumerate(result.beta):
        for column, alpha in enumerate(result.alpha):
            theta = classifier.theta.numpy() + alpha * result.directions[0] + beta * result.directions[1]
            wanted = plain_loss(classifier, torch.from_numpy(theta))
            assert result.loss[row, column] == pytest.approx(wanted, rel=1e-12)
    assert result.block == block
    assert {"block", "direction norms"} <= {name for name, one in named(result).items() if one.passed}
    assert result.status == "complete"


def test_biases_of_a_layer_are_a_block_of_their_own(classifier):
    result = slice1d(classifier, classifier.theta, num_points=3, ignore=(), block="4.bias")
    assert np.flatnonzero(result.directions[0]).tolist() == [60, 61, 62]
    with pytest.raises(BadInput, match="every parameter is ignored"):
        slice1d(classifier, classifier.theta, num_points=3, block="4.bias")


def test_an_eigenvector_is_that_of_the_diagonal_block(classifier):
    result = slice2d(classifier, classifier.theta, directions="eigen", num_points=3, block="4")
    product = classifier.hessian_operator(classifier.theta)
    dense = torch.stack([product(row) for row in torch.eye(63, dtype=torch.float64)]).numpy()[LAST, LAST]
    values, vectors = np.linalg.eigh(dense)
    np.testing.assert_allclose(result.direction_curvature, values[[-1, -2]], rtol=1e-9)
    np.testing.assert_allclose(np.abs(result.directions[0, LAST] @ vectors[:, -1]), 1, rtol=1e-8)
    assert not outside(result).any()
    assert result.status == "complete"


def test_principal_components_are_those_of_the_block(classifier):
    points = [another(classifier, seed) for seed in range(5)]
    options = {"directions": "pca", "trajectory": points, "show_trajectory": True, "block": "4"}
    result = slice2d(classifier, points[0], num_points=3, **options)
    moved = np.stack([(one.theta - points[0].theta).numpy() for one in points])
    _, sizes, rows = np.linalg.svd(moved[:, LAST], full_matrices=False)
    np.testing.assert_allclose(np.abs(result.directions[:, LAST] @ rows[:2].T), np.eye(2), atol=1e-10)
    np.testing.assert_allclose(result.explained_variance, (sizes**2 / (sizes**2).sum())[:2], rtol=1e-10)
    seen = np.stack([result.trajectory_alpha, result.trajectory_beta], axis=1)
    rest = np.linalg.norm(moved - seen @ result.directions, axis=1)
    # What other layers moved is off the plane.
    np.testing.assert_allclose(result.trajectory_residual, rest, rtol=1e-10)
    assert (rest[1:] > np.linalg.norm(np.delete(moved, np.arange(42, 63), axis=1), axis=1)[1:] * 0.999).all()
    assert result.status == "complete"


def test_what_no_block_can_be_of_is_said(classifier):
    with pytest.raises(
        BadInput, match=r"no parameter matches 'layers.9'; expected a pattern for some of 0.weight"
    ):
        slice1d(classifier, classifier.theta, block="layers.9")
    points = [another(classifier, seed) for seed in range(3)]
    with pytest.raises(BadInput, match="the block '4' of the plane through three points"):
        slice2d(classifier, points, num_points=3, block="4")


def test_a_direction_that_leaves_its_block_fails_its_check(classifier, monkeypatch):
    monkeypatch.setattr(directions, "pieces_of", lambda objective, block: objective.pieces)
    result = slice1d(classifier, classifier.theta, num_points=3, block="4")
    assert not named(result)["block"].passed
    assert result.status == "failed-checks"
