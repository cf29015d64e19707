"""Recomputed batch-norm statistics: equal to one big training pass, whatever the chunks."""

import copy

import pytest
import torch
from torch import nn

from landscape import Objective
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
