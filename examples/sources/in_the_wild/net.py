"""The net that the checkpoints are of, and the data they are measured on."""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn


def build() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))


def wrapped() -> nn.Module:
    """Three lines round it."""
    return nn.Sequential(build())


def data() -> tuple[Tensor, Tensor]:
    """All of the digits."""
    digits = load_digits()
    return torch.from_numpy(digits.data).float() / 16, torch.from_numpy(digits.target)
