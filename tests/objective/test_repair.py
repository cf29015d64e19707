"""REPAIR: the statistics it promises, measured by plain hooks on a copy; ends, shared layers and batch norm."""

import copy

import numpy as np
import pytest
import torch
from plain import another, plain_module
from torch import Tensor, nn
from torch.nn import functional

from landscape import Objective
from landscape.analyses import connect, interpolate
from landscape.errors import BadInput
from landscape.objective.parameters import Point
from landscape.objective.repair import Repair


class Convolutional(nn.Module):
    """A convolution without and one with bias, a hidden and an output layer."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv1d(1, 3, 3, bias=False), nn.Conv1d(3, 4, 3)
        self.hidden, self.output = nn.Linear(4 * 4, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.second(functional.relu(self.first(x[:, None]))))
        return self.output(functional.relu(self.hidden(x.flatten(1))))


class Shared(nn.Module):
    """One layer used twice, one whose weight is another's."""

    def __init__(self):
        super().__init__()
        self.twice, self.one, self.same = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.same.weight = self.one.weight
        self.last = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.same(torch.tanh(self.one(self.twice(self.twice(x)))))))


def objective_of(module: nn.Module, **options) -> Objective:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(40, 8, generator=generator, dtype=torch.float64)
    return Objective(module.double(), "cross_entropy", (x, torch.arange(40) % 3), **options)


@pytest.fixture
def convolutional() -> Objective:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return objective_of(Convolutional(), chunk_size=7)


def statistics(objective: Objective, point: Point, name: str) -> tuple[Tensor, Tensor]:
    """Mean and spread of a layer's outputs, channel by channel, over all samples at once."""
    module, seen = plain_module(objective, point.theta, point.fixed), []
    module.get_submodule(name).register_forward_hook(lambda _, __, out: seen.append(out.detach()))
    module(objective.samples[0][0])
    values = seen[0].transpose(0, 1).flatten(1) if seen[0].dim() > 2 else seen[0].T
    return values.mean(1), values.std(1, unbiased=False)


@pytest.mark.parametrize("t", [0.25, 0.5])
def test_every_hidden_channel_has_the_interpolated_mean_and_spread(convolutional, t):
    ends = another(convolutional, 1), another(convolutional, 2)
    repair = Repair(convolutional, *ends)
    assert repair.layers == ["first", "second", "hidden"]
    middle = torch.lerp(ends[0].theta, ends[1].theta, t)
    repaired = Point(*repair(middle, ends[0].fixed, t))
    for name in repair.layers:
        at_ends = [statistics(convolutional, point, name) for point in ends]
        mean, spread = ((1 - t) * a + t * b for a, b in zip(*at_ends, strict=True))
        found_mean, found_spread = statistics(convolutional, repaired, name)
        torch.testing.assert_close(found_spread, spread, rtol=1e-9, atol=1e-12)
        if name != "first":  # which has no bias to move its mean with
            torch.testing.assert_close(found_mean, mean, rtol=1e-9, atol=1e-12)
    before = statistics(convolutional, Point(middle, {}), "hidden")[1]
    assert (before < statistics(convolutional, repaired, "hidden")[1]).all()


def test_the_ends_stay_as_they_are(convolutional):
    ends = another(convolutional, 1), another(convolutional, 2)
    repair = Repair(convolutional, *ends)
    for t, end in enumerate(ends):
        theta, _ = repair(end.theta, end.fixed, t)
        assert torch.equal(theta, end.theta)
    result = interpolate(convolutional, *ends, num_points=5, batchnorm="repair")
    assert result.loss[0] == convolutional.value(ends[0].theta)
    assert result.status == "complete"
    middle = Point(*repair(torch.lerp(ends[0].theta, ends[1].theta, 0.5), {}, 0.5))
    assert result.loss[2] == pytest.approx(convolutional.value(middle.theta), rel=1e-12)


def test_a_layer_that_is_used_twice_stays():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        objective = objective_of(Shared())
    point = objective.present_point()
    assert Repair(objective, point, point).layers == []


def test_a_channel_that_is_constant_stays_finite(convolutional):
    ends = another(convolutional, 1), another(convolutional, 2)
    module = copy.deepcopy(convolutional.module)
    with torch.no_grad():
        for parameter in module.second.parameters():
            parameter.zero_()
    dead = convolutional.point(module.state_dict())
    theta, _ = Repair(convolutional, *ends)(dead.theta, dead.fixed, 0.5)
    assert bool(theta.isfinite().all())


def test_with_batch_norm_it_is_recalibration_where_that_does_the_same(classifier):
    ends = another(classifier, 1), another(classifier, 2)
    lines = [
        interpolate(classifier, *ends, num_points=5, batchnorm=name).loss
        for name in ("repair", "recalibrate")
    ]
    np.testing.assert_array_equal(*lines)


def test_where_only_some_layers_have_batch_norm_both_are_done():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        layers = [nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)]
        objective = objective_of(nn.Sequential(*layers))
    ends = another(objective, 1), another(objective, 2)
    repair = Repair(objective, *ends)
    assert repair.layers == ["0"]
    repaired = Point(*repair(torch.lerp(ends[0].theta, ends[1].theta, 0.5), ends[0].fixed, 0.5))
    wanted = [
        torch.stack(pair).mean(0) for pair in zip(*(statistics(objective, p, "0") for p in ends), strict=True)
    ]
    for found, value in zip(statistics(objective, repaired, "0"), wanted, strict=True):
        torch.testing.assert_close(found, value, rtol=1e-9, atol=1e-12)
    fresh = objective.recalibrated(repaired.theta, ends[0].fixed)
    for name in ("3.running_mean", "3.running_var"):
        torch.testing.assert_close(repaired.fixed[name], fresh[name], rtol=1e-12, atol=0)


def test_in_connect_it_is_for_the_straight_line(convolutional):
    ends = another(convolutional, 1), another(convolutional, 2)
    options = {"epochs": 1, "num_points": 5, "tolerance": np.inf}
    result = connect(convolutional, *ends, batchnorm="repair", **options)
    plain = connect(convolutional, *ends, **options)
    line = interpolate(convolutional, *ends, num_points=5, batchnorm="repair")
    np.testing.assert_allclose(result.loss_straight[np.isin(result.t, line.alpha)], line.loss, rtol=1e-12)
    np.testing.assert_array_equal(result.control_points, plain.control_points)
    assert any("repaired" in note for note in result.notes)


def test_spreads_are_not_extrapolated(convolutional):
    point = convolutional.present_point()
    with pytest.raises(BadInput, match="the range 0 to 1"):
        interpolate(convolutional, point, point, span=(-0.5, 1.0), batchnorm="repair")
