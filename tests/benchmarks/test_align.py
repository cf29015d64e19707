"""What alignment reaches and how long it takes: the figures of the README.

``LANDSCAPE_DATA=… pytest -o addopts= tests/benchmarks/test_align.py -s``; MNIST is left out where it is missing.
"""

import time
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from landscape import Objective
from landscape.analyses import align, train
from landscape.errors import BadInput
from landscape.inputs.data import load_data
from landscape.inputs.models.mlp import mlp
from landscape.objective.parameters import Point
from landscape.symmetry.alignment import aligned


class Block(nn.Module):
    """Two 3×3 convolutions and a shortcut, projected where the shape changes (He et al. 2016, option B)."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.norm2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        projected = [nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)]
        self.shortcut = nn.Sequential(*projected) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x)))))
        return torch.relu(y + self.shortcut(x))


def resnet18() -> nn.Module:
    """The shape of ResNet-18: 64 to 512 channels, 62 parameters, 11.2 million numbers."""
    widths = [
        (64, 64, 1),
        (64, 64, 1),
        (64, 128, 2),
        (128, 128, 1),
        (128, 256, 2),
        (256, 256, 1),
        (256, 512, 2),
    ]
    return nn.Sequential(
        nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        *(Block(*shape) for shape in (*widths, (512, 512, 1))),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(512, 10),
    )


def test_resnet18_in_twenty_seconds():
    # Processor time on one thread: what one quiet core would take.
    torch.set_num_threads(1)
    torch.manual_seed(0)
    first, second = resnet18(), resnet18()
    x = torch.randn(32, 3, 32, 32)
    objective = Objective(first, "cross_entropy", (x, torch.arange(32) % 10))
    a = objective.present_point()
    b = objective.point({**dict(second.named_parameters()), **dict(second.named_buffers())})
    start = time.process_time()
    found = aligned(objective, a, b)
    seconds = time.process_time() - start
    print(f"\nResNet-18: {seconds:.1f} s, {found.coverage}, planted {found.planted_recovered}")
    assert seconds <= 20
    assert len(found.symmetry.movable) == 61
    assert found.planted_recovered
    assert found.function_difference <= 1e-9


@cache
def digits_ends(seed: int) -> tuple[Objective, Point]:
    """Digits, 64-128-128-10, 60 epochs without weight decay: a training loss below 1e-3."""
    data = load_data("digits", {}, None)
    torch.manual_seed(seed)
    objective = Objective(mlp((64,), 10, (128, 128)), "cross_entropy", (data.inputs, data.targets))
    result = train(objective, epochs=60, lr=0.1, momentum=0.9, batch_size=64, seed=seed)
    assert result.final_loss < 1e-3
    return objective, objective.point({n: torch.from_numpy(v) for n, v in result.states["final"].items()})


WAYS = {
    "weights": {},
    "activations": {"match": "activations"},
    "weights, rescaled": {"symmetry": "scaling"},
    "weights, refined": {"refine": 1000},
    "weights, rescaled, refined": {"symmetry": "scaling", "refine": 1000},
}


@pytest.mark.parametrize("way", WAYS)
def test_barriers_of_five_pairs_on_the_digits(way):
    torch.set_num_threads(1)
    rows = []
    for pair in range(5):
        objective, a = digits_ends(2 * pair)
        _, b = digits_ends(2 * pair + 1)
        start = time.perf_counter()
        result = align(objective, a, b, **WAYS[way])
        rows.append([result.barrier_before, result.barrier_after, time.perf_counter() - start])
        assert result.status == "complete"
    before, after, seconds = np.array(rows).T
    print(
        f"\n{way}: straight {before.mean():.4f}, aligned {after.mean():.4f} ({after.round(4)}), {seconds.mean():.1f} s"
    )
    assert abs(before.mean() - 0.2345) <= 0.03
    if "refined" in way:
        assert after.mean() <= 0.0035


def test_barrier_on_mnist():
    torch.set_num_threads(2)
    try:
        data = load_data("mnist", {}, None)
    except BadInput as error:
        pytest.skip(str(error))
    ends = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        objective = Objective(mlp((28, 28), 10, (512, 512)), "cross_entropy", (data.inputs, data.targets))
        result = train(objective, epochs=15, lr=0.1, momentum=0.9, batch_size=256, seed=seed)
        ends.append(objective.point({n: torch.from_numpy(v) for n, v in result.states["final"].items()}))
    start = time.perf_counter()
    result = align(objective, *ends, num_points=25)
    seconds = time.perf_counter() - start
    print(f"\nMNIST: {result.barrier_before:.4f} to {result.barrier_after:.4f}, {seconds:.1f} s")
    assert result.barrier_after <= 0.05
