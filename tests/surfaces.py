"""Functions of a few numbers as objectives, in float64, beside plain loops of gradient descent on them."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from landscape import Objective

ONE = torch.ones(1, 1, dtype=torch.float64)


class Surface(nn.Module):
    """``formula`` of θ (d,), the same for every input; to be taken with the loss ``output``."""

    def __init__(self, formula: Callable[[Tensor], Tensor], dimension: int):
        super().__init__()
        self.formula = formula
        self.theta = nn.Parameter(torch.zeros(dimension, dtype=torch.float64))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.formula(self.theta).expand_as(inputs)


def surface(formula: Callable[[Tensor], Tensor], dimension: int) -> Objective:
    return Objective(Surface(formula, dimension), "output", (ONE, ONE))


def point(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def product(theta: Tensor) -> Tensor:
    """(1 − θ₁θ₂…)²."""
    return (1 - theta.prod()) ** 2


def steps_of_a_loop(
    slope: Callable[[np.ndarray], np.ndarray],
    value: Callable[[np.ndarray], float],
    start: Sequence[float],
    alpha: float,
    level: float,
    most: int = 10**6,
) -> int:
    """Steps of gradient descent until the value is below the level, by a plain loop; −1 where it never is."""
    theta = np.array(start, dtype=float)
    for k in range(most):
        if value(theta) < level:
            return k
        theta = theta - alpha * slope(theta)
    return -1
