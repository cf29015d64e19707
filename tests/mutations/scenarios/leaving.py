"""Ways out of a point: without noise from beside it, with noise, and by batches."""

from typing import Any

import torch
from mutations.scenarios.ground import scenario
from torch import nn

import landscape
from landscape import Objective


def _saddle() -> Objective:
    """Two numbers whose product is fitted to the slope of two samples, at the origin."""
    module = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)).double()
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    samples = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    return Objective(module, "mse", (samples, samples / 2))


def _escape(**options: Any) -> Any:
    objective = _saddle()
    return landscape.escape(
        objective, objective.theta, amplitudes=(1e-1, 1e-2, 1e-3), num_seeds=4, lr=0.1, drop=0.2, **options
    )


@scenario
def escape() -> Any:
    return _escape(noise="none")


@scenario
def escape_by_noise() -> Any:
    return _escape(noise="sphere", max_steps=600)


@scenario
def escape_beside() -> Any:
    """From beside the saddle, which gradient descent without noise comes by."""
    theta = torch.tensor([0.2, -0.15], dtype=torch.float64)
    return landscape.escape(
        _saddle(), theta, noise="none", amplitudes=(1e-1, 1e-2, 1e-3), num_seeds=4, lr=0.1, drop=0.2
    )
