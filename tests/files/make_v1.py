"""How the files of format version 1 were made, once: they must open forever, so they are not made again.

One tiny file of every kind, with the code as it stood before its rooms were re-laid (a7ca4f1); only public
names are used, so the same lines run on what came after.
"""

import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from torch import nn

import landscape
from landscape import Objective, Result


class Product(nn.Module):
    """h = v w x, so the loss is (1 − v w)² at x = y = 1."""

    def __init__(self) -> None:
        super().__init__()
        self.v, self.w = nn.Parameter(torch.tensor([[2.0]])), nn.Parameter(torch.tensor([[0.25]]))
        self.register_buffer("scale", torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.v @ self.w * self.scale


def net(inputs: int, hidden: int, outputs: int, seed: int) -> nn.Module:
    """Linear, tanh, linear, with weights at random."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, outputs))


def of_one_product() -> Mapping[str, Result]:
    """The kinds that a function of two parameters shows."""
    one = torch.ones(1, 1)
    objective = Objective(Product(), "mse", (one, one), dtype=torch.float64)
    start = objective.theta
    run = landscape.train(objective, method="gd", steps=8, lr=0.125, measure_every=1, checkpoint_every=4)
    end = objective.point({name: torch.from_numpy(one) for name, one in run.states["final"].items()})
    return {
        "slice2d": landscape.slice2d(objective, start, num_points=5, span=0.5, seed=3),
        "train": run,
        "import": landscape.import_point(objective, end),
        "hessian": landscape.hessian(objective, start, top_k=2, save_vectors=True),
        "certify": landscape.certify(objective, start, last_layer=True),
        "sharpness": landscape.sharpness(objective, start, sigmas=(0.01, 0.1), num_draws=3, ascent_steps=2),
        "compare": landscape.compare(
            objective,
            [start, start / start],
            draws=2,
            num_points=5,
            noise_draws=3,
            ascent_steps=2,
            line_points=5,
        ),
        "interpolate": landscape.interpolate(objective, start, end, num_points=5),
        "slice1d": landscape.slice1d(objective, start, num_points=5, seed=3),
        "critical": landscape.critical(objective, [0.1 * start, start], begin="points", starts=2),
        "noise": landscape.noise(
            objective, start, step_sizes=(0.01, 0.1), batch_sizes=(1,), num_steps=5, num_seeds=2
        ),
        "escape": landscape.escape(
            objective,
            0 * start,
            noise="none",
            amplitudes=(1e-2, 1e-4, 1e-6),
            direction=(1.0, 1.0),
            max_steps=200,
            further=5,
            directions=9,
        ),
    }


def of_small_nets() -> Mapping[str, Result]:
    """The kinds that need hidden units, or many samples."""
    x, y = torch.linspace(-1, 1, 16).reshape(8, 2), torch.arange(8) % 2
    objective = Objective(net(2, 3, 2, seed=0), "cross_entropy", (x, y), dtype=torch.float64)
    points = [
        objective.point({n: t.double() for n, t in net(2, 3, 2, seed=seed).state_dict().items()})
        for seed in range(3)
    ]
    linear = Objective(nn.Linear(2, 2, dtype=torch.float64), "cross_entropy", (x, y))
    start = torch.linspace(-1, 1, 6, dtype=torch.float64)
    return {
        "connect": landscape.connect(objective, *points[:2], epochs=2, num_points=5),
        "modes": landscape.modes(objective, points, epochs=1, num_points=5),
        "align": landscape.align(objective, *points[:2], num_points=5),
        "merge": landscape.merge(objective, points, restarts=1),
        "minima": landscape.minima(
            lambda width, depth, seed: Objective(net(2, width, 2, seed), "cross_entropy", (x, y)),
            widths=[2],
            steps=20,
            max_steps=40,
        ),
        "basins": landscape.basins(
            lambda width, depth, seed: Objective(
                net(2, width, 2, seed), "mse", (x, nn.functional.one_hot(y, 2) * 1.0)
            ),
            widths=[2],
            restarts=2,
            steps=20,
            curve_steps=0,
        ),
        "efficiency": landscape.efficiency(
            linear, [start, -start], sizes=(4, 8), step_sizes=(0.1, 0.01), observations_per_sample=2
        ),
    }


def main(folder: Path, *kinds: str) -> None:
    """Files of ``kinds``, of all where none is named: a kind that came later is made when it comes."""
    for kind, result in {**of_one_product(), **of_small_nets()}.items():
        if kinds and kind not in kinds:
            continue
        result.config = {"kind": kind, "seed": 3}
        result.provenance = {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "generated-by": f"landscape {landscape.__version__}",
            "command": f"landscape {kind}",
            "seed": 3,
            "dtype": "float64",
            "device": "cpu",
            "threads": torch.get_num_threads(),
            "processes": 1,
            "inputs": "[]",
            "torch": str(torch.__version__),
            "numpy": np.__version__,
            "python": platform.python_version(),
            "platform": f"{platform.system()} {platform.machine()}",
        }
        landscape.save(result, folder / f"v1-{kind}.h5")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
