"""The most bytes of tensors alive in this process while eigenvalues of a module in parts are sought, by torchrun."""

import sys
from pathlib import Path

import torch
from peak import Peak
from torch import nn
from torch.distributed.fsdp import fully_shard

import landscape
from landscape import Objective, distributed

# Of so many alike a layer that is gathered is a small part.
DEPTH, WIDTH = 16, 48


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    distributed.start("cpu")
    torch.manual_seed(0)
    layers = [one for _ in range(DEPTH) for one in (nn.Linear(WIDTH, WIDTH), nn.Tanh())]
    module = nn.Sequential(*layers).double()
    for layer in layers[::2]:
        fully_shard(layer)
    fully_shard(module)
    objective = Objective(module, "cross_entropy", (torch.randn(8, WIDTH).double(), torch.arange(8)))
    with Peak() as peak:
        landscape.hessian(objective, objective.theta, top_k=1, max_products=8, search=False)
    # In vectors, of as many numbers as there are parameters.
    found = peak.bytes / 8 / objective.num_parameters
    (folder / f"{distributed.num_processes()}-{distributed.rank()}").write_text(str(found))
    distributed.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
