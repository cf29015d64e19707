"""A loss that is another one at every call is told from a module that is, and what to do then works."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from landscape.errors import BadInput
from landscape.objective.objective import Objective

POINTS = torch.tensor([[0.3, -1.0], [1.2, 0.4], [-0.7, 0.9], [0.1, 1.5], [0.8, 0.8]])
LABELS = torch.tensor([0, 1, 2, 1, 0])


@pytest.fixture
def fitted():
    torch.manual_seed(0)
    module = nn.Linear(2, 3)
    return lambda loss: Objective(module, loss, (POINTS, LABELS))


def one_column(outputs, targets):
    """Of three draws two are the same by chance, which two calls alone would not tell."""
    return outputs[:, int(torch.randint(3, ()))].square().mean()


def noisy(outputs, targets):
    return cross_entropy(outputs + torch.randn_like(outputs), targets)


def by_numpy(outputs, targets):
    return np.random.random() * cross_entropy(outputs, targets)


def by_python(outputs, targets):
    return random.random() * cross_entropy(outputs, targets)


@pytest.mark.parametrize("loss", [one_column, noisy, by_numpy, by_python])
def test_a_loss_that_draws_is_refused_as_one_that_draws(fitted, loss):
    state = torch.get_rng_state()
    with pytest.raises(BadInput, match=f"the loss {loss.__name__} draws at random: .*, then .* same outputs"):
        fitted(loss)
    assert torch.equal(state, torch.get_rng_state())


def test_a_draw_from_a_generator_of_its_own_is_a_function(fitted):
    def loss(outputs, targets):
        noise = torch.randn(3, generator=torch.Generator().manual_seed(0))
        return cross_entropy(outputs + noise.to(outputs), targets)

    objective = fitted(loss)
    outputs = objective.module(POINTS).detach()
    assert objective.value(objective.theta) == pytest.approx(float(loss(outputs, LABELS)), rel=1e-6)


class Annealed(nn.Module):
    """Its weight grows from call to call while it trains."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, outputs, targets):
        self.calls += self.training
        return cross_entropy(outputs, targets) * (1 + 0.1 * self.calls)


def test_a_loss_that_counts_is_refused_and_the_remedy_works(fitted):
    with pytest.raises(BadInput, match=r"the loss Annealed is not the same function.* call eval\(\) on it"):
        fitted(Annealed())
    objective = fitted(Annealed().eval())
    wanted = float(cross_entropy(objective.module(POINTS).detach(), LABELS))
    assert objective.value(objective.theta) == pytest.approx(wanted, rel=1e-6)


def test_a_function_that_counts_has_no_mode(fitted):
    calls = []

    def loss(outputs, targets):
        calls.append(1)
        return cross_entropy(outputs, targets) * len(calls)

    with pytest.raises(BadInput, match=r"not the same function at every call.* leave it out\."):
        fitted(loss)
