"""A line through a point against closed forms and plain loops."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from plain import another, bowl, killed_at, named, plain_loss, plain_module, quadratic
from torch import nn

from landscape import Objective
from landscape.analyses import slice1d
from landscape.errors import BadInput
from landscape.inputs.models import toy
from landscape.numerics.vectors import normal
from landscape.objective.parameters import Point
from landscape.runs.journal import Journal

SWEEP = importlib.import_module("landscape.objective.sweep")
EVERYTHING = {"norm": "none", "ignore": ()}


def test_a_quadratic_is_its_closed_form():
    objective = bowl()
    result = slice1d(objective, objective.theta, num_points=9, span=2.0, **EVERYTHING)
    u, v = objective.theta.numpy()[:, None] + result.directions[0][:, None] * result.alpha
    np.testing.assert_allclose(result.loss, objective.module.height(u, v), rtol=1e-12)
    np.testing.assert_array_equal(result.alpha, [-2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2])
    assert result.status == "complete"


@pytest.mark.parametrize("norm", ["filter", "layer", "none"])
def test_losses_are_a_plain_loop(classifier, norm):
    (x,), y = classifier.samples
    test = classifier.on((x + 0.5, y))
    point = another(classifier, 1)
    result = slice1d(classifier, point, test=test, norm=norm, num_points=11, seed=3)
    direction = torch.from_numpy(result.directions[0])
    assert result.test_loss is not None
    assert result.accuracy is not None
    for i, alpha in enumerate(result.alpha):
        theta = point.theta + alpha * direction
        assert result.loss[i] == pytest.approx(plain_loss(classifier, theta, point.fixed), rel=1e-12)
        assert result.test_loss[i] == pytest.approx(plain_loss(test, theta, point.fixed), rel=1e-12)
        right = plain_module(classifier, theta, point.fixed)(x).argmax(1) == y
        assert result.accuracy[i] == pytest.approx(float(right.double().mean()))
        tested = plain_module(classifier, theta, point.fixed)(x + 0.5).detach()
        each = nn.functional.cross_entropy(tested, y, reduction="none")
        p = float((tested.argmax(1) == y).double().mean())
        assert result.test_loss_error[i] == pytest.approx(float(each.std()) / 30**0.5, rel=1e-11)
        assert result.test_accuracy[i] == pytest.approx(p, rel=1e-14)
        assert result.test_accuracy_error[i] == pytest.approx((p * (1 - p) / 30) ** 0.5, rel=1e-11)
    assert result.centre_loss == classifier.value(point.theta, point.fixed)
    assert result.status == "complete"


def test_ignored_parameters_rest_and_filters_keep_their_length(classifier):
    direction = slice1d(classifier, classifier.theta, num_points=3).directions[0]
    first, bias, scale, shift, second, last = np.split(direction, np.cumsum([24, 6, 6, 6, 18]))
    assert not bias.any()
    assert not scale.any()
    assert not shift.any()
    assert not last.any()
    for weight, part in ((classifier.module[0].weight, first), (classifier.module[4].weight, second)):
        wanted = weight.detach().norm(dim=1).numpy()
        np.testing.assert_allclose(np.linalg.norm(part.reshape(weight.shape), axis=1), wanted, rtol=1e-12)


def test_an_unnormalised_direction_is_the_draw_of_its_seed(regression):
    result = slice1d(regression, regression.theta, num_points=3, seed=11, **EVERYTHING)
    draw = normal(torch.zeros(15), torch.Generator().manual_seed(11))
    np.testing.assert_array_equal(result.directions[0], draw)


def test_draws_are_the_slices_of_consecutive_seeds(classifier):
    result = slice1d(classifier, classifier.theta, num_points=7, draws=3, seed=4)
    alone = [slice1d(classifier, classifier.theta, num_points=7, seed=seed) for seed in (4, 5, 6)]
    losses = np.stack([one.loss for one in alone])
    np.testing.assert_allclose(result.draw_loss, losses, rtol=1e-13)
    np.testing.assert_array_equal(result.directions, np.concatenate([one.directions for one in alone]))
    mean = losses.sum(0) / 3
    np.testing.assert_allclose(result.loss_mean, mean, rtol=1e-12)
    np.testing.assert_allclose(result.loss_spread, np.sqrt(((losses - mean) ** 2).sum(0) / 2), atol=1e-12)


def test_the_principal_direction_of_a_trajectory(regression):
    end, generator = regression.theta, torch.Generator().manual_seed(0)
    along, across = torch.linalg.qr(torch.randn(15, 2, generator=generator, dtype=torch.float64)).Q.T
    path = torch.tensor([[5.0, 0.0], [3.0, 0.2], [1.0, -0.1], [0.0, 0.0]]).double()
    trajectory = [Point(end + a * along + b * across, {}) for a, b in path]
    result = slice1d(
        regression, end, directions="pca", trajectory=trajectory, show_trajectory=True, num_points=11
    )
    wanted = np.linalg.svd(path.numpy())[2][0] @ torch.stack([along, across]).numpy()
    sign = np.sign(result.directions[0] @ wanted)
    np.testing.assert_allclose(result.directions[0], sign * wanted, atol=1e-12)
    steps = np.stack([(p.theta - end).numpy() for p in trajectory])
    np.testing.assert_allclose(result.trajectory_alpha, steps @ result.directions[0], atol=1e-12)
    off = steps - np.outer(result.trajectory_alpha, result.directions[0])
    np.testing.assert_allclose(result.trajectory_residual, np.linalg.norm(off, axis=1), atol=1e-12)
    losses = [plain_loss(regression, p.theta, loss=nn.functional.mse_loss) for p in trajectory]
    np.testing.assert_allclose(result.trajectory_loss, losses, rtol=1e-12)
    assert result.alpha[0] < min(result.trajectory_alpha)
    assert result.alpha[-1] > max(result.trajectory_alpha)
    assert 0.0 in result.alpha


def test_along_the_top_eigenvector_a_quadratic_is_a_parabola():
    objective, spectrum, axes, shift = quadratic(torch.float64)
    result = slice1d(objective, shift, directions="eigen", num_points=9)
    np.testing.assert_allclose(np.abs(result.directions @ axes[3]), 1, rtol=1e-12)
    np.testing.assert_allclose(result.direction_curvature, spectrum[[3]], rtol=1e-12)
    np.testing.assert_allclose(result.loss, 2 + spectrum[3] * result.alpha**2 / 2, rtol=1e-12)
    np.testing.assert_array_equal(result.alpha, np.linspace(-1, 1, 9))
    assert named(result)["eigenvalue along α"].passed
    assert result.status == "complete"


def test_recalibrated_at_every_step(classifier):
    result = slice1d(classifier, classifier.theta, num_points=3, batchnorm="recalibrate")
    (x,), _ = classifier.samples
    for alpha, loss in zip(result.alpha, result.loss, strict=True):
        theta = classifier.theta + alpha * torch.from_numpy(result.directions[0])
        module = plain_module(classifier, theta)
        module[1].train()
        module[1].momentum = 1.0
        module(x)
        assert loss == pytest.approx(plain_loss(classifier, theta, dict(module.named_buffers())), rel=1e-11)
    assert result.status == "complete"


def test_losses_that_are_not_finite_stay_and_are_counted():
    one = torch.ones(1, 1, dtype=torch.float64)

    def loss(outputs, targets):
        capped = torch.where(outputs > 3, torch.inf, outputs)
        return torch.where(outputs < -1, torch.nan, capped).squeeze(1)

    module = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.ones_(module.weight)
    result = slice1d(Objective(module, loss, (one, one)), torch.ones(1).double(), num_points=5, span=3.0)
    upwards = np.sort(result.loss)  # the direction is 1 or −1; NaN sorts last
    np.testing.assert_allclose(upwards, [-0.5, 1, 2.5, np.inf, np.nan])
    assert named(result)["not finite"].value == 2
    assert result.status == "failed-checks"


def test_resumed_after_any_block_it_ends_bit_for_bit(classifier, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(SWEEP, "BLOCK_POINTS", 4)
    whole = slice1d(classifier, classifier.theta, num_points=21, draws=2)
    for kill in (8, 16):
        journal = Journal(tmp_path / "x.part", {})
        with pytest.raises(KeyboardInterrupt):
            slice1d(
                classifier,
                classifier.theta,
                num_points=21,
                draws=2,
                journal=journal,
                progress=killed_at(kill),
            )
        journal.close()
    journal = Journal(tmp_path / "x.part", {})
    assert len(journal) == 4
    again = slice1d(classifier, classifier.theta, num_points=21, draws=2, journal=journal)
    np.testing.assert_array_equal(again.draw_loss, whole.draw_loss)


# The curvature check


def curvature(objective: Objective, theta: torch.Tensor, **options):
    result = slice1d(objective, theta, num_points=3, **options)
    return named(result).get("curvature along α"), result


@pytest.mark.parametrize("seed", range(3))
def test_curvature_passes_on_smooth_and_kinked_nets(classifier, seed):
    torch.manual_seed(seed)
    x, y = torch.randn(200, 5), torch.randint(3, (200,))
    relu = nn.Sequential(nn.Linear(5, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 3))
    single = Objective(relu, "cross_entropy", (x, y))  # float32: the check itself runs in float64
    for objective in (classifier, single):
        check, _ = curvature(objective, objective.theta, seed=seed, ignore=())
        assert check is not None
        assert check.value < 1e-4


def test_curvature_fails_for_wrong_products(classifier, monkeypatch):
    right = Objective.hessian_operator

    def wrong(self, *args, **kwargs):
        product = right(self, *args, **kwargs)
        return lambda v: 1.01 * product(v)

    monkeypatch.setattr(Objective, "hessian_operator", wrong)
    check, result = curvature(classifier, classifier.theta)
    assert check is not None
    assert not check.passed
    assert result.status == "failed-checks"


class Rounded(nn.Linear):
    """Weights of quarters, through which gradients go straight."""

    def forward(self, x):
        return nn.functional.linear(
            x, self.weight + ((4 * self.weight).round() / 4 - self.weight).detach(), self.bias
        )


@pytest.mark.parametrize("directions", ["random", "eigen"])
def test_curvature_of_a_backward_pass_written_by_hand_is_a_note_where_no_hessian_is_told(directions):
    torch.manual_seed(0)
    module = nn.Sequential(Rounded(6, 12), nn.ReLU(), Rounded(12, 3))
    objective = Objective(module, "cross_entropy", (torch.randn(60, 6), torch.randint(3, (60,))))
    check, result = curvature(objective, objective.theta, directions=directions)
    if directions == "random":
        assert check is None
        assert any("no number here is of a Hessian" in note for note in result.notes)
        assert result.status == "complete"
    else:
        assert check is not None
        assert not check.passed


@pytest.mark.parametrize("v", [1.0, 0.0])  # a jump of the gradient; a gradient that bends
def test_curvature_on_a_kink_is_a_note_and_no_failure(v):
    one = torch.ones(1, 1, dtype=torch.float64)
    objective = Objective(toy.toy_relu_neuron(v, 0.0).double(), "mse", (one, one))
    check, result = curvature(objective, objective.theta, **EVERYTHING)
    assert check is None
    assert "a kink at θ*" in result.notes[0]
    assert result.status == "complete"


def test_curvature_without_a_derivative_is_a_note():
    one = torch.ones(1, 1, dtype=torch.float64)
    module = nn.Linear(1, 1, dtype=torch.float64)
    objective = Objective(module, lambda o, t: (o.detach() - t).square().squeeze(1), (one, one))
    check, result = curvature(objective, objective.theta)
    assert check is None
    assert "not checked" in result.notes[0]
    assert result.status == "complete"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_points": 4}, "4 points"),
        ({"draws": 2, "directions": "pca"}, "2 draws"),
        ({"draws": 2, "directions": "eigen"}, "2 draws"),
        ({"directions": "eigen-ends"}, "two eigenvectors for one axis"),
        ({"directions": "axes"}, "the module's two own axes for one axis"),
        ({"directions": "pca"}, "trajectory of 0 points"),
        ({"show_trajectory": True}, "trajectory of 0 points"),
    ],
)
def test_bad_options_are_named(regression, options, message):
    with pytest.raises(BadInput, match=message):
        slice1d(regression, regression.theta, **options)
