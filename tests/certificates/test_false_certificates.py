"""What must not be certified: modules that look like another at one point, gradients that are small by their units."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from certified import draw
from scipy.optimize import brentq
from torch import Tensor, nn

import landscape
from landscape import Objective

X, Y = draw(5, 3), draw(5, 2, seed=1)


def certified(module: nn.Module, x: Tensor = X, y: Tensor = Y, loss: Any = "mse") -> Any:
    objective = Objective(module.double(), loss, (x, y))
    result = landscape.certify(objective, objective.theta)
    assert result.status == "complete", [check for check in result.checks if not check.passed]
    return result


def states(result: Any) -> dict[str, str]:
    return dict(zip(map(str, result.assumption), map(str, result.state), strict=True))


def linear(*widths: int, scale: float = 1.0) -> nn.Sequential:
    layers = [nn.Linear(a, b, bias=False).double() for a, b in pairwise(widths)]
    for number, layer in enumerate(layers):
        layer.weight.data = scale * draw(*layer.weight.shape, seed=number)
    return nn.Sequential(*layers)


class Bent(nn.Module):
    """``bend`` between two layers or behind them, ``zero`` the weights that hide it."""

    def __init__(self, bend: Callable[[Tensor], Tensor], width: int, *, is_behind: bool):
        super().__init__()
        self.first, self.last = nn.Linear(3, width, bias=False), nn.Linear(width, 2, bias=False)
        self.first.weight.data = draw(width, 3)
        for layer in (self.last,) if is_behind else (self.first, self.last):
            layer.weight.data.zero_()
        self.bend, self.is_behind = bend, is_behind

    def forward(self, x: Tensor) -> Tensor:
        if self.is_behind:
            return self.bend(self.last(self.first(x).tanh()))
        return self.last(self.bend(self.first(x)))


@pytest.mark.parametrize("bend", [torch.square, torch.relu, lambda z: z**3, lambda z: z * z.abs()])
@pytest.mark.parametrize("width", [9, 20])
def test_outputs_that_equal_the_last_layer_at_one_point_alone_are_not_its_products(bend, width):
    result = certified(Bent(bend, width, is_behind=True))
    assert result.gradient_norm == 0
    assert result.loss == pytest.approx(float(Y.square().mean()))
    assert result.verdict.startswith("no certificate")
    assert states(result)["outputs = last layer (trained) × features"] == "fails"


@pytest.mark.parametrize(
    "bend", [torch.tanh_, lambda z: z.mul_(2.0), lambda z: z[:, :1].mul_(2.0) * z, torch.tanh]
)
def test_what_is_bent_in_place_is_no_linear_net(bend):
    result = certified(Bent(bend, 3, is_behind=False))
    assert result.verdict.startswith("no certificate")
    assert result.floor is None


def test_a_frozen_factor_makes_neither_a_saddle_nor_a_floor_that_is_reached():
    module = linear(3, 4, 2)
    module[0].weight.data[1:] = 0
    module[0].weight.requires_grad_(False)
    z = X @ module[0].weight.T
    module[1].weight.data = torch.linalg.lstsq(z, Y, driver="gelsd").solution.T.contiguous()
    # Convex in what is trained, and critical: the global minimum, though above the floor.
    result = certified(module)
    assert result.gradient_norm < 1e-12
    assert result.floor < 0.9 * result.loss
    assert result.verdict.startswith("no certificate")
    assert states(result)["every factor trained, and a parameter of its own"] == "fails"


class Shared(nn.Module):
    def __init__(self, scale: float):
        super().__init__()
        self.a, self.b = nn.Parameter(scale * draw(3, 3)), nn.Parameter(scale * draw(3, 2))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.a @ self.a @ self.b


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_a_factor_that_stands_twice_is_not_free(scale):
    result = certified(Shared(scale))
    assert "floor" not in result.verdict
    assert "saddle" not in result.verdict
    assert states(result)["every factor trained, and a parameter of its own"] == "fails"


@pytest.mark.parametrize("scale", [1e-3, 1e-4])
def test_small_weights_of_full_rank_are_no_saddle(scale):
    result = certified(linear(3, 4, 4, 4, 4, 2, scale=scale))
    assert result.gradient_norm < 1e-8
    assert result.product_rank == 2
    assert result.verdict.startswith("not a critical point, though ‖∇F‖ = ")


def test_a_gradient_that_is_small_by_its_units_certifies_nothing():
    tiny = 1e-11
    module = nn.Sequential(nn.Linear(3, 20), nn.Tanh(), nn.Linear(20, 2)).double()
    for number, one in enumerate(module.parameters()):
        one.data = draw(*one.shape, seed=number) * (tiny if number > 1 else 1.0)
    result = certified(module, X, tiny * Y)
    assert result.gradient_norm < 1e-8
    assert result.verdict.startswith("no certificate: ‖∇F‖ = ")
    module = linear(9, 3)
    result = certified(module, 1e-9 * draw(5, 9), torch.softmax(draw(5, 3), 1), "cross_entropy")
    assert result.gradient_norm < 1e-8
    assert result.verdict.startswith("no certificate: ‖∇F‖ = ")


def test_smoothed_labels_have_a_best_output():
    targets = torch.tensor([0, 1, 2, 0, 1])
    result = certified(linear(9, 3), draw(5, 9), targets, nn.CrossEntropyLoss(label_smoothing=0.1))
    assert states(result)["loss attains its minimum"] == "holds"
    assert "no critical point can be here" not in result.verdict
    hard = certified(linear(9, 3), draw(5, 9), targets, "cross_entropy")
    assert "no critical point can be here" in hard.verdict


class Tied(nn.Module):
    """Σⱼ θⱼ cos(θⱼx/2): the last weights are within their own features too, through another tensor."""

    def __init__(self, *theta: float):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor([theta], dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cos(x @ (self.theta * 0.5)) @ self.theta.T


def test_a_last_weight_that_makes_its_own_features_is_no_last_layer():
    # ∂h/∂θ = g(θx/2) with g(z) = cos z − z sin z: at x = 1, 2 of rank one for this θ, so that errors at right angles to
    # both columns leave a critical point with F = 1, though the features have rank 2 = n.
    def g(z: float) -> float:
        return math.cos(z) - z * math.sin(z)

    second = brentq(lambda t: g(0.5) * g(t) - g(1.0) * g(t / 2), 3.6, 3.7, xtol=1e-15)
    module, x = Tied(1.0, second).double(), torch.tensor([[1.0], [2.0]]).double()
    errors = torch.tensor([[g(1.0)], [-g(0.5)]], dtype=torch.float64)
    errors *= math.sqrt(2) / errors.norm()
    result = certified(module, x, module(x).detach() - errors)
    assert result.gradient_norm < 1e-14
    assert result.loss == pytest.approx(1.0)
    assert result.verdict.startswith("no certificate")
    assert result.last_layer_bound == math.inf
    assert states(result)["outputs = last layer (trained) × features"] == "fails"


@pytest.mark.parametrize(
    ("bend", "state"),
    [
        (nn.functional.selu, "cannot be known"),
        (lambda z: nn.functional.elu(z, 0.5), "cannot be known"),
        (nn.functional.elu, "holds"),
        (lambda z: nn.functional.celu(z, 0.5), "holds"),
        (lambda z: z * (z > 0), "cannot be known"),
        (lambda z: torch.fmax(z, 0.1 * z), "cannot be known"),
    ],
)
def test_a_kink_that_is_no_rectifier_is_not_said_to_be_absent(bend, state):
    module = Bent(bend, 4, is_behind=False)
    module.first.weight.data, module.last.weight.data = draw(4, 3), draw(2, 4)
    assert states(certified(module))["differentiable: no kink within 1e-8"] == state


class Beside(nn.Module):
    """Two layers side by side, or one behind the other; the first unit has no weights but perhaps a bias."""

    def __init__(self, bias: float, *, is_behind: bool):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 2, bias=False)
        self.first.weight.data, self.second.weight.data = draw(3, 3), draw(2, 3)
        self.first.weight.data[0], self.second.weight.data[:, 0] = 0, 0
        self.first.bias.data.fill_(bias)
        self.is_behind = is_behind

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x).relu()
        return self.second(first) if self.is_behind else first[:, :2] + self.second(x)


@pytest.mark.parametrize(("bias", "is_behind", "count"), [(0.0, True, 1), (1.0, True, 0), (0.0, False, 0)])
def test_a_bias_is_a_weight_and_layers_side_by_side_have_no_units_between(bias, is_behind, count):
    x = draw(5, 3, seed=3)
    objective = Objective(Beside(bias, is_behind=is_behind).double(), "mse", (x, Y))
    assert landscape.certify(objective, objective.theta).num_inactive == count


def test_a_loss_that_is_defined_of_probabilities_alone_is_no_fault():
    module = nn.Sequential(nn.Linear(3, 2), nn.Sigmoid())
    assert certified(module, y=(Y > 0).double(), loss=nn.BCELoss()).verdict.startswith("not a critical")


@pytest.mark.parametrize("begin", [0.0, 1.0])
def test_a_linearised_loss_that_is_not_finite_and_a_start_of_zeros_are_no_faults(begin):
    module = nn.Sequential(nn.Linear(3, 2), nn.Softplus()).double()
    objective = Objective(module, lambda h, y: h.log().square().mean(1) + 0 * y[:, 0], (X, Y))
    start = begin * objective.theta
    found: Any = landscape.certify(objective, [start, start + 5 * torch.arange(len(start)).cos()])
    assert math.isnan(found.linear_loss[-1])
    assert found.status == "complete", [check for check in found.checks if not check.passed]


def test_a_unit_without_weights_at_one_of_two_points_is_no_fault():
    objective = Objective(nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2)).double(), "mse", (X, Y))
    found: Any = landscape.certify(objective, [0 * objective.theta, objective.theta + 0.1])
    assert found.status == "complete", [check for check in found.checks if not check.passed]
    assert [bool(one > 0) for one in found.inactive_fall] == [True, False]
