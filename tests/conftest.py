"""What every test shares: one thread, and small problems with known answers."""

import hypothesis
import pytest
import torch
from torch import nn

from landscape import Objective

torch.set_num_threads(1)
# The same examples on every run, and no deadline: the first call of an operation in a process is slow.
hypothesis.settings.register_profile("landscape", deadline=None, derandomize=True)
hypothesis.settings.load_profile("landscape")


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def regression() -> Objective:
    """Linear regression without bias in float64: 40 samples, 5 inputs, 3 outputs."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(40, 5, generator=generator, dtype=torch.float64)
    y = torch.randn(40, 3, generator=generator, dtype=torch.float64)
    module = nn.Linear(5, 3, bias=False, dtype=torch.float64)
    with torch.no_grad():
        module.weight.copy_(torch.randn(3, 5, generator=generator, dtype=torch.float64))
    return Objective(module, "mse", (x, y))


@pytest.fixture
def classifier() -> Objective:
    """A small net with batch norm and dropout on 30 samples of 3 classes, float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        module = nn.Sequential(
            nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.5), nn.Linear(6, 3)
        ).double()
        x, y = torch.randn(30, 4, dtype=torch.float64), torch.randint(3, (30,))
        module(x)  # moves the running statistics away from their defaults
    return Objective(module, "cross_entropy", (x, y))
