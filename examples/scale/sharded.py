"""Top eigenvalues of a net that FSDP2 shards, with what each process holds: torchrun --nproc-per-node 4 sharded.py.

Without torchrun the same net is taken whole, by a double backward, to compare with. ``--width`` sets its size.
"""

import argparse
import time

import torch
from torch import nn

import landscape
from landscape import Objective, distributed
from landscape.numerics.spread import local

parser = argparse.ArgumentParser()
parser.add_argument("--width", type=int, default=512)
parser.add_argument("--top-k", type=int, default=1)
options = parser.parse_args()
if distributed.is_launched():
    distributed.start("cpu")
torch.manual_seed(0)
width = options.width
module: nn.Module = nn.Sequential(
    nn.Linear(64, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 10)
).double()
if distributed.is_launched():
    from torch.distributed.fsdp import fully_shard

    for layer in list(module.children())[:-1]:
        if isinstance(layer, nn.Linear):
            fully_shard(layer)
    fully_shard(module)

x = torch.randn(64, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
objective = Objective(module, "cross_entropy", (x, torch.arange(64) % 10))
here, d = local(objective.theta).numel(), objective.num_parameters
began = time.monotonic()
result = landscape.hessian(objective, objective.theta, top_k=options.top_k, search=False)
seconds = time.monotonic() - began
failed = [check.name for check in result.checks if not check.passed]
if distributed.is_first():
    print(f"processes {distributed.num_processes()}  d {d}  here {here}  share {here / d:.4f}")
    print(f"eigenvalues {result.eigenvalues.tolist()}  errors {result.errors.tolist()}")
    print(f"products {result.num_products}  {seconds:.0f} s  checks {len(result.checks)}, failed {failed}")
distributed.stop()
