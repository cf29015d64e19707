"""Fifty replicas as one computation against fifty modules in a loop, one thread, float64.

The loop is what everybody would write: for each module forward, backward and a step of torch.optim.SGD.
"""

import copy

import pytest
import torch
from test_speed import ratio
from torch import nn
from torch.nn import functional

from landscape import Objective
from landscape.numerics.replicas import Plan, Replicas
from landscape.stacks import by_hand, by_vmap, perceptron_layers

NUM_REPLICAS, NUM_STEPS = 50, 40


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("road", "promised"), [("any module", 15), ("perceptron", 20)])
def test_fifty_replicas_cost_a_fraction_of_fifty_loops(road, promised):
    x = torch.randn(100, 2, dtype=torch.float64)
    y = (x[:, :1] * x[:, 1:] > 0).double()
    module = nn.Sequential(nn.Linear(2, 10), nn.LeakyReLU(0.1), nn.Linear(10, 1)).double()
    objective = Objective(module, "bce", (x, y))
    thetas = torch.rand(NUM_REPLICAS, objective.num_parameters, dtype=torch.float64) * 2 - 1
    layers = perceptron_layers(objective)
    assert layers is not None
    gradients = by_vmap(objective) if road == "any module" else by_hand(objective, layers)
    plans = [Plan(step_size=0.1, num_steps=10**9)] * NUM_REPLICAS
    replicas = Replicas(gradients, thetas, plans)
    modules = [copy.deepcopy(module) for _ in thetas]
    for one, theta in zip(modules, thetas, strict=True):
        nn.utils.vector_to_parameters(theta.clone(), one.parameters())
    steppers = [torch.optim.SGD(one.parameters(), lr=0.1) for one in modules]

    def loop():
        for _ in range(NUM_STEPS):
            for one, stepper in zip(modules, steppers, strict=True):
                stepper.zero_grad()
                functional.binary_cross_entropy_with_logits(one(x), y).backward()
                stepper.step()

    share = ratio(lambda: replicas.advance(NUM_STEPS), loop, rounds=5)
    ends = torch.stack([nn.utils.parameters_to_vector(one.parameters()).detach() for one in modules])
    torch.testing.assert_close(replicas.thetas, ends, rtol=1e-6, atol=1e-8)
    assert share <= 1 / promised
