"""How fast, as ratios measured in one run; never absolute times.

The default run leaves this folder out: ``pytest -o addopts= tests/benchmarks -s``. One thread, as for
every small net. The bare loop is what everybody would write: parameters copied into the module,
one forward pass over all samples, the loss.
"""

import copy
import resource
import subprocess
import sys
from collections.abc import Callable
from statistics import median

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from landscape import Objective
from landscape.analyses import slice2d
from landscape.inputs.data import load_data
from landscape.inputs.models.cnn import cnn
from landscape.inputs.models.mlp import mlp


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def ratio(ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> float:
    """Median over the rounds of the time of ``ours`` over that of ``theirs`` right after it.

    Processor time, children included: on one thread it is what a quiet machine would take, also where
    others use the machine meanwhile. One round more warms up.
    """
    found = []
    for _ in range(rounds + 1):
        seconds = []
        for function in (ours, theirs):
            start = processor_seconds()
            function()
            seconds.append(processor_seconds() - start)
        found.append(seconds[0] / seconds[1])
    result = median(found[1:])
    print(f"{result:.3f}")
    return result


def processor_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def bare_slice(objective: Objective, result, loss: Callable[[Tensor, Tensor], Tensor]) -> np.ndarray:
    """The plain loop over the grid of a slice."""
    module = copy.deepcopy(objective.module).eval()
    parameters = list(module.parameters())
    sizes = [parameter.numel() for parameter in parameters]
    (x,), y = objective.samples
    theta, (first, second) = objective.theta, torch.from_numpy(result.directions)
    losses = []
    with torch.no_grad():
        for beta in result.beta.tolist():
            for alpha in result.alpha.tolist():
                point = theta + alpha * first + beta * second
                for parameter, part in zip(parameters, point.split(sizes), strict=True):
                    parameter.copy_(part.view_as(parameter))
                losses.append(float(loss(module(x), y)))
    return np.array(losses).reshape(len(result.beta), len(result.alpha))


def slice_ratio(
    objective: Objective, num_points: int, rounds: int, loss: Callable[[Tensor, Tensor], Tensor]
) -> float:
    def ours():
        return slice2d(objective, objective.theta, num_points=num_points)

    result = ours()
    np.testing.assert_allclose(bare_slice(objective, result, loss), result.loss, rtol=1e-4)
    return ratio(ours, lambda: bare_slice(objective, result, loss), rounds)


def digits(net: str) -> Objective:
    data = load_data("digits", {"image": net == "cnn"}, None)
    module = cnn((1, 8, 8), 10) if net == "cnn" else mlp((64,), 10, widths=(128, 128))
    return Objective(module, "cross_entropy", (data.inputs, data.targets))


@pytest.mark.parametrize(("net", "num_points", "rounds"), [("mlp", 31, 5), ("cnn", 21, 5)])
def test_a_slice_costs_its_forward_passes(net, num_points, rounds):
    assert slice_ratio(digits(net), num_points, rounds, functional.cross_entropy) <= 1.15


def test_a_slice_of_a_tiny_net_is_batched():
    x = torch.randn(100, 2)
    y = (x[:, 0] * x[:, 1] > 0).float()
    objective = Objective(mlp((2,), 1, widths=(10,)), "bce", (x, y))

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(outputs[:, 0], targets)

    assert slice_ratio(objective, 51, 9, loss) <= 1 / 5


def test_help_starts_about_as_fast_as_click():
    def run(*arguments: str) -> None:
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)

    assert ratio(lambda: run("-m", "landscape", "--help"), lambda: run("-c", "import click"), rounds=9) <= 3
