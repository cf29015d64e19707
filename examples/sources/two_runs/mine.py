"""What the user has already: a small convolutional net, and its data."""

import torch
from sklearn.datasets import load_digits
from torch import nn


def net() -> nn.Module:
    body = nn.Sequential(nn.Conv2d(1, 6, 3, stride=2), nn.ReLU(), nn.Conv2d(6, 8, 2), nn.ReLU(), nn.Flatten())
    return nn.Sequential(body, nn.Linear(32, 10))


def data() -> tuple[torch.Tensor, torch.Tensor]:
    digits = load_digits()
    images = torch.tensor(digits.images[:600], dtype=torch.float32)[:, None] / 16
    return images, torch.tensor(digits.target[:600])
