"""Training with noise added to every gradient: against plain loops, closed-form variances, and its own proofs."""

import numpy as np
import pytest
import torch
from surfaces import surface
from torch import nn

import landscape
from landscape import BadInput, Objective
from landscape.numerics.steps.kicks import Kicks, mean_square

LAWS = ("sphere", "ball", "gaussian")


def net(dtype: torch.dtype = torch.float64, l2: float = 0.0) -> Objective:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Dropout(0.2), nn.Linear(4, 2)).to(dtype)
        x, y = torch.randn(20, 3, dtype=dtype), torch.arange(20) % 2
    return Objective(module, "cross_entropy", (x, y), l2=l2)


def final(run) -> np.ndarray:
    return np.concatenate([part.ravel() for part in run.states["final"].values()])


@pytest.mark.parametrize("law", LAWS)
def test_the_end_is_that_of_a_plain_loop(law):
    """F = x² − y², so that every step is θ ← (1 − αH)θ − αaξ."""
    objective = surface(lambda t: t[0] ** 2 - t[1] ** 2, 2)
    run = landscape.train(
        objective, method="gd", steps=150, lr=0.05, noise=law, amplitude=1e-3, seed=4, measure_every=50
    )
    theta, kicks = np.zeros(2), Kicks(law, 2, (4, 2))
    for step in range(150):
        theta = theta - 0.05 * (np.array([2.0, -2.0]) * theta + 1e-3 * kicks.at(step))
    np.testing.assert_allclose(final(run), theta, rtol=1e-11)
    assert run.status == "complete"


@pytest.mark.parametrize(
    ("alpha", "curvature", "sigma", "k", "variance"),
    [
        (0.05, 2.0, 1e-3, 10, 6.818452320626e-8),
        (0.05, 2.0, 1e-3, 50, 1.640430040455e-4),
        (0.05, 2.0, 1e-3, 100, 2.260777088815),
        (0.1, 1.0, 0.5, 30, None),
        (0.02, 5.0, 0.1, 40, None),
    ],
)
def test_the_variance_of_noise_that_grows_on_a_saddle(alpha, curvature, sigma, k, variance):
    """y ← (1 + α|λ|)y + ασξ: variance α²σ²((1 + α|λ|)^{2k} − 1)/((1 + α|λ|)² − 1)."""
    grows = 1 + alpha * curvature
    wanted = (alpha * sigma) ** 2 * (grows ** (2 * k) - 1) / (grows**2 - 1)
    if variance is not None:
        np.testing.assert_allclose(wanted, variance, rtol=1e-11)
    objective, count = surface(lambda t: -curvature * t[0] ** 2 / 2, 1), 1500
    found = landscape.escape(
        objective, torch.zeros(1, dtype=torch.float64), noise="gaussian", amplitudes=(sigma,), num_seeds=count,
        lr=alpha, drop=1e9, max_steps=k, directions=1,
    )  # fmt: skip
    squares = -2 * found.final_loss / curvature
    assert abs(squares.mean() - wanted) < 5 * wanted * np.sqrt(2 / count)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("dimension", [1, 2, 7])
def test_laws_have_their_size_and_no_direction(law, dimension):
    drawn = np.stack([Kicks(law, dimension, (9, s)).at(0) for s in range(4000)])
    lengths = np.linalg.norm(drawn, axis=1)
    spread = np.square(lengths).std() / np.sqrt(4000) + 1e-12
    assert abs(np.square(lengths).mean() - mean_square(law, dimension)) < 5 * spread
    assert (np.abs(drawn.mean(0)) < 5 / np.sqrt(4000)).all()
    if law == "sphere":
        np.testing.assert_allclose(lengths, 1, rtol=1e-12)
    if law == "ball":
        # Uniform in the ball: the d-th power of the length is uniform.
        shares = np.sort(lengths**dimension)
        assert np.abs(shares - np.linspace(0, 1, 4000)).max() < 2.5 / np.sqrt(4000)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-3},
        {"optimizer": "adam", "lr": 0.01},
        {"method": "gd", "schedule": "exponential"},
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_its_checks_know_the_noise(law, options, dtype):
    batches = {} if options.get("method") == "gd" else {"batch_size": 6}
    run = landscape.train(net(dtype, 1e-2), epochs=3, noise=law, amplitude=0.3, **batches, **options)
    assert [one for one in run.checks if not one.passed] == []
    assert "steps" in {one.name for one in run.checks}


def test_noise_of_another_step_fails_the_steps(monkeypatch):
    at = Kicks.at
    monkeypatch.setattr(Kicks, "at", lambda self, step: at(self, step + 1))
    run = landscape.train(net(), batch_size=6, epochs=3, noise="sphere", amplitude=0.3)
    assert {one.name for one in run.checks if not one.passed} == {"steps"}


def test_without_noise_nothing_is_drawn(monkeypatch):
    monkeypatch.setattr(Kicks, "at", lambda *_: pytest.fail("drawn"))
    assert landscape.train(net(), batch_size=6, epochs=1).status == "complete"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"noise": "sphere"}, "its `amplitude`"),
        ({"amplitude": 0.1}, "an `amplitude` of 0.1 without `noise`"),
        ({"noise": "ball", "amplitude": 0.0}, "amplitude"),
        ({"noise": "box", "amplitude": 0.1}, "box"),
    ],
)
def test_what_is_refused(options, said):
    with pytest.raises(BadInput, match=said):
        landscape.train(net(), epochs=1, **options)


def test_equal_units_part_under_noise_alone():
    """Two units with the same weights have the same gradients for ever; noise tells them apart."""
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, -1.0]], dtype=torch.float64)
    y = torch.tensor([[1.0], [0.0], [-1.0], [2.0]], dtype=torch.float64)
    module = nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Linear(3, 1, bias=False)).double()
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[1.0, 1.0], [1.0, 1.0], [-1.0, 2.0]]))
        module[2].weight.copy_(torch.tensor([[1.0, 1.0, 2.0]]))
    objective = Objective(module, "mse", (x, y))
    slope = objective.gradient(objective.theta).tolist()
    np.testing.assert_allclose(slope, [4, 6.5, 4, 6.5, 7, 13, 10.5, 10.5, 9.5], rtol=1e-13)
    for options, is_same in (({}, True), ({"noise": "sphere", "amplitude": 1e-3}, False)):
        run = landscape.train(objective, method="gd", steps=40, lr=0.01, **options)
        rows = run.states["final"]["0.weight"]
        assert bool((rows[0] == rows[1]).all()) == is_same
