"""Hooks on the gradients of parameters: said, and what is said to hold in their place does."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import landscape
from landscape import Objective

X = torch.randn(19, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.arange(19) % 2
MASK = torch.tensor([[1.0], [0.0]], dtype=torch.float64)


class Masked(nn.Linear):
    """A layer of which the last row is held by its forward."""

    def forward(self, input):
        weight = MASK * self.weight + (1 - MASK) * self.weight.detach()
        return functional.linear(input, weight, self.bias)


def test_a_hook_on_a_gradient_is_said_and_a_mask_inside_holds():
    torch.manual_seed(0)
    module = nn.Linear(3, 2).double()
    clean = Objective(module, "cross_entropy", (X, Y))
    assert not any("hook" in one for one in clean.notes)
    module.weight.register_hook(lambda slope: slope * MASK)
    hooked = Objective(module, "cross_entropy", (X, Y))
    assert any("the gradient of weight goes through a hook" in one for one in hooked.notes)
    assert torch.equal(hooked.gradient(hooked.theta), clean.gradient(clean.theta))

    masked = Masked(3, 2).double()
    masked.load_state_dict(module.state_dict())
    objective = Objective(masked, "cross_entropy", (X, Y))
    found = objective.gradient(objective.theta)
    functional.cross_entropy(module(X), Y).backward()
    own = torch.cat([module.weight.grad.flatten(), module.bias.grad])
    assert found.tolist() == pytest.approx(own.tolist(), rel=1e-12)
    run = landscape.train(objective, epochs=3, lr=0.1, method="gd")
    assert all(one.passed for one in run.checks if one.name in ("steps", "gradient"))
    assert torch.equal(torch.from_numpy(run.states["final"]["weight"])[1], module.weight[1].detach())
