"""What is said of polished ends: a reason where, and only where, ‖∇F‖ is above the tolerance."""

import pytest
import torch
from torch import nn

import landscape
from landscape import Objective
from landscape.descent import critical


def failed() -> set[str]:
    def family(width: int, depth: int, seed: int) -> Objective:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(20, 3, generator=generator).double()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 1)).double()
        return Objective(module, "mse", (x, x[:, :1] - x[:, 1:2] ** 2))

    asked = {"widths": [1], "restarts": [2], "lr": [0.05], "steps": 60, "max_steps": 60}
    result = landscape.minima(family, polish=True, **asked)
    assert "polished ends" in {check.name for check in result.checks}
    return {check.name for check in result.checks if not check.passed}


def test_nothing_fails_where_they_are_polished():
    assert failed() == set()


@pytest.mark.parametrize("changes", [{"reason": "out of steps"}, {"tolerance": 1e-5}])
def test_a_reason_too_many_or_too_few(changes, monkeypatch):
    true = critical.perfected

    def other(wide, theta, *, tolerance):
        end = true(wide, theta, tolerance=changes.get("tolerance", tolerance))
        return end._replace(reason=changes.get("reason", end.reason))

    monkeypatch.setattr(critical, "perfected", other)
    assert failed() == {"polished ends"}


@pytest.mark.parametrize("more", [(), (nn.Dropout(0.5),)])
def test_one_end_is_polished_in_the_mode_of_f_and_without_a_recorded_graph(more, monkeypatch):
    """A perceptron by hand; with dropout, which F does not have, by autograd, down to where F is stationary."""
    monkeypatch.setattr("landscape.descent.gradients.recorded_function", None)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 3, generator=generator).double()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        module = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), *more, nn.Linear(2, 1)).double()
    objective = Objective(module, "mse", (x, x[:, :1] - x[:, 1:2] ** 2), l2=0.01)
    found = critical.perfected(objective, objective.theta, tolerance=1e-9)
    assert found.reason == ""
    leaf = [one.detach().requires_grad_() for one in found.theta.split([6, 2, 2, 1])]
    hidden = torch.tanh(x @ leaf[0].view(2, 3).T + leaf[1])
    gaps = hidden @ leaf[2][:, None] + leaf[3] - x[:, :1] + x[:, 1:2] ** 2
    value = gaps.square().mean() + 0.005 * sum(one.square().sum() for one in leaf)
    slopes = torch.autograd.grad(value, leaf)
    assert float(torch.cat(slopes).norm()) <= 2e-9
    assert found.value == pytest.approx(float(value.detach()), rel=1e-12)
