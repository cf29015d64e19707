"""A loss of (targets, outputs) is told from one of (outputs, targets), and what is said works."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from landscape import BadInput, Objective

X = torch.randn(11, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y, REAL = torch.arange(11) % 3, X.sin()


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()


def classes(t, o):
    return functional.cross_entropy(o, t)


def relative(y_true, y_pred):
    return ((y_true - y_pred) ** 2 / (1 + y_true**2)).mean()


class Divergence(nn.Module):
    def forward(self, target, logits):
        return functional.kl_div(logits.log_softmax(1), target.softmax(1), reduction="batchmean")


@pytest.mark.parametrize(
    ("loss", "targets", "said"),
    [
        (classes, Y, r"does not take outputs .* lambda outputs, targets: classes\(targets, outputs\)"),
        (
            relative,
            REAL,
            r"arguments \(y_true, y_pred\) and is given the outputs first; .*relative\(targets, o",
        ),
        (Divergence(), REAL, r"arguments \(target, logits\) and is given the outputs first"),
    ],
)
def test_swapped_arguments_are_told(loss, targets, said):
    module = net()
    with pytest.raises(BadInput, match=said):
        Objective(module, loss, (X, targets))
    objective = Objective(module, lambda outputs, targets: loss(targets, outputs), (X, targets))
    wanted = float(loss(targets, module(X)).detach())
    assert objective.value(objective.theta) == pytest.approx(wanted, rel=1e-12)


def symmetric(y_true, y_pred):
    return (y_true - y_pred).square().mean()


def in_order(y_pred, y_true):
    return relative(y_true, y_pred)


def nameless(a, b):
    return ((a - b) ** 2 / (1 + b**2)).mean()


@pytest.mark.parametrize("loss", [symmetric, in_order, nameless])
def test_what_makes_no_difference_or_is_in_order_is_taken(loss):
    module = net()
    objective = Objective(module, loss, (X, REAL))
    assert objective.value(objective.theta) == pytest.approx(float(loss(module(X), REAL).detach()), rel=1e-12)


def test_what_fails_either_way_gets_no_such_hint():
    def broken(outputs, targets):
        return outputs @ targets

    with pytest.raises(BadInput) as error:
        Objective(net(), broken, (X, REAL))
    assert "swap its arguments" not in str(error.value)
