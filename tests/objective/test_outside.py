"""A loss with trainable parameters of its own: F is of the module's alone, which is said, and the remedy moves them."""

import pytest
import torch
from torch import nn

from landscape import BadInput, Objective

X = torch.randn(11, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = X[:, :2].sin()


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()


class Weighed(nn.Module):
    """Learned weights of two tasks (Kendall et al. 2018)."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([0.3, -0.2], dtype=torch.float64))

    def forward(self, outputs, targets):
        return ((outputs - targets).square().mean(0) * (-self.scale).exp() + self.scale).sum()


class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.net, self.loss = net(), Weighed()

    def forward(self, x, y):
        return self.loss(self.net(x), y)


def test_parameters_of_the_loss_are_said_to_stay():
    loss = Weighed()
    objective = Objective(net(), loss, (X, Y))
    assert any("Weighed has trainable parameters of its own (scale)" in one for one in objective.notes)
    by_closure = Objective(net(), lambda outputs, targets: loss(outputs, targets), (X, Y))
    assert any("parameters of its own (one of shape (2,))" in one for one in by_closure.notes)
    both = Objective(Both(), "output", ((X, Y), None))
    assert both.num_parameters == objective.num_parameters + 2
    assert both.value(both.theta) == pytest.approx(objective.value(objective.theta), rel=1e-12)
    assert not any("of its own" in one for one in both.notes)


@pytest.mark.parametrize("loss", ["mse", nn.MSELoss(), Weighed().requires_grad_(False)])
def test_other_losses_have_none(loss):
    assert not any("of its own" in one for one in Objective(net(), loss, (X, Y)).notes)


def test_a_loss_that_reads_the_module_reads_nothing_else():
    module = net()

    def penalised(outputs, targets):
        return (outputs - targets).square().mean() + sum(one.square().sum() for one in module.parameters())

    assert not any("of its own" in one for one in Objective(module, penalised, (X, Y)).notes)


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda w: setattr(w, "data", w.data.clamp(-0.1, 0.1)),
        lambda w: w.data.clamp_(-0.1, 0.1),
        lambda w: w.detach().div_(w.detach().norm()),
        lambda w: torch.no_grad()(w.div_)(w.norm()),
    ],
)
def test_a_forward_that_writes_into_its_parameters_is_refused(rewrite):
    class Rewritten(nn.Linear):
        def forward(self, x):
            rewrite(self.weight)
            return super().forward(x)

    module = Rewritten(3, 2).double()
    before = module.weight.detach().clone()
    data = (torch.randn(5, 3, dtype=torch.float64), torch.arange(5) % 2)
    with pytest.raises(BadInput, match=r"Rewritten writes into (weight|its parameters) in its forward"):
        Objective(module, "cross_entropy", data)
    assert torch.equal(module.weight, before)
