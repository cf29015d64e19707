"""Two experts that the sign of an input chooses between, and data in an order that leaves one out of some batches."""

import torch
from torch import Tensor, nn


class Experts(nn.Module):
    """The sign of the first input chooses one of two layers; ``remembers``: a call leaves its choices behind."""

    def __init__(self, remembers: bool = False):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(3, 2) for _ in range(2)).double()
        self.remembers, self.chosen = remembers, None

    def forward(self, x: Tensor) -> Tensor:
        positive = x[:, 0] > 0
        if self.remembers:
            self.chosen = positive
        outputs = torch.zeros(len(x), 2).to(x)
        for rows, layer in zip((positive, ~positive), self.layers, strict=True):
            if rows.any():
                outputs[rows] = layer(x[rows])
        return outputs


def routed() -> tuple[Tensor, Tensor]:
    """Forty samples: in order the first ten choose the second layer alone, of every ten others both do."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 3, generator=generator, dtype=torch.float64)
    x[:, 0] = x[:, 0].abs() * torch.tensor([-1.0] * 10 + [1.0, -1.0] * 15, dtype=torch.float64)
    return x, torch.arange(40) % 2
