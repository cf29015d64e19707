"""What ``hessian`` says beyond eigenvalues, against dense matrices and closed forms."""

import numpy as np
import pytest
import torch
from plain import quadratic
from torch import nn

import landscape
from landscape import Objective
from landscape.descent.critical import examined
from landscape.errors import BadInput


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()


@pytest.fixture(scope="module")
def objective() -> Objective:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(30, 4, generator=generator, dtype=torch.float64)
    return Objective(net(), "cross_entropy", (x, torch.arange(30) % 3))


@pytest.fixture(scope="module")
def dense(objective: Objective) -> np.ndarray:
    """The Hessian by double backward through plain PyTorch calls, not through the objective."""
    (x,), y = objective.samples

    def loss(theta: torch.Tensor) -> torch.Tensor:
        w1, b1, w2, b2 = theta.split([24, 6, 18, 3])
        hidden = torch.tanh(x @ w1.view(6, 4).T + b1)
        return nn.functional.cross_entropy(hidden @ w2.view(3, 6).T + b2, y)

    found = torch.autograd.functional.hessian(loss, objective.theta)
    assert isinstance(found, torch.Tensor)
    return found.numpy()


@pytest.mark.parametrize("seed", range(4))
def test_a_trace_that_is_a_sum_is_known_to_its_rounding(seed):
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(4, 3 + seed), nn.Tanh(), nn.Linear(3 + seed, 3))
    x, y = torch.randn(20, 4), torch.randint(0, 3, (20,))
    single = landscape.Objective(module, "cross_entropy", (x, y))
    found = landscape.hessian(single, single.theta, top_k=1, trace=True, trace_error=1e-9)
    double = landscape.Objective(module.double(), "cross_entropy", (x.double(), y))
    axes = torch.eye(single.num_parameters, dtype=torch.float64)
    truth = sum(float(double.hvp(single.theta.double(), axis) @ axis) for axis in axes)
    assert 0 < abs(found.trace - truth) <= found.trace_error <= 1e-5 * truth


def test_both_ends_trace_and_spectrum_are_those_of_the_dense_matrix(objective, dense):
    exact = np.linalg.eigvalsh(dense)
    result = landscape.hessian(objective, objective.theta, top_k=4, bottom_k=3, trace=True, exact=True)
    np.testing.assert_allclose(result.eigenvalues, [*exact[::-1][:4], *exact[:3]], atol=1e-6 * exact[-1])
    np.testing.assert_allclose(result.spectrum, exact, atol=1e-13)
    assert abs(result.trace - np.trace(dense)) <= 4 * result.trace_error + 1e-12
    # A shift of all output biases alone moves no softmax: one zero, and one per hidden unit's outgoing weights.
    assert result.nullity == 7
    assert result.index == (exact < -1e-10).sum()
    assert result.status == "complete"


def test_what_counts_as_zero_is_what_the_eigenvalues_may_be_off_by(objective, dense):
    """100 ε ‖H‖₂, and the little by which products of 51 unit vectors are not symmetric."""
    result = landscape.hessian(objective, objective.theta, top_k=1, exact=True)
    solver = 100 * np.finfo(float).eps * np.abs(np.linalg.eigvalsh(dense)).max()
    assert solver <= result.zero_threshold <= 2 * solver


def test_density_has_the_moments_of_the_dense_matrix(objective, dense):
    """Nodes, weights and Ritz values: the first moment is tr H / d, exact in expectation (Golub and Meurant)."""
    d = len(dense)
    means = []
    for seed in range(40):
        r = landscape.hessian(
            objective, objective.theta, top_k=3, density=True, num_probes=2, num_steps=8, seed=seed
        )
        first = (r.density_weights * r.density_nodes).sum(1).mean() + r.eigenvalues.sum() / d
        means.append(first)
        np.testing.assert_allclose(r.density_weights.sum(1) + 3 / d, 1, rtol=1e-10)
    error = np.std(means, ddof=1) / np.sqrt(len(means))
    assert abs(np.mean(means) - np.trace(dense) / d) <= 4 * error + 1e-12


def test_the_index_estimated_from_the_density_holds_the_true_one(objective, dense):
    """With as many steps as there are dimensions the quadrature is exact but for the random probes."""
    truth = (np.linalg.eigvalsh(dense) < -1e-10).sum()
    offs = []
    for seed in range(10):
        r = landscape.hessian(
            objective, objective.theta, top_k=1, density=True, num_probes=8, num_steps=51, seed=seed
        )
        assert r.index_estimate == pytest.approx(51 * r.mass_below_zero, rel=1e-14)
        offs.append((r.index_estimate - truth) / r.index_estimate_error)
    assert np.mean(np.abs(offs) <= 3) >= 0.9


def test_without_a_number_of_probes_the_index_is_known_to_two_percent(dense):
    """Of a quadratic with no eigenvalue near zero; and where half of them vanish a note says why not."""
    resolved = torch.cat([-torch.linspace(0.5, 1, 60), torch.linspace(0.5, 2, 140)])
    objective, _, _, _ = quadratic(torch.float64, resolved)
    found = landscape.hessian(objective, objective.theta, top_k=3, density=True)
    assert found.mass_below_zero_error <= 0.02
    assert len(found.density_weights) > 2
    assert abs(found.index_estimate - 60) <= 3 * found.index_estimate_error
    assert not any("the index is known" in note for note in found.notes)
    few = landscape.hessian(objective, objective.theta, top_k=3, density=True, num_probes=2)
    assert len(few.density_weights) == 2
    assert few.mass_below_zero_error > 0.02
    assert any("2 random vectors leave so much to chance" in note for note in few.notes)
    resolved[60:140] = 0
    objective, _, _, _ = quadratic(torch.float64, resolved)
    found = landscape.hessian(objective, objective.theta, top_k=3, density=True, num_steps=3)
    assert abs(found.mass_near_zero - 0.4) <= 3 * found.mass_near_zero_error
    if found.mass_below_zero_error > 0.02:
        assert any("do not tell their signs" in note for note in found.notes)


def test_points_with_unlike_numbers_of_probes_stand_side_by_side(objective, dense):
    points = [landscape.Point(objective.theta * s, {}, f"at {s}") for s in (0.5, 1.0)]
    options = {"top_k": 2, "density": True, "num_steps": 10}
    both = landscape.hessian(objective, points, **options)
    for i, point in enumerate(points):
        alone = landscape.hessian(objective, point, **options)
        num_probes, num_nodes = alone.density_weights.shape
        np.testing.assert_array_equal(both.density_nodes[i, :num_probes, :num_nodes], alone.density_nodes)
        assert (both.density_weights[i, :num_probes, num_nodes:] == 0).all()
        assert np.isnan(both.density_weights[i, num_probes:]).all()
        assert both.index_estimate[i] == alone.index_estimate


def test_the_gradient_against_the_dense_matrix(objective, dense):
    g = objective.gradient(objective.theta).numpy()
    result = landscape.hessian(objective, objective.theta, top_k=5, save_vectors=True)
    assert result.gradient_curvature == pytest.approx(g @ dense @ g / (g @ g), rel=1e-10)
    vectors = np.linalg.eigh(dense)[1][:, ::-1][:, :5]
    along = (vectors.T @ g) ** 2 / (g @ g)
    assert result.gradient_share == pytest.approx(along, rel=1e-3, abs=1e-6)
    assert result.gradient_in_span == pytest.approx(((vectors.T @ g) ** 2).sum() / (g @ g), rel=1e-4)


def test_outliers_stand_before_the_widest_gap_and_beside_the_number_of_classes():
    values = torch.tensor([1.0, 5, 9, 0.7, 8, 0.6, -20, 0.5], dtype=torch.float64)
    planted, _, _, _ = quadratic(torch.float64, values)
    found = landscape.hessian(planted, planted.theta, top_k=6, bottom_k=1)
    assert (found.num_outliers, found.num_classes) == (3, None)
    assert found.outlier_gap == pytest.approx(5)
    # Of both ends the smallest are no part of them; at several points each has its own.
    few = landscape.hessian(planted, [planted.theta, 2 * planted.theta], top_k=3, bottom_k=5)
    assert few.num_outliers.tolist() == [2, 2]
    assert few.outlier_gap == pytest.approx(np.full(2, 8 / 5))
    assert landscape.hessian(planted, planted.theta, top_k=2).num_outliers is None
    assert not any("no outliers are counted" in note for note in found.notes)
    same, _, _, _ = quadratic(torch.float64, torch.ones(4, dtype=torch.float64))
    flat = landscape.hessian(same, same.theta, top_k=3)
    assert (flat.num_outliers, flat.outlier_gap) == (None, None)
    assert any("no outliers are counted" in note for note in flat.notes)


def test_the_number_of_classes_is_that_of_the_labels(objective):
    assert landscape.hessian(objective, objective.theta, top_k=3).num_classes == 3


def test_gauss_newton_and_the_rest_add_up(objective, dense):
    result = landscape.hessian(objective, objective.theta, top_k=4, split=True)
    np.testing.assert_allclose(
        result.gauss_newton_part + result.remainder_part, result.eigenvalues, atol=1e-9
    )
    assert (result.gauss_newton_part >= -1e-12).all()
    outer = landscape.hessian(objective, objective.theta, top_k=1, operator="gauss-newton")
    fisher = landscape.hessian(objective, objective.theta, top_k=1, operator="fisher")
    np.testing.assert_allclose(outer.eigenvalues, fisher.eigenvalues, rtol=1e-9)
    assert outer.eigenvalues[0] >= result.gauss_newton_part.max()


def test_a_block_is_a_diagonal_block(objective, dense):
    exact = np.linalg.eigvalsh(dense[30:, 30:])
    result = landscape.hessian(objective, objective.theta, top_k=4, block="2.*")
    np.testing.assert_allclose(result.eigenvalues, exact[::-1][:4], atol=1e-6 * exact[-1])
    assert result.num_parameters == 21
    with pytest.raises(BadInput, match=r"no parameter matches 'conv\*'"):
        landscape.hessian(objective, objective.theta, block="conv*")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_every_layer_is_a_diagonal_block(objective, dense, dtype):
    """In float32 too, at a point that float32 holds, as the certificate is made of the same block."""
    (x,), y = objective.samples
    if dtype == torch.float32:
        objective = Objective(objective.module, "cross_entropy", (x, y), dtype=dtype)
        wide = Objective(objective.module, "cross_entropy", (x.float().double(), y))
        theta = objective.theta.double()
        dense = np.stack([wide.hvp(theta, v).numpy() for v in torch.eye(51, dtype=torch.float64)])
    result = landscape.hessian(objective, objective.theta, top_k=25, per_layer=True, tol=1e-9)
    assert list(result.point) == ["0", "2"]
    np.testing.assert_array_equal(result.num_parameters, [30, 21])
    for row, span in zip(result.eigenvalues, (slice(0, 30), slice(30, 51)), strict=True):
        exact = np.linalg.eigvalsh(dense[span, span])[::-1][:25]
        np.testing.assert_allclose(row[: len(exact)], exact, atol=1e-8)
        assert np.isnan(row[len(exact) :]).all()
    assert result.status == "complete"


def test_a_penalty_shifts_every_eigenvalue(objective):
    (x,), y = objective.samples
    with_penalty = Objective(objective.module, "cross_entropy", (x, y), l2=0.25)
    plain, shifted = (landscape.hessian(o, objective.theta, top_k=3) for o in (objective, with_penalty))
    np.testing.assert_allclose(shifted.eigenvalues, plain.eigenvalues + 0.25, atol=1e-6)


def test_several_points_are_the_single_ones_together(objective):
    theta = objective.theta
    points = [landscape.Point(theta * s, {}, f"at {s}") for s in (0.5, 1.0)]
    both = landscape.hessian(objective, points, top_k=3, trace=True, stability_limits=[20.0, 10.0])
    for number, point in enumerate(points):
        alone = landscape.hessian(objective, point, top_k=3, trace=True)
        np.testing.assert_array_equal(both.eigenvalues[number], alone.eigenvalues)
        assert both.trace[number] == alone.trace
        assert both.loss[number] == alone.loss
    assert list(both.point) == ["at 0.5", "at 1.0"]
    assert np.isnan(both.overlap[0])
    assert 0 < both.overlap[1] <= 1
    np.testing.assert_array_equal(both.stability_limit, [20, 10])


def test_verdicts_of_closed_forms():
    """v² − w² has a saddle at 0; a parabola a minimum; (1 − vw)² a flat minimum."""

    class Form(nn.Module):
        def __init__(self, form):
            super().__init__()
            self.at, self.form = nn.Parameter(torch.zeros(2, dtype=torch.float64)), form

        def forward(self, inputs):
            return self.form(*self.at).expand(len(inputs))

    def verdict(form, *at):
        data = torch.ones(1, 1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
        surface = Objective(Form(form), "output", data)
        theta = torch.tensor(at, dtype=torch.float64)
        return landscape.hessian(surface, theta, top_k=1, exact=True).verdict

    assert verdict(lambda v, w: v**2 - w**2, 0.0, 0.0) == "saddle of index 1"
    assert verdict(lambda v, w: v**2 + 3 * w**2, 0.0, 0.0) == "local minimum"
    assert verdict(lambda v, w: -(v**2) - w**2, 0.0, 0.0) == "local maximum"
    assert verdict(lambda v, w: (1 - v * w) ** 2, 1.0, 1.0).startswith("degenerate: 1 flat direction")
    assert verdict(lambda v, w: v**2 + w**2, 1.0, 0.0) == "not stationary: ‖∇F‖ = 2"


def test_a_parameter_that_the_loss_does_not_use_is_named():
    class Partly(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Linear(3, 1), nn.Linear(3, 1)

        def forward(self, x):
            return self.used(x)

    objective = Objective(Partly().double(), "mse", (torch.randn(9, 3).double(), torch.zeros(9, 1).double()))
    result = landscape.hessian(objective, objective.theta, top_k=2)
    assert any("idle.weight, idle.bias" in note for note in result.notes)
    assert result.status == "complete"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 0, "bottom_k": 0}, "at least 1 of either"),
        ({"operator": "jacobian"}, "one of hessian"),
        ({"memory_limit": 10.0}, "memory limit of 10 bytes"),
        ({"exact": True, "memory_limit": 3e4}, "the exact spectrum of d = 51"),
    ],
)
def test_options_out_of_range(objective, options, message):
    with pytest.raises(BadInput, match=message):
        landscape.hessian(objective, objective.theta, **options)


def test_an_interruption_is_an_outcome(objective, monkeypatch):
    from landscape.numerics.spectra.krylov import Krylov

    extend, calls = Krylov.extend, []

    def interrupted(self, newest=False):
        calls.append(1)
        if len(calls) == 12:
            raise KeyboardInterrupt
        extend(self, newest)

    monkeypatch.setattr(Krylov, "extend", interrupted)
    result = landscape.hessian(objective, objective.theta, top_k=5)
    assert result.status == "interrupted"
    assert len(result.eigenvalues) == 5
    assert "Ritz values so far" in result.notes[0]


def test_one_point_has_one_verdict():
    """At a deep linear net's global minimum, missed by a little, `hessian` and the end of a descent count alike."""
    torch.manual_seed(0)
    x = torch.randn(20, 3, dtype=torch.float64)
    module = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 2, bias=False)).double()
    (first, second) = module.parameters()
    with torch.no_grad():
        y = x @ (second @ first).T
        second += 1e-7 * torch.randn(2, 2, dtype=torch.float64)
    objective = Objective(module, "mse", (x, y))
    size = float(torch.linalg.vector_norm(objective.gradient(objective.theta)))
    assert 1e-9 < size < 1e-6
    end = examined(objective, objective.theta)
    for one in (objective, objective.varied(dtype=torch.float32)):
        found = landscape.hessian(one, objective.theta, top_k=1, exact=True)
        assert (found.index, end.index) == (0, 0)
        # GL(2), the symmetry of the hidden layer, has dimension four.
        assert found.nullity == 4
        assert found.verdict.startswith("degenerate: 4 flat directions, no negative eigenvalue")
        assert found.zero_threshold > 0.9 * float(found.gradient_norm)
    assert end.status == "degenerate"
