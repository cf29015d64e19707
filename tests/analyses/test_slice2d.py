"""A plane through one point or three against closed forms and plain loops."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from plain import (
    another,
    bowl,
    functional_loss,
    killed_at,
    named,
    plain_loss,
    plain_module,
    quadratic,
)
from torch import nn

from landscape import Objective
from landscape.analyses import slice2d
from landscape.curvature import map
from landscape.errors import BadInput
from landscape.numerics.curves import directions as kernels
from landscape.objective.batching import BATCHED_ACTIVATIONS
from landscape.objective.parameters import Point
from landscape.paths import directions
from landscape.runs.journal import Journal

SWEEP = importlib.import_module("landscape.objective.sweep")


def on_plane(result, origin: torch.Tensor, row: int, column: int) -> torch.Tensor:
    """θ of the cell [row, column] as the result's own labels say."""
    first, second = torch.from_numpy(result.directions)
    return origin + result.alpha[column] * first + result.beta[row] * second


def cells(result):
    return ((row, column) for row in range(len(result.beta)) for column in range(len(result.alpha)))


# One point


def test_rows_are_beta_and_columns_alpha_on_an_asymmetric_quadratic():
    objective = bowl()
    result = slice2d(objective, objective.theta, num_points=5, span=1.5, norm="none", ignore=())
    for row, column in cells(result):
        u, v = on_plane(result, objective.theta, row, column)
        assert result.loss[row, column] == pytest.approx(float(objective.module.height(u, v)), rel=1e-12)
    assert not np.allclose(result.loss, result.loss.T)
    np.testing.assert_array_equal(result.alpha, [-1.5, -0.75, 0, 0.75, 1.5])
    np.testing.assert_array_equal(result.beta, result.alpha)
    assert result.status == "complete"


@pytest.mark.parametrize("norm", ["filter", "layer", "none"])
@pytest.mark.parametrize("orthogonal", [False, True])
def test_losses_are_a_plain_loop(classifier, norm, orthogonal):
    (x,), y = classifier.samples
    test = classifier.on((x + 0.5, y))
    point = another(classifier, 1)
    result = slice2d(classifier, point, test=test, norm=norm, orthogonal=orthogonal, num_points=5, seed=3)
    assert result.test_loss is not None
    assert result.accuracy is not None
    for cell in cells(result):
        theta = on_plane(result, point.theta, *cell)
        assert result.loss[cell] == pytest.approx(plain_loss(classifier, theta, point.fixed), rel=1e-12)
        assert result.test_loss[cell] == pytest.approx(plain_loss(test, theta, point.fixed), rel=1e-12)
        right = plain_module(classifier, theta, point.fixed)(x).argmax(1) == y
        assert result.accuracy[cell] == pytest.approx(float(right.double().mean()))
    assert result.loss[2, 2] == result.centre_loss == classifier.value(point.theta, point.fixed)
    assert result.status == "complete"


def test_a_net_too_large_to_batch_is_the_same_plain_loop():
    torch.manual_seed(0)
    x, y = torch.randn(600, 20, dtype=torch.float64), torch.randint(4, (600,))
    net = nn.Sequential(nn.Linear(20, 50), nn.ReLU(), nn.Linear(50, 4)).double()
    objective = Objective(net, "cross_entropy", (x, y))
    assert objective.activations > BATCHED_ACTIVATIONS
    result = slice2d(objective, objective.theta, num_points=3)
    for cell in cells(result):
        wanted = plain_loss(objective, on_plane(result, objective.theta, *cell))
        assert result.loss[cell] == pytest.approx(wanted, rel=1e-12)


def test_the_second_direction_is_turned_and_keeps_its_length(classifier):
    straight = slice2d(classifier, classifier.theta, num_points=3, seed=2)
    turned = slice2d(classifier, classifier.theta, num_points=3, seed=2, orthogonal=True)
    np.testing.assert_array_equal(turned.directions[0], straight.directions[0])
    lengths = np.linalg.norm(straight.directions, axis=1)
    np.testing.assert_allclose(turned.gram, np.diag(lengths**2), atol=1e-12)
    np.testing.assert_allclose(straight.gram, straight.directions @ straight.directions.T, rtol=1e-13)
    assert abs(straight.gram[0, 1]) > 1e-3
    assert {"orthogonal", "direction norms"} <= set(named(turned))


def test_draws_are_the_slices_of_consecutive_seeds(classifier):
    result = slice2d(classifier, classifier.theta, num_points=3, draws=3, seed=4)
    alone = [slice2d(classifier, classifier.theta, num_points=3, seed=seed) for seed in (4, 5, 6)]
    losses = np.stack([one.loss for one in alone])
    np.testing.assert_allclose(result.draw_loss, losses, rtol=1e-13)
    np.testing.assert_array_equal(result.loss, result.draw_loss[0])
    np.testing.assert_array_equal(result.directions, alone[0].directions)
    mean = losses.sum(0) / 3
    np.testing.assert_allclose(result.loss_mean, mean, rtol=1e-12)
    np.testing.assert_allclose(result.loss_spread, np.sqrt(((losses - mean) ** 2).sum(0) / 2), atol=1e-12)


def test_recalibrated_in_every_cell(classifier):
    result = slice2d(classifier, classifier.theta, num_points=3, batchnorm="recalibrate")
    (said,) = [note for note in result.notes if "batch-norm" in note]
    assert "were taken anew from the data in every cell" in said
    assert "frozen" not in said
    assert not [
        note for note in slice2d(classifier, classifier.theta, num_points=3).notes if "batch-norm" in note
    ]
    (x,), _ = classifier.samples
    for cell in cells(result):
        theta = on_plane(result, classifier.theta, *cell)
        module = plain_module(classifier, theta)
        module[1].train()
        module[1].momentum = 1.0
        module(x)
        wanted = plain_loss(classifier, theta, dict(module.named_buffers()))
        assert result.loss[cell] == pytest.approx(wanted, rel=1e-11)
    assert result.status == "complete"
    assert "curvature along α" not in named(result)


def test_losses_that_are_not_finite_stay_and_are_counted():
    objective = bowl()

    def loss(outputs, targets):
        return torch.where(outputs > 1, torch.nan, outputs).squeeze(1)

    broken = Objective(objective.module, loss, (objective.samples[0][0], objective.samples[1]))
    options = {"num_points": 9, "span": 1.0, "norm": "none", "ignore": ()}
    result, whole = (slice2d(one, objective.theta, **options) for one in (broken, objective))
    np.testing.assert_array_equal(result.loss, np.where(whole.loss > 1, np.nan, whole.loss))
    assert named(result)["not finite"].value == (whole.loss > 1).sum() > 0
    assert result.status == "failed-checks"


def test_resumed_mid_grid_it_ends_bit_for_bit(classifier, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(SWEEP, "BLOCK_POINTS", 10)
    trajectory = [another(classifier, seed) for seed in (1, 2, 3)]
    options = {"num_points": 7, "draws": 2, "trajectory": trajectory, "show_trajectory": True}
    whole = slice2d(classifier, classifier.theta, **options)
    for kill in (20, 40):
        journal = Journal(tmp_path / "x.part", {})
        with pytest.raises(KeyboardInterrupt):
            slice2d(classifier, classifier.theta, **options, journal=journal, progress=killed_at(kill))
        journal.close()
    journal = Journal(tmp_path / "x.part", {})
    assert len(journal) == 4
    again = slice2d(classifier, classifier.theta, **options, journal=journal)
    for one, other in zip(again.arrays(), whole.arrays(), strict=True):
        np.testing.assert_array_equal(one.values, other.values, err_msg=one.name)


# A trajectory


def test_a_trajectory_is_drawn_by_least_squares_with_its_true_losses(classifier):
    trajectory = [another(classifier, seed) for seed in (1, 2, 3)]
    result = slice2d(
        classifier, classifier.theta, num_points=3, trajectory=trajectory, show_trajectory=True, seed=9
    )
    for i, point in enumerate(trajectory):
        offset = (point.theta - classifier.theta).numpy()
        found, *_ = np.linalg.lstsq(result.directions.T, offset)
        np.testing.assert_allclose([result.trajectory_alpha[i], result.trajectory_beta[i]], found, rtol=1e-11)
        off_plane = np.linalg.norm(offset - found @ result.directions)
        assert result.trajectory_residual[i] == pytest.approx(off_plane, rel=1e-12)
        wanted = plain_loss(classifier, point.theta, point.fixed)
        assert result.trajectory_loss[i] == pytest.approx(wanted, rel=1e-12)


def test_principal_plane_of_a_trajectory(regression):
    end, generator = regression.theta, torch.Generator().manual_seed(0)
    axes = torch.linalg.qr(torch.randn(15, 3, generator=generator, dtype=torch.float64)).Q.T
    path = torch.tensor([[6, 1, 0.1], [4, -2, 0.2], [3, 2, -0.3], [1, 1, 0.1], [0, 0, 0]]).double()
    trajectory = [Point(end + row @ axes, {}) for row in path]
    result = slice2d(
        regression, end, directions="pca", trajectory=trajectory, show_trajectory=True, num_points=9
    )
    _, sizes, rows = np.linalg.svd((path @ axes).numpy(), full_matrices=False)
    np.testing.assert_allclose(np.abs(result.directions @ rows[:2].T), np.eye(2), atol=1e-10)
    np.testing.assert_allclose(result.gram, np.eye(2), atol=1e-10)
    np.testing.assert_allclose(result.explained_variance, (sizes**2 / (sizes**2).sum())[:2], rtol=1e-10)
    # min(s, t) has the eigenvalues 1 / 4 sin²((2k − 1)π / (4T + 2)); here T = 4 steps lead to the end.
    angles = (2 * np.arange(1, 5) - 1) * np.pi / 18
    walk = 1 / (4 * np.sin(angles) ** 2)
    np.testing.assert_allclose(result.random_walk_variance, walk[:2] / walk.sum(), rtol=1e-10)
    steps = (path @ axes).numpy()
    coordinates = steps @ result.directions.T
    np.testing.assert_allclose(result.trajectory_alpha, coordinates[:, 0], atol=1e-10)
    np.testing.assert_allclose(result.trajectory_beta, coordinates[:, 1], atol=1e-10)
    residual = np.linalg.norm(steps - coordinates @ result.directions, axis=1)
    np.testing.assert_allclose(result.trajectory_residual, residual, atol=1e-10)
    for axis, seen in ((result.alpha, coordinates[:, 0]), (result.beta, coordinates[:, 1])):
        assert axis[0] < seen.min() < seen.max() < axis[-1]
        assert 0.0 in axis
    mid = list(result.beta).index(0), list(result.alpha).index(0)
    assert result.loss[mid] == result.centre_loss == regression.value(end)
    assert result.status == "complete"


# Eigenvectors


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_along_eigenvectors_a_quadratic_is_the_sum_of_two_parabolas(dtype):
    objective, spectrum, axes, shift = quadratic(dtype)
    result = slice2d(objective, shift, directions="eigen", num_points=7, seed=5)
    wide = dtype == torch.float64
    top = spectrum[[3, 7]]
    np.testing.assert_allclose(result.direction_curvature, top, rtol=1e-12 if wide else 1e-5)
    turned = np.abs(result.directions @ axes[[3, 7]].T)
    np.testing.assert_allclose(turned, np.eye(2), atol=1e-9 if wide else 1e-5)
    np.testing.assert_allclose(result.gram, np.eye(2), atol=1e-12 if wide else 1e-5)
    wanted = 2 + (top[0] * result.alpha**2 + top[1] * result.beta[:, None] ** 2) / 2
    np.testing.assert_allclose(result.loss, wanted, rtol=1e-12 if wide else 1e-5)
    np.testing.assert_allclose(result.alpha, np.linspace(-1, 1, 7), atol=1e-15)
    assert {"eigenvalue along α", "eigenvalue along β", "orthogonal"} <= set(named(result))
    assert result.status == "complete"


def test_the_two_ends_of_the_spectrum_span_a_saddle():
    objective, spectrum, axes, shift = quadratic(torch.float64)
    result = slice2d(objective, shift, directions="eigen-ends", num_points=5)
    np.testing.assert_allclose(result.direction_curvature, [spectrum.max(), spectrum.min()], rtol=1e-12)
    np.testing.assert_allclose(np.abs(result.directions @ axes[[3, 1]].T), np.eye(2), atol=1e-9)
    wanted = 2 + (spectrum.max() * result.alpha**2 + spectrum.min() * result.beta[:, None] ** 2) / 2
    np.testing.assert_allclose(result.loss, wanted, rtol=1e-12)
    assert {"eigenvalue along α", "eigenvalue along β", "orthogonal"} <= set(named(result))


def test_eigenvectors_are_those_of_the_dense_matrix_whatever_the_seed(classifier):
    point = another(classifier, 1)
    results = [slice2d(classifier, point, directions="eigen", num_points=3, seed=seed) for seed in (0, 1)]
    dense = torch.autograd.functional.hessian(
        lambda theta: functional_loss(classifier, theta, point.fixed), point.theta
    )
    values, vectors = np.linalg.eigh(dense.numpy())
    for result in results:
        np.testing.assert_allclose(result.direction_curvature, values[[-1, -2]], rtol=1e-10)
        np.testing.assert_allclose(np.abs(result.directions @ vectors[:, [-1, -2]]), np.eye(2), atol=1e-6)
        assert (result.direction_residual <= 1e-8 * np.abs(values).max()).all()
        assert "statistics of the point at rest" in result.notes[-1]
        assert result.status == "complete"
    np.testing.assert_allclose(results[0].directions, results[1].directions, atol=1e-6)


def test_equal_eigenvalues_still_give_a_plane():
    objective, _, _, shift = quadratic(torch.float64, torch.full((6,), 3.0))
    result = slice2d(objective, shift, directions="eigen", num_points=3, span=2.0)
    np.testing.assert_allclose(result.gram, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(result.direction_curvature, [3, 3], rtol=1e-12)
    assert result.loss[0, 0] == pytest.approx(2 + 3 * (4 + 4) / 2, rel=1e-12)


def test_a_wrong_eigenvalue_fails_its_check(classifier, monkeypatch):
    right = directions.top_eigenpairs

    def wrong(*args, **kwargs):
        pairs = right(*args, **kwargs)
        return pairs._replace(values=1.01 * pairs.values)

    monkeypatch.setattr(directions, "top_eigenpairs", wrong)
    result = slice2d(classifier, classifier.theta, directions="eigen", num_points=3)
    assert not named(result)["eigenvalue along α"].passed
    assert result.status == "failed-checks"


def test_directions_that_did_not_converge_say_so(classifier, monkeypatch):
    right = directions.top_eigenpairs
    monkeypatch.setattr(directions, "top_eigenpairs", lambda *args, **kw: right(*args, **kw, max_products=4))
    result = slice2d(classifier, classifier.theta, directions="eigen", num_points=3)
    assert result.status == "not-converged"
    assert any("no eigenvectors" in note for note in result.notes)
    np.testing.assert_allclose(result.gram, np.eye(2), atol=1e-12)


def test_one_parameter_has_no_two_eigenvectors():
    objective, *_ = quadratic(torch.float64, torch.ones(1))
    with pytest.raises(BadInput, match="2 eigenvectors where d = 1"):
        slice2d(objective, objective.theta, directions="eigen")


def test_an_interrupted_search_for_eigenvectors_is_an_interrupted_slice(classifier):
    with pytest.raises(KeyboardInterrupt):
        slice2d(classifier, classifier.theta, directions="eigen", progress=killed_at(3))


# The module's own axes


def least_squares(dtype: torch.dtype) -> tuple[Objective, torch.Tensor, torch.Tensor, torch.Tensor]:
    """A linear regression in two numbers, with the matrix XᵀX/n, the solution and the loss there."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(50, 2, generator=generator, dtype=torch.float64) * torch.tensor([1.0, 3.0])
    y = x.sum(1, keepdim=True) + torch.randn(50, 1, generator=generator, dtype=torch.float64)
    best = torch.linalg.lstsq(x, y).solution
    module = nn.Linear(2, 1, bias=False, dtype=dtype)
    objective = Objective(module, "mse", (x.to(dtype), y.to(dtype)))
    return objective, x.T @ x / 50, best[:, 0], ((x @ best - y) ** 2).mean()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_on_its_own_axes_a_regression_is_the_quadratic_it_is(dtype):
    objective, matrix, best, lowest = least_squares(dtype)
    start = torch.tensor([3.0, -1.0], dtype=dtype)
    result = slice2d(objective, start, directions="axes", num_points=7, span=2.0, seed=3)
    np.testing.assert_array_equal(result.directions, np.eye(2))
    np.testing.assert_array_equal(result.gram, np.eye(2))
    np.testing.assert_array_equal(result.centre, start)
    for row, column in cells(result):
        theta = torch.tensor([3 + result.alpha[column], -1 + result.beta[row]], dtype=torch.float64)
        wanted = lowest + (theta - best) @ matrix @ (theta - best)
        assert result.loss[row, column] == pytest.approx(
            float(wanted), rel=1e-12 if dtype == torch.float64 else 1e-5
        )
    assert {"curvature along α", "curvature along β", "orthogonal"} <= set(named(result))
    assert result.status == "complete"


def test_its_own_axes_may_belong_to_two_parameters():
    objective = bowl()
    result = slice2d(objective, objective.theta, directions="axes", num_points=3)
    wanted = objective.module.height(0.2 + result.alpha, -0.1 + result.beta[:, None])
    np.testing.assert_allclose(result.loss, wanted, rtol=1e-12)
    np.testing.assert_array_equal(result.alpha, [-1, 0, 1])


def test_a_trajectory_on_its_own_axes_is_covered_and_lies_on_them():
    objective, *_ = least_squares(torch.float64)
    path = torch.tensor([[3.0, 0.0], [1.5, -0.5], [1.0, 1.0]], dtype=torch.float64)
    trajectory = [Point(theta, {}) for theta in path]
    options = {"directions": "axes", "trajectory": trajectory, "num_points": 11}
    result = slice2d(objective, path[-1], show_trajectory=True, **options)
    np.testing.assert_allclose(result.trajectory_alpha, [2, 0.5, 0], atol=1e-14)
    np.testing.assert_allclose(result.trajectory_beta, [-1, -1.5, 0], atol=1e-14)
    np.testing.assert_allclose(result.trajectory_residual, 0, atol=1e-14)
    np.testing.assert_allclose(result.trajectory_loss, [objective.value(theta) for theta in path], rtol=1e-12)
    assert result.alpha[0] < 0 < 2 < result.alpha[-1]
    assert result.beta[0] < -1.5 < 0 < result.beta[-1]
    near = slice2d(objective, path[-1], show_trajectory=True, span=0.5, **options)
    assert (near.alpha[-1], near.beta[-1]) == (0.5, 0.5)
    np.testing.assert_allclose(slice2d(objective, path[-1], **options).alpha[[0, 5, 10]], [-1, 0, 1])


def test_more_or_fewer_than_two_numbers_have_no_plane_of_their_own(regression):
    with pytest.raises(BadInput, match=r"d = 15; expected exactly 2 trainable numbers"):
        slice2d(regression, regression.theta, directions="axes")
    one, *_ = quadratic(torch.float64, torch.ones(1))
    with pytest.raises(BadInput, match="d = 1"):
        slice2d(one, one.theta, directions="axes")


# Curvature in every cell


def dense_extremes(objective, theta, fixed) -> tuple[float, float]:
    dense = torch.autograd.functional.hessian(lambda t: functional_loss(objective, t, fixed), theta)
    values = np.linalg.eigvalsh(dense.numpy())
    return values[-1], values[0]


@pytest.mark.parametrize("directions", ["random", "eigen"])
@pytest.mark.parametrize("batchnorm", ["frozen", "recalibrate"])
def test_the_curvature_of_every_cell_is_that_of_the_dense_matrix(classifier, directions, batchnorm):
    point = another(classifier, 1)
    result = slice2d(
        classifier, point, directions=directions, curvature=True, num_points=3, batchnorm=batchnorm
    )
    for cell in cells(result):
        theta = on_plane(result, point.theta, *cell)
        fixed = point.fixed
        if batchnorm == "recalibrate":
            fixed = classifier.recalibrated(theta, fixed)
        largest, smallest = dense_extremes(classifier, theta, fixed)
        scale = max(abs(largest), abs(smallest))
        assert abs(result.lambda_max[cell] - largest) <= 1e-2 * scale
        assert abs(result.lambda_min[cell] - smallest) <= 1e-2 * scale
        assert max(result.lambda_max_residual[cell], result.lambda_min_residual[cell]) <= 1e-2 * scale
        assert result.curvature_ratio[cell] == abs(result.lambda_min[cell] / result.lambda_max[cell])
    assert named(result)["curvature range"].passed
    assert any("9 cells" in note for note in result.notes)
    assert result.status == "complete"


def test_the_curvature_in_the_triangle_takes_the_buffers_of_the_cell(classifier):
    points = three(classifier)
    result = slice2d(classifier, points, curvature=True, num_points=3)
    middle = list(result.beta).index(0), list(result.alpha).index(0)
    largest, _ = dense_extremes(classifier, points[0].theta, points[0].fixed)
    assert result.lambda_max[middle] == pytest.approx(largest, rel=1e-2)


def test_the_curvature_of_a_quadratic_is_the_same_everywhere():
    objective, spectrum, _, shift = quadratic(torch.float64)
    result = slice2d(objective, shift, curvature=True, num_points=3, norm="none", ignore=())
    np.testing.assert_allclose(result.lambda_max, spectrum.max(), rtol=1e-3)
    np.testing.assert_allclose(result.lambda_min, spectrum.min(), rtol=1e-2)
    np.testing.assert_allclose(result.curvature_ratio, 1.5 / 4, rtol=1e-2)


def test_without_curvature_there_is_none(classifier):
    result = slice2d(classifier, classifier.theta, num_points=3)
    assert result.lambda_max is result.lambda_min is result.curvature_ratio is None


def test_a_map_of_curvature_goes_on_after_any_cell(classifier, tmp_path: Path, monkeypatch):
    options = {"num_points": 3, "curvature": True}
    whole = slice2d(classifier, classifier.theta, **options)

    def killed(done: int, total: int, what: str) -> None:
        if "curvature" in what and done == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr("landscape.progress.SAVE_SECONDS", 0.0)
    journal = Journal(tmp_path / "x.part", {})
    with pytest.raises(KeyboardInterrupt):
        slice2d(classifier, classifier.theta, **options, journal=journal, progress=killed)
    journal.close()
    journal = Journal(tmp_path / "x.part", {})
    assert journal["curvature"]["done"] == 3
    again = slice2d(classifier, classifier.theta, **options, journal=journal)
    for one, other in zip(again.arrays(), whole.arrays(), strict=True):
        np.testing.assert_array_equal(one.values, other.values, err_msg=one.name)


def test_cells_follow_each_other_as_neighbours():
    order = map.snake(25)
    assert sorted(order) == list(range(25))
    steps = np.abs(np.diff(np.array(np.unravel_index(order, (5, 5))))).sum(0)
    assert (steps == 1).all()


def test_where_curvature_is_not_finite_it_is_unknown():
    objective = bowl()

    def loss(outputs, targets):
        return torch.where(outputs > 1, torch.nan, outputs).squeeze(1)

    broken = Objective(objective.module, loss, (objective.samples[0][0], objective.samples[1]))
    result = slice2d(broken, objective.theta, num_points=3, span=1.5, norm="none", ignore=(), curvature=True)
    assert np.isnan(result.loss).any()
    np.testing.assert_array_equal(np.isnan(result.lambda_max), np.isnan(result.loss))
    np.testing.assert_allclose(result.lambda_max[np.isfinite(result.loss)], 4.03, rtol=1e-2)


def test_curvature_that_did_not_converge_says_so(classifier, monkeypatch):
    monkeypatch.setattr(map, "MAX_PRODUCTS", 3)
    result = slice2d(classifier, classifier.theta, num_points=3, curvature=True)
    assert result.status == "not-converged"
    assert any("residual above" in note for note in result.notes)


def test_the_cost_of_a_map_is_said_before_it_starts(classifier):
    text = map.estimate(classifier, classifier.present_point(), 9)
    assert text.startswith("curvature: 9 cells × 102 products at most of")


def test_a_wrong_largest_eigenvalue_is_seen_at_the_centre(classifier, monkeypatch):
    right = map.top_eigenpairs

    def wrong(*args, **kwargs):
        pairs = right(*args, **kwargs)
        return pairs._replace(values=0.5 * pairs.values)

    monkeypatch.setattr(map, "top_eigenpairs", wrong)
    result = slice2d(classifier, classifier.theta, directions="eigen", num_points=3, curvature=True)
    assert not named(result)["curvature range"].passed


# Three points


def three(classifier) -> list[Point]:
    return [another(classifier, seed) for seed in (1, 2, 3)]


def test_the_plane_goes_through_the_three_points(classifier):
    points = three(classifier)
    result = slice2d(classifier, points, num_points=5)
    np.testing.assert_allclose(result.gram, np.eye(2), atol=1e-13)
    assert (result.point_alpha[0], result.point_beta[0]) == (0, 0)
    for i, point in enumerate(points):
        steps = np.array([result.point_alpha[i], result.point_beta[i]])
        np.testing.assert_allclose(
            points[0].theta.numpy() + steps @ result.directions, point.theta, rtol=1e-10, atol=1e-12
        )
        wanted = plain_loss(classifier, point.theta, point.fixed)
        assert result.point_loss[i] == pytest.approx(wanted, rel=1e-12)
        assert result.alpha[0] < steps[0] < result.alpha[-1]
        assert result.beta[0] < steps[1] < result.beta[-1]
    assert named(result)["points on plane"].value < 1e-13
    assert result.status == "complete"


def test_buffers_are_blended_in_the_triangle_and_held_outside(classifier):
    points = three(classifier)
    a, b, c = points
    result = slice2d(classifier, points, num_points=5)
    sides = torch.stack([b.theta - a.theta, c.theta - a.theta])
    for cell in cells(result):
        theta = on_plane(result, a.theta, *cell)
        second, third = torch.linalg.lstsq(sides.T, (theta - a.theta)[:, None]).solution[:, 0].tolist()
        weights = np.clip([1 - second - third, second, third], 0, None)
        weights /= weights.sum()
        fixed = {
            name: sum(w * p.fixed[name] for w, p in zip(weights, points, strict=True))
            for name in ("1.running_mean", "1.running_var")
        }
        assert result.loss[cell] == pytest.approx(plain_loss(classifier, theta, fixed), rel=1e-10)
    assert "frozen" in result.notes[0]


def test_the_losses_of_a_trajectory_are_not_those_of_the_points(classifier):
    points, trajectory = three(classifier), [another(classifier, seed) for seed in (4, 5)]
    result = slice2d(classifier, points, num_points=3, trajectory=trajectory, show_trajectory=True)
    wanted = [plain_loss(classifier, p.theta, p.fixed) for p in trajectory]
    np.testing.assert_allclose(result.trajectory_loss, wanted, rtol=1e-12)


def test_three_points_on_a_line_span_no_plane(classifier):
    a, b, _ = three(classifier)
    with pytest.raises(BadInput, match="on one line"):
        slice2d(classifier, [a.theta, b.theta, (a.theta + b.theta) / 2])
    with pytest.raises(BadInput, match="are the same"):
        slice2d(classifier, [a, a, b])


# Checks can fail, and input can be bad


@pytest.mark.parametrize("wrong", [0, 1])
@pytest.mark.parametrize("norm", ["filter", "layer"])
def test_directions_of_a_wrong_length_fail_their_check(classifier, monkeypatch, norm, wrong):
    right, drawn = kernels.random_direction, []

    def of_a_wrong_length(*args, **kw):
        drawn.append(right(*args, **kw))
        return (1.001 if len(drawn) == wrong + 1 else 1) * drawn[-1]

    monkeypatch.setattr(kernels, "random_direction", of_a_wrong_length)
    result = slice2d(classifier, classifier.theta, num_points=3, norm=norm)
    assert named(result)["direction norms"].value == pytest.approx(1e-3)
    assert result.status == "failed-checks"


def test_a_moving_ignored_parameter_fails_the_check(classifier, monkeypatch):
    right = kernels.random_direction
    monkeypatch.setattr(
        kernels,
        "random_direction",
        lambda *args, **kw: right(*args, **{**kw, "ignore": ()}),
    )
    result = slice2d(classifier, classifier.theta, num_points=3, norm="none")
    assert not named(result)["direction norms"].passed


def test_curvature_is_checked_along_both_axes(classifier):
    checks = named(slice2d(classifier, classifier.theta, num_points=3))
    assert checks["curvature along α"].value < 1e-4
    assert checks["curvature along β"].value < 1e-4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_points": 50}, "50 points"),
        ({"draws": 2, "directions": "pca"}, "2 draws"),
        ({"draws": 2, "directions": "eigen"}, "2 draws"),
        ({"draws": 2, "directions": "axes"}, "2 draws"),
        ({"directions": "pca"}, "trajectory of 0 points"),
        ({"show_trajectory": True}, "trajectory of 0 points"),
    ],
)
def test_bad_options_are_named(regression, options, message):
    with pytest.raises(BadInput, match=message):
        slice2d(regression, regression.theta, **options)


def test_two_points_are_no_plane(regression):
    with pytest.raises(BadInput, match="2 points"):
        slice2d(regression, [regression.theta, regression.theta + 1])
    with pytest.raises(BadInput, match="plane through three"):
        slice2d(regression, [regression.theta] * 3, draws=2)
    with pytest.raises(BadInput, match=r"shape \(16,\)"):
        slice2d(regression, torch.zeros(16))


def test_a_trajectory_on_one_line_spans_no_plane(regression):
    trajectory = [Point(regression.theta + step, {}) for step in (2.0, 1.0, 0.0)]
    with pytest.raises(BadInput, match="spans no plane"):
        slice2d(regression, regression.theta, directions="pca", trajectory=trajectory)
