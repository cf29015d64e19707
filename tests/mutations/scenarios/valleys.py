"""Critical points from several starts, and basins: of a plane, and by width."""

from typing import Any

import torch
from mutations.scenarios.ground import scenario
from torch import nn

import landscape
from landscape import Objective
from landscape.inputs.models.spin import spin
from landscape.inputs.models.toy import toy_product
from landscape.inputs.models.toy_path import toy_path

ONE = torch.ones(1, 1, dtype=torch.float64)


@scenario
def critical() -> Any:
    objective = Objective(spin(size=3).double(), "output", (ONE, ONE))
    return landscape.critical(objective, starts=8)


@scenario
def critical_far_out() -> Any:
    objective = Objective(toy_path(2.0), "mse", (ONE, ONE))
    starts = [torch.tensor([k], dtype=torch.float64) for k in (1.0, 3.0)]
    return landscape.critical(objective, starts, begin="points")


@scenario
def critical_fallen() -> Any:
    """From points along descents of different lengths."""
    objective = Objective(spin(size=3).double(), "output", (ONE, ONE))
    return landscape.critical(objective, starts=6, descend=10)


@scenario
def basins() -> Any:
    objective = Objective(toy_product(1.0, 1.0).double(), "mse", (ONE, ONE))
    return landscape.basins(objective, plane=(-2, 2, -2, 2), num_points=17, between=(1, 1, -1, -1))


@scenario
def basins_coarse() -> Any:
    """Two pits of different depths, which half of the grid sees as others."""

    class Pits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.place = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            u, v = self.place
            return ((u**2 - 1) ** 2 + 0.3 * u + v**2 + 0.2 * torch.sin(5 * v)) * x

    return landscape.basins(Objective(Pits(), "output", (ONE, ONE)), plane=(-2, 2, -2, 2), num_points=19)


def _net(width: int, depth: int, seed: int) -> Objective:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, 1)).double()
    inputs = torch.tensor([[-1.0], [0.0], [2.0]], dtype=torch.float64)
    return Objective(module, "mse", (inputs, torch.tensor([[1.0], [-1.0], [0.5]], dtype=torch.float64)))


@scenario
def basins_by_width() -> Any:
    return landscape.basins(_net, widths=[1, 4], restarts=2, steps=200, curve_steps=5)
