"""Every analysis that several processes can share, on few samples: as a module in one process, by torchrun in several.

37 samples are no multiple of 2 or 3, so that no two processes of 2, and of 3, have alike shares and chunks; the blocks
of points are small, and there are many of them.
"""

import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import nn

import landscape
from landscape import BadInput, Objective, Result, distributed
from landscape.objective import sweep

N = 37
GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(N + 11, 4, generator=GENERATOR, dtype=torch.float64)
Y = torch.arange(N + 11) % 3
# What counts chunks and clocks, or says how the work was shared out.
NOT_COMPARED = {"num_chunks", "num_kept", "num_threads"}


def net(*layers: nn.Module) -> nn.Module:
    generator, module = torch.Generator().manual_seed(1), nn.Sequential(*layers).double()
    with torch.no_grad():
        for one in module.parameters():
            one.copy_(0.7 * torch.randn(one.shape, generator=generator, dtype=torch.float64))
    return module


def plain() -> Objective:
    return Objective(
        net(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)), "cross_entropy", (X[:N], Y[:N]), chunk_size=6
    )


def normed() -> Objective:
    layers = (nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    return Objective(net(*layers), "cross_entropy", (X[:N], Y[:N]), chunk_size=6)


def trained(objective: Objective, seed: int) -> Any:
    run = landscape.train(
        objective, batch_size=8, epochs=12, lr=0.3, momentum=0.9, seed=seed, checkpoint_every=3
    )
    points = [
        objective.point({k: torch.from_numpy(v) for k, v in state.items()}) for state in run.states.values()
    ]
    return run, points


def cases() -> Iterator[tuple[str, Callable[[], Result]]]:
    objective, other = plain(), normed()
    test = objective.on((X[N:], Y[N:]))
    run, way = trained(objective, 0)
    a, b = way[-1], trained(objective, 3)[1][-1]
    start, theta = way[0], other.theta
    shift = torch.linspace(-1, 1, other.num_parameters).double()
    yield "train", lambda: run
    for options in (
        {"method": "gd", "optimizer": "adam", "lr": 0.05},
        {"method": "sgd", "schedule": "plateau", "lr": 0.02},
    ):
        yield (
            f"train {options['method']}",
            lambda options=options: landscape.train(objective, test=test, epochs=2, **options),
        )
    yield (
        "import",
        lambda: landscape.import_point(other, other.present_point(), test=other.on((X[N:], Y[N:]))),
    )
    yield (
        "hessian",
        lambda: landscape.hessian(objective, a, top_k=3, bottom_k=2, trace=True, density=True, exact=True),
    )
    # Little memory: the graphs that one process keeps, and another does not, leave it another basis.
    yield (
        "hessian restarted",
        lambda: landscape.hessian(objective, a, top_k=2, memory_limit=26_000, search=False),
    )
    yield "hessian at all", lambda: landscape.hessian(objective, way, top_k=2)
    yield "hessian by layers", lambda: landscape.hessian(objective, a, top_k=1, per_layer=True)
    for operator in ("gauss-newton", "fisher", "empirical-fisher"):
        yield operator, lambda operator=operator: landscape.hessian(objective, a, top_k=2, operator=operator)
    yield "sharpness", lambda: landscape.sharpness(objective, a, num_draws=3, ascent_steps=3)
    few = {"draws": 2, "num_points": 5, "noise_draws": 3, "ascent_steps": 3, "line_points": 5}
    yield "compare", lambda: landscape.compare(objective, [a, b], test=test, **few)
    yield "slice1d", lambda: landscape.slice1d(objective, a, test=test, num_points=61)
    yield "slice2d", lambda: landscape.slice2d(objective, a, test=test, num_points=11, draws=2)
    yield "slice2d curvature", lambda: landscape.slice2d(objective, a, num_points=3, curvature=True)
    for name in ("pca", "eigen"):
        yield (
            f"slice2d {name}",
            lambda name=name: landscape.slice2d(objective, a, directions=name, trajectory=way, num_points=5),
        )
    yield "slice2d of three", lambda: landscape.slice2d(objective, [a, b, start], num_points=5)
    for policy in ("frozen", "recalibrate", "repair"):
        yield (
            f"interpolate {policy}",
            lambda policy=policy: landscape.interpolate(
                other, theta, theta + shift, batchnorm=policy, num_points=21
            ),
        )
    budget = {"epochs": 4, "batch_size": 8, "num_points": 21, "lr": 0.05}
    for method in ("bezier", "chain", "minmax", "neb"):
        yield (
            f"connect {method}",
            lambda method=method: landscape.connect(
                objective, a, b, test=test, method=method, bends=2, **budget
            ),
        )
    yield "modes", lambda: landscape.modes(objective, [a, b, start], **budget)


def refusals() -> Iterator[tuple[str, Callable[[], Result]]]:
    objective = plain()
    theta = objective.theta
    yield "align", lambda: landscape.align(objective, theta, -theta)
    yield "merge", lambda: landscape.merge(objective, [theta, -theta])
    yield "modes", lambda: landscape.modes(objective, [theta, -theta, 2 * theta], align=True)
    yield "connect idle", lambda: landscape.connect(objective, theta, -theta, method="idle", num_points=5)
    yield "certify", lambda: landscape.certify(objective, theta)
    yield "noise", lambda: landscape.noise(objective, theta, step_sizes=[0.1], batch_sizes=[4], num_steps=40)
    yield "escape", lambda: landscape.escape(objective, theta, num_seeds=2, max_steps=20)
    yield (
        "minima",
        lambda: landscape.minima(lambda *_: objective, widths=[2], restarts=[2], steps=2, max_steps=2),
    )
    yield (
        "basins",
        lambda: landscape.basins(lambda *_: objective, widths=[2], restarts=1, steps=2),
    )
    yield (
        "efficiency",
        lambda: landscape.efficiency(objective, [theta], sizes=[8], methods=["gd"], step_sizes=[0.1]),
    )
    yield "batch norm", lambda: landscape.train(normed(), batch_size=8, epochs=1)
    yield (
        "certificate",
        lambda: landscape.hessian(plain().varied(dtype=torch.float32), theta.float(), certify=True),
    )


def numbers(result: Result) -> dict[str, np.ndarray]:
    found = {one.name: np.asarray(one.values) for one in result.arrays()} | result.scalars()
    states = {f"{label} {name}": value for label, one in result.states.items() for name, value in one.items()}
    return {
        name: np.asarray(value)
        for name, value in (found | states).items()
        if name not in NOT_COMPARED and np.asarray(value).dtype.kind in "fiub"
    }


def everything() -> dict[str, np.ndarray]:
    """Every number of every analysis; ``status …`` where one is not complete, ``refused …`` what was refused."""
    torch.set_num_threads(1)
    found: dict[str, np.ndarray] = {}
    # 18 numbers a sample: blocks of two points, were they counted by a process's own samples of 3, 4, 5 or 6.
    with warnings.catch_warnings(), mock.patch.object(sweep, "BLOCK_ACTIVATIONS", 2 * 18 * N):
        warnings.simplefilter("ignore")
        for name, compute in cases():
            result = compute()
            found |= {f"{name}: {key}": value for key, value in numbers(result).items()}
            failed = [check.name for check in result.checks if not check.passed]
            found[f"status {name}"] = np.array(f"{result.status} {failed}")
        for name, compute in refusals() if distributed.num_processes() > 1 else ():
            try:
                compute()
                found[f"refused {name}"] = np.array("")
            except BadInput as error:
                found[f"refused {name}"] = np.array(str(error))
    return found


if __name__ == "__main__":
    distributed.start("cpu")
    np.savez(Path(sys.argv[1]) / f"{distributed.num_processes()}-{distributed.rank()}.npz", **everything())
    distributed.stop()
