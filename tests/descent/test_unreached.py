"""What no sample of a batch reaches, an expert or what is not used at all, stays as torch.optim leaves it."""

import copy

import pytest
import torch
from routed import Experts, routed
from torch import nn
from torch.nn.functional import cross_entropy

import landscape
from landscape import Objective


class Unused(Experts):
    """With a parameter that nothing uses."""

    def __init__(self, remembers: bool):
        super().__init__(remembers)
        self.unused = nn.Parameter(torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize("remembers", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {"momentum": 0.9, "weight_decay": 0.1},
        {"momentum": 0.9, "nesterov": True},
        {"weight_decay": 0.1},
        {"optimizer": "adamw", "weight_decay": 0.1},
        {"optimizer": "adam", "weight_decay": 0.1},
    ],
)
def test_what_a_batch_does_not_reach_stays_with_its_moments(options, remembers):
    # The very first batch misses one layer, and the next pass does so again.
    (x, y), module = routed(), Unused(remembers)
    twin = copy.deepcopy(module)
    given = dict(options)
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    stepper = kind[given.pop("optimizer", "sgd")](twin.parameters(), lr=0.1, **given)
    # Adam's correction of the bias is said to be another one from where the layer is reached.
    num_steps = 1 if "optimizer" in options else 8
    for at in range(0, 10 * num_steps, 10):
        stepper.zero_grad()
        cross_entropy(twin(x[at % 40 : at % 40 + 10]), y[at % 40 : at % 40 + 10]).backward()
        stepper.step()
    run = landscape.train(
        Objective(module, "cross_entropy", (x, y)),
        steps=num_steps,
        lr=0.1,
        batch_size=10,
        sampling="ordered",
        **options,
    )
    for name, one in twin.named_parameters():
        torch.testing.assert_close(
            torch.from_numpy(run.states["final"][name]), one.detach(), rtol=1e-12, atol=0
        )
    assert run.status == "complete"


def test_the_very_first_batch_counts_where_adam_counts_otherwise():
    problem = Objective(Experts(), "cross_entropy", routed())
    how = {"epochs": 1, "batch_size": 10, "sampling": "ordered"}
    said = {
        optimizer: [
            note
            for note in landscape.train(problem, optimizer=optimizer, **how).notes
            if "do not reach layers.0.weight" in note and "correction of the bias counts every step" in note
        ]
        for optimizer in ("sgd", "adam")
    }
    assert (len(said["sgd"]), len(said["adam"])) == (0, 1)


def test_a_net_that_every_batch_reaches_is_not_named():
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    run = landscape.train(
        Objective(module, "cross_entropy", (x, torch.arange(20) % 2)), epochs=2, momentum=0.9, batch_size=5
    )
    assert not [note for note in run.notes if "do not reach" in note]


def test_blocks_of_what_some_chunk_or_none_reaches_have_the_curvature_there_is():
    objective = Objective(Unused(False), "cross_entropy", routed(), chunk_size=10)
    found = landscape.hessian(objective, objective.theta, top_k=2, per_layer=True)
    whole = landscape.hessian(objective, objective.theta, top_k=1)
    assert found.status == whole.status == "complete"
    assert dict(zip(found.point, found.eigenvalues[:, 0] > 0, strict=True)) == {
        ".": False,
        "layers.0": True,
        "layers.1": True,
    }
    # The layers share no sample, so that the matrix is these blocks.
    apart = abs(found.eigenvalues.max() - whole.eigenvalues[0])
    assert apart <= found.errors.max() + whole.errors[0]
