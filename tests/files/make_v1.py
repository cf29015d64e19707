"""How the files of format version 1 were made, once: they must open forever, so they are not made again."""

import sys
from pathlib import Path

import torch
from torch import nn

import landscape
from landscape import Objective
from landscape.runs import provenance, store


class Product(nn.Module):
    """h = v w x, so the loss is (1 − v w)² at x = y = 1."""

    def __init__(self) -> None:
        super().__init__()
        self.v, self.w = nn.Parameter(torch.tensor([[2.0]])), nn.Parameter(torch.tensor([[0.25]]))
        self.register_buffer("scale", torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.v @ self.w * self.scale


def main(folder: Path) -> None:
    one = torch.ones(1, 1)
    objective = Objective(Product(), "mse", (one, one), dtype=torch.float64)
    results = {
        "slice2d": landscape.slice2d(objective, objective.theta, num_points=5, span=0.5, seed=3),
        "train": landscape.train(
            objective, method="gd", steps=8, lr=0.125, measure_every=1, checkpoint_every=4
        ),
    }
    for kind, result in results.items():
        result.config = {"kind": kind, "seed": 3}
        result.provenance = provenance.record(
            command=f"landscape {kind}", seed=3, dtype="float64", device="cpu", inputs=[]
        )
        store.save(result, folder / f"v1-{kind}.h5")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
