"""Kinks that descents end at: nothing lower is near them, and the check sees those of which that is not so."""

import numpy as np
import pytest
import torch
from torch import nn

from landscape import Objective
from landscape.descent.critical import end_of
from landscape.descent.kink_proofs import BOUND, kink_checks
from landscape.progress import silent

X = torch.randn(24, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = X[:, :1].sin() + X[:, 1:].abs()


def objective(seed: int) -> Objective:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = nn.Sequential(nn.Linear(2, 3), nn.LeakyReLU(0.1), nn.Linear(3, 1)).double()
    return Objective(module, "mse", (X, Y))


def descended(subject: Objective, theta: torch.Tensor, rates: np.ndarray) -> tuple[float, torch.Tensor]:
    """The lowest of a plain loop of gradient steps, and the last place."""
    net, lowest = nn.Sequential(nn.Linear(2, 3), nn.LeakyReLU(0.1), nn.Linear(3, 1)).double(), np.inf
    for rate in rates:
        nn.utils.vector_to_parameters(theta, net.parameters())
        loss = nn.functional.mse_loss(net(X), Y)
        slope = torch.cat([one.flatten() for one in torch.autograd.grad(loss, list(net.parameters()))])
        lowest, theta = min(lowest, loss.item()), theta - float(rate) * slope
    return lowest, theta


@pytest.fixture(scope="module")
def kinks() -> list[tuple[Objective, dict[str, np.ndarray]]]:
    found = []
    for seed in range(6):
        subject = objective(seed)
        theta = descended(subject, subject.theta, np.full(300, 0.1))[1]
        end = end_of(subject, theta, True, silent, "")
        if end["end_status"] == "kink":
            found.append((subject, end))
    return found


def test_no_plain_descent_from_one_comes_lower(kinks):
    """By steps of 1e-2 that shrink to 1e-7 at slopes of at most 1: no way of 0.5 falls by more than 1e-4 a unit."""
    assert len(kinks) >= 2
    for subject, end in kinks:
        assert end["polished_gradient_norm"] > 1e-3
        theta = torch.from_numpy(end["theta"])
        lowest, _ = descended(subject, theta, np.geomspace(1e-2, 1e-7, 1500))
        assert lowest >= end["polished_cost"] - 1e-4


def test_a_place_from_which_it_falls_on_is_seen(kinks):
    for subject, end in kinks:
        theta = torch.from_numpy(end["theta"])
        rows = {"end_status": np.array(["kink"])}
        for moved, holds in ((0.0, True), (0.05, False)):
            draws = np.random.default_rng(0)
            (check,) = kink_checks(subject, (theta + moved)[None], rows, np.array([0]), draws)
            assert check.passed == holds, check
            assert check.bound == BOUND


def test_without_a_kink_there_is_nothing_to_check():
    subject = objective(0)
    rows = {"end_status": np.array(["degenerate"])}
    assert not kink_checks(subject, subject.theta[None], rows, np.array([0]), np.random.default_rng(0))
