"""Ends whose frozen parameters differ: what lies between is mixed of all of them, and that is said."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

import landscape
from landscape import Objective

X = torch.randn(13, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.arange(13) % 2


def net(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    module[0].requires_grad_(False)
    return module


def test_frozen_parameters_that_differ_are_mixed_and_named():
    first, second = net(1), net(2)
    objective = Objective(first, "cross_entropy", (X, Y))
    a, b = objective.present_point(), objective.point(second.state_dict())
    result = landscape.interpolate(objective, a, b, num_points=3)
    middle = copy.deepcopy(first)
    with torch.no_grad():
        for own, other in zip(middle.parameters(), second.parameters(), strict=True):
            own.lerp_(other, 0.5)
        truth = [float(functional.cross_entropy(one(X), Y)) for one in (first, middle, second)]
    assert result.loss.tolist() == pytest.approx(truth, rel=1e-12)
    assert any(
        "0.weight, 0.bias is frozen" in one or "0.weight and 0.bias is frozen" in one for one in result.notes
    )

    second[0].load_state_dict(first[0].state_dict())
    same = landscape.interpolate(objective, a, objective.point(second.state_dict()), num_points=3)
    assert not any("frozen" in one for one in same.notes)
