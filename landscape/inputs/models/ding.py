"""The net of Ding, Li and Sun (2019), with bad minima at any width."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from landscape.errors import BadInput


class SigmoidNet(nn.Module):
    """h(x) = Σⱼ vⱼ σ(wⱼx) − Σⱼ σ(x): a net of sigmoid units without biases, less what it is where all w and v are 1.

    So the same targets e, and with them the same loss at that point, suit every width.
    """

    def __init__(self, width: int):
        super().__init__()
        self.hidden = nn.Linear(1, width, bias=False)
        self.output = nn.Linear(width, 1, bias=False)
        self.width = width
        with torch.no_grad():
            self.hidden.weight.fill_(1.0)
            self.output.weight.fill_(1.0)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.output(torch.sigmoid(self.hidden(inputs))) - self.width * torch.sigmoid(inputs)


def ding(width: int = 3, input_shape: Sequence[int] = (1,), num_outputs: int = 1) -> SigmoidNet:
    """Sigmoid units on one number, all weights 1: with the targets e of Ding, Li and Sun (2019) a local minimum.

    Take it with the data ``point`` and as many x and y. Raises BadInput for data that are not one number in and out.
    """
    if tuple(input_shape) != (1,) or num_outputs != 1:
        raise BadInput(
            f"data with samples of shape {tuple(input_shape)} and {num_outputs} outputs",
            "one number in and one out",
            "take `data` point",
        )
    return SigmoidNet(width)
