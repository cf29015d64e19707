"""The preconditioned Hessian against dense matrices, Adam's own steps, and the threshold of its stability."""

import json

import h5py
import numpy as np
import pytest
import torch
from torch import nn

import landscape
from landscape import Objective
from landscape.cli import main
from landscape.curvature import operators
from landscape.curvature.places import adaptive_stability_limit
from landscape.curvature.preconditioned import preconditioned
from landscape.errors import BadInput

TRAIN = (
    "train --model mlp --model-arg widths=4 activation=tanh --data circles --data-arg num_samples=30 --method gd "
    "--optimizer adam --lr 0.01 --steps 20 --checkpoint-every 10 -q -o a.h5"
)


def run(line):
    return main(line.split())


def made(dtype=torch.float64, chunk_size=None):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).to(dtype)
    inputs = torch.randn(12, 3, dtype=dtype)
    objective = Objective(module, "cross_entropy", (inputs, torch.arange(12) % 2), chunk_size=chunk_size)
    diagonal = torch.rand(objective.num_parameters, dtype=torch.float64).mul(6).sub(4).exp()
    return objective, diagonal


def dense(objective):
    """The Hessian by torch.autograd on plain formulas, in NumPy."""
    (inputs,), targets = objective.samples
    inputs = inputs.double()

    def loss(theta):
        w, a, v, b = (
            part.view(piece.shape)
            for part, piece in zip(
                theta.split([one.size for one in objective.pieces]), objective.pieces, strict=True
            )
        )
        return nn.functional.cross_entropy(torch.tanh(inputs @ w.T + a) @ v.T + b, targets)

    return torch.autograd.functional.hessian(loss, objective.theta.double()).numpy()


def scaled(objective, diagonal):
    root = 1 / np.sqrt(diagonal.numpy())
    return root[:, None] * dense(objective) * root


@pytest.mark.parametrize("by", ["auto", "double-backward", "central-difference"])
def test_the_operator_against_the_dense_matrix(by):
    objective, diagonal = made(chunk_size=5)
    own = preconditioned(objective, diagonal)
    product = operators.operator("preconditioned", own, own.theta, by=by)
    columns = torch.stack([product(row) for row in torch.eye(own.num_parameters, dtype=torch.float64)])
    expected = scaled(objective, diagonal)
    error = product.largest_error + 1e-12 * np.abs(expected).max()
    assert np.abs(columns.numpy() - expected).max() <= error
    assert (product.largest_error > 0) == (by == "central-difference")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_eigenvalues_are_those_of_the_dense_matrix_with_the_same_certificate(dtype):
    objective, diagonal = made(dtype)
    found = landscape.hessian(
        objective,
        objective.theta,
        operator="preconditioned",
        preconditioners=[diagonal],
        top_k=4,
        bottom_k=2,
        split=True,
        exact=True,
        trace=True,
    )
    assert found.status == "complete", [check for check in found.checks if not check.passed]
    assert {"Hv against ∇F", "Ritz pairs", "symmetry", "dense matrix"} <= {one.name for one in found.checks}
    values = np.linalg.eigvalsh(scaled(objective, diagonal))[::-1]
    wanted = np.concatenate([values[:4], values[:-3:-1]])
    assert np.abs(found.eigenvalues - wanted).max() <= found.errors.max() + 1e-6 * values[0]
    assert found.spectrum == pytest.approx(values[::-1], rel=1e-6, abs=1e-7 * values[0])
    assert found.trace == pytest.approx(values.sum(), rel=1e-4)
    # By Sylvester's law of inertia as many are negative as of the Hessian.
    assert found.index == (np.linalg.eigvalsh(dense(objective)) < -1e-9).sum() > 0
    assert found.gauss_newton_part + found.remainder_part == pytest.approx(
        found.eigenvalues, abs=1e-5 * values[0]
    )


def test_a_block_takes_its_part_of_the_diagonal():
    objective, diagonal = made()
    found = landscape.hessian(
        objective,
        objective.theta,
        operator="preconditioned",
        preconditioners=[diagonal],
        per_layer=True,
        top_k=2,
    )
    whole = scaled(objective, diagonal)
    for row, span in enumerate((slice(0, 16), slice(16, 26))):
        expected = np.linalg.eigvalsh(whole[span, span])[::-1][:2]
        assert found.eigenvalues[row] == pytest.approx(expected, rel=1e-6)


def test_a_product_that_forgets_one_side_fails_its_check(monkeypatch):
    objective, diagonal = made()
    right = operators.OPERATORS["preconditioned"]

    def half(own, *places, **how):
        product = right(own, *places, **how)
        product._scale = product._scale.square()
        return product

    monkeypatch.setitem(operators.OPERATORS, "preconditioned", half)
    found = landscape.hessian(
        objective, objective.theta, operator="preconditioned", preconditioners=[diagonal], top_k=2
    )
    assert "Hv against ∇F" in {check.name for check in found.checks if not check.passed}


def test_what_is_stored_is_what_adam_divides_by(tmp_path, monkeypatch):
    """A plain loop: the next step from every point is −α P⁻¹ m with m and P from torch.optim's own state."""
    monkeypatch.chdir(tmp_path)
    assert run(TRAIN) == 0
    stored = landscape.load("a.h5")
    opened = landscape.Run("a.h5")
    objective = opened.objectives().train
    theta = nn.Parameter(objective.theta.clone())
    adam = torch.optim.Adam([theta], lr=0.01)
    for step in range(1, 21):
        before = theta.detach().clone()
        theta.grad = objective.gradient(theta.detach())
        adam.step()
        if step in (10, 20):
            row = list(stored.point).index("final" if step == 20 else f"step={step}")
            mean = adam.state[theta]["exp_avg"].double().numpy()
            moved = -0.01 * mean / stored.preconditioner[row]
            # Of the size of a step, rounded in float32 as θ is.
            assert moved == pytest.approx((theta.detach() - before).double().numpy(), abs=3e-7)
    assert np.isnan(stored.preconditioner[0]).all()
    with h5py.File("a.h5") as file:
        assert file["preconditioner"].shape == (3, objective.num_parameters)


def test_a_run_that_was_stopped_keeps_them(tmp_path, monkeypatch):
    objective, _ = made()
    how = {"method": "gd", "optimizer": "adam", "steps": 6, "checkpoint_every": 2, "lr": 0.01}
    whole, journal = landscape.train(objective, **how), {}

    def stop(done, total, what):
        if done == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("landscape.progress.SAVE_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        landscape.train(objective, journal=journal, progress=stop, **how)
    again = landscape.train(objective, journal=journal, **how)
    assert np.array_equal(again.preconditioner, whole.preconditioner, equal_nan=True)
    assert landscape.train(objective, **{**how, "optimizer": "sgd"}).preconditioner is None


@pytest.mark.parametrize(("share", "is_stable"), [(0.99, True), (1.01, False)])
def test_the_limit_of_stability_by_the_steps_themselves(share, is_stable):
    """Adam with P at rest on ½hx², by a plain loop of its rule."""
    step_size, p = 0.02, 3.0
    h = share * p * adaptive_stability_limit(step_size)
    x, mean = 1.0, 0.0
    for _ in range(4000):
        mean = 0.9 * mean + 0.1 * h * x
        x -= step_size * mean / p
        if abs(x) > 1e6:
            break
    assert (abs(x) < 1e-3) == is_stable
    assert adaptive_stability_limit(step_size) == pytest.approx(38 / step_size)


def test_along_a_run_of_adam(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(TRAIN) == 0
    assert run("hessian a.h5 --at step=10,final --operator preconditioned --top-k 1 -q -o b.h5") == 0
    found = landscape.load("b.h5")
    assert found.status == "complete"
    assert found.stability_limit == pytest.approx([3800, 3800])
    # Where no step has led there is no P: the other points are measured, and init is named.
    assert run("hessian a.h5 --at all --operator preconditioned --top-k 1 -o e.h5") == 0
    assert "init left out: no step has led there" in " ".join(capsys.readouterr().out.split())
    along = landscape.load("e.h5")
    assert [name.split("@")[1] for name in along.point] == ["step=10", "final"]
    assert np.array_equal(along.eigenvalues, found.eigenvalues)
    assert np.array_equal(along.stability_limit, found.stability_limit)
    # One point alone is the same, and has no limit.
    assert run("hessian a.h5 --operator preconditioned --top-k 1 --json -o c.h5") == 0
    values = json.loads(capsys.readouterr().out)["values"]
    assert values["eigenvalues"] == pytest.approx([found.eigenvalues[1, 0]], rel=1e-9)
    assert "stability_limit" not in values
    # The Hessian itself along a run of Adam has none either.
    assert run("hessian a.h5 --at step=10,final --top-k 1 -q -o d.h5") == 0
    assert landscape.load("d.h5").stability_limit is None


def test_what_has_no_preconditioner_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(TRAIN) == 0
    assert run("hessian a.h5@init --operator preconditioned") == 2
    assert "before the first step" in capsys.readouterr().err
    assert run(TRAIN.replace("adam", "sgd").replace("a.h5", "s.h5")) == 0
    assert run("hessian s.h5 --operator preconditioned") == 2
    assert "s.h5 holds no preconditioner" in capsys.readouterr().err
    objective, diagonal = made()
    for given, said in (
        (None, "without a preconditioner"),
        ([diagonal, diagonal], "2 preconditioners of 1 points"),
        ([diagonal[1:]], "of shape"),
        ([-diagonal], "not positive"),
    ):
        with pytest.raises(BadInput, match=said):
            landscape.hessian(objective, objective.theta, operator="preconditioned", preconditioners=given)


def test_the_gradient_is_that_by_the_matrix_own_coordinates(monkeypatch):
    """P^-½∇F, the gradient by P^½θ, along Ritz vectors and in gᵀHg/gᵀg: by autograd and NumPy, whole and by layer."""
    objective, diagonal = made()
    how: dict = {"operator": "preconditioned", "preconditioners": [diagonal], "top_k": 3, "tol": 1e-10}
    monkeypatch.setattr("landscape.curvature.proofs.SHARE", 1.0)
    whole, root = scaled(objective, diagonal), 1 / np.sqrt(diagonal.numpy())
    slope = objective.gradient(objective.theta).numpy()

    def expected(span):
        matrix, g = whole[span, span], (root * slope)[span]
        vectors = np.linalg.eigh(matrix)[1][:, ::-1][:, :3]
        return (vectors.T @ g) ** 2 / (g @ g), g @ matrix @ g / (g @ g)

    found = landscape.hessian(objective, objective.theta, save_vectors=True, **how)
    shares, bend = expected(slice(None))
    assert "along ∇F" in {one.name for one in found.checks if one.passed}
    assert found.gradient_share == pytest.approx(shares, rel=1e-6)
    assert found.gradient_in_span == pytest.approx(shares.sum(), rel=1e-6)
    assert found.gradient_curvature == pytest.approx(bend, rel=1e-9)
    # The raw gradient has other shares, and its norm is what is told.
    raw = (found.eigenvectors @ slope) ** 2 / (slope @ slope)
    assert np.abs(raw - shares).max() > 0.01
    assert found.gradient_norm == pytest.approx(np.linalg.norm(slope))
    layers = landscape.hessian(objective, objective.theta, per_layer=True, **how)
    for row, span in enumerate((slice(0, 16), slice(16, 26))):
        shares, bend = expected(span)
        assert layers.gradient_share[row] == pytest.approx(shares, rel=1e-5)
        assert layers.gradient_curvature[row] == pytest.approx(bend, rel=1e-9)


def test_a_gradient_in_other_coordinates_fails_its_check(monkeypatch):
    objective, diagonal = made()
    monkeypatch.setattr("landscape.curvature.proofs.SHARE", 1.0)
    monkeypatch.setattr("landscape.curvature.spectrum.met", lambda own, operator, gradient: gradient)
    found = landscape.hessian(
        objective, objective.theta, operator="preconditioned", preconditioners=[diagonal], top_k=3
    )
    assert {check.name for check in found.checks if not check.passed} == {"along ∇F"}
