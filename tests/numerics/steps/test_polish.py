"""Polishing: to the minimum of functions whose minima are known, out of saddles, and why not at a kink."""

import pytest
import torch
from torch import Tensor

from landscape.numerics.distinct import num_distinct_rows, num_distinct_values
from landscape.numerics.steps.polish import polished


def with_derivatives(function):
    def value_and_gradient(theta: Tensor):
        leaf = theta.clone().requires_grad_()
        value = function(leaf)
        return value.item(), torch.autograd.grad(value, leaf)[0]

    return value_and_gradient, lambda theta: torch.autograd.functional.hessian(function, theta)


def rosenbrock(theta: Tensor) -> Tensor:
    return (100 * (theta[1:] - theta[:-1] ** 2) ** 2 + (1 - theta[:-1]) ** 2).sum()


@pytest.mark.parametrize("quasi_newton_steps", [1, 500])
def test_the_valley_of_rosenbrock(quasi_newton_steps):
    theta = torch.tensor([-1.2, 1.0, 0.5], dtype=torch.float64)
    found = polished(*with_derivatives(rosenbrock), theta, quasi_newton_steps=quasi_newton_steps)
    assert found.reason == ""
    assert found.gradient_norm <= 1e-9
    torch.testing.assert_close(found.theta, torch.ones(3, dtype=torch.float64), rtol=1e-8, atol=0)


def test_newton_leaves_a_saddle_whose_gradient_does_not_see_the_way_down():
    # Minima at (0, ±1); from (1, 0) on the ridge, ∇F has no component along the second axis.
    def function(theta: Tensor) -> Tensor:
        return theta[0] ** 2 + theta[1] ** 4 / 4 - theta[1] ** 2 / 2

    theta = torch.tensor([1.0, 0.0], dtype=torch.float64)
    found = polished(*with_derivatives(function), theta, quasi_newton_steps=0)
    assert found.reason == ""
    assert found.value == pytest.approx(-0.25, abs=1e-12)


def test_a_kink_is_named():
    def function(theta: Tensor) -> Tensor:
        return (theta[0] - 1).abs() + 0.3 * (theta[0] - 1) + theta[1] ** 2

    theta = torch.tensor([0.2, 0.5], dtype=torch.float64)
    found = polished(*with_derivatives(function), theta)
    assert "kink" in found.reason
    assert found.gradient_norm > 0.1
    assert float(found.theta[0]) == pytest.approx(1.0, abs=1e-3)


def test_a_flat_direction_stays_where_it_was():
    # F = (ab − 1)²: its minima are a hyperbola, its Hessian there is singular.
    theta = torch.tensor([2.0, 0.7], dtype=torch.float64)
    found = polished(*with_derivatives(lambda t: (t[0] * t[1] - 1) ** 2), theta)
    assert found.reason == ""
    assert float(found.theta.prod()) == pytest.approx(1, abs=1e-9)


def test_without_a_hessian_it_says_what_was_left_out():
    theta = torch.tensor([-1.2, 1.0, 0.5], dtype=torch.float64)
    found = polished(with_derivatives(rosenbrock)[0], None, theta, quasi_newton_steps=3)
    assert "too large for Newton" in found.reason


def test_it_never_rises():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        theta = torch.randn(4, generator=generator, dtype=torch.float64)
        value_and_gradient, hessian = with_derivatives(lambda t: (torch.sin(3 * t) + 0.1 * t**2).sum())
        found = polished(value_and_gradient, hessian, theta)
        assert found.value <= value_and_gradient(theta)[0] + 1e-14
        assert found.gradient_norm <= 1e-9


def test_distinct_values_and_rows_are_counted_to_their_tolerance():
    values = torch.tensor([0.1, 0.1 + 1e-7, 0.2, 0.3, 0.3 + 1e-5], dtype=torch.float64).numpy()
    assert num_distinct_values(values, 1e-6) == 4
    assert num_distinct_values(values[:0], 1e-6) == 0
    rows = torch.tensor([[0.0, 1.0], [0.4, 1.0], [0.8, 1.0], [5.0, 0.0]]).numpy()
    # The second stands between the first and the third.
    assert num_distinct_rows(rows, 0.5) == 2
    assert num_distinct_rows(rows[[0, 2, 3]], 0.5) == 3
    assert num_distinct_rows(rows[:0], 0.5) == 0


@pytest.mark.parametrize("seed", range(5))
def test_no_step_is_taken_uphill(seed):
    """Where the model of second order is wrong over a tenth of the trust region; each point has its Hessian taken."""

    def function(theta: Tensor) -> Tensor:
        return 0.5 * theta.square().sum() + 0.2 * torch.sin(40 * theta).sum()

    value_and_gradient, hessian = with_derivatives(function)
    visited = []

    def seen(theta: Tensor) -> Tensor:
        visited.append(function(theta).item())
        return hessian(theta)

    theta = 2 * torch.randn(4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = polished(value_and_gradient, seen, theta, quasi_newton_steps=0)
    assert len(visited) > 3
    assert (torch.tensor([*visited, found.value]).diff() <= 1e-12).all()
