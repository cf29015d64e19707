"""Checks of curves that run away."""

import torch
from torch import nn

import landscape
from landscape import Objective


def test_places_in_the_plane_far_out_are_rounded_by_how_far_that_is():
    """A curve 1e9 away from ends of 1: over what lies between these it was off by more than rounding, and failed."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(9, n, dtype=torch.float64, generator=generator) for n in (3, 1))
    objective = Objective(nn.Linear(3, 1, dtype=torch.float64), "mse", (x, y))
    a, b = (objective.as_point(k * torch.ones(4, dtype=torch.float64)) for k in (1.0, -1.0))
    result = landscape.connect(objective, a, b, steps=3, lr=1e4, num_points=5, plane=True, plane_points=4)
    assert abs(result.curve_alpha).max() > 1e9
    assert all(one.passed for one in result.checks if one.name == "plane coordinates")
