"""A module and data of one's own: every command takes them as ``examples/own_model.py:net`` and ``:data``.

landscape train --model examples/own_model.py:net --model-arg width=16 --data examples/own_model.py:data -o own.h5
landscape hessian own.h5
"""

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """A small network with a skip connection and batch norm, as any module may be."""

    def __init__(self, width: int):
        super().__init__()
        self.first = nn.Linear(1, width)
        self.inner = nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.Tanh())
        self.last = nn.Linear(width, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(inputs))
        return self.last(hidden + self.inner(hidden))


def net(width: int = 16) -> nn.Module:
    """The factory: its arguments come from ``--model-arg``; the seed is set before it is called."""
    return Residual(width)


def data(num_samples: int = 200) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A noisy sine: inputs and targets, for training and for testing."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(num_samples, 1, generator=generator) * 6 - 3
    targets = torch.sin(inputs) + 0.1 * torch.randn(num_samples, 1, generator=generator)
    half = num_samples // 2
    return inputs[:half], targets[:half], inputs[half:], targets[half:]
