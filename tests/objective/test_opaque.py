"""Outputs that hold their numbers out of sight, as distributions do, and layers that torch.func or keywords call."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import jacfwd, vmap

import landscape
from landscape import BadInput, Objective
from landscape.descent.told_apart import row_of


class Wrapped(nn.Module):
    """A linear map whose outputs are given as ``wrap`` makes them of it."""

    def __init__(self, wrap):
        super().__init__()
        torch.manual_seed(0)
        self.map, self.wrap = nn.Linear(3, 2).double(), wrap

    def forward(self, x):
        return self.wrap(self.map(x))


def distribution(h):
    return torch.distributions.Normal(h, 1.0, validate_args=False)


WRAPS = {
    "distribution": (distribution, lambda o, t: -o.log_prob(t).mean()),
    "namespace": (lambda h: SimpleNamespace(h=h), lambda o, t: (o.h - t).square().mean()),
    "number beside": (lambda h: {"h": h, "n": len(h)}, lambda o, t: (o["h"] - t).square().sum() / o["n"]),
}
DATA = torch.randn(9, 3, generator=torch.Generator().manual_seed(1)).double(), torch.ones(9, 2).double()


@pytest.mark.parametrize("name", WRAPS)
def test_losses_of_single_samples_are_those_of_calls_of_their_own(name):
    wrap, loss = WRAPS[name]
    module = Wrapped(wrap)
    objective = Objective(module, loss, DATA)
    slopes = []
    for i in range(9):
        value = loss(module(DATA[0][i : i + 1]), DATA[1][i : i + 1])
        parts = torch.autograd.grad(value, list(module.parameters()))
        slopes.append(torch.cat([part.reshape(-1) for part in parts]))
    matrix = torch.stack(slopes).T @ torch.stack(slopes) / 9
    found = landscape.hessian(objective, objective.theta, top_k=2, operator="empirical-fisher")
    assert found.eigenvalues == pytest.approx(torch.linalg.eigvalsh(matrix).flip(0)[:2].numpy(), rel=1e-8)
    assert found.status == "complete"
    assert not objective.tells_samples_apart


def test_draws_inside_a_distribution_are_told_as_such():
    module = Wrapped(lambda h: distribution(h + torch.randn_like(h)))
    with pytest.raises(BadInput, match="different outputs for the same inputs"):
        Objective(module, WRAPS["distribution"][1], DATA)


def test_what_a_distribution_makes_as_it_is_asked_is_no_difference():
    module = Wrapped(lambda h: torch.distributions.Categorical(logits=h, validate_args=False))
    data = DATA[0], torch.arange(9) % 2

    def loss(o, t):
        return -(o.log_prob(t) + 0.1 * o.entropy()).mean()

    objective = Objective(module, loss, data)
    assert objective.value(objective.theta) == pytest.approx(loss(module(data[0]), data[1]).item(), rel=1e-12)
    outputs = module(data[0])
    loss(outputs, data[1])
    row = row_of(objective)
    told = row(outputs)
    assert told.size > 2 * 9
    assert not np.array_equal(told, row(module(2 * data[0])))


class Flow(nn.Module):
    """log |det ∂z/∂x| of z = x + f(x), whose tangents torch.func begins with zeros that have no storage."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.f = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2)).double()

    def forward(self, x):
        jacobian = vmap(jacfwd(lambda one: one + 0.3 * self.f(one)))(x)
        return -torch.linalg.slogdet(jacobian)[1]


def test_products_and_certificates_of_a_module_that_transforms_itself():
    objective = Objective(Flow(), "output", (DATA[0][:, :2], torch.zeros(9)))
    rows = torch.eye(objective.num_parameters).double() * 1e-5
    slopes = [
        objective.gradient(objective.theta + row) - objective.gradient(objective.theta - row) for row in rows
    ]
    wanted = torch.linalg.eigvalsh(torch.stack(slopes) / 2e-5).flip(0)[:2]
    found = landscape.hessian(objective, objective.theta, top_k=2)
    assert found.status == "complete"
    assert found.eigenvalues == pytest.approx(wanted.numpy(), abs=1e-7)
    assert landscape.certify(objective, objective.theta, last_layer=False).status == "complete"


class ByKeyword(nn.Module):
    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.a, self.b = nn.Linear(3, 4).double(), nn.Linear(4, 2).double()

    def forward(self, x):
        return self.b(input=torch.relu(self.a(input=x)))


def test_units_of_layers_that_are_called_by_keyword_are_moved():
    objective = Objective(ByKeyword(0), "mse", DATA)
    other = objective.point(ByKeyword(1).state_dict())
    assert landscape.connect(objective, objective.present_point(), other, method="idle").status == "complete"
