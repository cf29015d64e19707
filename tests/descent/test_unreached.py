"""Experts that no sample of a batch reaches move by momentum here, where torch.optim skips them: that is said."""

import copy

import pytest
import torch
from routed import Experts, routed
from torch import nn
from torch.nn.functional import cross_entropy

import landscape
from landscape import Objective


@pytest.mark.parametrize("remembers", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_what_moves_without_a_gradient_is_said_where_it_moves(momentum, remembers):
    # The very first batch misses one layer, and the next pass does so again.
    (x, y), module = routed(), Experts(remembers)
    start, states = copy.deepcopy(module), {}
    for skips in (True, False):
        twin = copy.deepcopy(start)
        stepper = torch.optim.SGD(twin.parameters(), lr=0.3, momentum=momentum)
        for at in range(0, 80, 10):
            stepper.zero_grad(set_to_none=skips)
            cross_entropy(twin(x[at % 40 : at % 40 + 10]), y[at % 40 : at % 40 + 10]).backward()
            stepper.step()
        states[skips] = torch.cat([one.detach().flatten() for one in twin.parameters()])
    problem = Objective(module, "cross_entropy", (x, y))
    run = landscape.train(
        problem, epochs=2, lr=0.3, momentum=momentum, method="minibatch", batch_size=10, sampling="ordered"
    )
    found = torch.cat(
        [torch.from_numpy(run.states["final"][name]).flatten() for name, _ in module.named_parameters()]
    )
    said = [note for note in run.notes if "some batches do not reach layers.0.weight" in note]
    assert bool(said) == bool(momentum)
    assert bool((found - states[True]).norm() > 1e-3) == bool(momentum)
    assert run.status == "complete"


def test_the_very_first_batch_counts():
    run = landscape.train(
        Objective(Experts(), "cross_entropy", routed()),
        epochs=1,
        momentum=0.9,
        batch_size=10,
        sampling="ordered",
    )
    assert any("do not reach layers.0.weight" in note for note in run.notes)


def test_a_net_that_every_batch_reaches_is_not_named():
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    run = landscape.train(
        Objective(module, "cross_entropy", (x, torch.arange(20) % 2)), epochs=2, momentum=0.9, batch_size=5
    )
    assert not [note for note in run.notes if "do not reach" in note]
