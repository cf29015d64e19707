"""Many descents at once: noise, minima, efficiency."""

import copy
from typing import Any

import numpy as np
import torch
from mutations.scenarios.ground import scenario
from torch import Tensor, nn

import landscape
from landscape import Objective


def half_moons(count: int = 60) -> tuple[Tensor, Tensor]:
    """Two noisy half circles in the plane, and their labels (n, 1)."""
    draws = np.random.default_rng(0)
    angle, label = draws.uniform(0, np.pi, count), np.arange(count) % 2
    sign = 1 - 2 * label
    points = np.stack([np.cos(angle) * sign + label, np.sin(angle) * sign + 0.5 * label], 1)
    noisy = points + draws.normal(0, 0.2, points.shape)
    return torch.from_numpy(noisy), torch.from_numpy(label.astype(float))[:, None]


def circle_net(
    width: int, depth: int, seed: int, loss: str = "bce", dtype: torch.dtype | None = None
) -> Objective:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for size in [2] + [width] * (depth - 1):
            layers += [nn.Linear(size, width), nn.Tanh()]
        module = nn.Sequential(*layers, nn.Linear(width, 1)).double()
    return Objective(module, loss, half_moons(), dtype=dtype)


@scenario
def noise() -> Any:
    objective = circle_net(4, 1, 0)
    return landscape.noise(
        objective,
        objective.present_point(),
        step_sizes=(0.02, 0.05, 0.1),
        batch_sizes=(1, 4),
        num_steps=60,
        num_seeds=3,
        measure_every=10,
        num_probes=2,
    )


@scenario
def noise_at_random() -> Any:
    objective = circle_net(4, 1, 0)
    return landscape.noise(
        objective,
        objective.present_point(),
        step_sizes=(0.02, 0.05, 0.1),
        batch_sizes=(1, 4),
        num_steps=60,
        num_seeds=2,
        num_probes=2,
        descent_steps=20,
    )


def _minima(loss: str = "bce", **options: Any) -> Any:
    usual = {"widths": (1, 2), "restarts": (4,), "lr": (0.3,), "steps": 150, "max_steps": 250}
    return landscape.minima(
        lambda width, depth, seed: circle_net(width, depth, seed, loss), **{**usual, **options}
    )


@scenario
def minima() -> Any:
    return _minima()


@scenario
def minima_single() -> Any:
    """In float32, whose rounding hides what float64 shows."""
    return landscape.minima(
        lambda width, depth, seed: circle_net(width, depth, seed, dtype=torch.float32),
        widths=(2,),
        restarts=(3,),
        lr=(0.3,),
        steps=60,
        max_steps=60,
    )


@scenario
def minima_samples() -> Any:
    """Of fewer samples and of more."""
    return landscape.minima(
        circle_net, widths=(2,), samples=(8, 12), restarts=(2,), lr=(0.3,), steps=30, max_steps=30
    )


@scenario
def minima_polished() -> Any:
    return _minima("mse", polish=True)


@scenario
def minima_kinks() -> Any:
    """Of units with two slopes, whose descents mostly end where ∇F jumps."""

    def net(width: int, depth: int, seed: int) -> Objective:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = nn.Sequential(nn.Linear(2, width), nn.LeakyReLU(0.1), nn.Linear(width, 1)).double()
        return Objective(module, "mse", half_moons(20))

    return landscape.minima(net, widths=(3,), restarts=(4,), lr=(0.1,), steps=300, max_steps=300, polish=True)


class Flat(nn.Module):
    """2u² + v²/2 − 1e-12 w²: an eigenvalue that is twenty times its error, and no more."""

    def __init__(self, seed: int):
        super().__init__()
        self.place = nn.Parameter(torch.tensor([0.1 * seed, -0.1, 0.2], dtype=torch.float64))
        self.register_buffer("bends", torch.tensor([2.0, 0.5, -1e-12], dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return (self.bends * self.place.square()).sum() + 0 * x


@scenario
def minima_flat() -> Any:
    data = (torch.zeros(3, 1, dtype=torch.float64), torch.zeros(3, 1))
    return landscape.minima(
        lambda width, depth, seed: Objective(Flat(seed), "output", data),
        widths=(1,),
        restarts=(2,),
        lr=(0.2,),
        steps=400,
        max_steps=400,
    )


def _efficiency(loss: str = "bce", **options: Any) -> Any:
    objective = circle_net(3, 1, 0, loss)
    other = objective.point(copy.deepcopy(circle_net(3, 1, 1, loss).module).state_dict(), "other")
    usual = {"sizes": (30, 60), "batch_size": 7, "observations_per_sample": 4, "num_records": 4}
    return landscape.efficiency(objective, [objective.present_point(), other], **{**usual, **options})


@scenario
def efficiency() -> Any:
    return _efficiency(step_sizes=(0.5, 0.1))


@scenario
def efficiency_square() -> Any:
    return _efficiency("mse", step_sizes=(1e30, 0.5, 0.1))  # of the first nothing is left
