"""The check of a stack: plain steps beside it, and what it says of a stack that is wrong."""

import pytest
import torch
from torch import nn

from landscape import Objective
from landscape.descent.replay import replayed
from landscape.numerics.steps import replicas
from landscape.numerics.steps.replicas import Plan
from landscape.numerics.steps.sampling import Sampler


def objective() -> Objective:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(12, 2, generator=generator, dtype=torch.float64)
    module = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    return Objective(module, "bce", (x, (x[:, 0] > 0).long()))


@pytest.mark.parametrize("is_stochastic", [False, True])
@pytest.mark.parametrize("share", [0.0, 1e-3])
def test_a_neighbours_slope_in_a_step_is_seen(is_stochastic, share, monkeypatch):
    class Wrong(replicas.Replicas):
        def _loss_and_slope(self):
            losses, slopes = super()._loss_and_slope()
            return losses, slopes + share * slopes.roll(1, 0)

    monkeypatch.setattr("landscape.descent.replay.Replicas", Wrong)
    wide = objective()
    draw = torch.randn(
        3, wide.num_parameters, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )

    def plan(i: int) -> Plan:
        sampler = Sampler("reshuffle", 12, 4, i) if is_stochastic else None
        return Plan(step_size=0.3, num_steps=20, sampler=sampler)

    check = replayed(wide, draw, plan)
    assert check is not None
    assert check.passed == (share == 0)
