"""Analyses of a module that FSDP2 shards, on few samples: by torchrun in several processes, or in one, unsharded."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import landscape
import landscape.numerics.vectors
from landscape import BadInput, Objective, distributed
from landscape.inputs.sharded import here

# A number of samples that 2, 3, 4 and 8 processes share evenly, and one that none of them does.
EVEN, ODD = 24, 23
WIDTH = 48


def net(seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    module = nn.Sequential(
        nn.Linear(5, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 3)
    )
    with torch.no_grad():
        for one in module.parameters():
            one.copy_(torch.randn(one.shape, generator=generator) / one.shape[-1] ** 0.5)
    return module.double()


def sharded(seed: int = 0) -> nn.Module:
    from torch.distributed.fsdp import fully_shard

    module = net(seed)
    for layer in (*module[:1], *module[2:3]):
        fully_shard(layer)
    fully_shard(module)
    return module


def data(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 5, generator=generator, dtype=torch.float64), torch.arange(count) % 3


def flat(seed: int) -> torch.Tensor:
    return torch.cat([one.detach().flatten() for one in net(seed).parameters()])


def found(module: nn.Module, count: int) -> dict[str, Any]:
    """What is compared; every check of an analysis has to be passed."""
    objective = Objective(module, "cross_entropy", data(count), l2=1e-3)
    theta = flat(2)
    value, slope = objective.value_and_gradient(theta)
    answers: dict[str, Any] = {"value": value, "accuracy": objective.measure(theta).accuracy}
    answers["slope"] = float(torch.linalg.vector_norm(slope))
    answers["along"] = float(slope @ objective.as_point(flat(3)).theta)
    if count == ODD:
        return answers
    result = landscape.hessian(objective, theta, top_k=2, bottom_k=1, search=False)
    answers |= {"eigenvalues": result.eigenvalues, "gradient_norm": result.gradient_norm}
    answers["bend"] = result.gradient_curvature
    line = landscape.interpolate(objective, theta, flat(3), num_points=5)
    answers |= {"line": line.loss, "distance": line.distance, "line status": line.status}
    answers["failed"] = [f"{one.name} {one.value} {one.bound}" for one in result.checks if not one.passed]
    answers["status"] = result.status
    return answers


def refusals(objective: Objective) -> dict[str, str]:
    """What a sharded module cannot be asked."""
    calls = {
        "gauss-newton": lambda: landscape.hessian(objective, objective.theta, operator="gauss-newton"),
        "exact": lambda: landscape.hessian(objective, objective.theta, top_k=1, exact=True),
        "vectors": lambda: landscape.hessian(objective, objective.theta, top_k=1, save_vectors=True),
        "train": lambda: landscape.train(objective, epochs=1),
        "double-backward": lambda: landscape.hessian(objective, objective.theta, product="double-backward"),
    }
    answers = {}
    for name, call in calls.items():
        try:
            call()
            answers[f"refused {name}"] = "taken"
        except BadInput as error:
            answers[f"refused {name}"] = str(error)
    return answers


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    distributed.start("cpu")
    module = sharded()
    before = [here(one).clone() for one in module.parameters()]
    answers = {
        f"{key} of {count}": value for count in (EVEN, ODD) for key, value in found(module, count).items()
    }
    objective = Objective(module, "cross_entropy", data(EVEN))
    answers |= refusals(objective)
    answers["moved"] = any(
        not torch.equal(a, here(b)) for a, b in zip(before, module.parameters(), strict=True)
    )
    answers["share"] = landscape.numerics.vectors.local(objective.theta).numel() / objective.num_parameters
    drawn = landscape.numerics.vectors.normal(objective.theta, torch.Generator().manual_seed(5))
    answers["drawn"] = float(drawn.square().sum())
    np.savez(folder / f"{distributed.num_processes()}-{distributed.rank()}.npz", **answers)
    distributed.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
