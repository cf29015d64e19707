"""Critical points against closed forms: linear nets, spin glasses, and surfaces that have none or degenerate ones."""

import math
import re
import warnings
from itertools import combinations, product
from math import comb

import numpy as np
import pytest
import torch
from torch import nn

import landscape
from landscape import Objective
from landscape.descent import seeking
from landscape.descent.beginnings import beginnings
from landscape.errors import BadInput
from landscape.inputs.models.linear import linear
from landscape.inputs.models.spin import Spin, spin

NOTHING = torch.zeros(1, 1, dtype=torch.float64)
SHEET_X = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1))
SHEET_Y = ((3, 0, 1), (0, 2, 0), (0, 0, 1), (1, -1, 0))


class Surface(nn.Module):
    """F(θ) of a function of one vector."""

    def __init__(self, function, size: int):
        super().__init__()
        self.function, self.theta = function, nn.Parameter(torch.zeros(size, dtype=torch.float64))

    def forward(self, inputs):
        return self.function(self.theta).reshape(1, 1).expand(len(inputs), 1)


def surface(function, size: int) -> Objective:
    return Objective(Surface(function, size), "output", (NOTHING, NOTHING))


def at(objective: Objective, *points, **options):
    rows = [torch.as_tensor(point, dtype=torch.float64) for point in points]
    return landscape.critical(objective, rows, begin="points", starts=len(rows), **options)


def passes(result) -> bool:
    return all(check.passed for check in result.checks)


def net(x, y, width: int) -> Objective:
    data = (torch.tensor(x, dtype=torch.float64), torch.tensor(y, dtype=torch.float64))
    return Objective(
        linear((data[0].shape[1],), data[1].shape[1], (width,)).double(), "mse", data, dtype=torch.float64
    )


def kinds_of_a_linear_net(x, y, p: int) -> set[tuple[float, int, int]]:
    """F, index and nullity of every set I, for the mean over samples and outputs (Baldi and Hornik 1989)."""
    x, y = np.array(x, dtype=float), np.array(y, dtype=float)
    fit = x @ np.linalg.lstsq(x, y, rcond=None)[0]
    q = min(x.shape[1], y.shape[1])
    values = np.sort(np.linalg.svd(fit, compute_uv=False) ** 2)[::-1][:q]
    found = set()
    for r in range(min(p, q) + 1):
        for chosen in combinations(range(q), r):
            above = sum(j < i for i in chosen for j in range(q) if j not in chosen)
            loss = ((y**2).sum() - values[list(chosen)].sum()) / y.size
            flat = r**2 + (p - r) * (x.shape[1] + y.shape[1] - 2 * (q - r))
            found.add((round(loss, 9), above + (p - r) * (q - r), flat))
    return found


def spread_starts(objective: Objective, count: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    sizes = 2 * torch.rand(count, generator=generator, dtype=torch.float64)
    draws = torch.randn(count, objective.num_parameters, generator=generator, dtype=torch.float64)
    return list(sizes[:, None] * draws)


def random_data(seed: int, n: int, dx: int, dy: int):
    draw = np.random.default_rng(seed)
    return draw.normal(size=(n, dx)).tolist(), draw.normal(size=(n, dy)).tolist()


@pytest.mark.parametrize(
    ("x", "y", "p"),
    [
        *((SHEET_X, SHEET_Y, p) for p in (1, 4)),
        *(pytest.param(SHEET_X, SHEET_Y, p, marks=pytest.mark.slow) for p in (2, 3)),
        (SHEET_X, [row[:2] for row in SHEET_Y], 3),
        pytest.param(SHEET_X, [row[:2] for row in SHEET_Y], 2, marks=pytest.mark.slow),
        (*random_data(1, 9, 2, 4), 2),
        (*random_data(2, 7, 4, 2), 1),
        pytest.param(*random_data(3, 6, 3, 3), 2, marks=pytest.mark.slow),
    ],
)
def test_every_end_of_a_linear_net_is_one_of_its_sets(x, y, p):
    objective = net(x, y, p)
    found = at(objective, *spread_starts(objective, 60))
    expected = kinds_of_a_linear_net(x, y, p)
    got = {
        (round(loss, 9), int(index), int(nullity))
        for loss, index, nullity in zip(found.kind_loss, found.kind_index, found.kind_nullity, strict=True)
    }
    assert passes(found), [check for check in found.checks if not check.passed]
    assert got <= expected
    assert {
        (round(a, 9), b, c)
        for a, b, c in zip(found.known_loss, found.known_index, found.known_nullity, strict=True)
    } == expected
    assert len(found.known_loss) == sum(
        comb(min(len(x[0]), len(y[0])), r) for r in range(min(p, len(x[0]), len(y[0])) + 1)
    )
    assert np.mean(found.end_status == "critical") >= 0.98
    assert found.gradient_norm[found.end_status == "critical"].max() < 1e-9
    assert len(got) >= min(len(expected), 4)
    assert found.verdict[0].startswith("local minimum, flat along")


def test_the_sets_of_the_sheet():
    expected = [
        (1.0872266630, 0, 4), (1.6051428956, 1, 4), (1.6298695586, 2, 3), (3.6826304414, 2, 4),
        (3.7073571044, 3, 3), (4.2252733370, 4, 3), (4.25, 6, 0),
    ]  # fmt: skip
    found = landscape.measure(None, "critical", preset="baldi-hornik", overwrite=True)
    table = np.array([found.kind_loss * 3, found.kind_index, found.kind_nullity]).T
    np.testing.assert_allclose(table, expected, atol=1e-9)
    assert (found.known_count > 0).all()
    assert (found.gradient_norm <= 1e-9).mean() >= 0.98
    assert passes(found)


def test_all_kinds_of_a_spin_glass():
    found = landscape.measure(None, "critical", preset="spin", overwrite=True)
    matrix = spin(20).matrix.numpy()
    values = np.linalg.eigvalsh(matrix)[::-1]
    positive = values[values > 0]
    np.testing.assert_allclose(found.kind_loss, [*(-(positive**2) / 4), 0.0], atol=1e-12)
    np.testing.assert_array_equal(found.kind_index, np.arange(len(positive) + 1))
    assert found.num_critical == 400
    assert found.rank_correlation == pytest.approx(1.0)
    assert passes(found)


@pytest.mark.parametrize(
    ("matrix", "values"),
    [
        (
            ((2, 1, 0, 0), (1, 0, 1, 0), (0, 1, -1, 1), (0, 0, 1, 3)),
            (3.259478669963, 2.443839242674, 0.136471247720),
        ),
        (((1, 0, 0), (0, -2, 0), (0, 0, 5)), (5, 1)),
        (((-1, 0), (0, -3)), ()),
    ],
)
def test_spin_glasses_of_other_matrices(matrix, values):
    objective = Objective(spin(matrix=matrix), "output", (NOTHING, NOTHING))
    found = landscape.critical(
        objective, starts=1, fresh=lambda seed: {"w": torch.zeros(len(matrix)).double()}
    )
    assert (found.loss[0], found.index[0], found.nullity[0]) == (0.0, len(values), 0)
    rows = spread_starts(objective, 80)
    found = at(objective, *rows)
    assert {(round(a, 9), int(b)) for a, b in zip(found.kind_loss, found.kind_index, strict=True)} == {
        (round(-(value**2) / 4, 9), place) for place, value in enumerate(values)
    } | {(0.0, len(values))}
    assert passes(found)


def test_a_separable_quartic_has_every_corner():
    weights = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    objective = surface(lambda w: (weights * (w**2 - 1) ** 2).sum(), 3)
    found = at(objective, *product((0.02, 0.97), repeat=3))
    zeros = [3 - sum(one) for one in product((0, 1), repeat=3)]
    np.testing.assert_array_equal(found.index, zeros)
    np.testing.assert_allclose(np.sort(found.loss), np.arange(8), atol=1e-12)


@pytest.mark.parametrize("a", [-1.0, -1e-6, -0.3])
def test_a_surface_without_a_critical_point_has_none(a):
    objective = surface(lambda w: w[0] ** 3 / 3 - a * w[0] + w[1] ** 2 / 2, 2)
    found = at(objective, (0.0, 0.0), (0.5, 1.0), (-2.0, 3.0), (1e-3, -1.0), (4.0, 0.1))
    assert set(found.end_status) <= {"gradient-flat", "not-converged"}
    assert "gradient-flat" in found.end_status
    assert np.isnan(found.index).all()
    assert (found.distinct == -1).all()
    assert found.status == "not-converged"


def test_the_same_surface_with_critical_points():
    objective = surface(lambda w: w[0] ** 3 / 3 - w[0] + w[1] ** 2 / 2, 2)
    found = at(objective, (0.8, 0.1), (-1.2, 1.0))
    np.testing.assert_allclose(found.loss, [-2 / 3, 2 / 3], atol=1e-14)
    np.testing.assert_array_equal(found.index, [0, 1])
    assert list(found.verdict) == ["local minimum", "saddle of index 1"]


def polynomial(z):
    return -((z - 1) ** 2) / 8


@pytest.mark.parametrize(
    ("function", "point", "index", "nullity", "words"),
    [
        (lambda w: (1 - w[0] * polynomial(w[1])) ** 2, (1, 1), 0, 1, "local minimum, flat along 1 direction"),
        (lambda w: (1 - w[0] * polynomial(w[1])) ** 2, (0, 1), 0, 2, "not a minimum: the loss falls by"),
        (lambda w: (1 - w[0] * polynomial(w[1])) ** 2, (-1, 1), 1, 1, "no minimum, index 1, 1 flat"),
        (lambda w: (1 - w[0] * polynomial(w[1])) ** 2, (-8, 0), 0, 1, "local minimum, flat along 1 direction"),
        (lambda w: (1 - w.prod()) ** 2, (0, 0, 0), 0, 3, "not a minimum: the loss falls by"),
        (lambda w: (1 - w.prod()) ** 2, (1, 0, 0), 1, 1, "saddle of index 1, 1 flat"),
        (lambda w: (1 - w.prod()) ** 2, (1, 1, 1), 0, 2, "local minimum, flat along 2 directions"),
        (lambda w: (1 - w.prod()) ** 2, (0, 0, 0, 0), 0, 4, "not a minimum: the loss falls by"),
        (lambda w: (1 - w.prod()) ** 2, (0, 0), 1, 0, "saddle of index 1"),
        (lambda w: w[0] ** 4 + w[1] ** 2, (0, 0), 0, 1, "local minimum"),
        (lambda w: -(w[0] ** 4) + w[1] ** 2, (0, 0), 0, 1, "not a minimum: the loss falls by"),
        (lambda w: w[0] ** 3 + w[1] ** 2, (0, 0), 0, 1, "not a minimum: the loss falls by"),
        # The loss falls only along a parabola: by no direction, and by −z⁴ once the curved way is taken.
        (lambda w: (w[1] - w[0] ** 2) * (w[1] - 2 * w[0] ** 2), (0, 0), 0, 1, "not a minimum: the loss falls by"),
        (lambda w: (w[1] - w[0] ** 2) ** 2, (0, 0), 0, 1, "local minimum, flat along 1 direction"),
        (lambda w: (w[0] ** 2 + w[1] ** 2 - 1) ** 2, (0.6, 0.8), 0, 1, "local minimum, flat along 1 direction"),
        (lambda w: -(w**2).sum(), (0, 0), 2, 0, "local maximum"),
        # At 100 radii are a hundred times as long, and from 0.03 on the loss lies lower: within it rises.
        (lambda w: (w[0] - 100) ** 4 - 1e3 * (w[0] - 100) ** 6, (100,), 0, 1, "local minimum"),
        (lambda w: 1e4 * ((w[0] - 1) ** 4 - 2e-4 * (w[0] - 1) ** 3), (1,), 0, 1, "not a minimum: the loss falls by"),
        # What F shows at one radius alone may be the point's, of a high order.
        (lambda w: 1 - w[0] ** 10, (0,), 0, 1, "undecided"),
        (lambda w: 1 + w[0] ** 10, (0,), 0, 1, "undecided"),
        # Neither along an axis.
        (lambda w: (w[0] - w[1]) ** 4, (0, 0), 0, 2, "local minimum, flat along 1 direction"),
        (lambda w: 1 + (0.8 * w[0] + 0.6 * w[1]) ** 4 - (0.6 * w[0] - 0.8 * w[1]) ** 6, (0, 0), 0, 2,
         "not a minimum: the loss falls by"),
        (lambda w: 1 + (w[0] + 0.3 * w[1]) ** 4 + (w[1] - 0.2 * w[0]) ** 6 + (w[2] - w[0] ** 2) ** 2, (0, 0, 0), 0, 2,
         "local minimum"),
        (lambda w: 1 + w[0] ** 3 - 3 * w[0] * w[1] ** 2, (0, 0), 0, 2, "not a minimum: the loss falls by"),
    ],
)  # fmt: skip
def test_verdicts_of_degenerate_points(function, point, index, nullity, words):
    found = at(surface(function, len(point)), point)
    assert list(found.end_status) == ["critical"]
    assert (found.index[0], found.nullity[0]) == (index, nullity)
    assert found.verdict[0].startswith(words)
    assert words == "local minimum" or found.verdict[0] != "local minimum"
    exact = landscape.hessian(
        surface(function, len(point)), torch.tensor(point).double(), top_k=1, exact=True
    )
    assert (exact.index, exact.nullity) == (index, nullity)
    if nullity and not index:
        assert str(exact.verdict).split("; ")[1].startswith(words)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda w: 1 + w[0] ** 2, "local minimum, flat along 99 directions (setwise)"),
        # A valley that bends is as flat.
        (
            lambda w: 1 + (w[0] - w[1] ** 2 + w[2] * w[1]) ** 2,
            "local minimum, flat along 99 directions (setwise)",
        ),
        # More directions than are tried.
        (lambda w: 1 + w[0] ** 2 + w[1] ** 4, "local minimum, flat along at least 55 directions (setwise)"),
    ],
)
def test_flat_directions_are_counted_where_they_are_many(function, words):
    assert at(surface(function, 100), (0.0,) * 100).verdict[0] == words


def test_a_wide_linear_net_is_flat_along_its_whole_null_space():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 2, generator=generator, dtype=torch.float64)
    y = x + 0.1 * torch.randn(20, 2, generator=generator, dtype=torch.float64)
    torch.manual_seed(0)
    found = landscape.critical(Objective(linear((2,), 2, (64,)).double(), "mse", (x, y)), starts=1)
    # r² + (p − r)(dx + dy − 2(q − r)) at r = q = 2.
    assert found.nullity[0] == 4 + 62 * 4
    assert found.verdict[0] == "local minimum, flat along 252 directions (setwise)"


def test_a_minimum_at_infinity_is_none():
    objective = surface(lambda w: (w.prod() - 1) ** 2, 3)
    found = at(objective, (-0.01, 10.0, 10.0))
    assert found.end_status[0] in ("running-to-infinity", "critical")
    runs = surface(lambda w: torch.exp(-w[0]) + w[1] ** 2, 2)
    found = at(runs, (1.0, 0.3))
    assert list(found.end_status) == ["running-to-infinity"]


class Chances(nn.Module):
    """Whatever its weights, its outputs add up to 1: F is constant, and ∇F the rounding of terms that cancel."""

    def __init__(self, d: int):
        super().__init__()
        self.layer = nn.Linear(3, d // 4)

    def forward(self, x):
        return torch.softmax(self.layer(x), 1).sum(1, keepdim=True)


@pytest.mark.parametrize("method", ["newton", "gradient-norm", "hisd"])
@pytest.mark.parametrize("is_dense", [True, False])
def test_a_constant_is_critical_everywhere_to_rounding(method, is_dense, monkeypatch):
    if not is_dense:
        if method == "hisd":
            return
        monkeypatch.setattr(seeking, "DENSE_PARAMETERS", 1)
    torch.manual_seed(0)
    x = torch.randn(20, 3, dtype=torch.float64)
    objective = Objective(Chances(12).double(), "mse", (x, x[:, :1]))
    found = at(objective, *spread_starts(objective, 5)[1:], method=method, max_steps=60)
    assert objective.doubts == []
    assert list(found.end_status) == ["critical"] * 4
    assert list(found.index) == [0] * 4
    if is_dense:
        assert list(found.nullity) == [12] * 4
    # By another road: the mean of (1 − y)², whose derivative is 0.
    np.testing.assert_allclose(found.loss, float((1 - x[:, 0]).square().mean()), rtol=1e-14)
    (said,) = [note for note in found.notes if "critical where they begin, to rounding" in note]
    bound = float(re.search(r"at most (\S+),", said)[1])
    assert found.gradient_norm.max() <= bound < 1e-12
    assert passes(found)


@pytest.mark.parametrize("at_most", [1e-9, 1e-14])
def test_a_gradient_that_is_small_and_no_rounding_is_not_zero(at_most):
    """e^−w far out falls on for ever, and ∇F is exact to its last digits there."""
    found = at(surface(lambda w: torch.exp(-w[0]), 1), (-math.log(at_most),))
    assert found.gradient_norm[0] <= 1.01 * at_most
    assert list(found.end_status) == ["running-to-infinity"]
    assert not any("critical where they begin" in note for note in found.notes)


def test_a_kink_is_no_critical_point():
    objective = surface(lambda w: torch.relu(w[0]) + torch.relu(-2 * w[0]) + w[1] ** 2 + 0.1 * w[0] ** 2, 2)
    found = at(objective, (1e-9, 0.0))
    assert found.end_status[0] in ("kink", "not-converged", "gradient-flat")
    assert np.isnan(found.index[0])


@pytest.mark.parametrize("p", [1, 3])
def test_the_plateau_of_a_wide_sigmoid_net(p):
    """Ding, Li and Sun: F = 1/12 is a local minimum at every width, flat along p − 1 directions."""
    x = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    s = torch.sigmoid(x)
    slope = s * (1 - s)
    bend = slope * (1 - 2 * s) * x**2
    basis = torch.linalg.qr(torch.stack([s, slope * x], 1))[0]
    q = bend - basis @ (basis.T @ bend)
    y = p * s - q / q.norm() / 2

    def loss(w):
        v, u = w[:p], w[p:]
        return ((torch.sigmoid(x[:, None] * u) @ v - y) ** 2).mean()

    found = at(surface(loss, 2 * p), (1.0,) * (2 * p))
    assert found.loss[0] == pytest.approx(1 / 12, abs=1e-12)
    assert (found.index[0], found.nullity[0]) == (0, p - 1)
    words = f"local minimum, flat along {p - 1} directions (setwise)" if p > 1 else "local minimum"
    assert found.verdict[0] == words


@pytest.mark.parametrize(("a", "index", "nullity"), [(0.5, 0, 1), (1.5, 1, 1)])
def test_two_units_of_a_polynomial(a, index, nullity):
    unit = lambda t: t**3 / 3 - 3 * t**2 / 2 + 2 * t - (t - 1) ** 2 * (t - 2) ** 2 / 2  # noqa: E731
    x = torch.tensor([1.0, 2.0], dtype=torch.float64)
    y = torch.tensor([1.5, -1 / 6], dtype=torch.float64)
    objective = surface(lambda w: ((unit(x[:, None] * w[2:]) @ w[:2] - y) ** 2).mean(), 4)
    found = at(objective, (a, 1 - a, 1, 1))
    assert found.loss[0] == pytest.approx(41 / 72, abs=1e-14)
    assert (found.index[0], found.nullity[0]) == (index, nullity)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_saddles_of_an_index_are_found_by_reflection(index):
    objective = Objective(spin(matrix=((1, 0, 0), (0, 2, 0), (0, 0, 5))), "output", (NOTHING, NOTHING))
    found = at(objective, *spread_starts(objective, 10), method="hisd", index=index)
    assert list(found.end_status) == ["critical"] * 10
    np.testing.assert_array_equal(found.index, index)


def test_the_gradient_norm_leads_there_too():
    objective = net(SHEET_X, SHEET_Y, 1)
    found = at(objective, *spread_starts(objective, 2), method="gradient-norm")
    expected = kinds_of_a_linear_net(SHEET_X, SHEET_Y, 1)
    assert {
        (round(a, 9), int(b), int(c))
        for a, b, c in zip(found.kind_loss, found.kind_index, found.kind_nullity, strict=True)
    } <= expected
    assert passes(found)


def test_starts_along_descents_lie_at_every_height():
    """A saddle of index 2, 1 and 0 of Σ (w² − 1)², by how long the start went down."""
    objective = surface(lambda w: ((w**2 - 1) ** 2).sum(), 2)
    starts = [(0.1, 0.01)] * 4
    found = at(objective, *starts, descend=60, method="hisd")
    np.testing.assert_array_equal(found.index[[0, -1]], [2, 0])
    np.testing.assert_allclose(found.loss, found.index, atol=1e-12)
    assert found.rank_correlation > 0
    assert not any("the same here" in note for note in at(objective, *starts).notes)


@pytest.mark.slow
def test_the_share_of_negative_eigenvalues_grows_with_the_loss_on_digits():
    found = landscape.measure(None, "critical", preset="dauphin-2014", overwrite=True)
    assert passes(found)
    assert found.num_critical >= 10
    assert len(set(found.kind_index)) >= 4
    assert found.rank_correlation_interval[0] > 0.5
    assert any("the same here" in note for note in found.notes)


@pytest.mark.slow
def test_products_alone_find_the_points_of_a_large_spin_glass():
    """d = 2001, one above what is taken whole: ±√λ uᵢ at −λ²/4, the index the number of larger eigenvalues."""
    d = 2001
    values = torch.linspace(-2, -1, d, dtype=torch.float64)
    values[:3] = torch.tensor([5.0, 4.0, 3.0], dtype=torch.float64)
    objective = Objective(Spin(torch.diag(values), 1.0), "output", (NOTHING, NOTHING))
    noise = 1e-3 * torch.randn(3, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    starts = [values[k].sqrt() * torch.eye(d, dtype=torch.float64)[k] + noise[k] for k in range(3)]
    found = at(objective, *starts)
    assert list(found.end_status) == ["critical"] * 3
    np.testing.assert_allclose(found.loss, [-25 / 4, -4, -9 / 4], atol=1e-12)
    np.testing.assert_array_equal(found.index, [0, 1, 2])
    assert np.isnan(found.nullity).all()
    assert [found.verdict[0], *found.verdict[1:]] == ["undecided", "saddle of index 1", "saddle of index 2"]
    assert any("the index is that of Lanczos" in note for note in found.notes)
    assert passes(found)


def test_products_alone_end_where_the_matrix_does(monkeypatch):
    objective = net(SHEET_X, SHEET_Y, 2)
    starts = spread_starts(objective, 6)
    dense = at(objective, *starts)
    monkeypatch.setattr(seeking, "DENSE_PARAMETERS", 1)
    alone = at(objective, *starts)
    expected = {(round(loss, 8), index) for loss, index, _ in kinds_of_a_linear_net(SHEET_X, SHEET_Y, 2)}
    for one in (dense, alone):
        is_there = one.end_status == "critical"
        assert is_there.sum() >= 5
        ends = zip(one.loss[is_there], one.index[is_there], strict=True)
        assert {(round(loss, 8), int(index)) for loss, index in ends} <= expected


def test_points_are_perturbed_by_their_seeds_alone():
    objective = surface(lambda w: (w**2).sum(), 2)
    point = torch.ones(2, dtype=torch.float64)
    few = landscape.critical(
        objective, point, begin="points", perturb=0.1, starts=2, max_steps=1, save_points=True
    )
    more = landscape.critical(
        objective, point, begin="points", perturb=0.1, starts=4, max_steps=1, save_points=True
    )
    np.testing.assert_array_equal(few.thetas, more.thetas[:2])
    shifted = landscape.critical(
        objective, point, begin="points", perturb=0.1, starts=2, max_steps=1, save_points=True, seed=2
    )
    np.testing.assert_array_equal(shifted.thetas, more.thetas[2:])


def test_a_start_that_is_not_finite_is_kept_and_counted():
    found = at(surface(lambda w: torch.log(w[0]) ** 2, 1), (-1.0,), (2.0,))
    assert list(found.end_status) == ["not-converged", "critical"]
    assert any("1 starts where loss, ∇F or H are not finite" in note for note in found.notes)


def test_softmax_outputs_that_differ_by_a_shift_are_one_point():
    x = torch.randn(24, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    objective = Objective(nn.Linear(2, 2).double(), "cross_entropy", (x, torch.arange(24) % 2))
    found = landscape.critical(objective, starts=5)
    assert (found.num_critical, found.num_distinct) == (5, 1)
    assert found.verdict[0] == "local minimum, flat along 3 directions (setwise)"
    assert passes(found)


class Drawn(nn.Linear):
    """A layer that draws its weight through .data, as old code does."""

    def reset_parameters(self):
        self.weight.data.uniform_(2, 3)
        self.bias.data.zero_()


def test_random_starts_draw_every_number_and_say_how():
    x, y = torch.randn(6, 2, dtype=torch.float64), torch.randn(6, 1, dtype=torch.float64)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), Drawn(3, 1)).double()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        nn.utils.weight_norm(module[0])
    module(x)
    found = landscape.critical(Objective(module, "mse", (x, y)), starts=2, max_steps=1, save_points=True)
    begun = beginnings(Objective(module, "mse", (x, y)), [], True, 2, 0.0, 0, None, [])
    by_name = dict(
        zip([name for name, _ in module.named_parameters()], begun.T.split([3, 3, 6, 3, 1]), strict=True)
    )
    assert "random starts draw 0.weight_g, 0.weight_v from the standard normal distribution" in found.notes
    assert (by_name["0.weight_g"][:, 0] != by_name["0.weight_g"][:, 1]).all()
    assert (by_name["2.weight"] > 2).all()
    assert (by_name["2.bias"] == 0).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"begin": "points"}, "no points"),
        ({"begin": "trajectory"}, "no stored points"),
        ({"perturb": 0.1}, "noise on random starts"),
        ({"index": 1}, "newton with an index"),
        ({"method": "hisd", "index": 2}, "index 2 of d = 2"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, words):
    with pytest.raises(BadInput, match=words):
        landscape.critical(surface(lambda w: (w**2).sum(), 2), **options)
