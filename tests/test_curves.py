"""Bézier curves: de Casteljau's construction, exact ends, and the gradient by autograd."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from landscape.numerics.curves import bernstein, bezier_points, control_gradients

unit = st.floats(0, 1)


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


@given(st.lists(unit, min_size=1, max_size=5), st.integers(1, 5))
def test_points_are_those_of_de_casteljau(positions, degree):
    control = torch.randn(degree + 1, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = bezier_points(torch.tensor(positions, dtype=torch.float64), control)
    for t, point in zip(positions, found, strict=True):
        np.testing.assert_allclose(point, de_casteljau(t, control.numpy()), atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ends_are_bit_for_bit(dtype):
    control = torch.randn(4, 1000, generator=torch.Generator().manual_seed(1)).to(dtype) * 1e3
    found = bezier_points(torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64), control)
    assert found.dtype == dtype
    assert torch.equal(found[0], control[0])
    assert torch.equal(found[2], control[-1])


@given(unit, st.integers(2, 5))
def test_control_gradients_are_those_of_autograd(t, degree):
    """∂F(θ(t))/∂wᵢ for F(θ) = Σ sin θ, through the curve."""
    control = torch.randn(degree + 1, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    free = control.clone().requires_grad_()
    theta = bernstein(t, degree) @ free
    theta.sin().sum().backward()
    found = control_gradients(t, theta.detach().cos(), degree)
    torch.testing.assert_close(found, free.grad[1:-1], rtol=1e-13, atol=1e-15)
