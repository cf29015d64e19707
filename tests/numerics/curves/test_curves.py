"""Bézier curves and chains: constructions by another road, exact ends and corners, gradients by autograd."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from landscape.numerics.curves.curves import bernstein, bezier, chain, segment_lengths, squared_norms

unit = st.floats(0, 1)
KNOTS = np.array([0, 0.1, 0.45, 0.8, 1.0])


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def de_casteljau(t, points):
    """The point at t by repeated linear interpolation, with no formula for the weights."""
    while len(points) > 1:
        points = (1 - t) * points[:-1] + t * points[1:]
    return points[0]


@given(unit, st.integers(1, 6))
def test_weights_sum_to_one_and_mirror(t, degree):
    weights = bernstein(t, degree)
    assert float(weights.sum()) == pytest.approx(1, rel=1e-14)
    assert (weights >= 0).all()
    np.testing.assert_allclose(bernstein(1 - t, degree).flip(0), weights, atol=1e-15)


@given(st.lists(unit, min_size=1, max_size=5), st.integers(0, 4))
def test_bezier_points_are_those_of_de_casteljau(positions, bends):
    control = drawn(bends + 2, 3)
    found = bezier(bends).points(torch.tensor(positions, dtype=torch.float64), control)
    expected = torch.stack([de_casteljau(t, control) for t in positions])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


@given(st.lists(unit, min_size=1, max_size=5))
def test_a_chain_is_linear_interpolation_by_numpy(positions):
    control = drawn(5, 3)
    found = chain(KNOTS).points(torch.tensor(positions, dtype=torch.float64), control).numpy()
    for column in range(3):
        expected = np.interp(positions, KNOTS, control[:, column].numpy())
        np.testing.assert_allclose(found[:, column], expected, atol=1e-14)


@pytest.mark.parametrize("curve", [bezier(3), chain(KNOTS)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ends_are_bit_for_bit(dtype, curve):
    control = drawn(5, 1000, seed=1).to(dtype) * 1e3
    found = curve.points(torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64), control)
    assert found.dtype == dtype
    assert torch.equal(found[0], control[0])
    assert torch.equal(found[2], control[-1])


def test_a_chain_passes_through_its_control_points_bit_for_bit():
    control = drawn(5, 100).float()
    assert torch.equal(chain(KNOTS).points(torch.from_numpy(KNOTS), control), control)


@pytest.mark.parametrize("curve", [bezier(1), bezier(4), chain(KNOTS)])
def test_a_curve_starts_as_the_chord_run_through_at_even_speed(curve):
    first, last = drawn(2, 6)
    t = torch.linspace(0, 1, 13, dtype=torch.float64)
    torch.testing.assert_close(
        curve.points(t, curve.chord(first, last)), torch.lerp(first, last, t[:, None]), rtol=0, atol=1e-14
    )


@given(unit, st.sampled_from([bezier(1), bezier(4), chain(KNOTS)]))
def test_gradients_to_control_points_are_those_of_autograd(t, curve):
    """∂F(θ(t))/∂cᵢ = wᵢ(t)·∇F(θ(t)) for F(θ) = Σ sin θ, through the curve."""
    at = torch.tensor([t], dtype=torch.float64)
    free = drawn(len(curve.start), 4, seed=2).requires_grad_()
    theta = (curve.weights(at) @ free)[0]
    theta.sin().sum().backward()
    assert free.grad is not None
    found = curve.weights(at)[0, :, None] * theta.detach().cos()
    torch.testing.assert_close(found, free.grad, rtol=1e-13, atol=1e-15)


def test_a_step_at_the_control_points_moves_the_curve_itself_by_no_more_than_a_plain_step():
    """For one bend of a Bézier curve (2t(1 − t))² is at most 1/4; at a corner of a chain the weight is 1."""
    assert bezier(1).mobility == pytest.approx(1 / 4, rel=1e-6)
    assert chain(KNOTS).mobility == 1
    t = np.linspace(0, 1, 100001)
    squares = bezier(3).weights(torch.from_numpy(t))[:, 1:-1].square().sum(1).max()
    assert bezier(3).mobility == pytest.approx(float(squares), rel=1e-5)


@pytest.mark.parametrize("curve", [bezier(2), chain(np.array([0, 0.2, 0.9, 1.0]))])
def test_lengths_and_norms_are_those_of_the_points(curve):
    control, t = drawn(4, 50) + 1e3, np.sort(np.random.default_rng(0).random(20))
    points = curve.points(torch.from_numpy(t), control).numpy()
    np.testing.assert_allclose(squared_norms(curve, t, control), (points**2).sum(1), rtol=1e-12)
    lengths = np.linalg.norm(np.diff(points, axis=0), axis=1)
    np.testing.assert_allclose(segment_lengths(curve, t, control), lengths, rtol=1e-9)


def test_the_length_of_a_parabola():
    """(2t(1 − t)·½ …): the curve (t, 2t(1 − t)) has length ½√5 + ¼ arsinh 2 over t in [0, ½], twice."""
    control = torch.tensor([[0.0, 0.0], [0.5, 1.0], [1.0, 0.0]], dtype=torch.float64)
    t = np.linspace(0, 1, 4001)
    exact = np.sqrt(5) / 2 + np.arcsinh(2) / 4
    assert segment_lengths(bezier(1), t, control).sum() == pytest.approx(exact, rel=1e-7)
