"""What rests from one point to the next is computed once, and no number is another for it."""

import contextlib

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import landscape
from landscape import Objective
from landscape.objective import resting
from landscape.objective.resting import Resting

pytestmark = pytest.mark.cpu("counts the calls of layers in this process")


class Counted(nn.Linear):
    """A layer that tells how often it was called, without keeping it in the module."""

    calls = 0

    def forward(self, inputs):
        Counted.calls += 1
        return super().forward(inputs)


class Reading(nn.Module):
    """Rests by its own parameters, but reads the weight of another layer."""

    def __init__(self, other):
        super().__init__()
        self.own, self.others = nn.Linear(4, 4), [other]

    def forward(self, inputs):
        return F.linear(self.own(inputs), self.others[0].weight[:4, :4])


class Generated(nn.Module):
    """Frozen layers are called with their weights moved along a direction each, as far as one vector says."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(Counted(4, 6), nn.Tanh(), nn.Linear(6, 3)).requires_grad_(False)
        self.ways = nn.ParameterList([torch.randn(2, p.numel()) for p in self.net.parameters()])
        self.last = nn.Linear(2, 1, bias=False)

    def forward(self, inputs):
        named = zip(self.ways, self.net.named_parameters(), strict=True)
        moved = {name: p + (self.last.weight @ way).view_as(p) for way, (name, p) in named}
        return torch.func.functional_call(self.net, moved, inputs)


class WrittenInto(nn.Module):
    """What the first layer gives is written into by what follows."""

    def __init__(self):
        super().__init__()
        self.first, self.last = Counted(4, 6), nn.Linear(6, 3)

    def forward(self, inputs):
        hidden = self.first(inputs)
        hidden += 1
        return self.last(hidden.tanh_())


class Parts(nn.Module):
    """Parts of an input, which are cut anew at every point, go through a layer at rest twice."""

    def __init__(self):
        super().__init__()
        self.first, self.last = Counted(4, 6), nn.Linear(12, 3)

    def forward(self, inputs):
        return self.last(torch.cat([self.first(inputs[:, :4]), self.first(inputs[:, 4:])], dim=1))


def sequential():
    return nn.Sequential(
        nn.Sequential(Counted(4, 8), nn.ReLU(), Counted(8, 8), nn.ReLU(inplace=True)),
        nn.BatchNorm1d(8),
        nn.Linear(8, 3),
    )


def reading():
    last = nn.Linear(4, 4)
    return nn.Sequential(Reading(last), nn.Tanh(), last)


CASES = {
    "sequential": (sequential, 4, "2.*"),
    "reads another": (reading, 4, "2.*"),
    "generated": (Generated, 4, "last.*"),
    "written into": (WrittenInto, 4, "last.*"),
    "parts of an input": (Parts, 8, "last.*"),
}


@pytest.fixture
def made():
    def make(name, chunk_size=None):
        torch.manual_seed(0)
        module, width, block = CASES[name][0](), *CASES[name][1:]
        inputs, targets = torch.randn(60, width), torch.randint(3, (60,))
        test = Objective(module, "cross_entropy", (torch.randn(20, width), torch.randint(3, (20,))))
        objective = Objective(module, "cross_entropy", (inputs, targets), chunk_size=chunk_size)
        return module, objective, test, block

    return make


def measured(objective, test, block):
    for _ in range(2):  # the first time more is found out
        Counted.calls = 0
        found = landscape.slice1d(objective, objective.theta, num_points=41, block=block, test=test)
    assert [check.name for check in found.checks if not check.passed] == []
    return found, Counted.calls


@pytest.mark.parametrize("chunk_size", [None, 25])
@pytest.mark.parametrize("name", CASES)
def test_the_bits_are_those_of_every_layer_called_at_every_point(name, chunk_size, made, monkeypatch):
    # One point at a time: of several, what is small goes through vmap.
    monkeypatch.setattr("landscape.objective.objective.is_worthwhile", lambda *_: False)
    module, objective, test, block = made(name, chunk_size)
    here, few = measured(objective, test, block)
    assert "forward" not in {key for layer in module.modules() for key in layer.__dict__}
    monkeypatch.setattr(Resting, "during", lambda self, thetas: contextlib.nullcontext())
    there, many = measured(objective, test, block)
    for one in ("loss", "accuracy", "test_loss", "test_accuracy"):
        np.testing.assert_array_equal(getattr(here, one), getattr(there, one))
    if name == "sequential":
        # Two layers, at all points but the first two.
        assert many - few >= 2 * 39


@pytest.mark.parametrize("name", CASES)
def test_the_losses_are_those_of_a_plain_loop_where_points_are_tried_together(name, made):
    """What cannot be many points in one call goes one by one after all, from the first point again."""
    _, objective, _, block = made(name)
    found = landscape.slice1d(objective, objective.theta, num_points=5, block=block)
    (inputs,), targets = objective.samples
    wanted = []
    for alpha in found.alpha:
        theta = objective.theta + float(alpha) * torch.from_numpy(found.directions[0])
        there = objective.module_at(theta).eval()
        with torch.no_grad():
            # Some write into what they are given.
            wanted.append(float(F.cross_entropy(there(inputs.clone()), targets)))
    assert max(wanted) - min(wanted) > 0.001
    np.testing.assert_allclose(found.loss, wanted, rtol=1e-5)
    assert [check.name for check in found.checks if not check.passed] == []


def test_every_layer_is_called_where_the_first_one_moves(made, monkeypatch):
    monkeypatch.setattr("landscape.objective.objective.is_worthwhile", lambda *_: False)
    _, objective, test, _ = made("sequential")
    _, calls = measured(objective, test, "*")
    monkeypatch.setattr(Resting, "during", lambda self, thetas: contextlib.nullcontext())
    assert measured(objective, test, "*")[1] == calls


def test_no_more_is_kept_than_there_is_room_for(made, monkeypatch):
    monkeypatch.setattr("landscape.objective.objective.is_worthwhile", lambda *_: False)
    _, objective, test, block = made("sequential")
    _, few = measured(objective, test, block)
    monkeypatch.setattr(resting, "ROOM", 60 * 8 * 4)
    assert measured(objective, test, block)[1] > few


class Noisy(nn.Module):
    def forward(self, inputs):
        return inputs + torch.randn(4)


def test_what_is_drawn_is_drawn_again():
    """A layer at rest that draws leaves later draws where they were."""
    module = nn.Sequential(Noisy(), nn.Linear(4, 4), nn.Linear(4, 3), Noisy2()).eval()
    objective = Objective(nn.Linear(4, 3), "cross_entropy", (torch.randn(6, 4), torch.randint(3, (6,))))
    found = outputs_at_three_points(module, objective, [True, True, True])
    for one, other in zip(found, outputs_at_three_points(module, objective, [False] * 3), strict=True):
        assert torch.equal(one, other)


class Noisy2(nn.Module):
    def forward(self, inputs):
        return inputs + torch.randn(3)


class Scale(nn.Module):
    """Writes into what it is given, at first without a change."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, inputs):
        return inputs.mul_(self.weight + 1)


def test_what_is_written_into_later_is_made_again():
    module = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), Scale(), nn.Identity()).eval()
    objective = Objective(nn.Linear(4, 3), "cross_entropy", (torch.randn(6, 4), torch.randint(3, (6,))))
    found = outputs_at_three_points(module, objective, [True, True, True])
    for one, other in zip(found, outputs_at_three_points(module, objective, [False] * 3), strict=True):
        assert torch.equal(one, other)


def outputs_at_three_points(module, objective, reuses):
    """Of ``module`` in place of the objective's own, with its last layer but one another at each point."""
    found, kept = [], Resting(objective)
    kept._module = module
    kept._moving, kept._layers = {"2.weight"}, [module[0], module[1], module[3]]
    kept._objective = Still(objective)
    inputs = objective.samples.inputs[0]
    for point, reuse in enumerate(reuses):
        torch.manual_seed(7)
        with torch.no_grad():
            module[2].weight.fill_(point)
            with kept.during(torch.zeros(1, 0)) if reuse else contextlib.nullcontext():
                found.append(module(inputs).clone())
    return found


class Still:
    """An objective of no pieces, whose module leaves nothing behind."""

    pieces = ()

    def __init__(self, objective):
        self.samples = objective.samples

    def leaves_nothing(self, *, training):
        return not training


def test_the_module_is_as_it_was_after_an_error(made):
    module, objective, _, _ = made("sequential")
    objective.value(objective.theta)
    kept = Resting(objective)
    thetas = objective.theta.repeat(2, 1)
    thetas[1, objective.pieces[-1].span] += 1
    own = module[0].forward

    def stopped():
        with kept.during(thetas):
            assert "forward" in module[0].__dict__
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert "forward" not in {key for layer in module.modules() for key in layer.__dict__}
    assert module[0].forward == own
