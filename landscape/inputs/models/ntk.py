"""A net in the scaling in which its tangent kernel has a limit as it gets wider (Jacot et al. 2018)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from landscape.errors import BadInput


class NtkNet(nn.Module):
    """h = p^(−1/2) Σⱼ vⱼ max(0, wⱼ·x) of width p: inputs (n, d₀) to outputs (n, k), v and w standard normal."""

    def __init__(self, num_inputs: int, width: int, num_outputs: int):
        super().__init__()
        self.w = nn.Parameter(torch.randn(width, num_inputs))
        self.v = nn.Parameter(torch.randn(num_outputs, width))

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.relu(inputs.flatten(1) @ self.w.T) @ self.v.T / math.sqrt(self.v.shape[1])


def ntk_net(input_shape: Sequence[int], num_outputs: int = 1, width: int = 100) -> NtkNet:
    """One hidden layer of ``width`` ReLUs without biases, scaled so that K is of one size at every width.

    Raises BadInput for a width below 1.
    """
    if width < 1:
        raise BadInput(f"width={width}", "at least 1")
    return NtkNet(math.prod(input_shape), width, num_outputs)
