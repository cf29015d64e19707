"""Certificates: kernels, features, the last layer, linear nets, a run, the limit of wide nets."""

from typing import Any

import torch
from mutations.scenarios.ground import TRAIN, rows, scenario
from torch import nn
from torch.nn import functional

import landscape
from landscape import Objective
from landscape.inputs.models.ntk import ntk_net


def _small(*layers: nn.Module, count: int = 12, outputs: int = 2, **options: Any) -> Objective:
    inputs, labels = rows(*TRAIN)
    wanted = functional.one_hot(labels, 10)[:count, :outputs].double()
    module = nn.Sequential(*layers).double()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=0.5)
    return Objective(module, "mse", (inputs[:count, :4].double(), wanted), **options)


@scenario
def certify() -> Any:
    objective = _small(nn.Linear(4, 9), nn.ReLU(), nn.Linear(9, 2), chunk_size=5)
    return landscape.certify(objective, objective.theta, last_layer=True)


@scenario
def certify_inactive() -> Any:
    """A hidden unit without any weight, in or out."""
    objective = _small(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    theta = objective.theta.clone()
    theta[[*range(8, 12), 26, 32, 38]] = 0
    return landscape.certify(objective, theta)


@scenario
def certify_near() -> Any:
    """At a third of ‖∇F‖, which is no critical point then."""
    objective = _small(nn.Linear(4, 9), nn.ReLU(), nn.Linear(9, 2))
    gradient = objective.gradient(objective.theta)
    return landscape.certify(objective, objective.theta, tol=float(gradient.norm()) / 3)


@scenario
def certify_narrow() -> Any:
    """More samples than the pattern's matrix has columns, and features of less than full rank."""
    objective = _small(nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 1), outputs=1)
    inputs, targets = objective.samples.picked(None)
    assert isinstance(inputs[0], torch.Tensor)
    twice = torch.cat([inputs[0][:, :3], inputs[0][:, :1]], 1)
    return landscape.certify(objective.varied(data=(twice, targets)), objective.theta)


@scenario
def certify_leaky() -> Any:
    """Units with two slopes, one of them at its kink at every sample."""
    objective = _small(nn.Linear(4, 4), nn.LeakyReLU(0.25), nn.Linear(4, 1), outputs=1)
    theta = objective.theta.clone()
    theta[[4, 5, 6, 7, 17]] = 0
    return landscape.certify(objective, theta)


@scenario
def certify_run() -> Any:
    objective = _small(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))
    return landscape.certify(objective, [objective.theta, 1.1 * objective.theta])


@scenario
def certify_lanczos() -> Any:
    objective = _small(nn.Linear(4, 9), nn.Softplus(), nn.Linear(9, 2))
    return landscape.certify(objective, objective.theta, kernel="lanczos")


@scenario
def certify_linear() -> Any:
    objective = _small(nn.Linear(4, 3, bias=False), nn.Linear(3, 2, bias=False))
    return landscape.certify(objective, objective.theta)


@scenario
def certify_thin() -> Any:
    """A linear net of rank one."""
    objective = _small(nn.Linear(4, 1, bias=False), nn.Linear(1, 2, bias=False))
    return landscape.certify(objective, objective.theta)


@scenario
def certify_widths() -> Any:
    x = torch.tensor([[1, 0], [0, 1], [2, -1]], dtype=torch.float64)

    def variant(seed: int, arguments: dict[str, Any]) -> Objective:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Objective(ntk_net((2,), 1, **arguments).double(), "mse", (x, x[:, :1]))

    first = variant(0, {"width": 5})
    return landscape.certify(first, first.theta, widths=(5, 10), draws=2, variant=variant)
