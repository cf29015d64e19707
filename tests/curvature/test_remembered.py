"""A spectrum that was stopped: taken up again it is bit for bit the undisturbed one, with the products that lack."""

import numpy as np
import pytest
import torch
from torch import nn

import landscape
from landscape.objective.differences import Differences
from landscape.objective.objective import Objective
from landscape.objective.products import Product

ASKED = {"top_k": 3, "bottom_k": 1, "trace": True, "density": True, "num_probes": 3, "num_steps": 6}
NUMBERS = (
    "eigenvalues",
    "residuals",
    "errors",
    "trace",
    "trace_error",
    "density_nodes",
    "num_products",
    "num_kept",
)


class Stopped(Exception):
    """In place of a kill."""


class Detached(torch.autograd.Function):
    """A square whose second derivative autograd does not have: products are differences of the gradient."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, slope):
        (x,) = ctx.saved_tensors
        return 2 * x * slope


class Squares(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 6)

    def forward(self, x):
        return Detached.apply(self.layer(x)).sum(1, keepdim=True)


def net(kind: str) -> Objective:
    torch.manual_seed(3)
    x = torch.randn(40, 4)
    module = (
        Squares() if kind == "differences" else nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))
    )
    dtype = torch.float32 if kind == "float32" else torch.float64
    return Objective(module, "mse", (x, x[:, :1] * x[:, 1:2]), dtype=dtype)


@pytest.fixture
def count(monkeypatch):
    """Products taken since it was set to zero; ``stop`` is the one at which work stops, if any."""
    monkeypatch.setattr("landscape.progress.SAVE_SECONDS", -1.0)
    seen = {"taken": 0, "stop": None}

    def counted(cls):
        whole = cls.__call__

        def call(self, v):
            if seen["taken"] == seen["stop"]:
                raise Stopped
            seen["taken"] += 1
            return whole(self, v)

        monkeypatch.setattr(cls, "__call__", call)

    counted(Product)
    counted(Differences)
    return seen


@pytest.mark.parametrize("kind", ["float64", "float32", "differences"])
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_a_stopped_spectrum_goes_on(kind, share, count):
    objective = net(kind)
    whole = landscape.hessian(objective, objective.theta, **ASKED)
    # Whether autograd is right here is found out once.
    count["taken"] = 0
    landscape.hessian(objective, objective.theta, **ASKED)
    total, count["taken"] = count["taken"], 0
    journal: dict = {}
    count["stop"] = int(share * total)
    with pytest.raises(Stopped):
        landscape.hessian(objective, objective.theta, journal=journal, **ASKED)
    kept = sum(len(block["sums"]) for block in journal.values())
    assert kept > 0.5 * share * whole.num_products
    count["taken"], count["stop"] = 0, None
    again = landscape.hessian(objective, objective.theta, journal=journal, **ASKED)
    assert count["taken"] == total - kept
    for name in NUMBERS:
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name), err_msg=name)
    assert [(one.name, one.value) for one in again.checks] == [(one.name, one.value) for one in whole.checks]


def test_what_another_search_has_kept_is_not_taken(count):
    objective = net("float64")
    journal: dict = {}
    landscape.hessian(objective, objective.theta, top_k=2, seed=1, journal=journal)
    other = landscape.hessian(objective, objective.theta, top_k=2, seed=2, journal=journal)
    count["taken"] = 0
    alone = landscape.hessian(objective, objective.theta, top_k=2, seed=2)
    needed, count["taken"] = count["taken"], 0
    np.testing.assert_array_equal(other.eigenvalues, alone.eigenvalues)
    again = landscape.hessian(objective, objective.theta, top_k=2, seed=2, journal=journal)
    np.testing.assert_array_equal(again.eigenvalues, alone.eigenvalues)
    assert count["taken"] < needed - alone.num_products / 2


def test_points_that_are_done_are_not_computed_again(count):
    objective = net("float64")
    points = [objective.theta, 2 * objective.theta]
    whole = landscape.hessian(objective, points, top_k=2)
    journal: dict = {}
    landscape.hessian(objective, points, top_k=2, journal=journal)
    assert {key.split()[1] for key in journal} == {"0", "1"}
    again = landscape.hessian(objective, points, top_k=2, journal=journal)
    np.testing.assert_array_equal(again.eigenvalues, whole.eigenvalues)
