"""Which steps of a run are measured: as the words of the command say, or its check fails."""

import numpy as np
import pytest
import torch
from torch import nn

import landscape
from landscape import Objective
from landscape.descent import noise, noise_proofs

MEASURED = noise.measured_steps


def failed(**options) -> set[str]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 3, generator=generator).double()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    objective = Objective(module, "mse", (x, x[:, :1] - x[:, 1:2] ** 2))
    asked = {
        "step_sizes": (0.01, 0.05),
        "batch_sizes": (1, 3),
        "num_steps": 60,
        "num_seeds": 2,
        "num_probes": 0,
    }
    result = landscape.noise(objective, objective.theta, **{**asked, **options})
    assert "measured steps" in {check.name for check in result.checks}
    return {check.name for check in result.checks if not check.passed}


@pytest.mark.parametrize("every", [None, 1, 7, 60, 100])
def test_nothing_fails_where_they_are_as_said(every):
    assert failed(measure_every=every) == set()


@pytest.mark.parametrize("seed", range(4))
def test_a_run_that_diverges_gives_its_place_to_one_measured_at_other_steps(seed):
    found = {"step_sizes": (0.01, 300.0), "batch_sizes": (1,), "num_steps": 300, "num_seeds": 1}
    assert failed(seed=seed, **found) == set()


@pytest.mark.parametrize(
    ("every", "instead"),
    [
        (7, lambda due: due + 1),
        (7, lambda due: due[1:]),
        (7, lambda due: np.append(due, due[-1] + 1)),
        (7, lambda due: np.arange(0, 60, 8)),
        (None, lambda due: due // 2),
        (None, lambda due: np.minimum(due + 3, 59)),
    ],
)
def test_others_are_seen(every, instead, monkeypatch):
    for module in (noise, noise_proofs):
        monkeypatch.setattr(module, "measured_steps", lambda *given: instead(MEASURED(*given)))
    assert "measured steps" in failed(measure_every=every)


def test_values_that_are_missing_are_seen(monkeypatch):
    monkeypatch.setattr(noise, "measured_steps", lambda *given: MEASURED(*given)[:-1])
    assert "measured steps" in failed(measure_every=7)


def test_at_a_minimum_of_every_sample_nothing_is_measured_and_nothing_fails():
    module = nn.Linear(3, 1, bias=False).double()
    nn.init.zeros_(module.weight)
    x = torch.eye(3, dtype=torch.float64)
    objective = Objective(module, "mse", (x, torch.zeros(3, 1).double()))
    asked = {"step_sizes": (0.01,), "batch_sizes": (1,), "num_steps": 40, "num_seeds": 2, "num_probes": 0}
    result = landscape.noise(objective, objective.theta, **asked)
    assert [check.name for check in result.checks if not check.passed] == []
    assert not result.mean.any()
