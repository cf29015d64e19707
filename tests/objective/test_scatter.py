"""Standard errors over samples against a loop over the samples, one plain call each."""

import numpy as np
import pytest
import torch
from plain import plain_module
from torch import Tensor, nn
from torch.nn import functional

from landscape import Objective
from landscape.objective import scatter
from landscape.objective.scatter import has_errors, measured_with_errors, without_errors

X = torch.randn(23, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
CLASSES = torch.arange(23) % 3
VALUES = torch.randn(23, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
SIDES = (VALUES > 0).double()


def cubes(outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean over the samples, as one number."""
    return (outputs - targets).abs().pow(3).mean(1).mean()


def summed(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square().sum()


# loss, targets, the loss of one sample, and of how many of its labels one is right (None: it says nothing).
CASES = {
    "classes": ("cross_entropy", CLASSES, functional.cross_entropy, lambda h, y: (h.argmax(1) == y).double()),
    "module": (
        nn.CrossEntropyLoss(),
        CLASSES,
        functional.cross_entropy,
        lambda h, y: (h.argmax(1) == y).double(),
    ),
    "several labels": (
        "bce",
        SIDES,
        functional.binary_cross_entropy_with_logits,
        lambda h, y: ((h > 0) == (y > 0.5)).double().mean(1),
    ),
    "values": ("mse", VALUES, functional.mse_loss, None),
    "one number": (cubes, VALUES, cubes, None),
    "a sum": (summed, VALUES, summed, None),
}


def module() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("chunk_size", [None, 5])
@pytest.mark.parametrize("name", CASES)
def test_errors_are_those_of_a_plain_loop_over_the_samples(name, chunk_size, together, monkeypatch):
    loss, targets, one, right = CASES[name]
    if not together:
        monkeypatch.setattr("landscape.objective.batching.BATCHED_ACTIVATIONS", 0)
    objective = Objective(module(), loss, (X, targets), chunk_size=chunk_size, l2=0.5)
    thetas = objective.theta + 0.3 * torch.arange(3)[:, None]
    found = measured_with_errors(objective, thetas, {})
    torch.testing.assert_close(
        found[:, :2], objective.measurements(thetas), rtol=1e-14, atol=0, equal_nan=True
    )
    factor = 23 if name == "a sum" else 1
    for theta, (_, accuracy, loss_error, accuracy_error) in zip(thetas, found.tolist(), strict=True):
        plain = plain_module(objective, theta)
        with torch.no_grad():
            rows = [(plain(X[i : i + 1]), targets[i : i + 1]) for i in range(23)]
        losses = factor * np.array([float(one(h, y)) for h, y in rows])
        assert loss_error == pytest.approx(losses.std(ddof=1) / 23**0.5, rel=1e-12)
        if right is None:
            assert np.isnan(accuracy)
            assert np.isnan(accuracy_error)
        else:
            shares = np.array([float(right(h, y)) for h, y in rows])
            assert accuracy == pytest.approx(shares.mean(), rel=1e-14)
            assert accuracy_error == pytest.approx(shares.std() / 23**0.5, rel=1e-12)
            if set(shares) <= {0.0, 1.0}:
                p = shares.mean()
                assert accuracy_error == pytest.approx((p * (1 - p) / 23) ** 0.5, rel=1e-12)


def test_no_output_is_computed_twice():
    calls = []
    net = module()
    net.register_forward_hook(lambda *_: calls.append(1))
    objective = Objective(net, "cross_entropy", (X, CLASSES), chunk_size=5)
    thetas, fixed = objective.theta[None], {}
    calls.clear()
    objective.measurements(thetas, fixed)
    wanted = len(calls)
    calls.clear()
    measured_with_errors(objective, thetas, fixed)
    assert len(calls) == wanted == 5


def test_where_samples_are_not_told_apart_a_note_says_so():
    whole = Objective(module(), lambda o, y: (o - y).square().mean().sqrt(), (X, VALUES))
    assert not has_errors(whole, 1)
    (note,) = without_errors(whole, 1, "test samples")
    assert note.startswith("no standard errors over test samples: the loss")
    # A loss of one number is called for every sample alone, and not for as many as a fine grid has.
    alone = Objective(module(), cubes, (X, VALUES))
    assert has_errors(alone, 100)
    assert not without_errors(alone, 100)
    assert not has_errors(alone, scatter.MOST_ALONE)
    assert without_errors(alone, scatter.MOST_ALONE)
    assert has_errors(Objective(module(), "mse", (X, VALUES)), 10**9)
    # Of a single sample nobody expects any.
    single = Objective(module(), "mse", (X[:1], VALUES[:1]))
    assert not has_errors(single, 1)
    assert not without_errors(single, 1)
