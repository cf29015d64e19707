"""The whole of ``hessian`` on a module that FSDP2 shards: by torchrun, or whole in one process."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from shards import by_entry
from torch import nn

import landscape
from landscape import Objective, distributed
from landscape.numerics.spread import local

SAMPLES = 32


def net(width: int) -> nn.Sequential:
    generator = torch.Generator().manual_seed(0)
    module = nn.Sequential(
        nn.Linear(64, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 10)
    ).double()
    with torch.no_grad():
        for one in module.parameters():
            one.copy_(torch.randn(one.shape, generator=generator) / one.shape[-1] ** 0.5)
    return module


def spectrum(module: nn.Module) -> dict[str, Any]:
    """Top eigenvalues with their errors, the trace and the density; every check has to be passed."""
    x = torch.randn(SAMPLES, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    objective = Objective(module, "cross_entropy", (x, torch.arange(SAMPLES) % 10))
    result = landscape.hessian(
        objective,
        objective.theta,
        top_k=3,
        trace=True,
        trace_error=0.2,
        density=True,
        num_probes=2,
        num_steps=12,
    )
    return {
        "eigenvalues": result.eigenvalues,
        "errors": result.errors,
        "trace": result.trace,
        "trace_error": result.trace_error,
        "mass_below_zero": result.mass_below_zero,
        # Of a density only sums tell: its nodes may lie as near to one another as they like.
        "moments": [float((result.density_weights * result.density_nodes**k).sum()) for k in (1, 2, 3)],
        "gradient_norm": result.gradient_norm,
        "status": result.status,
        "share": local(objective.theta).numel() / objective.num_parameters,
        "failed": [f"{one.name} {one.value} {one.bound}" for one in result.checks if not one.passed],
    }


def main(folder: Path, width: int) -> None:
    torch.set_num_threads(1)
    module: Any = net(width)
    if distributed.is_launched():
        from torch.distributed.fsdp import fully_shard

        distributed.start("cpu")
        fully_shard(module[2])
        fully_shard(module)
    else:
        for owner, name, draw in by_entry():
            setattr(owner, name, draw)
    answers = spectrum(module)
    if distributed.is_first():
        np.savez(folder / f"{distributed.num_processes()}.npz", **answers)
    distributed.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
