"""Down past kinks: to minima that are known of functions whose gradient jumps there, and no further than they go."""

import numpy as np
import pytest
import torch
from torch import Tensor

from landscape.numerics.steps.kinks import RADIUS, Place, around, down, shortest_of
from landscape.numerics.steps.polish import KINK, OPEN, polished


def with_derivatives(function):
    def value_and_gradient(theta: Tensor):
        leaf = theta.clone().requires_grad_()
        value = function(leaf)
        return value.item(), torch.autograd.grad(value, leaf)[0]

    return value_and_gradient, lambda theta: torch.autograd.functional.hessian(function, theta)


def valley(theta: Tensor) -> Tensor:
    """Along the kink θ₀ = θ₁² it falls on to (1, 1), where it is 0: Newton's steps are stopped on its walls."""
    return 10 * (theta[0] - theta[1] ** 2).abs() + (1 - theta[1]) ** 2


def corner(theta: Tensor) -> Tensor:
    """Least at 3 in every entry, where all entries jump: 0."""
    scale = torch.linspace(1, 5, len(theta), dtype=theta.dtype)
    return (scale * (theta - 3).abs()).sum() + 0.1 * (theta - 3).square().sum()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("function", "d", "end"), [(valley, 2, 1.0), (corner, 6, 3.0)])
def test_it_goes_down_to_the_minimum_along_its_kinks(function, d, end, seed):
    value_and_gradient, hessian = with_derivatives(function)
    theta = 4 * torch.randn(d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = polished(value_and_gradient, hessian, theta)
    # Where an entry meets its kink to the last bit, torch's derivative of it is 0.
    assert found.reason in (KINK, "")
    torch.testing.assert_close(found.theta, torch.full_like(found.theta, end), rtol=0, atol=1e-4)
    assert found.value == pytest.approx(0, abs=1e-4)


def test_where_it_falls_on_nothing_is_proven():
    """Without a lower bound: it ends as its gradients are used up, and is no kink."""
    value_and_gradient, hessian = with_derivatives(lambda t: 10 * (t[0] - t[1].square()).abs() - 0.3 * t[1])
    theta = torch.tensor([0.3, 0.5], dtype=torch.float64)
    assert not down(value_and_gradient, theta, stationary=1e-4, smooth=1e-9, gradients=600)[1]
    assert polished(value_and_gradient, hessian, theta).reason != KINK


def test_a_step_that_shrinks_is_not_yet_a_kink(monkeypatch):
    monkeypatch.setattr("landscape.numerics.steps.polish.GRADIENTS", -1)
    theta = torch.tensor([2.3, 0.5], dtype=torch.float64)
    assert polished(*with_derivatives(valley), theta, quasi_newton_steps=0).reason == OPEN


@pytest.mark.parametrize("seed", range(8))
def test_the_shortest_combination_is_that_of_its_conditions(seed):
    """Of the shortest p every row v has v·p ≥ p·p, and it is one of their combinations (Wolfe 1976, theorem 2.1)."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(5 + seed, 6, generator=generator, dtype=torch.float64) + (seed % 2)
    found = shortest_of(rows)
    square = float(found @ found)
    assert float((rows @ found).min()) >= square - 1e-9
    system = np.vstack([rows.numpy().T, np.ones(len(rows))])
    from scipy.optimize import nnls

    assert nnls(system, np.append(found.numpy(), 1.0))[1] <= 1e-9


def test_gradients_around_a_smooth_place_are_that_of_the_place():
    value_and_gradient = with_derivatives(lambda t: t.square().sum() + t[0])[0]
    theta = torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64)

    def at(theta: Tensor) -> Place:
        return Place(theta, *value_and_gradient(theta))

    found = around(at, at(theta), RADIUS, torch.Generator().manual_seed(0))
    torch.testing.assert_close(found, at(theta).slope, rtol=0, atol=1e-3)


def test_what_is_not_finite_around_is_left_out():
    rows = torch.tensor([[2.0, 0.0], [float("nan"), 1.0], [0.0, float("inf")], [1.0, 0.0]])
    assert shortest_of(rows).tolist() == [1.0, 0.0]
