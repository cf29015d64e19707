"""Reentrant checkpoints of torch, which refuse autograd.grad, and torch.cond: derivatives are those without them."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils import checkpoint

import landscape
from landscape import Objective


class Checkpointed(nn.Module):
    def __init__(self, use_reentrant: bool | None, from_the_inputs: bool):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.first, self.last = nn.Linear(4, 5).double(), nn.Linear(5, 3).double()
        self.use_reentrant, self.from_the_inputs = use_reentrant, from_the_inputs

    def part(self, x):
        return self.first(x).tanh()

    def rest(self, h):
        return self.last(h).sin()

    def again(self, part, x):
        if self.use_reentrant is None:
            return part(x)
        return checkpoint.checkpoint(part, x, use_reentrant=self.use_reentrant)

    def forward(self, x):
        return (
            self.rest(self.again(self.part, x))
            if self.from_the_inputs
            else self.again(self.rest, self.part(x))
        )


@pytest.mark.parametrize("from_the_inputs", [False, True])
def test_derivatives_of_a_reentrant_checkpoint_are_those_of_f(from_the_inputs):
    draw = torch.Generator().manual_seed(1)
    data = (
        torch.randn(11, 4, generator=draw, dtype=torch.float64),
        torch.randint(3, (11,), generator=draw),
    )
    own = checkpoint.CheckpointFunction
    one, other = (
        Objective(Checkpointed(kind, from_the_inputs), F.cross_entropy, data) for kind in (True, None)
    )
    theta, v = other.theta, torch.linspace(-1, 1, other.num_parameters, dtype=torch.float64)
    torch.testing.assert_close(one.gradient(theta), other.gradient(theta), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(one.hvp(theta, v), other.hvp(theta, v), rtol=1e-12, atol=1e-14)
    assert landscape.hessian(one, theta, top_k=2).status == "complete"
    assert landscape.train(one, steps=2, batch_size=4).status == "complete"
    assert checkpoint.CheckpointFunction is own


def test_a_branch_of_cond_has_all_derivatives():
    class Branches(Checkpointed):
        def forward(self, x):
            h = self.part(x)
            branches = {"true_fn": lambda h: 2 * h, "false_fn": lambda h: 3 * h}
            return self.rest(torch.cond(h.sum() > 0, **branches, operands=(h,)))

    class Written(Branches):
        def forward(self, x):
            h = self.part(x)
            return self.rest(2 * h if h.sum() > 0 else 3 * h)

    x, cond = torch.linspace(-1, 1, 44, dtype=torch.float64).view(11, 4), torch.cond
    one, other = (
        Objective(kind(None, True), F.cross_entropy, (x, torch.arange(11) % 3))
        for kind in (Branches, Written)
    )
    theta, v = other.theta, torch.linspace(-1, 1, other.num_parameters, dtype=torch.float64)
    torch.testing.assert_close(one.gradient(theta), other.gradient(theta), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(one.hvp(theta, v), other.hvp(theta, v), rtol=1e-12, atol=1e-14)
    assert torch.cond is cond
