"""Certificates: what the theory says at its own points and at others of their kinds, and what each check sees."""

import math
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from certified import BH_X, BH_Y, K_X, draw, exact, kernel_net, linear_objective, two_layer, weighted
from plain import killed_at, named
from torch import Tensor, nn

import landscape
from landscape import Objective
from landscape.certificates import claims, inactive, kernel, last_layer, lazy, measured, proofs
from landscape.errors import BadInput, NotDifferentiable
from landscape.inputs.models.ntk import ntk_net
from landscape.objective.parameters import split


def certified(objective: Objective, theta: Any = None, **options) -> Any:
    result = landscape.certify(objective, objective.theta if theta is None else theta, **options)
    assert result.status == "complete", [check for check in result.checks if not check.passed]
    return result


def states(result, claim: str) -> dict:
    """Assumption and state of a claim."""
    rows = zip(result.assumption, result.assumed_by, np.atleast_2d(result.state)[-1], strict=True)
    return {str(text): str(state) for text, owner, state in rows if owner == claim}


# --- the kernel -------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["layers", "functions", "sum"])
@pytest.mark.parametrize("how", ["dense", "lanczos"])
def test_the_kernel_bounds_the_loss_where_the_features_are_silent(form, how):
    result = certified(kernel_net(form), kernel=how)
    assert result.loss == pytest.approx(26.25)
    assert result.loss_bound == pytest.approx(1013.3675232648, rel=1e-9)
    assert (result.ntk_rank, result.num_outputs, result.num_dead) == (4, 4, 1)
    assert result.ntk_smallest == pytest.approx(0.7847597064, rel=1e-9)
    assert result.ntk_largest == pytest.approx(58.4251392892, rel=1e-10)
    assert result.feature_rank.tolist() == [2, 3]
    assert result.feature_last[1] == pytest.approx(1.4049157385, rel=1e-9)
    assert result.verdict.startswith("not a critical point: ‖∇F‖ = 28.2")
    assert "F ≤ nk‖∇F‖²/(4 λ_min(K)) = 1013.37" in result.verdict
    assert set(states(result, "kernel").values()) == {"holds"}
    assert states(result, "last layer")["features: rank n, beyond rounding"] == "fails"


def at_the_bottom(objective: Objective) -> Tensor:
    """Gauss and Newton's steps to F = 0."""
    theta = objective.theta
    for _ in range(60):
        point = objective.as_point(theta)
        rows = kernel.jacobian(objective, point)
        outputs = measured.structure_at(objective, point).outputs.flatten()
        e = kernel.errors_of(objective, point, outputs) * (len(outputs) / objective.num_samples / 2)
        theta = theta - 0.5 * torch.linalg.lstsq(rows, e).solution
    return theta


@pytest.mark.parametrize(("sizes", "biases"), [((2, 5, 1, 4), (False, False)), ((3, 8, 2, 5), (True, True))])
@pytest.mark.parametrize("activation", [nn.Tanh, nn.Softplus])
def test_a_bottom_with_a_kernel_of_full_rank_is_certified(sizes, biases, activation):
    objective = two_layer(*sizes, biases, activation())
    result = certified(objective, at_the_bottom(objective))
    assert result.verdict.startswith("global minimum certified: F ≤ nk‖∇F‖²/(4 λ_min(K))")
    assert result.loss <= result.loss_bound < 1e-16
    assert result.ntk_rank == result.num_outputs


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_the_bounds_hold_anywhere(seed, outputs):
    result = certified(two_layer(3, 12, outputs, 5, (True, True), nn.Tanh(), seed=seed))
    assert result.loss <= result.loss_bound * (1 + 1e-9)
    assert result.loss <= result.last_layer_bound * (1 + 1e-9)
    assert math.isfinite(result.loss_bound)
    assert math.isfinite(result.last_layer_bound)


def test_too_few_parameters_cannot_certify():
    result = certified(two_layer(2, 2, 2, 9, (False, False), nn.Tanh()))
    assert result.ntk_rank <= 8 < result.num_outputs == 18
    assert "cannot hold: P = 8 parameters that move an output < nk = 18" in result.verdict
    assert states(result, "kernel")["parameters that move an output: P ≥ nk"] == "fails"
    assert result.loss_bound == math.inf


def test_dead_units_are_no_parameters():
    objective = weighted(K_X, draw(4, 1), [exact((1, 1), (-1, -9), (-9, -1)), exact((1, 1, 1))], nn.ReLU)
    with torch.no_grad():
        objective.module[0].weight[1:] = exact((-9, -9), (-9, -9))
    result = certified(Objective(objective.module, "mse", (K_X.abs(), draw(4, 1))))
    assert result.num_dead == 2
    assert result.num_moving == 3
    assert "cannot hold: P = 3" in result.verdict


def bad_minimum(slopes_and_weights: tuple) -> Objective:
    w, v = slopes_and_weights
    x, y = exact((2, 1), (1, 2), (1, 1)), exact(1, 1, 0).reshape(-1, 1)
    return weighted(x, y, [w, v], lambda: nn.LeakyReLU(0.1))


BAD = {
    4 / 33: (exact((3 / 22, 3 / 22), (3 / 22, 3 / 22)), exact((1, 1))),
    11 / 273: (exact((510 / 91 - 30, -30 / 13 + 20), (-30, 20)), exact((1, -1))),
    11 / 30: (exact((-0.3 - 20, 0.6 + 30), (-20, 30)), exact((1, -1))),
}


@pytest.mark.parametrize("cost", BAD)
def test_bad_differentiable_minima_get_no_certificate(cost):
    result = certified(bad_minimum(BAD[cost]))
    assert result.loss == pytest.approx(cost, rel=1e-12)
    assert result.gradient_norm < 1e-12
    assert result.pattern_rank == 2
    assert result.verdict.startswith("no certificate: rank 2 of 3")
    assert states(result, "pattern")["aᵢ ⊗ xᵢ of full rank, beyond rounding"] == "fails"


def ding(units: int, amplitude: float = 0.5, inner: list[float] | None = None) -> Objective:
    """Sigmoid units with every weight 1 at a bad minimum, of any width (Ding, Li and Sun)."""
    x = exact(1, 2, 3).reshape(-1, 1)
    z = torch.sigmoid(x[:, 0])
    first, second = z * (1 - z) * x[:, 0], z * (1 - z) * (1 - 2 * z) * x[:, 0] ** 2
    basis = torch.linalg.qr(torch.stack([z, first], 1)).Q
    q = second - basis @ (basis.T @ second)
    y = units * z - amplitude * q / q.norm()
    w = torch.ones(units, 1).double() if inner is None else exact(*inner).reshape(-1, 1)
    return weighted(x, y[:, None], [w, torch.ones(1, units).double()], nn.Sigmoid)


@pytest.mark.parametrize(
    ("units", "amplitude", "cost"), [(1, 5, 25 / 3), (2, 0.5, 1 / 12), (3, 0.5, 1 / 12), (9, 0.5, 1 / 12)]
)
def test_equal_units_have_features_of_rank_one_whatever_the_width(units, amplitude, cost):
    result = certified(ding(units, amplitude))
    assert result.loss == pytest.approx(cost, rel=1e-9)
    assert result.feature_rank[-1] == 1
    assert result.ntk_rank == 2
    assert result.verdict.startswith("no certificate: rank 2 of 3")


def test_other_inner_weights_have_features_of_full_rank():
    result = certified(ding(3, inner=[1, 2, -1]), last_layer=True)
    assert result.feature_rank[-1] == 3
    assert result.feature_last[-1] == pytest.approx(0.01176587, rel=1e-6)
    assert result.path_floor < 1e-20
    np.testing.assert_allclose(result.path_loss, (1 - result.t) ** 2 * result.loss, atol=1e-13)


# --- linear nets ------------------------------------------------------------------------------

C = 3 ** (1 / 3)
DIAGONALS = [
    ([(C, 1)] * 3, 0, "global minimum certified", 2),
    ([(C, 0)] * 3, 0.5, "saddle", 1),
    ([(C, 0), (C, 0), (C, 1)], 0.5, "saddle", 1),
    ([(0, 1)] * 3, 4.5, "saddle", 1),
    ([(0, 1), (0, 1), (1, 1)], 4.5, "saddle", 1),
    ([(0, 0)] * 3, 5, "saddle", 0),
    ([(0, 0), (0, 0), (1, 1)], 5, "saddle", 0),
    ([(C, 0), (C, 1), (C, 1)], 0.5, "not a critical point: ‖∇F‖ = 0.5", 1),
]


@pytest.mark.parametrize(("diagonals", "cost", "said", "rank"), DIAGONALS)
def test_the_rank_of_the_product_says_what_a_critical_point_is(diagonals, cost, said, rank):
    weights = [torch.diag(exact(*one)) for one in diagonals]
    result = certified(weighted(torch.eye(2).double(), torch.diag(exact(3, 1)), weights))
    # Here F is the mean over both outputs.
    assert result.loss == pytest.approx(cost / 2, abs=1e-15)
    assert result.verdict.startswith(said)
    assert result.product_rank == rank
    assert result.floor == pytest.approx(0, abs=1e-15)


def linear_point(x: Tensor, y: Tensor, kept: tuple[int, ...], units: int, seed: int = 0) -> Objective:
    """A critical point of a two-layer linear net: the directions ``kept`` of YX⁺X, in a basis drawn at random."""
    regression = torch.linalg.lstsq(x, y).solution.T
    values, vectors = torch.linalg.eigh(y.T @ x @ regression.T)
    u = vectors[:, values.argsort(descending=True)[list(kept)]]
    mixed = draw(units, units, seed=seed) + 3 * torch.eye(units).double()
    outer = torch.cat([u, torch.zeros(len(u), units - len(kept)).double()], 1) @ mixed
    inner = torch.linalg.solve(
        mixed, torch.cat([u.T @ regression, torch.zeros(units - len(kept), x.shape[1]).double()])
    )
    return weighted(x, y, [inner, outer])


OTHER_X, OTHER_Y = draw(9, 4, seed=8), draw(9, 3, seed=9)
KINDS = [
    (x, y, kept, units)
    for x, y, most in ((BH_X, BH_Y, 3), (BH_X, BH_Y[:, :2], 2), (OTHER_X, OTHER_Y, 3))
    for units in (1, 2, 3, 4)
    for size in range(min(most, units) + 1)
    for kept in combinations(range(most), size)
]


@pytest.mark.parametrize(("x", "y", "kept", "units"), KINDS)
def test_every_critical_point_of_linear_nets_gets_its_verdict(x, y, kept, units):
    result = certified(linear_point(x, y, kept, units))
    full, is_best = y.shape[1], kept == tuple(range(min(units, y.shape[1])))
    assert result.product_rank == len(kept)
    assert result.gradient_norm < 1e-10
    claims = dict(zip(result.claim, result.conclusion, strict=True))
    if is_best:
        assert result.verdict.startswith("global minimum certified")
        assert result.loss == pytest.approx(result.floor, rel=1e-9)
    else:
        assert result.loss > result.floor + 1e-6
        assert "global minimum certified" not in result.verdict
    if units < full:
        # The product may have all the rank that its thinnest layer leaves, and be a saddle.
        assert claims["product"].startswith("cannot hold")
    elif not is_best:
        assert result.verdict.startswith("saddle: the product has rank")


def test_biases_are_centred_away_and_void_the_rank_test():
    result = certified(linear_objective(OTHER_X, OTHER_Y, (4, 5, 3), bias=True))
    x, y = (one - one.mean(0) for one in (OTHER_X, OTHER_Y))
    rest = y - x @ torch.linalg.lstsq(x, y).solution
    assert result.floor == pytest.approx(float(rest.square().mean()), rel=1e-12)
    assert states(result, "product")["no biases"] == "fails"


# --- losses, kinks, penalties -----------------------------------------------------------------


@pytest.mark.parametrize("loss", ["cross_entropy", nn.CrossEntropyLoss(), "bce"])
def test_cross_entropy_has_no_critical_point_where_a_rank_is_full(loss):
    is_binary = loss == "bce"
    module = nn.Sequential(nn.Linear(3, 9), nn.Tanh(), nn.Linear(9, 1 if is_binary else 2)).double()
    y = (draw(5, seed=2) > 0).double()[:, None] if is_binary else (draw(5, seed=2) > 0).long()
    result = certified(Objective(module, loss, (draw(5, 3), y)))
    assert result.loss_bound == math.inf
    assert "no critical point can be here" in result.verdict
    assert any("attains no minimum" in note for note in result.notes)
    assert states(result, "kernel")["loss attains its minimum"] == "fails"


def test_of_a_loss_of_ones_own_nothing_is_known():
    objective = two_layer(
        3, 9, 1, 4, (True, True), nn.Tanh(), loss=lambda h, y: (h - y).abs().pow(1.5).mean(1)
    )
    result = certified(objective)
    assert states(result, "kernel")["loss convex in the outputs"] == "cannot be known"
    assert "cannot be known" in result.verdict
    assert "certified" not in result.verdict


def test_a_sample_on_a_kink_is_not_differentiable():
    objective = weighted(
        exact((1, 1), (1, -1), (2, 1)), draw(3, 1), [exact((1, 1), (2, 1)), exact((1, 1))], nn.ReLU
    )
    result = certified(objective)
    assert result.nearest_kink == 0
    assert states(result, "kernel")["differentiable: no kink within 1e-8"] == "fails"
    assert "kink" in result.verdict
    assert any("on a kink" in note for note in result.notes)


def test_the_distance_of_a_kink_is_an_angle():
    objective = weighted(
        exact((3, 4)), exact(1).reshape(1, 1), [exact((8, 6), (0, 2)), exact((1, 1))], nn.ReLU
    )
    assert certified(objective).nearest_kink == pytest.approx(0.8)
    scaled = weighted(
        exact((300, 400)), exact(1).reshape(1, 1), [exact((8, 6), (0, 2e-3)), exact((1, 1))], nn.ReLU
    )
    assert certified(scaled).nearest_kink == pytest.approx(0.8)


def test_units_without_weights_are_counted_and_prove_nothing():
    w, v = exact((1, 1), (0, 0), (2, -1)), exact((1, 0, 1))
    objective = weighted(K_X, draw(4, 1), [w, v], nn.ReLU)
    objective.module[0].weight.requires_grad_(False)
    result = certified(Objective(objective.module, "mse", (K_X, draw(4, 1))))
    assert result.num_inactive == 1
    # What is not trained cannot be given weights.
    assert result.inactive_fall is None
    assert states(result, "inactive")["a local minimum"] == "cannot be known"


class Turned(nn.Module):
    """max(0, x W) V, its parameters the other way round."""

    def __init__(self, w: Tensor, v: Tensor):
        super().__init__()
        self.w, self.v = nn.Parameter(w.T.clone()), nn.Parameter(v.T.clone())

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x @ self.w) @ self.v


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("below", [0.0, 0.3])
@pytest.mark.parametrize("is_turned", [False, True])
def test_a_unit_without_weights_from_which_f_falls_is_found_by_its_steepest_direction(
    outputs, below, is_turned
):
    w, v, y = exact((1, 1), (0, 0)), draw(outputs, 2, seed=1), draw(4, outputs)
    v[:, 1] = 0
    if is_turned:
        below, objective = 0.0, Objective(Turned(w, v), "mse", (K_X, y))
    else:
        objective = weighted(K_X, y, [w, v], lambda: nn.LeakyReLU(below))
    result = certified(objective)
    t = torch.linspace(0, 2 * math.pi, 200_001, dtype=torch.float64)
    made = torch.stack([t.cos(), t.sin()], 1) @ K_X.T
    e = 2 / y.numel() * (torch.nn.functional.leaky_relu(K_X @ w.T, below) @ v.T - y)
    wanted = float((torch.nn.functional.leaky_relu(made, below) @ e).norm(dim=1).max())
    assert result.inactive_fall == pytest.approx(wanted, rel=1e-8)
    assert states(result, "inactive")["a local minimum"] == "fails"
    assert "no local minimum" in result.conclusion[list(result.claim).index("inactive")]


@pytest.mark.parametrize(
    "loss", [nn.MSELoss(reduction="sum"), nn.CrossEntropyLoss(torch.tensor([1.0, 5.0]).double())]
)
def test_the_fall_by_a_unit_is_of_f_as_it_is_divided(loss):
    w, v = exact((1, 1), (0, 0)), draw(2, 2, seed=1)
    v[:, 1] = 0
    y = draw(4, 2) if isinstance(loss, nn.MSELoss) else torch.tensor([0, 1, 1, 0])
    module = weighted(K_X, draw(4, 2), [w, v], nn.ReLU).module
    result = certified(Objective(module, loss, (K_X, y)))
    h = module(K_X).detach().requires_grad_()
    (e,) = torch.autograd.grad(loss(h, y), h)
    t = torch.linspace(0, 2 * math.pi, 200_001, dtype=torch.float64)
    made = torch.relu(torch.stack([t.cos(), t.sin()], 1) @ K_X.T)
    assert result.inactive_fall == pytest.approx(float((made @ e).norm(dim=1).max()), rel=1e-8)
    assert result.status == "complete"


def test_at_a_global_minimum_no_unit_without_weights_lowers_f():
    w, v = exact((1, 1), (0, 0), (2, -1)), exact((1, 0, 1))
    result = certified(weighted(K_X, torch.relu(K_X @ w.T) @ v.T, [w, v], nn.ReLU))
    assert result.inactive_fall == 0
    assert states(result, "inactive")["a local minimum"] == "cannot be known"


def test_a_penalty_within_the_loss_proves_nothing_of_units_without_weights_and_is_said():
    w, v = exact((1, 1), (0, 0)), draw(2, 2, seed=1)
    v[:, 1] = 0
    module = weighted(K_X, draw(4, 2), [w, v], nn.ReLU).module

    def decayed(h, y):
        return (h - y).square().mean() + 9 * sum(one.square().sum() for one in module.parameters())

    result = certified(Objective(module, decayed, (K_X, draw(4, 2))))
    assert (result.inactive_fall, result.status) == (None, "complete")
    assert states(result, "inactive")["a local minimum"] == "cannot be known"
    assert any("decayed reads parameters itself" in note for note in result.notes)


def test_a_penalty_is_left_out_and_said():
    objective = kernel_net()
    with_penalty = objective.varied(l2=0.3)
    result = certified(with_penalty)
    assert result.loss == pytest.approx(26.25)
    assert any("penalty" in note for note in result.notes)


def test_a_point_in_float32_is_looked_at_in_float64():
    result = landscape.certify(kernel_net().varied(dtype=torch.float32), kernel_net().theta.float())
    assert result.ntk_smallest == pytest.approx(0.7847597064, rel=1e-9)
    assert any("float64" in note for note in result.notes)


def test_a_module_with_one_layer_has_its_inputs_for_features():
    x, y = draw(4, 5), draw(4, 1, seed=1)
    objective = Objective(nn.Linear(5, 1, bias=False).double(), "mse", (x, y))
    result = certified(objective)
    gram = torch.linalg.eigvalsh(x @ x.T)
    assert result.ntk_smallest == pytest.approx(float(gram[0]))
    assert any("one layer" in note for note in result.notes)
    best = torch.linalg.lstsq(x, y).solution.flatten()
    assert certified(objective, best).verdict.startswith("global minimum certified")


# --- along a run ------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [2, 4, 16, 64])
def test_how_far_a_wide_product_moves(p):
    """h = v·w/√p from v = 1, w = ±1: the end of the flow in closed form."""

    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.v = nn.Parameter(torch.ones(p, dtype=torch.float64))
            self.w = nn.Parameter(torch.tensor([1.0, -1.0] * (p // 2), dtype=torch.float64))

        def forward(self, x):
            return (self.v @ self.w / p**0.5 * x).reshape(-1, 1)

    objective = Objective(Product(), "mse", (torch.ones(1, 1).double(), torch.ones(1, 1).double()))
    start = objective.theta
    v, w = start.chunk(2)
    tau = 0.5 * math.asinh(p**-0.5)
    end = torch.cat([v * math.cosh(tau) + w * math.sinh(tau), w * math.cosh(tau) + v * math.sinh(tau)])
    result = certified(objective, [start, end])
    assert result.ntk_smallest.tolist() == pytest.approx([2, 2 * math.sqrt(1 + 1 / p)])
    assert result.kernel_change.tolist() == pytest.approx([0, math.sqrt(1 + 1 / p) - 1])
    moved = math.sqrt(4 * p * math.cosh(tau) * (math.cosh(tau) - 1))
    assert result.weight_change[1] == pytest.approx(moved / math.sqrt(2 * p))
    assert result.linear_loss[1] == pytest.approx((1 - 2 * p**0.5 * math.sinh(tau)) ** 2, abs=1e-12)
    assert str(result.verdict[1]).startswith("global minimum certified")


def test_a_linear_model_is_its_own_linearisation():
    objective = Objective(nn.Linear(3, 2).double(), "mse", (draw(6, 3), draw(6, 2, seed=1)))
    points = [draw(8, seed=seed) for seed in range(3)]
    result = certified(objective, points)
    np.testing.assert_allclose(result.linear_loss, result.loss, rtol=1e-12)
    np.testing.assert_allclose(result.kernel_change, 0, atol=1e-14)
    assert result.point.tolist() == ["point 0", "point 1", "point 2"]
    assert "loss at point 2" in named(result)


def test_it_goes_on_where_it_was_stopped():
    objective, journal = two_layer(3, 4, 2, 6, (True, True), nn.Tanh()), {}
    points = [draw(objective.num_parameters, seed=seed) for seed in range(3)]
    with pytest.raises(KeyboardInterrupt):
        landscape.certify(objective, points, journal=journal, progress=killed_at(2))
    assert journal
    again, whole = (landscape.certify(objective, points, journal=one) for one in (journal, {}))
    for one, other in zip(again.arrays(), whole.arrays(), strict=True):
        np.testing.assert_array_equal(one.values, other.values)


def test_a_loss_above_the_bound_of_flow_is_said():
    objective = two_layer(2, 40, 1, 5, (True, True), nn.Tanh())
    points = [objective.theta, objective.theta - 0.01 * objective.gradient(objective.theta)]
    losses = [objective.value(one) for one in points]
    kept, broken = (
        certified(objective, points, descent=list(zip((0.0, time), losses, strict=True)))
        for time in (0.01, 1e3)
    )
    assert any("kept at every one" in note for note in kept.notes)
    assert any("broken at point 1" in note for note in broken.notes)
    factor = np.exp(-4 * kept.ntk_smallest.min() * 0.01 / 5)
    np.testing.assert_allclose(kept.decay_bound, [losses[0], factor * losses[0]], rtol=1e-12)
    assert kept.decay_bound[1] > losses[1]


# --- the last layer ---------------------------------------------------------------------------


def test_the_last_layer_leads_down_by_a_parabola():
    result = certified(kernel_net(), last_layer=True)
    along = dict(zip(result.t.round(2).tolist(), result.path_loss, strict=True))
    assert along[0.25] == pytest.approx(14.8451704545, rel=1e-11)
    assert along[0.5] == pytest.approx(6.6988636364, rel=1e-11)
    assert result.path_floor == pytest.approx(2 / 11, rel=1e-11)
    assert (np.diff(result.path_loss) <= 1e-12).all()


@pytest.mark.parametrize("biases", [(False, False), (True, True), (False, True)])
@pytest.mark.parametrize(("hidden", "samples"), [(9, 5), (3, 8)])
def test_the_path_ends_at_the_best_last_layer(biases, hidden, samples):
    objective = two_layer(3, hidden, 2, samples, biases, nn.Tanh())
    result = certified(objective, last_layer=True)
    end = torch.from_numpy(result.control_points[1])
    assert objective.value(end) == pytest.approx(result.path_floor, abs=1e-12)
    own = [piece.span for piece in objective.pieces if piece.name.startswith("2.")]
    slope = objective.gradient(end)
    assert max(float(slope[span].abs().max()) for span in own) < 1e-11
    moved = result.control_points[1] != result.control_points[0]
    assert not any(moved[piece.span].any() for piece in objective.pieces if piece.name.startswith("0."))
    if hidden >= samples:
        np.testing.assert_allclose(result.path_loss, (1 - result.t) ** 2 * result.loss, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_ends_of_the_path_are_stored_as_points_by_the_names_of_their_tensors(dtype):
    torch.manual_seed(3)
    module = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 2)).to(dtype)
    module[0].bias.requires_grad_(False)
    objective = Objective(module, "mse", (draw(6, 3).to(dtype), draw(6, 2, seed=1).to(dtype)))
    result = certified(objective, last_layer=True)
    assert result.control_t.tolist() == [0, 1]
    assert list(result.states) == ["init", "final"]
    for label, theta in zip(("init", "final"), result.control_points, strict=True):
        named = {name: torch.from_numpy(values) for name, values in result.states[label].items()}
        assert named.keys() == module.state_dict().keys()
        point = objective.varied(dtype=torch.float64).point(named)
        np.testing.assert_array_equal(point.theta.numpy(), theta)
    other = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 2)).double().eval()
    other.load_state_dict(named)
    (x,) = objective.samples[0]
    loss = (other(x.double()) - objective.samples[1].double()).square().mean()
    assert loss.item() == pytest.approx(result.path_floor, abs=1e-15)


def test_a_path_from_the_bottom_stays_there():
    objective = two_layer(2, 8, 1, 5, (True, True), nn.Tanh())
    result = certified(objective, at_the_bottom(objective), last_layer=True)
    assert result.path_loss.max() < 1e-20


def test_without_square_loss_or_last_layer_there_is_no_path_and_why():
    objective = Objective(
        nn.Sequential(nn.Linear(3, 2)).double(), "cross_entropy", (draw(4, 3), torch.tensor([0, 1, 1, 0]))
    )
    result = certified(objective, last_layer=True)
    assert result.t is None
    assert any(note.startswith("no path of the last layer") for note in result.notes)


# --- the limit --------------------------------------------------------------------------------


def of_width(seed: int, arguments: dict) -> Objective:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = ntk_net((2,), 1, **arguments)
    return Objective(module.double(), "mse", (K_X, draw(4, 1)))


def test_the_kernel_comes_to_its_limit_like_the_root_of_the_width():
    first = of_width(0, {"width": 30})
    result = certified(first, widths=(100, 300, 1000, 3000), draws=20, variant=of_width)
    assert result.width_exponent == pytest.approx(-0.5, abs=0.08)
    np.testing.assert_allclose(result.kernel_error_rms * np.sqrt(result.width), 1.82, rtol=0.3)
    assert result.kernel_error.shape == (4, 20)


def test_wide_nets_train_lazily():
    """‖θ − θ₀‖/‖θ₀‖ ∝ width^(−1/2) from random starts, within three of its own errors; every draw has its slope."""
    result = certified(of_width(0, {"width": 30}), widths=(100, 300, 1000), draws=10, variant=of_width)
    assert result.lazy_kernel_change.shape == result.lazy_weight_change.shape == (3, 10)
    assert abs(result.lazy_weight_exponent + 0.5) < 3 * result.lazy_weight_exponent_error
    assert 0 < result.lazy_weight_exponent_error < 0.1
    slopes = [np.polyfit(np.log(result.width), np.log(one), 1)[0] for one in result.lazy_kernel_change.T]
    assert result.lazy_kernel_exponent == pytest.approx(np.mean(slopes), abs=1e-12)
    assert result.lazy_kernel_exponent_error == pytest.approx(np.std(slopes, ddof=1) / 10**0.5, rel=1e-9)
    assert any("of its errors" in note for note in result.notes)
    # By hand, one net of one width: a step is down the gradient of the mean of (h − y)².
    net = of_width(3, {"width": 300})
    step = 0.5 * 4 / (2 * 6.1860858945)
    theta = net.theta
    for _ in range(lazy.STEPS):
        theta = theta - step * net.gradient(theta)
    change = float((theta - net.theta).norm() / net.theta.norm())
    assert result.lazy_weight_change[1, 3] == pytest.approx(change, rel=1e-9)


def test_one_draw_has_no_error():
    result = certified(of_width(0, {"width": 30}), widths=(3, 9), draws=1, variant=of_width)
    assert result.lazy_weight_exponent_error is result.lazy_kernel_exponent_error is None
    words = [text.get_text() for text in landscape.plot(result).axes[1].get_legend().get_texts()]
    assert not any("±" in one or "nan" in one for one in words)
    assert any("of one draw, which has no error" in note for note in result.notes)


def test_a_slope_of_two_draws_is_judged_by_students_law():
    """Two draws put it three errors away in one table of five."""
    far = lazy.Slope(-0.8, 0.1)
    assert "within 3.0" in lazy.words(far, far, 2)[0]
    assert "within" not in lazy.words(far, far, 20)[0]


def test_the_picture_of_widths_shows_the_slopes_that_are_stored():
    result = certified(of_width(0, {"width": 30}), widths=(30, 100), draws=3, variant=of_width)
    figure: Any = landscape.plot(result)
    above, below = figure.axes
    assert above.get_xscale() == below.get_xscale() == below.get_yscale() == "log"
    words = [text.get_text() for text in below.get_legend().get_texts()]
    told = [one for one in words if "power" in one and "±" in one]
    for name, text in zip(("kernel", "weight"), told, strict=True):
        value = float(text.split("power")[1].split("±")[0].replace("−", "-"))
        error = getattr(result, f"lazy_{name}_exponent_error")
        assert value == pytest.approx(getattr(result, f"lazy_{name}_exponent"), abs=error)
    marks = [line for line in below.lines if line.get_marker() in "os"]
    geometric = np.exp(np.log(result.lazy_kernel_change).mean(1))
    np.testing.assert_allclose(marks[0].get_ydata(), geometric)


def test_lanczos_says_what_it_cannot_know():
    full = certified(two_layer(4, 30, 2, 12, (True, True), nn.Tanh()), kernel="lanczos")
    dense = certified(two_layer(4, 30, 2, 12, (True, True), nn.Tanh()))
    assert full.ntk_smallest == pytest.approx(dense.ntk_smallest, rel=1e-6)
    assert any("is assumed" in note for note in full.notes)
    # More outputs than parameters: nearly all eigenvalues are 0, and nothing may be called full.
    flat = landscape.certify(
        *(lambda one: (one, one.theta))(two_layer(2, 2, 2, 30, (False, False), nn.Tanh())), kernel="lanczos"
    )
    assert flat.ntk_rank < flat.num_outputs
    assert flat.loss_bound == math.inf


def test_lanczos_counts_the_parameters_that_move_as_the_dense_kernel_does():
    # The units that no sample activates move nothing, so that K has fewer columns than rows: its rank is no 23 of 24.
    module = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2)).double()
    with torch.no_grad():
        module[0].bias[2:] = -50.0
    objective = Objective(module, "mse", (draw(12, 2), draw(12, 2, seed=1)))
    dense, ends = (landscape.certify(objective, objective.theta, kernel=how) for how in ("dense", "lanczos"))
    assert dense.num_moving == ends.num_moving == 12  # two units with 3 weights in and 2 out, and 2 biases
    assert dense.ntk_rank <= ends.ntk_rank <= 12
    assert ends.ntk_smallest == 0
    assert f"rank at most {ends.ntk_rank} of 24 of the tangent kernel (cannot hold: P = 12" in ends.verdict
    assert "at most" not in dense.verdict
    assert all(check.passed for check in ends.checks)


# --- what is refused --------------------------------------------------------------------------


def test_a_kernel_too_large_is_refused_with_its_size():
    objective = Objective(nn.Linear(2, 10).double(), "mse", (draw(500, 2), draw(500, 10, seed=1)))
    with pytest.raises(BadInput, match=r"5000 × 5000.*n = 500.*k = 10.*`subset` 409"):
        landscape.certify(objective, objective.theta)


def test_widths_want_nets_of_several():
    with pytest.raises(BadInput, match="`widths` at a point"):
        landscape.certify(kernel_net(), kernel_net().theta, widths=(2, 3))
    for widths, said in (((100,), "two or more"), ((100, 100), "each once")):
        with pytest.raises(BadInput, match=said):
            landscape.certify(
                of_width(0, {"width": 3}), of_width(0, {"width": 3}).theta, widths=widths, variant=of_width
            )
    other = kernel_net()
    with pytest.raises(BadInput, match="ntk-net"):
        landscape.certify(other, other.theta, widths=(2, 3), variant=lambda *_: other)


class Cut(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.last = nn.Linear(2, 2), nn.Linear(2, 1)

    def forward(self, x):
        return self.last(self.inner(x)) if self.training else (self.last(x).detach() + 0 * x[:, :1])


def test_outputs_without_derivative_are_told():
    def asked():
        objective = Objective(Cut().double(), "mse", (draw(3, 2), draw(3, 1, seed=1)))
        landscape.certify(objective, objective.theta)

    with pytest.raises((BadInput, NotDifferentiable), match=r"depend|move"):
        asked()


# --- the picture ------------------------------------------------------------------------------


def test_the_lines_of_a_picture_stay_within_its_page():
    w, v = exact((1, 1), (0, 0), (2, -1)), exact((1, 0, 1))
    linear = linear_objective(BH_X, BH_Y, (3, 2, 3))
    for objective in (weighted(K_X, draw(4, 1), [w, v], nn.ReLU), linear, kernel_net()):
        figure: Any = landscape.plot(certified(objective))
        texts = [text for axes in figure.axes for text in axes.texts]
        assert max(text.get_window_extent().x1 for text in texts) <= figure.bbox.x1
        # Nor is any panel narrowed by them.
        assert min(axes.get_position().width for axes in figure.axes) > 0.75


# --- what the checks see ----------------------------------------------------------------------


def failing(objective: Objective, theta=None, **options) -> set[str]:
    result = landscape.certify(objective, objective.theta if theta is None else theta, **options)
    return {check.name.partition(" at ")[0] for check in result.checks if not check.passed}


def times(function, factor: float):
    """A function whose tensor, or the first of several, is larger by a factor."""

    def wrong(*args, **more):
        found = function(*args, **more)
        return (found[0] * factor, *found[1:]) if isinstance(found, tuple) else found * factor

    return wrong


def test_each_check_sees_what_it_proves(monkeypatch):
    net, tanh = kernel_net(), two_layer(3, 4, 1, 6, (True, True), nn.Tanh())
    assert failing(net, last_layer=True) == set()
    dense, closed, climbed = kernel.dense_kernel, proofs.closed_kernel, inactive._climbed
    with monkeypatch.context() as patch:
        patch.setattr(kernel, "dense_kernel", times(dense, 1.001))
        assert {"kernel product", "kernel identity", "closed kernel"} <= failing(net)
    with monkeypatch.context() as patch:
        patch.setattr(kernel, "dense_kernel", lambda *a, **k: (dense(*a, **k)[0].triu(), dense(*a, **k)[1]))
        assert "kernel" in failing(net)
    with monkeypatch.context() as patch:
        patch.setattr(proofs, "closed_kernel", times(closed, 1.001))
        assert failing(net) == {"closed kernel"}
    with monkeypatch.context() as patch:
        seen = measured.structure_at

        def thicker(*args):
            found = seen(*args)
            found.layers[0].features = found.layers[0].features * 1.001
            return found

        patch.setattr(measured, "structure_at", thicker)
        assert "features" in failing(tanh)
    with monkeypatch.context() as patch:
        patch.setattr(measured, "floor", lambda *_: 99.0)
        assert failing(linear_objective(OTHER_X, OTHER_Y, (4, 2, 3))) == {"floor"}
    with monkeypatch.context() as patch:
        rank = measured.kernel_rank
        patch.setattr(measured, "kernel_rank", lambda *given: rank(*given)._replace(smallest=1e6))
        assert "bound" in failing(net)
    with monkeypatch.context() as patch:
        line = last_layer.last_layer_path

        def steeper(*args):
            found: Any = line(*args)
            return found._replace(loss=1.001 * found.loss)

        patch.setattr(last_layer, "last_layer_path", steeper)
        assert failing(net, last_layer=True) == {"path loss", "path law"}
    with monkeypatch.context() as patch:
        patch.setattr(inactive, "_climbed", lambda *a: (lambda u, s: (u, 1.001 * s))(*climbed(*a)))
        still = weighted(K_X, draw(4, 1), [exact((1, 1), (0, 0)), exact((1, 0))], nn.ReLU)
        assert failing(still) == {"fall by a unit"}
    with monkeypatch.context() as patch:
        patch.setattr(last_layer, "split", lambda *a: {k: 1.01 * v for k, v in split(*a).items()})
        assert failing(net, last_layer=True) == {"path end"}
    with monkeypatch.context() as patch:
        patch.setattr(kernel, "moved_along", times(kernel.moved_along, 1.001))
        assert failing(tanh, [tanh.theta, 1.1 * tanh.theta]) == {"linearised"}
    with monkeypatch.context() as patch:
        patch.setattr(proofs, "arc_cosine_kernel", times(proofs.arc_cosine_kernel, 1.001))
        first = of_width(0, {"width": 3})
        assert failing(first, widths=(3, 9), draws=1, variant=of_width) == {"arc cosine"}
    with monkeypatch.context() as patch:
        patch.setattr(lazy, "dense_kernel", lambda *a: (dense(*a)[0] + 0.001, None))
        assert failing(of_width(0, {"width": 3}), widths=(3, 9), draws=1, variant=of_width) == {"lazy"}


class Ending(nn.Module):
    """A net whose numbers end, or are on their way, in another dtype."""

    def __init__(self, end):
        super().__init__()
        torch.manual_seed(0)
        self.net, self.end = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)).double(), end

    def forward(self, x):
        return self.end(self.net, x)


def autocast(net, x):
    with torch.autocast("cpu", torch.bfloat16):
        return net(x.float()).float()


ENDS = {
    "float": lambda net, x: net(x).float(),
    "autocast": autocast,
    "complex": lambda net, x: (net[0](x) * (1 + 1j) @ net[2].weight.T.to(torch.complex128)).abs(),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_outputs_in_another_dtype_and_complex_layers_are_certified(end):
    module = Ending(end)
    if end is autocast:
        module = module.float()
    objective = Objective(module, "mse", (K_X.to(next(module.parameters())), draw(4, 1)))
    result = certified(objective, [objective.theta, objective.theta + 0.01])
    assert result.status == "complete"
    assert bool((result.ntk_rank <= 4).all())
    if end is not ENDS["float"]:
        return
    exact_one = certified(Objective(module.net, "mse", (K_X, draw(4, 1))))
    assert result.ntk_largest[0] == pytest.approx(exact_one.ntk_largest, rel=1e-12)
    assert result.ntk_rank[0] == exact_one.ntk_rank


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.LeakyReLU(0.25)])
def test_units_at_their_kink_leave_the_others_to_their_check(activation, monkeypatch):
    """One unit has no weight, another meets a sample at its kink."""
    net = weighted(K_X, draw(4, 1), [exact((0, 0), (1, -1), (2, 1)), exact((1, 1, 2))], lambda: activation)
    assert failing(net) == set()
    matrix = measured.pattern_matrix
    monkeypatch.setattr(measured, "pattern_matrix", lambda two: matrix(two)[:, 1:])
    assert failing(net) == {"pattern"}


@pytest.mark.parametrize("tolerance", [1e-8, 1e3])
def test_a_verdict_of_other_numbers_is_seen(tolerance, monkeypatch):
    net = linear_objective(OTHER_X, OTHER_Y, (4, 2, 3))
    assert failing(net, tol=tolerance) == set()
    said = claims.verdict
    other = {1e-8: 1e3, 1e3: 1e-8}[tolerance]
    monkeypatch.setattr(claims, "verdict", lambda seen, found, _: said(seen, found, other))
    assert failing(net, tol=tolerance) == {"verdict"}
