"""Recomputed batch-norm statistics: equal to one big training pass, whatever the chunks."""

import copy

import pytest
import torch
from torch import nn

import landscape
from landscape import BadInput, Objective
from landscape.objective.batchnorm import blend


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


NETS = {
    "batch norm 1d, twice": (
        lambda: nn.Sequential(
            nn.Linear(4, 6),
            nn.BatchNorm1d(6),
            nn.Tanh(),
            nn.Linear(6, 5),
            nn.BatchNorm1d(5),
            nn.Linear(5, 3),
        ),
        draw(23, 4),
    ),
    "first of all": (lambda: nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3)), 3 + 2 * draw(23, 4)),
    "batch norm 2d, three times": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3),
            nn.BatchNorm2d(4, affine=False),
            nn.ReLU(),
            nn.Conv2d(4, 4, 2),
            nn.BatchNorm2d(4),
            nn.Softplus(),
            nn.Flatten(),
            nn.BatchNorm1d(36),
            nn.Linear(36, 3),
        ),
        draw(23, 2, 6, 6),
    ),
    "alone": (lambda: nn.BatchNorm1d(3), draw(23, 3)),
}


def make(name, chunk_size=None):
    factory, x = NETS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        module = factory().double()
    return Objective(module, "cross_entropy", (x, torch.arange(23) % 3), chunk_size=chunk_size)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("chunk_size", [None, 1, 7])
def test_recalibrated_is_one_training_pass_over_all_data(name, chunk_size):
    objective = make(name, chunk_size)
    theta = objective.theta + 0.3 * draw(objective.num_parameters, seed=3)
    plain = copy.deepcopy(objective.module)
    nn.utils.vector_to_parameters(theta, plain.parameters())
    for layer in plain.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.momentum = None  # cumulative: the average over one batch is the batch
            layer.reset_running_stats()
    with torch.no_grad():
        plain.train()(objective.samples[0][0])
    fixed = objective.recalibrated(theta)
    for key, buffer in plain.named_buffers():
        if "num_batches" not in key:
            torch.testing.assert_close(fixed[key], buffer, rtol=1e-12, atol=1e-13)
    with torch.no_grad():
        expected = float(
            nn.functional.cross_entropy(plain.eval()(objective.samples[0][0]), torch.arange(23) % 3)
        )
    assert objective.value(theta, fixed) == pytest.approx(expected, rel=1e-12)
    assert objective.value(theta) != pytest.approx(expected, rel=1e-3)


def test_dropout_is_off_while_statistics_are_taken(classifier):
    seen = [classifier.recalibrated(classifier.theta) for _ in range(2)]
    for name, tensor in seen[0].items():
        assert torch.equal(tensor, seen[1][name])


def test_has_batchnorm(classifier, regression):
    assert classifier.has_batchnorm
    assert not regression.has_batchnorm
    assert regression.recalibrated(regression.theta) == {}


def test_layers_that_are_never_reached_keep_their_statistics():
    class Skips(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.BatchNorm1d(3), nn.BatchNorm1d(3)

        def forward(self, x):
            return self.used(x)

    objective = Objective(Skips().double(), "cross_entropy", (draw(23, 3), torch.arange(23) % 3))
    fixed = objective.recalibrated(objective.theta)
    assert torch.equal(fixed["unused.running_var"], torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(fixed["used.running_var"], draw(23, 3).var(0))


class Functional(nn.BatchNorm1d):
    """Asks torch for it itself, as fused layers do."""

    def forward(self, x):
        about = self.running_mean, self.running_var, self.weight, self.bias, self.training, self.momentum
        return nn.functional.batch_norm(x, *about)


class Otherwise(nn.Module):
    """``kind``: norms two inputs one after the other, its own outputs again, or without a call of the layer."""

    def __init__(self, kind, norm=nn.BatchNorm1d):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            self.kind, self.first, self.norm, self.idle = kind, nn.Linear(4, 4), norm(4), nn.BatchNorm1d(4)

    def forward(self, x):
        h = self.first(x)
        if self.kind == "again":
            return self.norm(self.first(self.norm(h).tanh()))
        if self.kind == "twice":
            return self.norm(h) - self.norm(self.first(2 * x + 1)).tanh()
        return Functional.forward(self.norm, h) if self.kind == "no call" else self.norm(h)


@pytest.mark.parametrize("chunk_size", [None, 7])
@pytest.mark.parametrize(
    ("kind", "norm"),
    [("twice", nn.BatchNorm1d), ("again", nn.BatchNorm1d), ("no call", nn.BatchNorm1d), ("", Functional)],
)
def test_layers_that_are_called_otherwise_have_the_statistics_of_a_training_pass(kind, norm, chunk_size):
    module, x = Otherwise(kind, norm).double(), draw(23, 4)
    objective = Objective(module, "cross_entropy", (x, torch.arange(23) % 3), chunk_size=chunk_size)
    plain = copy.deepcopy(module).train()
    calls = []
    plain.norm.register_forward_pre_hook(
        lambda layer, _: calls.append(1) or setattr(layer, "momentum", 1 / len(calls))
    )
    plain.norm.momentum = 1.0
    plain(x)
    fixed = objective.recalibrated(objective.theta)
    for name in ("norm.running_mean", "norm.running_var"):
        torch.testing.assert_close(fixed[name], dict(plain.named_buffers())[name], rtol=1e-12, atol=1e-13)
    assert torch.equal(fixed["idle.running_var"], torch.ones(4, dtype=x.dtype))
    again = objective.recalibrated(objective.theta, fixed)
    torch.testing.assert_close(again["norm.running_var"], fixed["norm.running_var"], rtol=1e-12, atol=1e-13)
    assert (module.norm.momentum, module.norm.training) == (0.1, True)
    line = landscape.interpolate(objective, objective.theta, objective.theta + 0.1, num_points=3)
    assert line.status == "complete"


def test_statistics_that_no_pass_stores_are_refused():
    class Read(Otherwise):
        def forward(self, x):
            return (self.first(x) - self.norm.running_mean) / self.norm.running_var.sqrt()

    objective = Objective(Read("").double(), "cross_entropy", (draw(23, 4), torch.arange(23) % 3))
    with pytest.raises(BadInput, match="the statistics of norm are read where it is not called"):
        objective.recalibrated(objective.theta)


def part(mean, count):
    return {"mean": torch.tensor([mean], dtype=torch.float64), "count": torch.tensor(count)}


def test_blend_mixes_in_proportion_and_is_held_beyond_the_ends():
    a, b = part(1.0, 3), part(5.0, 4)
    assert blend([a, b], [0.75, 0.25])["mean"].item() == 2.0
    assert blend([a, b], [0.75, 0.25])["count"].item() == 3
    assert blend([a, b], [0.25, 0.75])["count"].item() == 4
    assert blend([a, b], [1.25, -0.25]) is a
    assert blend([a, b], [-0.25, 1.25]) is b
    assert blend([a, b], [0.0, 1.0]) is b


def test_blend_of_three_is_barycentric():
    parts = [part(float(value), value) for value in (1, 2, 6)]
    assert blend(parts, [0.5, 0.25, 0.25])["mean"].item() == 2.5
    assert blend(parts, [0.5, 1.0, -0.5])["mean"].item() == pytest.approx((0.5 * 1 + 1.0 * 2) / 1.5)
