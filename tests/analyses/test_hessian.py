"""Hessian eigenvalues: closed forms, a dense Hessian, and what is said when they are not reached."""

import numpy as np
import pytest
import torch
from torch import nn

import landscape
from landscape import Objective
from landscape.errors import BadInput
from landscape.inputs.data import load_data
from landscape.inputs.models import build_model


def toy(spec, loss, *at):
    """A toy surface at a point, in float64."""
    data = load_data("point", {}, None)
    module = build_model(spec, {}, 0, input_shape=(1,), num_outputs=1)
    objective = Objective(module, loss, (data.inputs, data.targets), dtype=torch.float64)
    return objective, torch.tensor(at, dtype=torch.float64)


@pytest.mark.parametrize(
    ("spec", "loss", "at", "eigenvalues"),
    [
        ("toy-product", "mse", (1.0, 1.0), [4, 0]),  # (1 − vw)²: a minimum, flat along the hyperbola
        ("toy-product", "mse", (2.0, 0.5), [8.5, 0]),  # 2(v² + w²) across it
        ("toy-product", "mse", (0.0, 0.0), [2, -2]),  # the saddle
        ("toy-saddle", "output", (0.3, 0.4), [2, -2]),  # v² − w²
        ("toy-chain", "mse", (0.0, 0.0, 0.0), [0, 0, 0]),  # (xyz − 1)²: flat to second order
        ("toy-chain", "mse", (1.0, 1.0, 1.0), [6, 0, 0]),
        ("toy-neuron", "mse", (0.0, 0.0), [(1 + 1025**0.5) / 64, (1 - 1025**0.5) / 64]),
    ],
)
def test_toy_surfaces_in_closed_form(spec, loss, at, eigenvalues):
    objective, theta = toy(spec, loss, *at)
    result = landscape.hessian(objective, theta, top_k=10)
    np.testing.assert_allclose(result.eigenvalues, eigenvalues, atol=1e-13)
    assert result.status == "complete"
    assert result.converged.all()
    assert any(f"only d = {len(at)}" in note for note in result.notes)


def test_the_neuron_by_hand():
    """F = (1 + v(w − 1)²/8)² at 0: F_vv = 2/64, F_vw = −1/2, F_ww = 0."""
    objective, theta = toy("toy-neuron", "mse", 0.0, 0.0)
    dense = torch.stack([objective.hvp(theta, e) for e in torch.eye(2, dtype=torch.float64)])
    torch.testing.assert_close(dense, torch.tensor([[1 / 32, -1 / 2], [-1 / 2, 0]], dtype=torch.float64))


def test_linear_regression_counts_each_eigenvalue_once_per_output(regression):
    """H = I₃ ⊗ 2XᵀX/(3n): every eigenvalue three times."""
    (x,), _ = regression.samples
    once = np.linalg.eigvalsh((2 * x.T @ x / (3 * len(x))).numpy())[::-1]
    result = landscape.hessian(regression, regression.theta, top_k=7)
    np.testing.assert_allclose(result.eigenvalues, np.repeat(once, 3)[:7], rtol=1e-12)
    smallest = landscape.hessian(regression, regression.theta, top_k=4, which="smallest")
    np.testing.assert_allclose(smallest.eigenvalues, np.repeat(once[::-1], 3)[:4], rtol=1e-10)


def dense_hessian(theta, x, y, hidden, classes):
    """The Hessian of a ReLU net with one hidden layer and cross-entropy, written out.

    With z the outputs, J their Jacobian, p the softmax and S = diag p − p pᵀ it is the mean of
    Jᵀ S J + Σ_c (p_c − y_c) ∇²z_c, and ∇²z_c has only the blocks ∂²z_c/∂W₂[c, h]∂(W₁, b₁)[h].
    """
    n, k = x.shape
    sizes = [hidden * k, hidden, classes * hidden, classes]
    w1, b1, w2, b2 = theta.split(sizes)
    w1, w2 = w1.view(hidden, k), w2.view(classes, hidden)
    a = x @ w1.T + b1
    on = (a > 0).double()
    p = ((a * on) @ w2.T + b2).softmax(1)
    identity = torch.eye(classes, dtype=x.dtype)
    jacobian = torch.cat(
        [
            torch.einsum("ch,ih,ik->ichk", w2, on, x).flatten(2),
            torch.einsum("ch,ih->ich", w2, on),
            torch.einsum("cd,ih->icdh", identity, a * on).flatten(2),
            identity.expand(n, classes, classes),
        ],
        dim=2,
    )
    s = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    dense = jacobian.flatten(0, 1).T @ (s @ jacobian).flatten(0, 1)
    with_one = torch.cat([x, torch.ones(n, 1, dtype=x.dtype)], dim=1)
    bent = torch.einsum("ic,ih,ik->chk", p - identity[y], on, with_one)
    for c in range(classes):
        for h in range(hidden):
            row = sizes[0] + sizes[1] + c * hidden + h
            columns = torch.cat([torch.arange(h * k, h * k + k), torch.tensor([sizes[0] + h])])
            dense[row, columns] += bent[c, h]
            dense[columns, row] += bent[c, h]
    return dense / n


@pytest.fixture(scope="module")
def digits():
    """The digits MLP 64-32-10 a few full-batch steps from its start, its dense Hessian and eigenvalues."""
    data = load_data("digits", {}, None).subset(100, torch.Generator().manual_seed(0))
    module = build_model("mlp", {"widths": (32,)}, 0, input_shape=data.input_shape, num_outputs=10)
    objective = Objective(module, "cross_entropy", (data.inputs, data.targets), dtype=torch.float64)
    theta = objective.theta
    for _ in range(20):
        theta = theta - 0.5 * objective.gradient(theta)
    (x,), y = objective.samples
    dense = dense_hessian(theta, x.flatten(1), y, 32, 10)
    return objective, theta, dense, np.linalg.eigvalsh(dense.numpy())


def test_products_are_those_of_the_dense_hessian(digits):
    objective, theta, dense, _ = digits
    v = torch.randn(2410, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(objective.hvp(theta, v), dense @ v, rtol=1e-10, atol=1e-13)


def test_the_ten_largest_of_the_digits_net_agree_with_the_dense_hessian(digits):
    objective, theta, dense, expected = digits
    assert objective.num_parameters == 2410
    result = landscape.hessian(objective, theta, top_k=10, save_vectors=True)
    assert result.status == "complete"
    np.testing.assert_allclose(result.eigenvalues, expected[::-1][:10], rtol=1e-6)
    vectors = torch.from_numpy(result.eigenvectors)
    residuals = (vectors @ dense - torch.from_numpy(result.eigenvalues)[:, None] * vectors).norm(dim=1)
    np.testing.assert_allclose(residuals, result.residuals, atol=1e-10 * expected[-1])
    bottom = landscape.hessian(objective, theta, top_k=3, which="smallest", max_products=800)
    np.testing.assert_allclose(bottom.eigenvalues, expected[:3], rtol=1e-6)


def test_the_spread_over_subsets_is_that_of_their_dense_hessians(digits):
    objective, theta, *_ = digits
    (x,), y = objective.samples
    parts = [objective.on((x[rows], y[rows])) for rows in torch.arange(99).split(33)]
    result = landscape.hessian(parts[0], theta, top_k=2, others=parts[1:])
    expected = []
    for part in parts:
        (inputs,), targets = part.samples
        dense = dense_hessian(theta, inputs.flatten(1), targets, 32, 10)
        expected.append(np.linalg.eigvalsh(dense.numpy())[::-1][:2])
    np.testing.assert_allclose(result.eigenvalues, expected[0], rtol=1e-6)
    np.testing.assert_allclose(result.subset_eigenvalues, expected, rtol=1e-5)
    np.testing.assert_allclose(result.subset_spread, np.std(expected, axis=0, ddof=1), rtol=1e-4)
    assert any("on average above" in note for note in result.notes)
    with pytest.raises(BadInput, match="the spread over subsets at 2 points; expected at one"):
        landscape.hessian(parts[0], [theta, theta], others=parts[1:])


def test_recomputed_graphs_are_a_note_and_change_nothing(digits):
    objective, theta, *_ = digits
    whole = landscape.hessian(objective, theta, top_k=2)
    limited = landscape.hessian(objective, theta, top_k=2, memory_limit=1.5e5)
    assert (whole.num_kept, whole.num_chunks) == (1, 1)
    assert limited.num_kept < limited.num_chunks
    assert any("recomputed in each product" in note for note in limited.notes)
    np.testing.assert_allclose(limited.eigenvalues, whole.eigenvalues, rtol=1e-6)


def test_single_precision_is_certified_in_double(digits):
    """The point itself is rounded to float32; the values are those of the Hessian there."""
    double, theta, _, _ = digits
    (x,), y = double.samples
    single = Objective(double.module, "cross_entropy", (x, y), dtype=torch.float32)
    there = theta.float().double()
    expected = landscape.hessian(double, there, top_k=10, tol=1e-13).eigenvalues
    each = landscape.hessian(single, theta, top_k=10, residuals="each")
    certified = landscape.hessian(single, theta, top_k=10)
    bare = landscape.hessian(single, theta, top_k=10, certify=False)
    assert each.status == certified.status == bare.status == "complete"
    errors = [np.abs(one.eigenvalues - expected) / expected[0] for one in (each, certified, bare)]
    assert errors[0].max() <= 1e-10 < errors[1].max()
    assert (errors[1] <= certified.errors / expected[0]).all()
    assert certified.errors.max() <= 1e-6 * expected[0]
    assert errors[2].max() <= 1e-5
    assert 1e-9 < certified.product_rounding < 1e-5
    assert 1e-9 < each.product_rounding < 1e-5
    assert bare.product_rounding is None
    assert certified.num_products < each.num_products


def test_loss_and_gradient_norm_stand_beside_the_eigenvalues(regression):
    (x,), y = regression.samples
    w = regression.theta.view(3, 5)
    residual = x @ w.T - y
    result = landscape.hessian(regression, regression.theta, top_k=1)
    assert result.loss == pytest.approx(float(residual.square().mean()), rel=1e-13)
    slope = 2 * residual.T @ x / residual.numel()
    assert result.gradient_norm == pytest.approx(float(slope.norm()), rel=1e-13)


def test_too_few_products_are_not_converged(digits):
    objective, theta, *_ = digits
    result = landscape.hessian(objective, theta, top_k=10, max_products=12)
    assert result.status == "not-converged"
    assert "did not reach the tolerance 1e-06" in result.notes[0]
    assert not result.converged.all()
    few = landscape.hessian(objective, theta, top_k=10, max_products=5)
    assert few.status == "not-converged"
    assert len(few.eigenvalues) == 5


def test_an_unfinished_search_for_copies_is_said(regression):
    result = landscape.hessian(regression, regression.theta, top_k=2, max_products=5)
    assert result.status == "complete"
    assert "copies of multiple ones may be missing" in result.notes[0]


def test_one_seed_gives_one_result_and_another_the_same_values(classifier):
    one, two, other = (landscape.hessian(classifier, classifier.theta, top_k=3, seed=s) for s in (0, 0, 1))
    assert (one.eigenvalues == two.eigenvalues).all()
    assert (one.residuals == two.residuals).all()
    assert not (one.residuals == other.residuals).all()
    np.testing.assert_allclose(one.eigenvalues, other.eigenvalues, atol=1e-6 * one.eigenvalues[0])


def test_a_net_with_dropout_and_batch_norm_passes_all_checks(classifier):
    result = landscape.hessian(classifier, classifier.theta, top_k=5)
    assert {check.name for check in result.checks} >= {"module untouched", "loss", "determinism", "symmetry"}
    assert all(check.passed for check in result.checks)


def test_a_hessian_that_is_not_symmetric_fails_its_check():
    """A wrong backward formula: the check must see it."""

    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**2

        @staticmethod
        def backward(ctx, slope):
            (x,) = ctx.saved_tensors
            return slope * torch.stack([x[:, 1] ** 3, x[:, 0] * 5], dim=1)

    class Net(nn.Linear):
        def forward(self, x):
            return Wrong.apply(super().forward(x))

    module = Net(3, 2).double()
    x = torch.randn(8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    result = landscape.hessian(Objective(module, "mse", (x, torch.ones(8, 2))), torch.ones(8), top_k=2)
    assert not next(check for check in result.checks if check.name == "symmetry").passed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"which": "big"}, "one of largest"),
    ],
)
def test_options_out_of_range(regression, options, message):
    with pytest.raises(BadInput, match=message):
        landscape.hessian(regression, regression.theta, **options)


@pytest.mark.parametrize("added", [float("inf"), float("nan")])
def test_a_loss_that_is_not_finite_is_said_beside_the_eigenvalues(added):
    """½|w|² and a number beside it, which has no derivative: H = 1."""
    objective = Objective(
        nn.Linear(3, 1, bias=False).double(),
        lambda h, y: h.square().sum() / 2 + added,
        (torch.eye(3).double(), torch.zeros(3)),
    )
    result = landscape.hessian(objective, objective.theta, top_k=2)
    np.testing.assert_allclose(result.eigenvalues, [1, 1], rtol=1e-12)
    assert any(f"F is {added} at this point" in note for note in result.notes)


@pytest.mark.parametrize(
    ("certify", "dtype", "is_said"),
    [(False, torch.float32, True), (None, torch.float32, False), (False, torch.float64, False)],
)
def test_what_errors_leave_out_without_a_certificate_is_said(certify, dtype, is_said):
    """Products in float32 round alike in any cut of the data, which none of them shows of another."""
    torch.manual_seed(0)
    objective = Objective(nn.Linear(3, 2).to(dtype), "mse", (torch.randn(8, 3).to(dtype), torch.randn(8, 2)))
    found = landscape.hessian(objective, objective.theta, top_k=2, certify=certify)
    assert any("round alike" in note for note in found.notes) == is_said
