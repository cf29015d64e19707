"""Products by differences of the gradient: when they are taken, how near they come, and what they say of it.

The truth is double backward of the same function written in plain operations, see :class:`meanings.Meaning`.
"""

import copy

import numpy as np
import pytest
import torch
from meanings import CE, MEANINGS, Meaning, N, X, Y, draw, net, seeded
from torch import nn
from torch.nn.utils import parameters_to_vector

import landscape
from landscape import BadInput, Objective
from landscape.descent.critical import examined
from landscape.errors import NotFinite
from landscape.objective.differences import Differences
from landscape.objective.doubts import departure
from landscape.objective.objective import Point
from landscape.objective.products import Product

REASONS = {
    "old weight norm": "is not symmetric, uᵀHv and vᵀHu differ by",
    "weight norm": "is not symmetric, uᵀHv and vᵀHu differ by",
    "weight norm of a convolution": "is not symmetric, uᵀHv and vᵀHu differ by",
    "once differentiable": "Cube in the module or the loss is marked @once_differentiable",
    "second derivative that lacks a term": "departs from them by",
    "ctc": "derivative for aten::_ctc_loss_backward is not implemented",
}
WITHOUT = sorted(REASONS)


def objective_of(meaning: Meaning, **options) -> Objective:
    return Objective(meaning.module, meaning.loss, meaning.data, **options)


def weights(meaning: Meaning) -> torch.Tensor:
    return parameters_to_vector(p for p in meaning.module.parameters() if p.requires_grad).detach()


def matrix_of(meaning: Meaning, theta: torch.Tensor) -> torch.Tensor:
    rows = [meaning.derivatives(theta, axis)[2] for axis in torch.eye(len(theta), dtype=torch.float64)]
    return torch.stack(rows)


def ends(matrix: torch.Tensor) -> np.ndarray:
    return torch.linalg.eigvalsh((matrix + matrix.T) / 2).numpy()


# --- how near they come -----------------------------------------------------------------------


def rectified() -> Meaning:
    """Many kinks near by: 4000 samples of ten ReLUs."""
    module = seeded(lambda: nn.Sequential(nn.Linear(3, 10), nn.ReLU(), nn.Linear(10, 4)))
    return Meaning(module, "cross_entropy", (draw(4000, 3), torch.arange(4000) % 4), CE)


def fitted_closely() -> Meaning:
    """Eigenvalues from 1e-6 to 1e2, ∇F next to zero."""
    scales = torch.logspace(-3, 1, 5, dtype=torch.float64)
    x = draw(40, 5) * scales
    module = nn.Linear(5, 1, bias=False).double()
    with torch.no_grad():
        module.weight.copy_(draw(1, 5, seed=3))
    return Meaning(module, "mse", (x, (x @ module.weight.T).detach() + 1e-9), nn.functional.mse_loss)


def steep() -> Meaning:
    """Weights large enough that F bends within a hundredth of ‖θ‖."""
    module = net()
    with torch.no_grad():
        for p in module.parameters():
            p.mul_(6)
    return Meaning(module, "cross_entropy", (X, Y), CE)


SHARP = {"plain": MEANINGS["plain"], "kinks": rectified, "closely fitted": fitted_closely, "steep": steep}
SHARP |= {name: MEANINGS[name] for name in WITHOUT}


@pytest.mark.parametrize("name", SHARP)
def test_the_stated_error_holds_the_true_one_and_is_small(name):
    meaning = SHARP[name]()
    theta, objective = weights(meaning), objective_of(meaning)
    matrix = matrix_of(meaning, theta)
    product = forced(objective, theta)
    largest = float(np.abs(ends(matrix)).max())
    axes = [*draw(50, len(theta), seed=5), *torch.linalg.eigh((matrix + matrix.T) / 2)[1].T[-10:]]
    ratios = []
    for axis in axes:
        axis = 3 * axis / axis.norm()
        true = float((product(axis) - matrix @ axis).norm())
        assert true <= product.error
        assert product.error <= 3 * 1e-8 * largest
        ratios.append(product.error / max(true, 1e-300))
    assert np.median(ratios) <= 100
    assert product.largest_error == pytest.approx(max(product.largest_error, product.error / 3), rel=1e-12)


def forced(objective: Objective, theta: torch.Tensor) -> Differences:
    """Differences where double backward would do as well."""
    twin = objective.varied()
    twin._doubts = {twin.pieces: "asked for"}
    product = twin.hessian_operator(theta)
    assert isinstance(product, Differences)
    return product


def test_in_float32_they_are_taken_in_float64():
    """Within 1e-7 of the largest eigenvalue, where a fixed step in float32 leaves more than 1e-3."""
    meaning = MEANINGS["weight norm"]()
    objective = objective_of(meaning, dtype=torch.float32)
    theta = objective.theta
    truth = matrix_of(rounded(meaning), theta.double())
    largest = float(np.abs(ends(truth)).max())
    product = objective.hessian_operator(theta)
    for axis in draw(20, len(theta), seed=4).float():
        axis /= axis.norm()
        image = product(axis)
        assert image.dtype == torch.float32
        true = float((image.double() - truth @ axis.double()).norm())
        assert true <= product.error <= 3e-7 * largest
        step = 1e-3 * float(theta.norm())
        fixed = objective.gradient(theta + step * axis) - objective.gradient(theta - step * axis)
        assert float((fixed / (2 * step) - truth.float() @ axis).norm()) > 10 * product.error


def rounded(meaning: Meaning) -> Meaning:
    """By hand, on data as float32 holds them."""
    assert meaning.by_hand is not None
    x, y = meaning.by_hand.data
    return Meaning(meaning.by_hand.module, meaning.by_hand.loss, (x.float().double(), y))


def test_where_float64_is_not_to_be_had_the_error_says_so():
    """A loss that closes over float32 numbers."""
    meaning = MEANINGS["weight norm"]()
    weight = torch.tensor([0.3, 1.0, 2.0, 0.7])
    objective = Objective(meaning.module, lambda o, t: CE(o, t, weight), meaning.data, dtype=torch.float32)
    assert meaning.by_hand is not None
    hand = rounded(meaning)
    truth = matrix_of(
        Meaning(hand.module, lambda o, t: CE(o, t, weight.double()), hand.data), objective.theta.double()
    )
    largest = float(np.abs(ends(truth)).max())
    product = objective.hessian_operator(objective.theta)
    assert isinstance(product, Differences)
    for axis in draw(20, len(truth), seed=4).float():
        axis /= axis.norm()
        true = float((product(axis).double() - truth @ axis.double()).norm())
        assert true <= product.error <= 5e-3 * largest


def test_a_penalty_is_exact_and_a_chunk_size_moves_nothing():
    meaning = MEANINGS["weight norm"]()
    theta, v = weights(meaning), draw(len(weights(meaning)), seed=3)
    plain = objective_of(meaning).hessian_operator(theta)
    penalised = objective_of(meaning, l2=1e6, chunk_size=4).hessian_operator(theta)
    image, off = plain(v), plain.error
    assert float((penalised(v) - image - 1e6 * v).norm()) <= off + penalised.error
    assert penalised.error <= 1e-9 * 1e6 * float(v.norm())
    assert penalised.num_chunks == -(-N // 4)
    assert (penalised.num_kept, penalised.kept_bytes) == (0, 0)
    assert not penalised(torch.zeros_like(v)).any()
    assert torch.equal(plain(v), image)


def test_what_they_cannot_take_is_a_sentence():
    meaning = MEANINGS["once differentiable"]()
    objective = objective_of(meaning)
    with pytest.raises(BadInput, match=r"a vector of shape \(3,\)"):
        objective.hessian_operator(objective.theta)(torch.ones(3))
    with pytest.raises(NotFinite, match=r"not finite in net\.0\.weight"):
        objective.hvp(torch.full_like(objective.theta, torch.inf), objective.theta)


# --- when they are taken ----------------------------------------------------------------------


@pytest.mark.parametrize("name", MEANINGS)
def test_a_double_backward_that_is_right_stays(name):
    """Bit for bit, with three gradients at most for the trial; and one that is not is named with its reason."""
    meaning = MEANINGS[name]()
    objective = objective_of(meaning)
    theta = objective.theta
    product = objective.hessian_operator(theta)
    if name in REASONS:
        assert isinstance(product, Differences)
        (note,) = objective.doubts
        assert note.startswith("Hessian products are differences of the gradient: ")
        assert REASONS[name] in note
        assert objective.on(meaning.data).doubts == [note]
        return
    assert isinstance(product, Product)
    assert objective.doubts == []
    v = draw(len(theta), seed=2)
    plain = objective._double_backward(theta, objective.present_point().fixed, 2, 2.0**31)
    assert torch.equal(product(v), plain(v))


def test_kinks_are_no_reason():
    """Crossed by every step, at the point itself in one or all units, and where ∇F jumps to either side alike."""
    for meaning in (rectified(), zeroed(rectified(), 0), zeroed(rectified(), None), folded()):
        objective = objective_of(meaning)
        assert isinstance(objective.hessian_operator(objective.theta), Product)


def zeroed(meaning: Meaning, unit: int | None) -> Meaning:
    """The units' inputs are exactly 0."""
    first = meaning.module[0]  # pyright: ignore[reportIndexIssue]
    with torch.no_grad():
        first.weight[slice(None) if unit is None else unit] = 0
        first.bias[slice(None) if unit is None else unit] = 0
    return meaning


def folded() -> Meaning:
    module = net()
    with torch.no_grad():
        module[0].weight[0] = 0
    return Meaning(module, lambda o, t: CE(o, t) + module[0].weight.abs().sum(), (X, Y))


def test_the_trial_is_made_once_and_of_few_samples():
    module = net()
    seen = []
    module.register_forward_hook(lambda layer, inputs, out: seen.append(len(out)))
    x, y = draw(20000, 3), torch.arange(20000) % 4
    objective = Objective(module, "cross_entropy", (x, y))
    seen.clear()
    product = objective.hessian_operator(objective.theta)
    # A graph for each of two products, as none is kept beside large vectors, and two gradients.
    few = 2**14 // (objective.activations // 20000)
    assert sum(seen) == 4 * few
    seen.clear()
    objective.hessian_operator(1.1 * objective.theta)
    objective.on((x, y))  # looks at the data, and not at the second derivative
    assert objective.on((x, y)).hessian_operator(objective.theta) is not None
    assert product.error == 0.0


def test_a_block_knows_what_the_whole_does():
    meaning = MEANINGS["weight norm"]()
    objective = objective_of(meaning)
    whole = landscape.hessian(objective, objective.theta, top_k=1)
    found = landscape.hessian(objective, objective.theta, top_k=2, per_layer=True)
    assert whole.status == found.status == "complete"
    matrix = matrix_of(meaning, weights(meaning))
    for layer, values in zip(found.point, found.eigenvalues, strict=True):
        rows = [
            i
            for piece in objective.pieces
            if piece.name.rpartition(".")[0] == layer
            for i in range(piece.span.start, piece.span.stop)
        ]
        exact = ends(matrix[rows][:, rows])[::-1][:2]
        np.testing.assert_allclose(values[: len(exact)], exact, atol=1e-8 * np.abs(exact).max())


def test_recurrent_layers_leave_cudnn_where_a_gradient_is_recorded():
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.out = nn.GRU(3, 4, batch_first=True), nn.Linear(4, 2)

        def forward(self, x):
            seen.append(torch.backends.cudnn.enabled)
            return self.out(self.cell(x)[0][:, -1])

    seen: list[bool] = []
    objective = Objective(seeded(Reader), "cross_entropy", (draw(9, 5, 3), torch.arange(9) % 2))
    seen.clear()
    objective.value(objective.theta)
    assert seen == [torch.backends.cudnn.enabled] == [True]
    seen.clear()
    objective.gradient(objective.theta)
    objective.hvp(objective.theta, objective.theta)
    assert seen
    assert not any(seen)
    assert torch.backends.cudnn.enabled


# --- what is made of them ---------------------------------------------------------------------


# In float32 one of each reason, of which the default tries two.
IN_FLOAT32 = (
    ("ctc", torch.float32),
    ("once differentiable", torch.float32),
    *(
        pytest.param(name, torch.float32, marks=pytest.mark.slow)
        for name in ("second derivative that lacks a term", "weight norm")
    ),
)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, torch.float64) for name in WITHOUT), *IN_FLOAT32],
)
def test_every_reported_interval_holds_the_truth(name, dtype):
    meaning = MEANINGS[name]()
    objective = objective_of(meaning, dtype=dtype)
    theta = objective.theta
    hand = meaning if dtype == torch.float64 else rounded(meaning)
    exact = ends(matrix_of(hand, theta.double()))
    found = landscape.hessian(objective, theta, top_k=3, bottom_k=2, trace=True, exact=True)
    assert found.status == "complete"
    wanted = np.concatenate([exact[::-1][:3], exact[:2]])
    off = np.abs(found.eigenvalues - wanted)
    assert (off <= found.residuals).all()
    assert (off <= found.errors).all()
    assert found.errors.max() <= 1e-6 * np.abs(exact).max()
    assert np.abs(found.spectrum - exact).max() <= found.zero_threshold
    assert abs(found.trace - exact.sum()) <= 4 * found.trace_error
    assert found.product_error is not None
    assert 0 < found.product_error <= 1e-6
    said = [note for note in found.notes if REASONS[name] in note]
    assert len(said) == 1
    assert any("each of these products is known to" in note for note in found.notes)
    assert not any("memory_limit" in note for note in found.notes)


def test_the_error_of_the_products_is_in_that_of_the_index():
    """As if they were off by a tenth of the largest |λ|: half of the eigenvalues so near to zero may change sides."""
    meaning = MEANINGS["weight norm"]()
    objective = objective_of(meaning)
    matrix = matrix_of(meaning, objective.theta)
    exact = ends(matrix)
    options = {"top_k": 1, "density": True, "num_probes": 40, "num_steps": len(exact)}
    call = Differences.__call__
    with pytest.MonkeyPatch.context() as patch:
        # The first by differences, which sets the error; thousands more by the matrix that they are near to.
        by_matrix = lambda self, v: matrix @ v if self.largest_error else call(self, v)  # noqa: E731
        patch.setattr(Differences, "__call__", by_matrix)
        found = landscape.hessian(objective, objective.theta, **options)
        assert found.product_error is not None
        assert 0 < found.product_error <= 1e-6
        error = 0.1 * np.abs(exact).max()
        patch.setattr(Differences, "largest_error", property(lambda _: error, lambda *_: None), raising=False)
        coarse = landscape.hessian(objective, objective.theta, **options)
    added = float(np.hypot(found.mass_below_zero_error, (np.abs(exact) <= error).mean() / 2))
    assert coarse.mass_below_zero_error == pytest.approx(added, rel=0.2)
    assert coarse.mass_below_zero_error > 1.5 * found.mass_below_zero_error


def test_other_analyses_take_the_same_products():
    meaning = MEANINGS["weight norm"]()
    theta = weights(meaning)
    exact = ends(matrix_of(meaning, theta))
    scale = np.abs(exact).max()
    reason = REASONS["weight norm"]

    found = landscape.sharpness(objective_of(meaning), theta, num_draws=4)
    row = list(found.measure).index("lambda_max")
    assert abs(found.values[row] - exact[-1]) <= found.errors[row] <= 1e-2 * scale
    assert sum(reason in note for note in found.notes) == 1

    plane = landscape.slice2d(objective_of(meaning), theta, directions="eigen", num_points=3, curvature=True)
    assert [check.name for check in plane.checks if not check.passed] == []
    assert "curvature along α" in {check.name for check in plane.checks}
    assert sum(reason in note for note in plane.notes) == 1
    np.testing.assert_allclose(plane.direction_curvature, exact[::-1][:2], atol=1e-7 * scale)

    end = examined(objective_of(meaning), theta)
    assert end.largest_eigenvalue == pytest.approx(exact[-1], abs=1e-8 * scale)
    assert end.index == (exact < -1e-8 * scale).sum()


def test_departure_is_seen_and_measured():
    objective = Objective(net(), "cross_entropy", (X, Y))
    theta, axis = objective.theta, draw(objective.num_parameters, seed=6)
    right = objective.hvp(theta, axis)
    for factor in (1.0, 1.01):
        gap, has_limit, quotient = departure(objective.gradient, factor * right, theta, axis, bound=1e-5)
        assert has_limit
        assert gap == pytest.approx((factor - 1) / factor, abs=1e-7)
        torch.testing.assert_close(quotient, right, rtol=1e-5, atol=1e-7)


def test_points_elsewhere_and_copies():
    """The decision stays with the objective at other points, and is made anew for an objective of its own."""
    meaning = MEANINGS["second derivative that lacks a term"]()
    objective = objective_of(meaning)
    objective.hvp(objective.theta, objective.theta)
    other = Point(1.3 * objective.theta, objective.present_point().fixed, "")
    assert objective.doubts_at(other) == objective.doubts != []
    fresh = Objective(copy.deepcopy(meaning.module), meaning.loss, meaning.data)
    assert fresh.doubts == []
    (note,) = fresh.doubts_at(other)
    assert REASONS["second derivative that lacks a term"] in note
