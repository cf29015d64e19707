"""Searches for critical points as one computation against a plain loop of the same steps over the starts."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from test_speed import ratio
from torch import Tensor
from torch.autograd.functional import hessian, jacobian

from landscape import Objective
from landscape.inputs.models.linear import linear
from landscape.inputs.models.spin import spin
from landscape.numerics.steps.newton import searched
from landscape.objective.stacked import Derivatives

NUM_STARTS, NUM_STEPS = 40, 15


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def spins() -> tuple[Objective, Callable[[Tensor], Tensor]]:
    module = spin(20)
    nothing = torch.zeros(1, 1, dtype=torch.float64)

    def loss(w):
        return (w @ w) ** 2 / 4 - w @ (module.matrix @ w) / 2

    return Objective(module, "output", (nothing, nothing)), loss


def layers() -> tuple[Objective, Callable[[Tensor], Tensor]]:
    x, y = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)

    def loss(w):
        return ((x @ w[:6].reshape(2, 3).T @ w[6:].reshape(3, 2).T - y) ** 2).mean()

    return Objective(linear((3,), 3, (2,)).double(), "mse", (x, y)), loss


@pytest.mark.parametrize("problem", [spins, layers])
def test_a_stack_costs_a_fraction_of_the_loop(problem):
    objective, loss = problem()
    slope, bend = partial(jacobian, loss), partial(hessian, loss)
    starts = torch.randn(NUM_STARTS, objective.num_parameters, dtype=torch.float64)
    derivatives = Derivatives(objective)

    def loop():
        for start in starts:
            theta, g, matrix = start, slope(start), bend(start)
            values, vectors = torch.linalg.eigh(matrix)
            damping = 1e-3 * float(values.abs().max()) ** 2
            for _ in range(NUM_STEPS):
                trial = theta - vectors @ (values / (values**2 + damping) * (vectors.T @ g))
                new, matrix = slope(trial), bend(trial)
                if float(new.norm()) < float(g.norm()):
                    theta, g, damping = trial, new, damping / 8
                    values, vectors = torch.linalg.eigh(matrix)
                else:
                    damping *= 4

    share = ratio(lambda: searched(derivatives.local, starts, num_steps=NUM_STEPS), loop, rounds=3)
    assert share <= 1 / 4
