"""Memory and time of a module in parts as laws of its size, from two sizes; those of two others beside what they say.

``python laws.py --processes 2`` starts torchrun once for every width. Bytes are those of live tensors in the first
process at the peak of a search for the top eigenvalue, seconds those of its processor for a gradient, the least of
several: three gigabytes a process, and some minutes.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

DEPTH, NUM_SAMPLES, NUM_PRODUCTS, NUM_GRADIENTS = 8, 64, 8, 15


def measure(width: int) -> dict[str, float]:
    """In a process of torchrun: the number of parameters, bytes and seconds."""
    import torch
    from peak import Peak  # pyright: ignore[reportMissingImports]
    from torch import nn
    from torch.distributed.fsdp import fully_shard

    import landscape
    from landscape import Objective, distributed

    torch.set_num_threads(1)
    distributed.start("cpu")
    torch.manual_seed(0)
    layers = [one for _ in range(DEPTH) for one in (nn.Linear(width, width), nn.Tanh())]
    module = nn.Sequential(*layers).double()
    for layer in layers[::2]:
        fully_shard(layer)
    fully_shard(module)
    samples = torch.randn(NUM_SAMPLES, width, dtype=torch.float64), torch.arange(NUM_SAMPLES) % width
    objective = Objective(module, "cross_entropy", samples)
    seconds = []
    for _ in range(NUM_GRADIENTS):
        began = time.process_time()
        objective.value_and_gradient(objective.theta)
        seconds.append(time.process_time() - began)
    with Peak() as peak:
        landscape.hessian(objective, objective.theta, top_k=1, max_products=NUM_PRODUCTS, search=False)
    found = {"d": objective.num_parameters, "bytes": peak.bytes, "seconds": min(seconds)}
    if distributed.is_first():
        print(json.dumps(found))
    distributed.stop()
    return found


def launched(width: int, processes: int) -> dict[str, float]:
    run = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    run += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", __file__, "--width", str(width)]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--width", type=int)
    parser.add_argument("--widths", type=int, nargs=4, default=(768, 1024, 1280, 1536))
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    if "RANK" in os.environ:
        measure(options.width)
        return
    found = [launched(width, options.processes) for width in options.widths]
    first, second = found[:2]
    laws = {}
    for name in ("bytes", "seconds"):
        slope = (second[name] - first[name]) / (second["d"] - first["d"])
        laws[name] = (first[name] - slope * first["d"], slope)
        print(f"{name} = {laws[name][0]:.4g} + {slope:.4g} d, in each of {options.processes} processes")
    vectors = laws["bytes"][1] * options.processes / 8
    print(f"that is {vectors:.2f} vectors of d numbers of 8 bytes over all processes")
    print("| d | bytes | law | off by | seconds | law | off by |\n|---|---|---|---|---|---|---|")
    for one in found:
        cells = [f"{one['d']:,}".replace(",", " ")]
        for name, (start, slope) in laws.items():
            said = start + slope * one["d"]
            cells += [f"{one[name]:.4g}", f"{said:.4g}", f"{said / one[name] - 1:+.1%}"]
        print("|", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
