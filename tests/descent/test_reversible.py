"""Layers computed again in their backward, whose weights gather gradients there, as in reversible nets: every step."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import landscape
from landscape import Objective


class Again(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, layer):  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.layer = layer
        ctx.save_for_backward(x)
        return layer(x)

    @staticmethod
    def backward(ctx, slope):  # pyright: ignore[reportIncompatibleMethodOverride]
        x = ctx.saved_tensors[0].detach().requires_grad_()
        with torch.enable_grad():
            ctx.layer(x).backward(slope)
        return x.grad, None


class Reversible(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.inner, self.last = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.last(torch.tanh(Again.apply(torch.tanh(self.first(x)), self.inner)))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("options", [{"method": "gd", "steps": 6}, {"batch_size": 16, "epochs": 2}])
def test_steps_follow_what_is_gathered_inside(options):
    module, x, y = Reversible().double(), torch.randn(32, 4).double(), torch.randint(3, (32,))
    twin, size = copy.deepcopy(module), options.get("batch_size", 32)
    stepper = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9)
    for step in range(options.get("steps", 4)):
        rows = slice(step * size % 32, step * size % 32 + size)
        stepper.zero_grad()
        cross_entropy(twin(x[rows]), y[rows]).backward()
        stepper.step()
    run = landscape.train(
        Objective(module, "cross_entropy", (x, y)), lr=0.1, momentum=0.9, sampling="ordered", **options
    )
    assert run.status == "complete", run.checks
    for name, parameter in twin.named_parameters():
        np.testing.assert_allclose(
            run.states["final"][name], parameter.detach().numpy(), rtol=1e-12, atol=1e-15
        )
    assert all(parameter.grad is None for parameter in module.parameters())


@pytest.mark.parametrize("operator", ["gauss-newton", "fisher"])
def test_what_needs_its_second_derivative_says_why_not(operator):
    module, x, y = Reversible().double(), torch.randn(32, 4).double(), torch.randint(3, (32,))
    objective = Objective(module, "cross_entropy", (x, y))
    with pytest.raises(landscape.LandscapeError, match="goes backward inside its own backward"):
        landscape.hessian(objective, objective.theta, operator=operator, top_k=2)
    assert all(parameter.grad is None for parameter in module.parameters())
