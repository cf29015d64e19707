"""Curvature where F is next to nothing: terms cancel in H, and what is left is known to the rounding of those."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import landscape
from landscape import Objective
from landscape.objective.products import Product


class Recurrent(nn.Module):
    """Steps one behind the other, and a norm: a product is rounded many times, alike on both sides."""

    def __init__(self):
        super().__init__()
        self.steps = nn.GRU(2, 6, batch_first=True)
        self.norm = nn.LayerNorm(6)
        self.last = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.norm(self.steps(x.unflatten(1, (4, 2)))[0][:, -1]))


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 20), nn.Softplus(), nn.Linear(20, 3))


def fitted(
    share: float,
    dtype: torch.dtype,
    make: Callable[[], nn.Module] = perceptron,
    *,
    count: int = 60,
    seed: int = 0,
) -> tuple[nn.Module, Tensor, Tensor]:
    """A net that tells its classes apart, the surer the larger ``share``; inputs and targets."""
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(count, 8, generator=draw), torch.randint(3, (count,), generator=draw)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = make().double()
    x = x.double()
    steps = torch.optim.LBFGS(module.parameters(), max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        steps.zero_grad()
        loss = functional.cross_entropy(module(x), y)
        loss.backward()
        return loss

    while closure().item() > 1e-4:
        steps.step(closure)
    with torch.no_grad():
        for one in list(module.children())[-1].parameters():
            one *= share
    return module.to(dtype), x.to(dtype), y


def exact(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy without a term that cancels: log(1 + Σ exp(z_j − z_y)) over the other classes j."""
    own = outputs.gather(1, targets[:, None])
    others = torch.ones_like(outputs).scatter(1, targets[:, None], 0.0)
    return torch.log1p(((outputs - own).exp() * others).sum(1))


def failed(result) -> list[str]:
    return [check.name for check in result.checks if not check.passed]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("share", [2.0, *(pytest.param(one, marks=pytest.mark.slow) for one in (1.3, 3.0))])
def test_eigenvalues_lie_within_their_errors(share, dtype):
    """Against those of a loss that does not cancel; symmetric to its rounding, they were said not to be."""
    module, x, y = fitted(share, dtype)
    objective = Objective(module, nn.CrossEntropyLoss(), (x, y))
    oracle = Objective(copy.deepcopy(module).double(), exact, (x.double(), y))
    assert oracle.value(oracle.theta) < 1e-5
    found = landscape.hessian(objective, objective.theta, top_k=3, trace=True)
    right = landscape.hessian(oracle, oracle.theta, top_k=3, tol=1e-10, exact=True)
    assert not failed(found)
    assert not objective.doubts
    # ∇F cancels too, and moves a λ by what it is off. What did not converge need not be the one of its rank.
    ranked = np.abs(found.eigenvalues - right.eigenvalues)
    nearest = np.abs(np.subtract.outer(found.eigenvalues, right.spectrum)).min(1)
    assert (np.where(found.converged, ranked, nearest) <= found.errors + right.errors).all()
    total = float(np.sum(right.spectrum))
    assert abs(found.trace - total) <= 4 * found.trace_error
    assert any("known to" in note for note in found.notes)


@pytest.mark.parametrize("seed", [3, 4])
def test_errors_that_are_alike_in_rows_and_columns_are_within_those_stated(seed):
    """An asymmetry far below what a symmetry is asked to tells of an error that is many times as large."""
    module, x, y = fitted(2.0, torch.float64, Recurrent, count=24, seed=seed)
    objective = Objective(module, nn.CrossEntropyLoss(), (x, y))
    oracle = Objective(copy.deepcopy(module), exact, (x, y))
    found = landscape.hessian(objective, objective.theta, top_k=6, tol=1e-8)
    right = landscape.hessian(oracle, oracle.theta, top_k=6, tol=1e-8, exact=True)
    assert not failed(found)
    truth = np.sort(right.spectrum)[::-1][:6]
    apart = np.abs(found.eigenvalues - truth) / found.errors
    assert (apart <= 1).all(), apart


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_sharpness_of_a_net_that_fits(dtype):
    module, x, y = fitted(2.0, dtype)
    objective = Objective(module, nn.CrossEntropyLoss(), (x, y))
    oracle = Objective(copy.deepcopy(module).double(), exact, (x.double(), y))
    found = landscape.sharpness(objective, objective.theta, num_draws=2)
    right = landscape.hessian(oracle, oracle.theta, top_k=1, tol=1e-10)
    assert not failed(found)
    (row,) = np.flatnonzero(found.measure == "lambda_max")
    assert abs(found.values[row] - right.eigenvalues[0]) <= found.errors[row] + right.errors[0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_what_is_not_symmetric_beyond_that_rounding_fails(monkeypatch, dtype):
    """A product that turns vectors by a hundred times as much."""
    module, x, y = fitted(2.0, dtype)
    objective = Objective(module, nn.CrossEntropyLoss(), (x, y))
    right = landscape.hessian(objective, objective.theta, top_k=2)
    (symmetry,) = (check for check in right.checks if check.name == "symmetry")
    off, call = 100 * symmetry.bound * right.eigenvalues[0], Product.__call__
    half = objective.num_parameters // 2

    def turned(self: Product, v: Tensor) -> Tensor:
        more = torch.zeros_like(v)
        more[:half] = v[half : 2 * half]
        return call(self, v) + off * more

    monkeypatch.setattr(Product, "__call__", turned)
    assert "symmetry" in failed(landscape.hessian(objective, objective.theta, top_k=2))
