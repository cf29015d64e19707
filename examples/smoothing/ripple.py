"""F(x, y) = h(x) + h(y) with h(x) = x²/2 + c cos κx, and F averaged over Gaussian noise, which is the same with less c.

To be taken with the data ``point`` and the loss ``output``.
"""

import math

import torch
from torch import Tensor, nn


class Ripple(nn.Module):
    """F for any inputs (n, 1): outputs (n, 1)."""

    def __init__(self, c: float, kappa: float, above: float, x: float, y: float):
        super().__init__()
        self.c, self.kappa, self.above = c, kappa, above
        self.x, self.y = (nn.Parameter(torch.tensor(start, dtype=torch.float64)) for start in (x, y))

    def forward(self, inputs: Tensor) -> Tensor:
        total = sum(p**2 / 2 + self.c * torch.cos(self.kappa * p) for p in (self.x, self.y))
        return (total + self.above).expand_as(inputs)


def model(
    c: float = 0.25, kappa: float = 10.0, sigma: float = 0.0, x: float = 1.6, y: float = 1.2
) -> nn.Module:
    """F, or with ``sigma`` its average over N(0, σ²I): c e^(−κ²σ²/2) in the place of c, and σ² above."""
    return Ripple(c * math.exp(-((kappa * sigma) ** 2) / 2), kappa, sigma**2, float(x), float(y))
