"""The gradient norm of SGD, against closed forms, a plain loop and every-step measuring."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import landscape
from landscape import Objective
from landscape.descent.gradient_noise import probed
from landscape.descent.gradients import stacked_gradients
from landscape.descent.noise import Setting, noisy_runs
from landscape.errors import BadInput, NotFinite
from landscape.inputs.data import load_data
from landscape.inputs.models import build_model
from landscape.numerics.steps.sampling import Sampler


def quadratic(num_samples: int = 50) -> tuple[Objective, float]:
    """F(θ) = (1/n) Σ (θ − yᵢ)², started at its minimum, and the variance M of one sample's gradient."""
    y = torch.randn(num_samples, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    module = nn.Sequential(nn.Linear(1, 1, bias=False, dtype=torch.float64))
    nn.init.constant_(module[0].weight, float(y.mean()))
    objective = Objective(module, "mse", (torch.ones_like(y), y))
    return objective, 4 * float(y.var(unbiased=False))


class Wrapped(nn.Module):
    """A module that is no plain perceptron to look at."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


def tiny(is_wrapped: bool = False, dropout: float = 0.0) -> Objective:
    """A small perceptron on 40 samples, in float64."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(40, 3, dtype=torch.float64, generator=generator)
    y = (x[:, 0] * x[:, 1] > 0).long()
    module = build_model("mlp", {"widths": 4, "dropout": dropout}, 0, input_shape=(3,), num_outputs=1)
    return Objective(Wrapped(module) if is_wrapped else module, "bce", (x, y), dtype=torch.float64)


def runs_of(objective: Objective, settings: list[Setting], **options):
    asked = {"num_seeds": 2, "num_steps": 50, "measure_every": 1, "seed": 0, "journal": {}} | options
    gradients = stacked_gradients(objective)
    return noisy_runs(objective, gradients, objective.theta, settings, progress=lambda *_: None, **asked)


def test_no_start_stops_at_the_second_largest_curvature():
    x = torch.eye(26, dtype=torch.float64) * torch.linspace(0.1, 0.2, 26, dtype=torch.float64).sqrt()
    x[0, 0], x[1, 1] = 1.39**0.5, 1.2**0.5
    objective = Objective(
        nn.Linear(26, 1, bias=False).double(), "mse", (x, torch.zeros(26, 1, dtype=torch.float64))
    )
    gradients = stacked_gradients(objective)
    found = [probed(objective, objective.theta, gradients, seed).curvature for seed in range(60)]
    np.testing.assert_allclose(found, 2 * 1.39 / 26, rtol=1e-5)


def test_on_a_quadratic_the_mean_is_the_known_one():
    """From the minimum, E(θ_k − θ*)² = α²V(1 − ρᵏ)/(1 − ρ) with ρ = (1 − αλ)², V = M/B, λ = 2, ∇F = λ(θ − θ*)."""
    objective, variance = quadratic()
    steps, curvature = 400, 2.0
    settings = [Setting(0.02, 1), Setting(0.1, 1), Setting(0.1, 4)]
    runs = runs_of(objective, settings, num_seeds=100, num_steps=steps)
    for (alpha, size), means in zip(settings, runs.means, strict=True):
        rho = (1 - alpha * curvature) ** 2
        partial = 1 - (1 - rho**steps) / (1 - rho) / steps
        expected = curvature**2 * alpha**2 * (variance / size) / (1 - rho) * partial
        assert abs(means.mean() - expected) < 4 * means.std(ddof=1) / 10


def test_probes_know_the_quadratic():
    objective, variance = quadratic()
    probe = probed(objective, objective.theta + 0.5, stacked_gradients(objective), 0)
    assert probe.curvature == pytest.approx(2)
    assert probe.squared_norm == pytest.approx(1)
    assert probe.variance == pytest.approx(variance)


def test_the_variance_is_that_of_single_gradients():
    objective = tiny()
    theta, fixed = objective.theta, objective.present_point().fixed
    each = torch.stack([objective.batch_gradient(theta, torch.tensor([i]), fixed)[1] for i in range(40)])
    probe = probed(objective, theta, stacked_gradients(objective), 0)
    spread = (each - each.mean(0)).square().sum(1).mean()
    assert probe.variance == pytest.approx(float(spread), rel=1e-9)
    dense = torch.stack([objective.hvp(theta, row) for row in torch.eye(len(theta), dtype=torch.float64)])
    assert probe.curvature == pytest.approx(float(torch.linalg.eigvalsh(dense).abs().max()), rel=1e-3)


@pytest.mark.parametrize("is_wrapped", [False, True])
@pytest.mark.parametrize("measure_every", [1, 7])
def test_the_stack_is_a_plain_loop_for_each_run(measure_every, is_wrapped):
    objective = tiny(is_wrapped)
    fixed = objective.present_point().fixed
    settings = [Setting(0.1, 1), Setting(0.3, 1), Setting(0.3, 3)]
    runs = runs_of(objective, settings, measure_every=measure_every)
    seeds = np.random.SeedSequence(0).generate_state(12, np.uint64).reshape(6, 2) >> 1
    for run in range(6):
        setting = settings[run // 2]
        sampler = Sampler("uniform", 40, setting.batch_size, int(seeds[run, 0]))
        theta, norms = objective.theta, []
        for step in range(50):
            if step % measure_every == 0:
                norms.append(float(objective.gradient(theta, fixed).square().sum()))
            theta = theta - setting.step_size * objective.batch_gradient(theta, sampler.next(), fixed)[1]
        assert runs.means[run // 2, run % 2] == pytest.approx(np.mean(norms), rel=1e-10)
        torch.testing.assert_close(runs.ends[run // 2, run % 2], theta, rtol=1e-10, atol=1e-12)


def test_random_measuring_agrees_with_every_step_within_its_errors():
    """The same runs measured twice, so that only the choice of the steps differs; unbiased over the seeds."""
    objective, settings = tiny(), [Setting(0.05, 1), Setting(0.2, 2)]
    whole = runs_of(objective, settings, num_seeds=40, num_steps=1000)
    some = runs_of(objective, settings, num_seeds=40, num_steps=1000, measure_every=None)
    torch.testing.assert_close(some.ends, whole.ends)
    gap = some.means - whole.means
    assert (gap != 0).any()
    assert (abs(gap.mean(1)) < 3.5 * gap.std(1, ddof=1) / np.sqrt(40)).all()


@pytest.mark.parametrize(
    ("dropout", "how"),
    [
        (0.5, {}),
        (0.0, {"schedule": "polynomial", "schedule_arguments": {"gamma": 0.8}, "measure_every": 3}),
    ],
)
def test_a_stopped_run_goes_on_bit_for_bit(monkeypatch, dropout, how):
    monkeypatch.setattr("landscape.progress.SAVE_SECONDS", 0.0)
    asked = {
        "step_sizes": (0.1, 0.2),
        "batch_sizes": (1, 2),
        "num_steps": 140,
        "num_seeds": 2,
        "descent_steps": 150,
        **how,
    }

    def stopping_at(limit: int):
        calls = iter(range(10**9))

        def progress(done: int, total: int, what: str) -> None:
            if next(calls) == limit:
                raise KeyboardInterrupt

        return progress

    objective = tiny(dropout=dropout)
    whole = landscape.noise(objective, objective.theta, **asked)
    journal: dict = {}
    for limit in (1, 5, 20, 60, 10**9):
        try:
            again = landscape.noise(
                objective, objective.theta, **asked, journal=journal, progress=stopping_at(limit)
            )
        except KeyboardInterrupt:
            continue
    assert len(journal) > 3
    assert all(check.passed for check in whole.checks)
    np.testing.assert_array_equal(again.mean_squared_gradient_norm, whole.mean_squared_gradient_norm)
    np.testing.assert_array_equal(again.bound, whole.bound)


def test_the_slopes_on_a_quadratic_are_one_and_minus_one():
    objective, _ = quadratic()
    result = landscape.noise(
        objective,
        objective.theta,
        step_sizes=(0.01, 0.02, 0.03, 0.05),
        batch_sizes=(1, 2, 4),
        num_steps=3000,
        num_seeds=20,
        infimum=0.0,
    )
    assert result.status == "complete"
    assert result.slope_step == pytest.approx(1, abs=0.15)
    assert result.slope_batch == pytest.approx(-1, abs=0.15)
    assert result.lipschitz == pytest.approx(2)
    assert (result.mean < result.bound).all()
    assert result.mean_squared_gradient_norm.shape == (6, 20)
    np.testing.assert_array_equal(result.batch_size, [1, 1, 1, 1, 2, 4])
    np.testing.assert_array_equal(result.step_size, [0.01, 0.02, 0.03, 0.05, 0.05, 0.05])


def test_a_run_that_diverges_is_marked_and_the_others_go_on():
    objective, _ = quadratic()
    result = landscape.noise(
        objective,
        objective.theta + 1,
        step_sizes=(0.01, 0.02, 5.0),
        batch_sizes=(1,),
        num_steps=3000,
        num_seeds=2,
    )
    assert result.outcome == "diverged"
    np.testing.assert_array_equal(result.diverged, [[False] * 2, [False] * 2, [True] * 2])
    assert np.isfinite(result.mean[:2]).all()
    assert np.isnan(result.bound[2])
    assert result.slope_step is not None
    assert any("2 of 2 runs diverged at α = 5" in note for note in result.notes)
    with pytest.raises(NotFinite, match="every run diverged"):
        landscape.noise(objective, objective.theta + 1, step_sizes=(5.0,), num_steps=3000, num_seeds=2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_sizes": (41,)}, "40 samples"),
        ({"infimum": 100.0}, "below F_inf"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    objective = tiny()
    with pytest.raises(BadInput, match=words):
        landscape.noise(objective, objective.theta, **{"step_sizes": (0.1,), "num_steps": 3} | options)


@pytest.mark.skipif("LANDSCAPE_DATA" not in os.environ, reason="LANDSCAPE_DATA names no folder with MNIST")
def test_the_data_of_the_preset_are_those_of_the_thesis():
    data = load_data("mnist", {"classes": (3, 6), "size": 14}, Path(os.environ["LANDSCAPE_DATA"]))
    assert data.inputs.shape == (12049, 1, 14, 14)
    assert int((data.targets == 0).sum()) == 6131
    assert 0 <= float(data.inputs.min()) < float(data.inputs.max()) <= 1


def test_glorot_is_uniform_by_the_layer_with_zero_biases():
    module = build_model(
        "mlp", {"widths": (10, 10, 10), "init": "glorot"}, 0, input_shape=(196,), num_outputs=1
    )
    assert sum(p.numel() for p in module.parameters()) == 196 * 10 + 10 + 2 * 110 + 11
    for layer in module:
        if isinstance(layer, nn.Linear):
            limit = (6 / (layer.in_features + layer.out_features)) ** 0.5
            assert 0.7 * limit < float(layer.weight.detach().abs().max()) <= limit
            assert not layer.bias.any()


def in_units(unit: float):
    """Noise of a loss of that size, by steps that are as much smaller."""
    simple, _ = quadratic()
    objective = Objective(simple.module, lambda h, y: unit * (h - y).square().mean(1), simple.samples)
    asked = {"step_sizes": (0.1 / unit,), "batch_sizes": (1, 4), "num_steps": 40, "num_seeds": 3}
    return landscape.noise(objective, objective.theta + 1, **asked)


@pytest.mark.filterwarnings("error")
def test_squares_beyond_the_largest_number_overflow_nowhere():
    """‖∇F‖² of 1e160, whose spread has squares beyond 1e308, in the proportions of the same runs at 1."""
    one, large = in_units(1.0), in_units(1e80)
    assert large.status == "complete", large.checks
    np.testing.assert_allclose(large.standard_error / 1e160, one.standard_error, rtol=1e-9)


@pytest.mark.filterwarnings("error")
def test_a_bound_is_finite_where_the_product_of_its_constants_is_not():
    """LM of 1e312 times α, in the proportions of the same runs at 1."""
    one, large = in_units(1.0), in_units(1e104)
    assert large.status == "complete", large.checks
    np.testing.assert_allclose(large.bound / 1e208, one.bound, rtol=1e-9)


def masked(loss, mask: float) -> Objective:
    """A small net beside a trainable number that only a sigmoid sees."""

    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
            self.mask = nn.Parameter(torch.tensor([mask], dtype=torch.float64))

        def forward(self, x):
            return self.net(x) + self.mask.sigmoid()

    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(12, n, dtype=torch.float64, generator=generator) for n in (3, 1))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Objective(Masked().double(), loss, (x, y))


@pytest.mark.parametrize("mask", [-1.0, -1e9, -1e42])
def test_a_weight_far_larger_than_the_others_is_no_length_to_step_by(mask, monkeypatch):
    """A mask of −1e9: steps of 1e-7 ‖θ‖ told slope and curvature across the whole net."""
    asked = {"step_sizes": (1e-3,), "batch_sizes": (1,), "num_steps": 20, "num_seeds": 2, "num_probes": 1}
    objective = masked(lambda h, y: nn.functional.softplus(-h * y.sign()).squeeze(1), mask)
    result = landscape.noise(objective, objective.theta, **asked)
    assert result.status == "complete", result.checks
    whole = Objective.value_and_gradient
    monkeypatch.setattr(
        Objective, "value_and_gradient", lambda self, *a: (whole(self, *a)[0], 1.1 * whole(self, *a)[1])
    )
    found = {one.name: one.passed for one in landscape.noise(objective, objective.theta, **asked).checks}
    assert not found["cut, derivative"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_where_nothing_is_left_of_the_loss_gradients_are_rounding_and_fail_nothing(dtype):
    """Wider than the data: residuals of an ε, of which two roads give other ones."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(10, n, dtype=dtype, generator=generator) for n in (60, 2))
    module = build_model("mlp", {"widths": 300}, 2, input_shape=(60,), num_outputs=2)
    objective = Objective(module.to(dtype), "mse", (x, y))
    asked = {"num_steps": 12, "num_seeds": 2, "num_probes": 1, "step_sizes": (1e-3,), "batch_sizes": (1,)}
    result = landscape.noise(objective, objective.theta, descent_steps=100, **asked)
    assert result.probe_loss.max() < torch.finfo(dtype).eps
    assert result.status == "complete", result.checks
