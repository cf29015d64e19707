"""Constructed paths against closed forms: nets with bad minima, ranks that are raised, idle units."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import landscape
from landscape import Objective
from landscape.analyses.basins import DING, PRESETS
from landscape.inputs.models.ding import ding
from landscape.valleys import joining, widths
from landscape.valleys.idle import through_idle_units
from landscape.valleys.joining import lowest_path, never_rises
from landscape.valleys.plateau import local, walked, way_down
from landscape.valleys.polyline import measured, points
from landscape.valleys.raising import best_last, raised
from landscape.valleys.readout import readout_of, seen


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def errors(x: torch.Tensor) -> torch.Tensor:
    """The targets e with which all weights 1 are critical: −q/2‖q‖ of Ding, Li and Sun."""
    s = torch.sigmoid(x)
    slope = s * (1 - s)
    r = slope * (1 - 2 * s) * x**2
    basis = torch.cat([s, slope * x], dim=1)
    q = r - basis @ torch.linalg.lstsq(basis, r).solution
    return -q / (2 * q.norm())


def of_ding(width: int, x: torch.Tensor, amplitude: float = 1.0) -> Objective:
    return Objective(ding(width).double(), "mse", (x, amplitude * errors(x)))


THREE = column(1, 2, 3)
OTHERS = [THREE, column(0.5, 1, 2, 3), column(-1, 1, 2)]


def test_the_targets_of_the_preset_are_those_of_the_paper():
    np.testing.assert_allclose(errors(THREE).ravel(), DING, atol=1e-15)
    np.testing.assert_allclose(DING, [-0.332926712940, 0.364104925330, -0.081162843479], atol=1e-12)


@pytest.mark.parametrize(
    ("width", "smallest", "largest"),
    [
        (1, 0.040209399760, 1.5431952315),
        (2, 0.037560068242, 3.0847911367),
        (3, 0.037560068242, 4.6263996056),
        (5, 0.037560068242, 7.7096239461),
        (20, 0.037560068242, 30.833837644),
    ],
)
def test_all_weights_one_are_a_bad_minimum_of_every_width(width, smallest, largest):
    objective = of_ding(width, THREE)
    here = local(objective, objective.theta)
    assert here.value == pytest.approx(1 / 12, abs=1e-15)
    assert float(here.gradient.norm()) < 1e-13
    assert (here.signs.num_negative, here.signs.num_zero) == (0, width - 1)
    values = here.eigenvalues.numpy()
    np.testing.assert_allclose([values[width - 1], values[-1]], [smallest, largest], atol=1e-9)


def test_a_strict_bad_minimum_at_width_one():
    objective = of_ding(1, THREE, 10.0)
    here = local(objective, objective.theta)
    assert here.value == pytest.approx(25 / 3, abs=1e-12)
    np.testing.assert_allclose(here.eigenvalues, [0.359750883336, 1.561694362088], atol=1e-11)
    assert walked(objective, objective.theta, 0) is None


@pytest.mark.parametrize("x", OTHERS, ids=["the sheet's", "four", "both signs"])
@pytest.mark.parametrize("more", [0, 2])
def test_a_path_that_never_rises_where_there_are_units_enough(x, more):
    count = len(x)
    objective = of_ding(count + more, x)
    value = objective.value(objective.theta)
    readout = readout_of(objective, objective.theta)
    found = raised(objective, readout, objective.theta, 0)
    assert (found.rank, found.rounds, len(found.nodes)) == (count, count - 1, 2 * count - 1)
    flat = measured(objective, "", torch.stack(found.nodes))
    assert abs(flat.height - value) < 1e-14
    assert (
        abs(objective.values(points(flat.nodes, np.linspace(0, len(flat.nodes) - 1, 41))) - value).max()
        < 1e-14
    )
    last = best_last(objective, readout, found.nodes[-1])
    s = np.linspace(0, 1, 11)
    values = objective.values(points(torch.stack([found.nodes[-1], last]), s))
    np.testing.assert_allclose(values, (1 - s) ** 2 * value, atol=1e-12)


def test_ranks_are_raised_in_a_deep_net():
    layers = nn.Sequential(
        nn.Linear(1, 3), nn.Sigmoid(), nn.Linear(3, 6), nn.Sigmoid(), nn.Linear(6, 1, bias=False)
    ).double()
    with torch.no_grad():
        layers[0].weight.copy_(column(0.5, -0.3, 0.8))
        layers[0].bias.copy_(column(0.1, 0.2, -0.4)[:, 0])
        layers[2].weight.copy_(column(0.3, -0.2, 0.4).T.expand(6, 3))
        layers[2].bias.zero_()
        layers[4].weight.copy_(column(1, 2, -1, 0.5, 1, -2).T)
    objective = Objective(layers, "mse", (column(-2, -1, 0.5, 1, 3), column(1, 0, 2, -1, 0.5)))
    readout = readout_of(objective, objective.theta)
    found = raised(objective, readout, objective.theta, 0)
    assert (found.rank, found.rounds) == (5, 4)
    assert measured(objective, "", torch.stack(found.nodes)).height == pytest.approx(1.1423224290, abs=1e-10)
    path = torch.stack([found.nodes[-1], best_last(objective, readout, found.nodes[-1])])
    values = objective.values(points(path, np.array([0.0, 0.3, 0.7, 1.0])))
    np.testing.assert_allclose(values, [1.1423224290, 0.5597379902, 0.1028090186, 0], atol=1e-9)


def test_the_last_layer_alone_falls_to_least_squares():
    x = torch.tensor([[1, 0], [0, 1], [1, 1], [2, -1]], dtype=torch.float64)
    layers = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False)).double()
    with torch.no_grad():
        layers[0].weight.copy_(torch.tensor([[1.0, 1.0], [1.0, -2.0]]))
        layers[2].weight.copy_(torch.tensor([[1.0, -1.0]]))
    objective = Objective(layers, "mse", (x, column(1, 0, -1, 2)))
    readout = readout_of(objective, objective.theta)
    path = torch.stack([objective.theta, best_last(objective, readout, objective.theta)])
    values = objective.values(points(path, np.array([0.0, 0.5, 1.0])))
    np.testing.assert_allclose(values, [9, 2.3896276596, 0.1861702128], atol=1e-9)


@pytest.mark.parametrize("width", [2, 3, 4])
@pytest.mark.parametrize("x", OTHERS[:2], ids=["the sheet's", "four"])
def test_a_plateau_is_left_where_an_outgoing_weight_changes_sign(width, x):
    objective = of_ding(width, x)
    left = walked(objective, objective.theta, 0)
    # Where it is left, and on all of the way, F is what it was; v stands behind w in θ.
    outgoing = torch.stack(left.nodes)[:, width:]
    assert float(outgoing[-1].min()) == pytest.approx(0, abs=1e-8)
    assert float(outgoing[:-1].min()) > 0
    flat = measured(objective, "", torch.stack(left.nodes))
    assert flat.height == pytest.approx(objective.value(objective.theta), abs=1e-14)
    assert local(objective, left.beyond).signs.num_negative


@pytest.mark.parametrize(("s", "lowest"), [(1.01, -3.752739e-4), (1.5, -0.0179129568), (2.0, -0.0339866831)])
def test_beyond_its_edge_a_plateau_bends_down(s, lowest):
    objective = of_ding(3, THREE)
    theta = torch.tensor([1, 1, 1, 1, 1 + s, 1 - s], dtype=torch.float64)
    here = local(objective, theta)
    assert here.value == pytest.approx(1 / 12, abs=1e-14)
    assert float(here.eigenvalues[0]) == pytest.approx(lowest, abs=1e-9)


def test_a_way_down_never_rises():
    objective = of_ding(2, THREE)
    path = way_down(objective, objective.theta, walked(objective, objective.theta, 0), 0.0)
    assert never_rises(path, 1 / 12)
    assert path.end < 0.02


class Polynomial(nn.Module):
    """Σ vⱼ φ(wⱼx), φ(t) = t³/3 − 3t²/2 + 2t − (t − 1)²(t − 2)²/2, begun at w = 1 and the given v."""

    def __init__(self, *v: float):
        super().__init__()
        self.w = nn.Parameter(torch.ones(len(v), dtype=torch.float64))
        self.v = nn.Parameter(torch.tensor(v, dtype=torch.float64))

    def forward(self, x):
        t = x * self.w
        return (t**3 / 3 - 3 * t**2 / 2 + 2 * t - (t - 1) ** 2 * (t - 2) ** 2 / 2) @ self.v[:, None]


@pytest.mark.parametrize(
    ("v", "values"),
    [
        ((1.0,), [41 / 36, 4 / 3]),
        ((0.5, 0.5), [0, 2 / 3, 2 / 3, 41 / 18]),
        ((1.0, 0.0), [0, 0, 4 / 3, 41 / 18]),
        ((1.5, -0.5), [-2 / 3, 0, 2, 41 / 18]),
    ],
)
def test_too_few_units(v, values):
    objective = Objective(Polynomial(*v), "mse", (column(1, 2), column(3 / 2, -1 / 6)))
    here = local(objective, objective.theta)
    assert here.value == pytest.approx(41 / 72, abs=1e-14)
    np.testing.assert_allclose(here.eigenvalues, values, atol=1e-12)
    left = walked(objective, objective.theta, 0)
    assert (left is None) == (len(v) == 1 or v[1] < 0)


def tanh_net(v, w) -> tuple[Objective, torch.Tensor]:
    net = nn.Sequential(
        nn.Linear(1, len(v), bias=False), nn.Tanh(), nn.Linear(len(v), 1, bias=False)
    ).double()
    objective = Objective(net, "mse", (column(-1, 1, 2), column(1, 0, 1)))
    return objective, torch.tensor([*w, *v], dtype=torch.float64)


def test_outgoing_weights_that_fade_are_convex():
    objective, a = tanh_net((1, 0), (1, 2))
    b = torch.tensor([1, 2, 0, -1], dtype=torch.float64)
    values = objective.values(points(torch.stack([a, b]), np.array([0, 0.25, 0.5, 0.75, 1])))
    sheet = [1.228177881226, 0.718652377337, 0.617889831332, 0.925890243213, 1.642653612979]
    np.testing.assert_allclose(values, sheet, atol=1e-11)


@pytest.mark.parametrize("width", [2, 3, 4, 7])
@pytest.mark.parametrize("bias", [False, True])
def test_through_idle_units_no_path_is_higher_than_the_ends_and_their_halves(width, bias):
    generator = torch.Generator().manual_seed(width)
    net = nn.Sequential(nn.Linear(2, width, bias=bias), nn.Tanh(), nn.Linear(width, 2, bias=bias)).double()
    x, y = torch.randn(2, 9, 2, generator=generator, dtype=torch.float64)
    objective = Objective(net, "mse", (x, y))
    a, b = torch.randn(2, objective.num_parameters, generator=generator, dtype=torch.float64)
    readout = readout_of(objective, a)
    nodes = through_idle_units(objective, readout, a, b)
    assert torch.equal(nodes[0], a)
    torch.testing.assert_close(nodes[-1], b, rtol=0, atol=1e-12)
    highest = max(objective.value(one) for one in (a, b, nodes[1], nodes[-2]))
    assert measured(objective, "", torch.stack(nodes)).height <= highest * (1 + 1e-12)
    # From B's units in A's idle places on nothing but names change.
    outputs = [seen(objective, one).outputs for one in nodes[3:-1]]
    for one in outputs[1:]:
        torch.testing.assert_close(one, outputs[0], rtol=0, atol=1e-12)


def test_the_aligned_line_reaches_a_copy_of_the_best_end():
    objective, a = tanh_net((1.0, 0.5, -1.0), (0.5, 1.0, 2.0))
    b = a[[2, 0, 1, 5, 3, 4]]
    level = objective.value(b)
    found = lowest_path(objective, a, b, level=level * (1 - 1e-9), curve_steps=0, seed=0)
    assert found.path.height >= objective.value(a) * (1 - 1e-12)


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.Linear(1, 2), nn.Linear(2, 1), nn.Tanh()),
        nn.Conv1d(1, 1, 1),
        nn.Sequential(nn.Linear(1, 2), nn.Softmax(-1), nn.Flatten(), nn.Sigmoid()),
    ],
)
def test_a_module_without_a_last_layer_is_said_to_have_none(module):
    x = column(1, 2, 3)
    x = x[:, :, None] if isinstance(module, nn.Conv1d) else x
    objective = Objective(module.double(), lambda out, _: out.square().mean(), (x, column(0, 0, 0)))
    assert isinstance(readout_of(objective, objective.theta), str)


def by_preset(**more):
    given = {**PRESETS["ding"], "widths": (1, 3), "restarts": 2, "steps": 20, "curve_steps": 0, **more}
    x = THREE
    family = lambda width, depth, seed: of_ding(width, x)  # noqa: E731
    keep = ("widths", "restarts", "init", "steps", "curve_steps")
    return landscape.basins(family, **{name: given[name] for name in keep})


def test_ding_by_width():
    found = by_preset()
    np.testing.assert_allclose(found.loss[:, 0], 1 / 12, atol=1e-12)
    np.testing.assert_allclose(found.path_height[:, 0], 1 / 12, atol=1e-12)
    assert found.is_strict[:, 0].tolist() == [True, False]
    assert found.nullity[:, 0].tolist() == [0, 2]
    assert found.feature_rank[1, 0] == 3
    assert found.path_end[1, 0] < 1e-20
    assert found.plateau_length[1, 0] == pytest.approx(math.sqrt(1.5), abs=1e-7)
    assert found.status == "complete"


def checks_of(found) -> dict[str, bool]:
    return {check.name: check.passed for check in found.checks}


def test_a_height_that_is_too_low_and_a_loss_that_is_another_fail_their_checks(monkeypatch):
    assert all(checks_of(by_preset(widths=(3,), restarts=1)).values())
    lower = joining.measured

    def half(objective, made, nodes):
        found = lower(objective, made, nodes)
        return replace(found, height=0.9 * found.height)

    monkeypatch.setattr(joining, "measured", half)
    assert not checks_of(by_preset(widths=(3,), restarts=1))["path heights"]
    monkeypatch.setattr(joining, "measured", lower)
    end = widths._end
    monkeypatch.setattr(
        widths, "_end", lambda *given: {**(found := end(*given)), "loss": found["loss"] + 1e-9}
    )
    assert not checks_of(by_preset(widths=(3,), restarts=1))["lowest loss"]


class Line:
    """F of one number, two peaks of which the higher one stands between the points that are taken first."""

    def values(self, thetas):
        x = thetas[:, 0].double()
        return (-(((x - 0.25) / 0.2) ** 2)).exp() + 1.05 * (-(((x - 0.6875) / 0.12) ** 2)).exp()

    def value(self, theta):
        return float(self.values(theta[None])[0])


def test_the_height_of_a_path_is_that_of_its_highest_peak_and_not_of_the_highest_point():
    nodes = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    fine = Line().values(torch.linspace(0, 1, 2_000_001, dtype=torch.float64)[:, None])
    first = Line().values(torch.linspace(0, 1, 9, dtype=torch.float64)[:, None])
    assert first.argmax() == 2
    found = measured(Line(), "straight", nodes)
    assert found.height == pytest.approx(float(fine.max()), rel=1e-6)
    assert found.height == Line().value(found.at(np.array([found.top]))[0])
    assert found.end == Line().value(nodes[1])
