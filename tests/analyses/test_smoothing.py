"""F averaged over Gaussian noise: closed forms, the size of its error, and what sees other noise or another average."""

import math

import numpy as np
import pytest
import torch
from surfaces import ONE, point, product, surface
from torch import nn

import landscape
from landscape import BadInput, Objective
from landscape.objective import smoothing
from landscape.objective.parameters import Point
from landscape.objective.smoothing import noise_of
from landscape.plots import plot

# Means over pairs depart by so many standard errors, with Student's factor, once in 10⁵.
DEVIATIONS = 5.0


def quadratic(theta):
    """½ θᵀAθ + bᵀθ with tr A = 3, in three dimensions."""
    a = torch.tensor([[2.0, 0.5, 0.0], [0.5, -1.0, 1.0], [0.0, 1.0, 2.0]], dtype=torch.float64)
    return 0.5 * theta @ a @ theta + theta @ point(1.0, -2.0, 0.5)


def rippled(c, k):
    return lambda theta: theta[0] ** 2 / 2 + c * torch.cos(k * theta[0])


def smooth_ripple(c, k, sigma):
    """Kleinberg et al. (2018): the ripple fades by e^(−k²σ²/2)."""
    return lambda x: x**2 / 2 + sigma**2 / 2 + c * np.exp(-((k * sigma) ** 2) / 2) * np.cos(k * x)


# F, its dimension, σ, and F averaged as a function of θ.
FORMS = [
    (quadratic, 3, 0.3, lambda t: quadratic(torch.from_numpy(t)).item() + 0.3**2 * 3 / 2),
    (quadratic, 3, 5.0, lambda t: quadratic(torch.from_numpy(t)).item() + 5.0**2 * 3 / 2),
    (rippled(1.0, 3.0), 1, 0.698764715979, lambda t: smooth_ripple(1, 3, 0.698764715979)(t[0])),
    (rippled(0.5, 4.0), 1, 0.2, lambda t: smooth_ripple(0.5, 4, 0.2)(t[0])),
    (
        lambda t: (t[0] ** 2 - 1) ** 2,
        1,
        0.4,
        lambda t: t[0] ** 4 + (6 * 0.16 - 2) * t[0] ** 2 + 3 * 0.4**4 - 2 * 0.16 + 1,
    ),
    (
        product,
        2,
        0.25,
        lambda t: 1 - 2 * t[0] * t[1] + (t[0] ** 2 + 0.0625) * (t[1] ** 2 + 0.0625),
    ),
]


@pytest.mark.parametrize(("formula", "dimension", "sigma", "wanted"), FORMS)
def test_the_average_is_the_closed_form_within_its_error(formula, dimension, sigma, wanted):
    objective = surface(formula, dimension)
    start = point(0.7, -0.4, 1.1)[:dimension]
    found = landscape.slice1d(
        objective, start, norm="none", span=1.5, num_points=7, smooth=sigma, smooth_draws=200
    )
    assert all(check.passed for check in found.checks)
    assert {"smoothed loss", "other noise"} <= {check.name for check in found.checks}
    direction = found.directions[0].astype(float)
    truth = [wanted(start.numpy() + step * direction) for step in found.alpha]
    away = np.abs(found.smooth_loss - truth) / found.smooth_loss_error
    assert away.max() < DEVIATIONS
    # It is an average of F there: neither F itself nor that of other noise.
    assert np.abs(found.smooth_loss - found.loss).max() > 3 * found.smooth_loss_error.max()
    assert (found.smooth_sigma, found.smooth_pairs) == (sigma, 200)


def test_the_error_is_that_of_a_quadratic_form():
    # Var ½σ²ξᵀAξ = σ⁴ tr(A²)/2, whatever the slope, since ξ comes with −ξ; tr A² = 11.5.
    found = landscape.slice1d(
        surface(quadratic, 3), point(1.0, 2.0, 3.0), num_points=3, smooth=0.5, smooth_draws=400
    )
    wanted = 0.5**2 * math.sqrt(11.5 / 2 / 400)
    np.testing.assert_allclose(found.smooth_loss_error, wanted, rtol=0.25)
    np.testing.assert_allclose(found.smooth_loss_error, found.smooth_loss_error[0], rtol=1e-9)


def test_what_is_odd_in_the_noise_adds_no_error():
    found = landscape.slice1d(
        surface(lambda t: 3 * t[0] - 2 * t[1], 2), point(0.3, 0.1), num_points=3, smooth=0.7, smooth_draws=2
    )
    np.testing.assert_allclose(found.smooth_loss, found.loss, rtol=0, atol=1e-13)
    np.testing.assert_allclose(found.smooth_loss_error, 0, atol=1e-13)


def test_every_cell_of_a_plane_has_the_same_noise(monkeypatch):
    from landscape.objective import sweep

    objective = surface(product, 2)
    options = {"directions": "axes", "num_points": 5, "smooth": 0.2, "smooth_draws": 4, "seed": 3}
    found = landscape.slice2d(objective, point(0.9, 0.6), **options)
    drawn = [noise_of(objective, 3, k) for k in range(4)]
    for i, beta in enumerate(found.beta):
        for j, alpha in enumerate(found.alpha):
            at = point(0.9 + alpha, 0.6 + beta)
            pairs = [float(product(at + 0.2 * one) + product(at - 0.2 * one)) / 2 for one in drawn]
            np.testing.assert_allclose(found.smooth_loss[i, j], np.mean(pairs), rtol=1e-13)
            # Student's quantile of 3 over the normal one.
            error = 3.182446 / 1.959964 * np.std(pairs, ddof=1) / 2
            np.testing.assert_allclose(found.smooth_loss_error[i, j], error, rtol=1e-5)
    # Blocks that hold parts of several draws are no other numbers.
    monkeypatch.setattr(sweep, "BLOCK_POINTS", 7)
    again = landscape.slice2d(objective, point(0.9, 0.6), **options)
    np.testing.assert_array_equal(again.smooth_loss, found.smooth_loss)
    np.testing.assert_array_equal(again.smooth_loss_error, found.smooth_loss_error)


def net(dtype=torch.float64):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2)).to(dtype)
    inputs, targets = torch.randn(20, 3).to(dtype), torch.arange(20) % 2
    return Objective(module, "cross_entropy", (inputs, targets), l2=0.1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("batchnorm", ["frozen", "recalibrate"])
def test_a_net_with_statistics_and_a_penalty(dtype, batchnorm):
    objective = net(dtype)
    found = landscape.slice2d(
        objective, objective.present_point(), num_points=3, smooth=0.1, batchnorm=batchnorm, draws=2
    )
    assert all(check.passed for check in found.checks)
    assert np.isfinite(found.smooth_loss).all()


def test_the_points_of_a_certificate_have_averages_each():
    objective = surface(product, 2)
    places = [point(1.2, 0.5), point(-0.3, 0.8)]
    found = landscape.certify(objective, places, smooth=0.25, smooth_draws=100)
    for value, error, place in zip(found.smooth_loss, found.smooth_loss_error, places, strict=True):
        assert abs(value - FORMS[-1][-1](place.numpy())) < DEVIATIONS * error
    alone = landscape.certify(objective, places[1], smooth=0.25, smooth_draws=100)
    assert alone.smooth_loss == found.smooth_loss[1]
    assert {"smoothed loss", "other noise"} <= {check.name for check in alone.checks if check.passed}
    assert landscape.certify(objective, places[1]).smooth_loss is None


def failed(monkeypatch, change):
    monkeypatch.setattr(smoothing, "noise_of", change)
    objective = surface(lambda t: t @ t, 20)
    found = landscape.slice1d(objective, torch.ones(20).double(), num_points=3, smooth=0.5)
    return {check.name for check in found.checks if not check.passed}


def test_other_noise_than_stated_is_seen(monkeypatch):
    assert failed(monkeypatch, noise_of) == set()
    assert failed(monkeypatch, lambda *where: 1.001 * noise_of(*where)) == {"smoothed loss"}
    # Others of the law itself tell what is far off.
    for factor in (0.0, 2.0):
        wrong = failed(monkeypatch, lambda *where, factor=factor: factor * noise_of(*where))
        assert wrong == {"smoothed loss", "other noise"}


def test_few_draws_prove_nothing_against_others():
    found = landscape.slice1d(surface(product, 2), point(0.9, 0.6), num_points=3, smooth=0.5, smooth_draws=29)
    names = {check.name for check in found.checks}
    assert "smoothed loss" in names
    assert "other noise" not in names


def test_noise_that_leads_out_of_bounds_is_counted():
    objective = surface(lambda t: torch.log(t[0]), 1)
    found = landscape.slice1d(objective, point(2.0), norm="none", span=0.1, num_points=3, smooth=3.0)
    assert np.isnan(found.smooth_loss).all()
    assert any("3 averages are NaN" in note for note in found.notes)


@pytest.mark.parametrize("given", [{"smooth": 0.0}, {"smooth": -1.0}, {"smooth": 0.1, "smooth_draws": 1}])
def test_bad_input(given):
    with pytest.raises(BadInput, match="smooth"):
        landscape.slice1d(surface(product, 2), point(0.9, 0.6), **given)


@pytest.mark.parametrize("command", [landscape.slice1d, landscape.slice2d, landscape.certify])
def test_pairs_of_no_noise_are_refused(command):
    with pytest.raises(BadInput, match="`smooth_draws` 20 without `smooth`"):
        command(surface(product, 2), point(0.9, 0.6), smooth_draws=20)


def test_fifty_pairs_unless_it_is_said():
    found = landscape.slice1d(surface(product, 2), point(0.9, 0.6), num_points=3, smooth=0.5)
    assert found.smooth_pairs == 50


def test_a_penalty_is_averaged_with_the_loss():
    objective = surface(lambda t: 0 * t[0], 2)
    penalised = Objective(objective.module, "output", (ONE, ONE), l2=2.0)
    found = landscape.slice1d(penalised, point(1.0, 2.0), num_points=3, smooth=0.5, smooth_draws=400)
    # ½·2‖θ‖² + σ² d.
    away = found.smooth_loss - (found.loss + 0.25 * 2)
    assert np.abs(away / found.smooth_loss_error).max() < DEVIATIONS


def test_each_cell_between_three_points_has_its_own_statistics():
    objective = net()
    thetas = objective.present_point().theta + 0.3 * torch.randn(
        3, objective.num_parameters, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    points = []
    for scale, theta in zip((1.0, 2.0, 3.0), thetas, strict=True):
        fixed = {
            name: scale * part if part.is_floating_point() else part
            for name, part in objective.present_point().fixed.items()
        }
        points.append(Point(theta, fixed))
    for seed in range(3):
        found = landscape.slice2d(objective, points, num_points=3, smooth=0.1, smooth_draws=3, seed=seed)
        assert "smoothed loss" in {check.name for check in found.checks if check.passed}


def test_the_average_has_a_panel_of_its_own_below_a_plane_and_a_line_of_its_own_beside_a_curve():
    objective, start = surface(product, 2), point(0.9, 0.6)
    given = {"num_points": 5, "smooth": 0.2, "smooth_draws": 3}
    on_plane = plot(landscape.slice2d(objective, start, directions="axes", **given))
    labels = [axes.get_ylabel() for axes in on_plane.axes]
    assert labels.count("parameter theta[1]") == 2
    assert any("averaged over Gaussian" in label for label in labels)
    along = plot(landscape.slice1d(objective, start, **given))
    assert "averaged over N(0, 0.2² I)" in [line.get_label() for line in along.axes[0].lines]
