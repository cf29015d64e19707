"""Kernels, ranks, floors and limits against the closed forms of the theory, and against each other on other sizes."""

import pytest
import torch
from certified import BH_X, BH_Y, K_X, K_Y, draw, kernel_net, linear_objective, two_layer
from torch import nn

import landscape
from landscape import Objective
from landscape.certificates.kernel import (
    dense_kernel,
    errors_of,
    jacobian,
    kernel_operator,
    loss_of,
    moved_along,
)
from landscape.certificates.lazy import moved
from landscape.certificates.linear import floor, linear_net
from landscape.certificates.structure import structure_at
from landscape.certificates.two_layer import arc_cosine_kernel, closed_kernel, pattern_matrix, two_layers
from landscape.numerics.rank import numerical_rank


def at(objective: Objective):
    return objective, objective.present_point()


def same(one, other, scale: float = 1e-12):
    torch.testing.assert_close(one, torch.as_tensor(other, dtype=one.dtype), rtol=scale, atol=scale)


@pytest.mark.parametrize("form", ["layers", "functions", "sum"])
def test_the_two_layer_oracle_however_it_is_written(form):
    objective, point = at(kernel_net(form))
    seen = structure_at(objective, point)
    kernel, _ = dense_kernel(objective, point)
    same(kernel, [[9, 3, 10, 17], [3, 12, 13, 2], [10, 13, 26, 13], [17, 2, 13, 41]])
    values = torch.linalg.eigvalsh(kernel)
    same(values, [0.7847597064, 3.5910629670, 25.1990380374, 58.4251392892], 1e-9)
    same(seen.outputs.flatten(), [2, 6, 7, 0])
    e = errors_of(objective, point, seen.outputs.flatten()) / 2
    same(e @ kernel @ e, 3181)
    same(objective.gradient(point.theta).square().sum(), 795.25)
    assert loss_of(objective, point, seen.outputs.flatten()) == pytest.approx(26.25, rel=1e-14)
    assert 4 * 795.25 / (4 * float(values[0])) == pytest.approx(1013.3675232648, rel=1e-10)
    features = numerical_rank(seen.layers[-1].features)
    assert (features.rank, seen.num_dead, len(seen.layers[-1].features)) == (3, 1, 4)
    assert features.last == pytest.approx(1.4049157385, rel=1e-10)
    assert seen.last is not None


@pytest.mark.parametrize(
    ("inputs", "hidden", "outputs", "samples"), [(2, 5, 1, 4), (3, 4, 2, 6), (1, 7, 3, 5)]
)
@pytest.mark.parametrize("biases", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize(
    "activation", [nn.ReLU, lambda: nn.LeakyReLU(0.1), lambda: nn.ReLU(inplace=True), nn.PReLU]
)
def test_the_closed_kernel_of_two_layers(inputs, hidden, outputs, samples, biases, activation):
    objective, point = at(two_layer(inputs, hidden, outputs, samples, biases, activation()))
    found = two_layers(structure_at(objective, point), objective)
    assert found is not None
    kernel, _ = dense_kernel(objective, point)
    assert found.has_all == (activation is not nn.PReLU)
    if found.has_all:
        same(closed_kernel(found), kernel)
    assert numerical_rank(pattern_matrix(found)).rank <= min(samples, inputs * hidden)


@pytest.mark.parametrize("frozen", [0, 2])
def test_biases_that_stand_are_in_no_kernel(frozen):
    module = two_layer(3, 4, 2, 5, (True, True), nn.ReLU()).module
    module.get_submodule(str(frozen)).get_parameter("bias").requires_grad_(False)
    objective = Objective(module, "mse", (torch.randn(5, 3).double(), torch.randn(5, 2).double()))
    result = landscape.certify(objective, objective.theta)
    assert [check for check in result.checks if not check.passed] == []
    states = dict(zip(result.assumption.tolist(), result.state.tolist(), strict=True))
    assert states["features: width ≥ n"] == ("holds" if frozen == 0 else "fails")


@pytest.mark.parametrize("loss", [nn.HuberLoss(), lambda outputs, y: (outputs - y).square().mean()])
def test_of_a_loss_of_ones_own_nothing_is_said(loss):
    module = two_layer(3, 4, 1, 5, (False, False), nn.ReLU()).module
    objective = Objective(module, loss, (torch.randn(5, 3).double(), torch.randn(5, 1).double()))
    result = landscape.certify(objective, objective.theta)
    states = dict(zip(result.assumption.tolist(), result.state.tolist(), strict=True))
    assert states["square loss"] == "cannot be known"


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU, nn.Softplus])
@pytest.mark.parametrize("outputs", [1, 3])
def test_every_way_to_the_kernel_leads_to_the_same(activation, outputs):
    objective, point = at(two_layer(3, 4, outputs, 7, (True, True), activation()))
    kernel, _ = dense_kernel(objective, point)
    whole = jacobian(objective, point)
    same(kernel, whole @ whole.T)
    same(dense_kernel(objective, point, memory_limit=8 * 31 * 4 * outputs)[0], kernel)
    v = draw(len(kernel), seed=3)
    same(kernel_operator(objective, point)(v), kernel @ v, 1e-11)
    by = draw(objective.num_parameters, seed=4)
    same(moved_along(objective, point, by), whole @ by, 1e-11)
    step = 1e-6 * by

    def heights(theta):
        return structure_at(objective, objective.as_point(theta)).outputs.flatten()

    quotient = (heights(point.theta + step) - heights(point.theta - step)) / 2e-6
    torch.testing.assert_close(quotient, whole @ by, rtol=1e-6, atol=1e-7)


def test_the_kernel_of_a_linear_model_is_the_gram_matrix():
    x = draw(6, 3)
    objective, point = at(Objective(nn.Linear(3, 1, bias=False).double(), "mse", (x, draw(6, 1, seed=1))))
    same(dense_kernel(objective, point)[0], x @ x.T)


@pytest.mark.parametrize(
    ("data", "widths", "wanted"),
    [
        ((BH_X, BH_Y), (3, 3, 2, 3), 1.0872266630),
        ((BH_X, BH_Y), (3, 2, 3), 1.0872266630),
        ((BH_X, BH_Y), (3, 1, 3), 1.6298695586),
        ((BH_X, BH_Y), (3, 3, 3), 1.0625),
        ((BH_X, BH_Y[:, :2]), (3, 2, 2), 0.8125),
        ((BH_X, BH_Y[:, :2]), (3, 1, 2), 1.2807618379),
    ],
)
def test_the_floor_of_linear_nets(data, widths, wanted):
    objective, point = at(linear_objective(data[0], data[1], widths))
    net = linear_net(structure_at(objective, point), objective, point)
    assert net is not None
    assert net.widths == widths
    assert floor(net, data[1]) == pytest.approx(wanted / data[1].shape[1], rel=1e-9)


def test_the_floor_is_reached_by_descent_and_never_passed():
    x, y = draw(9, 4), draw(9, 3, seed=5)
    for bias in (False, True):
        objective, point = at(linear_objective(x, y, (4, 2, 3), bias=bias, seed=2))
        net = linear_net(structure_at(objective, point), objective, point)
        assert net is not None
        lowest = floor(net, y)
        theta = point.theta
        for _ in range(1200):
            theta = theta - 0.3 * objective.gradient(theta)
        assert lowest is not None
        assert lowest - 1e-13 <= objective.value(theta) <= lowest + 1e-3


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU, nn.Softplus])
def test_what_is_no_linear_net_is_told(activation):
    objective, point = at(two_layer(3, 4, 2, 5, (False, False), activation()))
    assert linear_net(structure_at(objective, point), objective, point) is None


def test_the_arc_cosine_limit():
    kernel = arc_cosine_kernel(K_X)
    assert (torch.diag(kernel) - torch.tensor([1.0, 1, 2, 5]).double()).abs().max() < 1e-14
    same(torch.linalg.eigvalsh(kernel), [0.1108908419, 0.4275791944, 2.2754440693, 6.1860858945], 1e-9)
    same(torch.linalg.eigvalsh(kernel[:3, :3]), [0.2268467062, 0.8408450569, 2.9323082369], 1e-9)
    # The same direction twice, at two lengths: the angle is 0 and the diagonal exact.
    twice = arc_cosine_kernel(torch.tensor([[0.1, 0.3], [0.3, 0.9]], dtype=torch.float64))
    assert float(twice[0, 1]) == pytest.approx(0.3, rel=1e-15)


class Product(nn.Module):
    """h = v·w x/√p from v = 1 and w = (1, −1, 1, …), at which h = 0."""

    def __init__(self, p: int):
        super().__init__()
        self.v = nn.Parameter(torch.ones(p, dtype=torch.float64))
        self.w = nn.Parameter(torch.ones(p, dtype=torch.float64) * torch.tensor([1.0, -1.0]).repeat(p // 2))

    def forward(self, x):
        return (self.v @ self.w) / len(self.v) ** 0.5 * x


@pytest.mark.parametrize(
    ("p", "kernel", "way"),
    [(2, 2.449489742783, 0.679304074609), (16, 2.061552812809, 0.703066454919), (64, 2.015564437075, 0.706077580334)],
)  # fmt: skip
def test_what_training_changes_of_a_product(p, kernel, way):
    """K goes from 2 to 2√(1 + 1/p) along the flow, θ by a way near 1/√2: the change of K is like 1/p, not p^(−1/2)."""
    one = torch.ones(1, 1, dtype=torch.float64)
    found = moved(Objective(Product(p), "mse", (one, one)), 5e-3, 1200)
    assert found.kernel == pytest.approx(kernel / 2 - 1, abs=3e-3 / p)
    assert found.weights == pytest.approx(way / (2 * p) ** 0.5, rel=4e-3)


def test_ranks_count_what_is_more_than_rounding():
    u, v = draw(12, 4), draw(4, 9, seed=1)
    assert numerical_rank(u @ v).rank == 4
    assert str(numerical_rank(torch.zeros(3, 2).double())) == "0 of 2"
    almost = torch.diag(torch.tensor([1.0, 1e-10], dtype=torch.float64))
    assert numerical_rank(almost).is_full
    assert not numerical_rank(almost).is_sure
    assert numerical_rank(K_Y, full=4).smallest == 0.0
