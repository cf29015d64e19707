"""Steps of a curve written out again, where a slope is another one an ε further."""

import torch
from torch import nn

import landscape
from landscape import Objective, Point


class Steep(nn.Module):
    """Its slope turns a million times on the way from one end to the other."""

    def __init__(self, rate):
        super().__init__()
        self.weight, self.rate = nn.Parameter(torch.ones(3)), rate

    def forward(self, x):
        return (self.weight * x).sum(1, keepdim=True) + (
            self.rate * self.weight
        ).sin().mean() * torch.ones_like(x[:, :1])


def test_chaotic_slopes_in_float32_fail_nothing_and_calm_ones_are_held_to_rounding():
    x = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    for rate, lr, least, most in ((1e8, 1e-6, 0.1, 99.0), (1.0, 0.1, 0.0, 0.01)):
        objective = Objective(Steep(rate), "mse", (x, x[:, :1]))
        a = objective.present_point()
        result = landscape.connect(
            objective, a, Point(a.theta + torch.tensor([0.3, -0.2, 0.1]), {}), steps=4, lr=lr, num_points=5
        )
        (check,) = [one for one in result.checks if one.name == "curve steps"]
        assert check.passed
        assert least <= check.bound <= most
