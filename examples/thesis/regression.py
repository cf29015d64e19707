"""The linear regression of the figures: y = x₁ + x₂ + ε, and the module with its two parameters.

The law and the noise, N(0, 1), are the thesis'; the spread of the inputs is chosen here. Inputs that are all
positive make the cost a valley: at the least squares its curvatures are about 10 and 1.5.
"""

import torch
from torch import Tensor, nn


class Plane(nn.Module):
    """h = w₁x₁ + w₂x₂: inputs (n, 2) to outputs (n, 1)."""

    def __init__(self, w1: float, w2: float):
        super().__init__()
        self.w1, self.w2 = (nn.Parameter(torch.tensor(float(start))) for start in (w1, w2))

    def forward(self, inputs: Tensor) -> Tensor:
        return (self.w1 * inputs[:, 0] + self.w2 * inputs[:, 1])[:, None]


def model(w1: float = 3.0, w2: float = 0.0) -> nn.Module:
    """The module at the point where every path of the figures starts."""
    return Plane(w1, w2)


def data(num_samples: int = 100, noise: float = 1.0) -> tuple[Tensor, Tensor]:
    """``num_samples`` inputs, uniform on [0, 3]², and y = x₁ + x₂ + ε with normal ε of this deviation."""
    generator = torch.Generator().manual_seed(0)
    inputs = 3 * torch.rand(num_samples, 2, generator=generator)
    targets = inputs.sum(1, keepdim=True) + noise * torch.randn(num_samples, 1, generator=generator)
    return inputs, targets
