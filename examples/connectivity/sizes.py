"""Memory and time of an alignment as laws of the size, from three sizes; a fourth beside what they say.

``python examples/connectivity/sizes.py``: nets of ``--width`` units and of 4, 8, 16 and 32 layers, each aligned with
one of another seed in a process of its own. Bytes are resident memory at the peak above that before, seconds those of
the processor. Linux alone.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

DEPTHS = (4, 8, 16, 32)


def measure(width: int, depth: int) -> dict[str, float]:
    """The number of parameters, bytes and seconds."""
    import torch
    from torch import nn

    from landscape import Objective
    from landscape.symmetry.alignment import aligned

    torch.set_num_threads(1)

    def net(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        hidden = [one for _ in range(depth) for one in (nn.Linear(width, width), nn.ReLU())]
        return nn.Sequential(nn.Linear(64, width), nn.ReLU(), *hidden, nn.Linear(width, 10))

    objective = Objective(net(0), "cross_entropy", (torch.randn(16, 64), torch.arange(16) % 10))
    other = objective.point({name: one.detach() for name, one in net(1).named_parameters()})
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    began = time.process_time()
    aligned(objective, objective.present_point(), other, restarts=1)
    seconds = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"d": objective.num_parameters, "bytes": peak - before, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--depth", type=int)
    options = parser.parse_args()
    if options.depth:
        print(json.dumps(measure(options.width, options.depth)))
        return
    found = []
    for depth in DEPTHS:
        run = [sys.executable, __file__, "--width", str(options.width), "--depth", str(depth)]
        done = subprocess.run(run, capture_output=True, text=True, check=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    *known, last = found
    print("| d | MB | s |\n|---|---|---|")
    for one in found:
        print(f"| {one['d']:,} | {one['bytes'] / 1e6:.0f} | {one['seconds']:.1f} |")
    mean = sum(one["d"] for one in known) / len(known)
    for name in ("bytes", "seconds"):
        centre = sum(one[name] for one in known) / len(known)
        slope = sum((one["d"] - mean) * (one[name] - centre) for one in known)
        slope /= sum((one["d"] - mean) ** 2 for one in known)
        said = centre + slope * (last["d"] - mean)
        at = centre + slope * (1e8 - mean)
        print(
            f"{name}: {slope:.3g} a parameter; of the last {said:.4g} said, {last[name]:.4g} found; {at:.3g} at 1e8"
        )


if __name__ == "__main__":
    main()
