"""One pass for the loss and its samples, against torch's own losses per sample; many points in blocks."""

import numpy as np
import pytest
import torch
from plain import another, plain_module
from torch import nn
from torch.nn import functional

from landscape import Objective
from landscape.objective.losses import Loss
from landscape.objective.sweep import Sweep, measured_with_samples

X = torch.randn(11, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
CLASSES = torch.arange(11) % 3
VALUES = torch.randn(11, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def scalar_mean(outputs, targets):
    return functional.cross_entropy(outputs, targets)


def cubes(outputs, targets):
    return (outputs - targets).abs() ** 3


CASES = [
    ("cross_entropy", CLASSES, lambda o, y: functional.cross_entropy(o, y, reduction="none")),
    ("mse", VALUES, lambda o, y: (o - y).square().mean(1)),
    (
        "bce",
        (VALUES > 0).double(),
        lambda o, y: functional.binary_cross_entropy_with_logits(o, y, reduction="none").mean(1),
    ),
    (scalar_mean, CLASSES, lambda o, y: functional.cross_entropy(o, y, reduction="none")),
    (
        nn.CrossEntropyLoss(reduction="sum"),
        CLASSES,
        # A sum over samples is the mean of n times their losses.
        lambda o, y: len(y) * functional.cross_entropy(o, y, reduction="none"),
    ),
    (cubes, VALUES, lambda o, y: (o - y).abs().pow(3).mean(1)),
    (
        Loss("own", lambda o, y: (o - y).square().sum()),
        VALUES,
        lambda o, y: (o - y).square().sum(1),
    ),
]


@pytest.mark.parametrize("chunk_size", [None, 4])
@pytest.mark.parametrize(("loss", "targets", "rows"), CASES)
def test_the_samples_behind_a_loss(loss, targets, rows, chunk_size):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        module = nn.Linear(4, 3).double()
    objective = Objective(module, loss, (X, targets), chunk_size=chunk_size, l2=0.5)
    theta = objective.theta + 0.3
    found = measured_with_samples(objective, theta, {})
    expected = rows(plain_module(objective, theta)(X).detach(), targets)
    torch.testing.assert_close(found[2:], expected, rtol=1e-12, atol=1e-14)
    measured = objective.varied(l2=0.0).measure(theta, {})
    assert float(found[0]) == pytest.approx(measured.loss, rel=1e-14)
    assert float(found[1]) == pytest.approx(measured.accuracy, nan_ok=True)
    assert objective.measure(theta, {}).loss > measured.loss


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("batchnorm", ["frozen", "recalibrate"])
@pytest.mark.parametrize("is_blended", [False, True])
def test_blocks_hold_what_one_block_holds(classifier, batchnorm, each, is_blended, monkeypatch):
    """θ and buffers of a point are its own, whichever block it falls into."""
    points = [another(classifier, 1), another(classifier, 2)]
    t = np.linspace(0, 1, 11)

    def fill(block, thetas):
        for row, i in zip(thetas, block, strict=True):
            row.copy_(points[0].theta + t[i] * (points[1].theta - points[0].theta))

    def measured(size):
        monkeypatch.setattr("landscape.objective.sweep.BLOCK_POINTS", size)
        weights_at = (lambda i: [1 - t[i], t[i]]) if is_blended else None
        return Sweep(classifier, None, batchnorm).measure("", len(t), fill, points, weights_at, each=each)

    found, expected = measured(4), measured(4096)
    np.testing.assert_allclose(found, expected, rtol=1e-13)
    assert len(np.unique(expected[:, 0])) == len(t)
