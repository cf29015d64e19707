"""Minima against theory: the sheet's bad minima with and without noise, linear nets, samples, growth, symmetries."""

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import landscape
from landscape import Objective
from landscape.analyses import minima
from landscape.certificates.almost_every import _places, setting_of
from landscape.descent.counts import Counts, counted, growth, share_interval
from landscape.errors import BadInput
from landscape.inputs.models.linear import linear
from landscape.inputs.models.mlp import mlp
from landscape.inputs.models.slope_noise import SlopeNoise
from landscape.symmetry.order import order_of

X = torch.tensor([[2.0, 1], [1, 2], [1, 1]], dtype=torch.float64)
Y = torch.tensor([[1.0], [1], [0]], dtype=torch.float64)
# W and v at which a bad minimum lies, the first of all units active, by cost.
BAD = {
    4 / 33: ([[3 / 22, 3 / 22], [3 / 22, 3 / 22]], [1, 1]),
    11 / 273: ([[510 / 91 - 30, -30 / 13 + 20], [-30, 20]], [1, -1]),
    11 / 30: ([[-0.3 - 20, 0.6 + 30], [-20, 30]], [1, -1]),
}
# Another set of samples, whose bad minima are known as well.
OTHER = torch.tensor([[1.0, 0.1], [0.1, 1], [1, 1]], dtype=torch.float64)
OTHER_COST, OTHER_BETA = 0.415368639667705, 0.34267913


def leaky(
    width: int, weights: Any = None, noise: Any = None, x: torch.Tensor = X, seed: int = 0
) -> Objective:
    torch.manual_seed(seed)
    module: nn.Module = mlp((2,), 1, activation="leaky_relu:0.1", bias=False, width=width).double()
    if weights is not None:
        with torch.no_grad():
            module.get_parameter("hidden1.weight").copy_(torch.tensor(weights[0], dtype=torch.float64))
            module.get_parameter("output.weight").copy_(torch.tensor([weights[1]], dtype=torch.float64))
    if noise is None:
        return Objective(module, "mse", (x, Y))
    drawn = SlopeNoise(module, (2,), 3, seed=7, values=noise or None)
    return Objective(drawn.double(), "mse", ((x, torch.arange(3)), Y))


QUICK: dict[str, Any] = {"lr": [0.05], "steps": 30, "max_steps": 30, "polish": True}


def near(weights: Any, noise: Any = None, x: torch.Tensor = X) -> Any:
    """Minima from starts near a point, which is one of 16: the others are moved by a thousandth."""

    def family(width: int, depth: int, seed: int) -> Objective:
        found = leaky(2, weights, noise, x)
        torch.manual_seed(seed)
        with torch.no_grad():
            for one in found.module.parameters():
                one.mul_(1 + 1e-3 * torch.randn_like(one))
        return found

    return minima(family, widths=[2], restarts=[4], **(QUICK | {"lr": [1e-6]}))


@pytest.mark.parametrize("cost", BAD)
def test_without_noise_descents_end_at_bad_differentiable_minima(cost):
    found = near(BAD[cost])
    np.testing.assert_allclose(found.polished_cost, cost, rtol=1e-12)
    assert set(found.end_status.ravel()) == {"degenerate"}
    assert (found.index == 0).all()
    assert found.num_distinct_minima.tolist() == [[1]]
    assert found.notes[-1] == "it says nothing here (n = 3, d₀ = 2)"


def test_without_noise_other_data_have_such_minima_too():
    half = OTHER_BETA
    found = near(([[half / 2, half / 2]] * 2, [1, 1]), x=OTHER)
    np.testing.assert_allclose(found.polished_cost, OTHER_COST, rtol=1e-12)


@pytest.mark.parametrize("noise", [(1, 2, 2, 1, -1, 1), ()], ids=["sheet", "drawn"])
def test_with_noise_no_end_that_is_a_minimum_lies_above_zero(noise):
    """From each of the points that are bad minima without it, and from others."""
    begins = dict(enumerate(BAD.values()))
    found = minima(
        lambda width, depth, seed: leaky(2, begins.get(seed), noise, seed=seed),
        widths=[2],
        restarts=[6],
        **(QUICK | {"steps": 150, "max_steps": 150}),
    )
    is_minimum = np.isin(found.end_status, ("minimum", "degenerate"))
    assert is_minimum.sum() >= 4
    assert found.polished_cost[is_minimum].max() < 1e-15
    assert [one for one in found.checks if not one.passed] == []
    said = found.notes[-1]
    if noise:
        assert said.startswith("whether it speaks cannot be known")
    else:
        assert said.startswith("it speaks of 1 of 1 cells")
        assert f"{int(is_minimum.sum())} degenerate (which may be none), F ≤ " in said


def test_the_assumptions_stand_by_cell_with_those_that_fail():
    found = minima(lambda width, depth, seed: leaky(width, None, ()), widths=[1, 2], restarts=[1], **QUICK)
    states = found.state[0]
    assert states.shape == (2, len(found.assumption))
    by_width = [dict(zip(found.assumption, one, strict=True))["n ≤ d₀d₁"] for one in states]
    assert by_width == ["fails", "holds"]
    assert "n ≤ d₀d₁ (holds at width 2, fails at width 1)" in found.notes[-2]
    assert found.num_inputs == 2
    assert found.is_wide.tolist() == [False, True]


def test_cells_are_named_by_their_axes_only_where_these_tell_them_all():
    axes = {"samples": [2, 8], "width": [1, 2, 3]}
    block = np.array([[False, True, True], [False, True, True]])
    assert _places(block, axes) == "width 2/3"
    assert _places(block[::-1] & [[True], [False]], axes) == "samples 2, width 2/3"
    assert _places(np.array([[True, True, False], [True, False, False]]), axes) == "3 of 6 cells"


def test_outputs_that_no_theorem_can_follow_are_not_known():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Parameter(torch.ones(2, dtype=torch.float64))

        def forward(self, x):
            return torch.where(x @ self.a > 0, x @ self.a, 0.1 * (x @ self.a))[:, None]

    states = dict(setting_of(Objective(Odd(), "mse", (X, Y)), 1).assumptions)
    assert states["leaky ReLUs, of slopes 1 and s ≠ 0"] == "cannot be known"
    assert states["no biases"] == "cannot be known"


# --- linear nets: the floor, and F − F_best in two parts ------------------------------------

BH_X = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]], dtype=torch.float64)
BH_Y = torch.tensor([[3.0, 0, 1], [0, 2, 0], [0, 0, 1], [1, -1, 0]], dtype=torch.float64)
# By the thinnest layer; the sheet's square loss is summed over the three outputs.
FLOORS = {1: 1.6298695586, 2: 1.0872266630, 3: 1.0625, 4: 1.0625}


def deep(width: int, depth: int, seed: int) -> Objective:
    torch.manual_seed(seed)
    return Objective(linear((3,), 3, width=width, depth=depth).double(), "mse", (BH_X, BH_Y))


def test_linear_nets_end_at_their_floor_and_the_error_is_split():
    found = minima(
        deep, widths=[1, 2, 4], depths=[1, 2], restarts=[3], lr=[0.05], steps=60, max_steps=60, polish=True
    )
    wanted = np.array([FLOORS[width] / 3 for width in (1, 2, 4)])
    np.testing.assert_allclose(found.floor, [wanted, wanted], rtol=1e-9)
    np.testing.assert_array_equal(found.best_cost, found.floor)
    np.testing.assert_allclose(found.convergence_error, found.cost - found.polished_cost, atol=1e-15)
    np.testing.assert_allclose(
        found.convergence_error + found.global_error, found.cost - found.floor[..., None], atol=1e-15
    )
    np.testing.assert_allclose(found.mean_error[..., 0], found.mean_error[..., 1:].sum(-1), atol=1e-14)
    np.testing.assert_allclose(
        found.mean_error[..., 1], (found.cost - found.polished_cost).mean(-1), atol=1e-15
    )
    assert found.part.tolist() == ["F − F_best", "F − F_polished", "F_polished − F_best"]
    np.testing.assert_allclose(found.global_error, 0, atol=1e-12)
    assert (found.best_share == 1).all()
    np.testing.assert_allclose(found.best_share_interval[..., 0], 0.025 ** (1 / 3))
    assert any("closed form (Eckart and Young 1936)" in note for note in found.notes)
    assert found.permutations.tolist() == [["1", "2! = 2", "4! = 24"], ["1", "(2!)^2 = 4", "(4!)^2 = 576"]]


def test_where_no_floor_is_known_the_best_is_the_lowest_met():
    found = near(BAD[4 / 33])
    assert found.floor is None
    np.testing.assert_array_equal(found.best_cost, found.polished_cost.min(-1))
    assert any("may lie above the lowest there is" in note for note in found.notes)
    rough = minima(lambda *_: leaky(2), widths=[2], restarts=[2], steps=3, max_steps=3)
    assert rough.mean_error is None
    np.testing.assert_array_equal(rough.best_cost, rough.cost.min(-1))


# --- samples as an axis, and growth ----------------------------------------------------------


def test_samples_are_an_axis_and_the_fewer_are_among_the_more():
    generator = torch.Generator().manual_seed(5)
    x, y = (torch.randn(30, k, generator=generator, dtype=torch.float64) for k in (2, 1))

    def family(width: int, depth: int, seed: int) -> Objective:
        torch.manual_seed(seed)
        return Objective(mlp((2,), 1, activation="tanh", width=width, depth=depth).double(), "mse", (x, y))

    asked: dict[str, Any] = {"widths": [1, 2], "depths": [2], "restarts": [2], "lr": [0.1], "seed": 3}
    found = minima(family, samples=[6, 30], steps=20, max_steps=20, **asked)
    assert found.cost.shape == (2, 1, 2, 2)
    assert found.num_parameters.shape == (1, 2)
    names = {one.name: one.dims for one in found.arrays()}
    for name in ("cost", "status", "gradient_norm", "index"):
        assert names[name] == ("samples", "depth", "width", "restart")
    assert names["num_distinct"] == names["num_distinct_minima"] == ("samples", "depth", "width")
    # All samples are those of a call that names none.
    whole = minima(family, steps=20, max_steps=20, **asked)
    assert whole.samples is None
    np.testing.assert_allclose(found.cost[1], whole.cost, rtol=1e-12)
    rows = torch.randperm(30, generator=torch.Generator().manual_seed(3))[:6]
    few = minima(lambda *given: family(*given).on((x[rows], y[rows])), steps=20, max_steps=20, **asked)
    np.testing.assert_allclose(found.cost[0], few.cost, rtol=1e-10)
    assert [one for one in found.checks if not one.passed] == []
    figure = found.plot()
    assert len(figure.axes) == len(whole.plot().axes)


@pytest.mark.parametrize(
    ("samples", "message"),
    [([4], "4 `samples`; expected at most the 3 there are"), ([2, 2], "each once"), ([0], "at least 1")],
)
def test_samples_out_of_range(samples, message):
    with pytest.raises(BadInput, match=message):
        minima(lambda *_: leaky(1), widths=[1], samples=samples, **QUICK)


def test_the_law_is_that_of_the_numbers_put_in():
    axes = {"samples": [5, 10, 40], "depth": [1, 2], "width": [2, 3, 7]}
    n, depth, width = np.meshgrid(*(np.array(one, dtype=float) for one in axes.values()), indexing="ij")
    exact = growth(3 * n**2.5 * depth**-1 * width, axes)
    assert exact is not None
    assert exact.axes.tolist() == ["samples", "depth", "width"]
    np.testing.assert_allclose(exact.exponents, [2.5, -1, 1], atol=1e-12)
    np.testing.assert_allclose([exact.factor, *exact.errors], [3, 0, 0, 0], atol=1e-10)
    # Errors are as wide as their scatter over many draws.
    generator = np.random.default_rng(0)
    draws = [growth(n**2 * np.exp(0.1 * generator.standard_normal(n.shape)), axes) for _ in range(300)]
    scatter = np.std([one.exponents for one in draws if one], axis=0)
    told = np.mean([one.errors for one in draws if one], axis=0)
    np.testing.assert_allclose(told, scatter, rtol=0.15)
    # Without a cell to spare there is no error, and cells without any minimum are left out.
    two = growth(np.array([[4, 16]]), {"depth": [1], "width": [1, 2]})
    assert two is not None
    assert (two.exponents.tolist(), two.errors.tolist()) == ([pytest.approx(2)], [math.inf])
    assert growth(np.array([[4, 0]]), {"depth": [1], "width": [1, 2]}) is None
    assert growth(np.array([[4]]), {"depth": [1], "width": [3]}) is None


def test_ends_met_once_tell_what_was_not_met():
    outputs = np.array([[0.0], [0.0], [1.0], [2.0], [2.0], [9.0], [8.0]])
    status = np.array(["minimum", "kink", "degenerate", "minimum", "minimum", "saddle", "cut short"])
    found = counted(outputs, outputs[:, 0], status)
    assert found == Counts(5, 5, 3, 5, 1)
    assert found.coverage == 0.8
    assert math.isnan(counted(outputs[5:], outputs[5:, 0], status[5:]).coverage)
    # Exact tails: of n without success the upper end u has (1 − u)ⁿ = 0.025.
    low, high = share_interval(np.array([0, 10]), np.array([10, 10])).T
    np.testing.assert_allclose([low[0], high[1]], [0, 1])
    np.testing.assert_allclose([(1 - high[0]) ** 10, low[1] ** 10], 0.025)


class Wells(nn.Module):
    """u starts near the seed's whole number, and (sin πu)² has a minimum at each; the output tells them apart."""

    def __init__(self, start: float):
        super().__init__()
        self.place = nn.Parameter(torch.tensor(start + 0.1, dtype=torch.float64))

    def forward(self, x):
        return x * torch.stack([torch.sin(math.pi * self.place), 0 * self.place])[None] + torch.stack(
            [0 * self.place, self.place]
        )


def wells(width: int, depth: int, seed: int) -> Objective:
    def loss(outputs, targets):
        return outputs[:, 0] ** 2

    x = torch.ones(8, 1, dtype=torch.float64)
    return Objective(Wells(float(seed % width**2)), loss, (x, torch.zeros(8, 1)))


def test_the_exponent_of_wells_that_are_counted():
    """width² wells, each met several times at widths 1 and 2; at width 3 the restarts are too few, which is said."""
    asked: dict[str, Any] = {"lr": [0.02], "steps": 50, "max_steps": 50}
    found = minima(wells, widths=[1, 2], depths=[1, 2], restarts=[8], **asked)
    assert found.num_distinct_minima.tolist() == [[1, 4], [1, 4]]
    assert (found.coverage == 1).all()
    assert found.axis.tolist() == ["depth", "width"]
    np.testing.assert_allclose(found.exponent, [0, 2], atol=1e-9)
    np.testing.assert_allclose(found.exponent_error, 0, atol=1e-9)
    assert any("∝ depth^(" in note and "· width^(2" in note for note in found.notes)
    assert found.plot().axes[-1].get_ylabel() == "distinct minima"
    few = minima(wells, widths=[1, 3], restarts=[5], **asked)
    assert few.num_distinct_minima.tolist() == [[1, 5]]
    assert few.coverage.tolist() == [[1, 0]]
    assert any("in 1 of 2 cells more than 10% of the ends were met once alone" in note for note in few.notes)


# --- symmetries ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "text", "scales", "signs"),
    [
        (mlp((2,), 1, widths=(3, 5), activation="relu"), "3!·5! = 720", 8, 0),
        (mlp((2,), 1, width=4, depth=3, activation="tanh"), "(4!)^3 = 13824", 0, 12),
        (mlp((2,), 1, widths=(7,), activation="gelu"), "7! = 5040", 0, 0),
        (mlp((2,), 1, widths=()), "1", 0, 0),
        (mlp((2,), 1, width=100, depth=3), "(100!)^3 ≈ 10^473.9", 300, 0),
        (nn.Sequential(nn.Linear(2, 4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 1)), "4! = 24", 0, 0),
    ],
)
def test_the_order_of_the_group_is_a_product_over_the_layers(module, text, scales, signs):
    found = order_of(Objective(module.double(), "mse", (X, Y)))
    assert (found.text, found.num_scales, found.num_signs) == (text, scales, signs)


def test_the_order_is_known_of_modules_and_data_in_float32():
    for dtype in (torch.float32, torch.bfloat16):
        module = mlp((2,), 1, widths=(4, 3), activation="tanh").to(dtype)
        found = order_of(Objective(module, "mse", (X.to(dtype), Y.to(dtype))))
        assert (found.text, found.num_signs, found.reason) == ("4!·3! = 144", 7, "")


def test_units_that_noise_tells_apart_are_not_permuted():
    assert order_of(leaky(3, None, ())).text == "1"
    assert order_of(leaky(3, None, ())).num_scales == 3
    # The same noise for every unit leaves them alike.
    assert order_of(leaky(2, None, (1, 1, -2, -2, 3, 3))).text == "2! = 2"


def test_a_module_that_cannot_be_traced_has_no_known_order():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(2, 3), nn.Linear(3, 1)

        def forward(self, x):
            return self.b(torch.tanh(self.a(x)) if float(x.sum()) > -1e9 else x)

    found = order_of(Objective(Branches().double(), "mse", (X, Y)))
    assert found.text == "not known"
    assert math.isnan(found.log10)


# --- by the command ---------------------------------------------------------------------------


def test_the_command_draws_noise_counts_samples_and_tells_the_parts(command, folder):
    line = [
        *("minima", "-o", "m.h5", "--data", "moons", "--data-arg", "num_samples=20", "--loss", "mse"),
        *("--model-arg", "activation=leaky_relu:0.1", "--model-arg", "bias=False", "--modify", "noise"),
        *(
            "--samples",
            "4,8",
            "--widths",
            "3",
            "--restarts",
            2,
            "--steps",
            20,
            "--max-steps",
            20,
            "--polish",
        ),
    ]
    done = command(*line, "--json")
    assert done.code == 0, done.err
    values = json.loads(done.out)["values"]
    assert values["samples"] == [4, 8]
    assert np.shape(values["num_distinct_minima"]) == (2, 1, 1)
    assert np.shape(values["mean_error"]) == (2, 1, 1, 3)
    assert values["num_inputs"] == 2
    assert {"permutations", "best_cost", "best_share", "part"} <= values.keys()
    shown = command("show", "m.h5").out
    assert "permutations" in shown
    again = landscape.load("m.h5")
    assert again.config["recipe"]["modify"] == "noise"
    assert again.config["recipe"]["num_samples"] == values["num_samples"]


@pytest.mark.parametrize("model", ["linear", "mlp"])
def test_depth_and_width_go_together(model, tmp_path):
    asked: dict[str, Any] = {"model": model, "data": "moons", "epochs": 1, "loss": "mse"}
    made = landscape.measure(
        None, "train", **asked, model_arg={"width": 3, "depth": 2}, output=tmp_path / "a.h5"
    )
    shapes = {one.name: one.shape for one in made.parameters}
    assert shapes["hidden2.weight"] == (3, 3)
    assert ("hidden2.bias" in shapes) == (model == "mlp")
    with pytest.raises(BadInput, match="depth=2 without a width"):
        landscape.measure(None, "train", **asked, model_arg={"depth": 2}, output=tmp_path / "b.h5")
