"""Targets that stand for none, seldom: F of a mean over the others is that of all samples, in any chunks."""

import pytest
import torch
from torch import nn

from landscape import Objective


@pytest.mark.parametrize("absent", [0.0, -0.5, 1.25])
@pytest.mark.parametrize("chunk_size", [None, 100])
def test_a_number_for_no_target_that_two_of_many_have_is_seen(absent, chunk_size):
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(4000, 3, generator=draw, dtype=torch.float64)
    y = 2 * torch.randn(4000, 1, generator=draw, dtype=torch.float64)
    y[[1500, 2777]] = absent
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()

    def over_the_others(o, t):
        counts = t != absent
        return ((o - t).square() * counts).sum() / counts.sum()

    objective = Objective(module, over_the_others, (x, y), chunk_size=chunk_size)
    wanted = float(over_the_others(module(x), y).detach())
    assert objective.value(objective.theta) == pytest.approx(wanted, rel=1e-13)
    assert objective.is_whole
