"""SGD of steps that fall: the weighted mean of theory and its bound, against moments that are known exactly."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

import landscape
from landscape import Objective
from landscape.descent import noise as runs
from landscape.descent.known_sizes import KnownSizes
from landscape.errors import BadInput
from landscape.numerics.steps.replicas import Plan, Replicas
from landscape.numerics.steps.schedules import PARAMETERS, step_size
from landscape.numerics.steps.stationarity import random_steps

SCHEDULES = [
    ("polynomial", {"gamma": 1.0}),
    ("polynomial", {"beta": 0.1, "gamma": 0.75}),
    ("polynomial", {"gamma": 0.5, "every": 7}),
    ("exponential", {"rate": 0.02}),
    ("piecewise", {"gamma": 0.5, "every": 30}),
]


def parabola(start: float, samples: tuple[float, ...] = (-1.0, 1.0), has_bias: bool = False) -> Objective:
    """F = mean (u − yᵢ)², u = θ with curvature 2 and M = 4 Var y, the sheet's 4; or u = w + b, both twice that."""
    y = torch.tensor(samples, dtype=torch.float64)[:, None]
    module = nn.Sequential(nn.Linear(1, 1, bias=has_bias, dtype=torch.float64))
    nn.init.constant_(module[0].weight, start)
    if has_bias:
        nn.init.zeros_(module[0].bias)
    return Objective(module, "mse", (torch.ones_like(y), y))


def measured(objective: Objective, first: float, schedule: str, arguments: dict, **options):
    asked = {
        "step_sizes": (first,),
        "batch_sizes": (1, 3),
        "num_steps": 100,
        "num_seeds": 200,
        "num_probes": 1,
    }
    how = {"schedule": schedule, "schedule_arguments": arguments}
    return landscape.noise(objective, objective.theta, **asked | how | options)


def sizes_of(schedule: str, arguments: dict, first: float, num_steps: int) -> list[float]:
    parameters = PARAMETERS[schedule] | {k: v for k, v in arguments.items() if k != "every"}
    every = arguments.get("every", 1)
    return [step_size(schedule, parameters, first, k // every) for k in range(num_steps)]


def weighted_mean(sizes: list[float], away: float, variance: float, count: int = 1) -> float:
    """Σα_k E‖∇F‖²/Σα_k: with u a sum of one number E(u_k − u*)² becomes (1 − 2α)² times itself and 4α² Var y/B."""
    square, above = away**2, 0.0
    for alpha in sizes:
        above += alpha * 4 * count * square
        square = (1 - 2 * count * alpha) ** 2 * square + 4 * (count * alpha) ** 2 * variance
    return above / math.fsum(sizes)


@pytest.mark.parametrize(
    ("schedule", "arguments", "measure_every"),
    [
        *((*one, 1) for one in SCHEDULES),
        *((*one, None) for one in SCHEDULES[::3]),
    ],
)
def test_the_weighted_mean_is_that_of_exact_moments(schedule, arguments, measure_every):
    samples = (-1.0, 1.0, 0.5, 2.0, -3.0)
    objective, variance = parabola(1.3, samples, has_bias=True), float(np.var(samples))
    found = measured(objective, 0.1, schedule, arguments, measure_every=measure_every)
    assert found.status == "complete"
    sizes = sizes_of(schedule, arguments, 0.1, 100)
    for row, size in enumerate((1, 3)):
        known = weighted_mean(sizes, 1.3 - float(np.mean(samples)), variance / size, 2)
        assert abs(found.mean[row] - known) < 4 * found.standard_error[row]
        # The bound by the exact L and M, which every point of a parabola has.
        start = float(np.mean((1.3 - np.array(samples)) ** 2))
        above = 4 * 8 * variance / size * math.fsum(a * a for a in sizes) + 2 * start
        np.testing.assert_allclose(found.bound[row], above / math.fsum(sizes), rtol=1e-6)
        assert known < found.bound[row]
    np.testing.assert_allclose(found.run_step_sum, math.fsum(sizes), rtol=1e-12)
    np.testing.assert_allclose(found.run_step_square_sum, math.fsum(a * a for a in sizes), rtol=1e-12)


@pytest.mark.parametrize(("start", "mean", "bound"), [(0.0, 0.3827242545, 0.8), (3.0, 5.3820596405, 9.8)])
def test_steps_that_never_fall_have_the_numbers_of_the_sheet(start, mean, bound):
    assert round(weighted_mean([0.1] * 20, start, 1.0), 10) == mean
    found = measured(
        parabola(start), 0.1, "polynomial", {"gamma": 0.0}, num_steps=20, batch_sizes=(1,), measure_every=1,
        infimum=1.0, num_seeds=60,
    )  # fmt: skip
    assert abs(found.mean[0] - mean) < 4 * found.standard_error[0]
    np.testing.assert_allclose(found.bound, bound, rtol=1e-6)
    fixed = measured(
        parabola(start), 0.1, "constant", {}, num_steps=20, batch_sizes=(1,), measure_every=1,
        infimum=1.0, num_seeds=60,
    )  # fmt: skip
    np.testing.assert_allclose(fixed.mean_squared_gradient_norm, found.mean_squared_gradient_norm, rtol=1e-13)
    np.testing.assert_allclose(fixed.bound, found.bound, rtol=1e-13)


def test_all_gradients_alike_leave_no_chance():
    """One sample: θ_{k+1} = (1 − 2α_k)θ_k, in fractions."""
    found = measured(
        parabola(3.0, (0.0,)), 0.25, "polynomial", {"gamma": 1.0}, batch_sizes=(1,), num_steps=6,
        num_seeds=2, measure_every=1,
    )  # fmt: skip
    theta, above, below = Fraction(3), Fraction(0), Fraction(0)
    for k in range(6):
        alpha = Fraction(1, 4 * (k + 1))
        above, below = above + alpha * (2 * theta) ** 2, below + alpha
        theta *= 1 - 2 * alpha
    np.testing.assert_allclose(found.mean_squared_gradient_norm, float(above / below), rtol=1e-13)
    assert found.run_step_sum[0] == pytest.approx(float(below), rel=1e-14)
    # For ever: Σ1/k is infinite, Σ1/k² is π²/6.
    assert math.isinf(found.step_sum)
    np.testing.assert_allclose(found.step_square_sum, (1 + 0.6449340668) / 16, rtol=1e-9)
    assert found.robbins_monro == "holds"


@pytest.mark.parametrize(
    ("schedule", "arguments", "verdict", "words"),
    [
        ("constant", {}, "fails: Σα² is infinite", "theorem 4.8"),
        ("polynomial", {}, "fails: Σα² is infinite", "does not say"),
        ("polynomial", {"gamma": 0.51}, "holds", "goes to 0"),
        ("exponential", {"rate": 0.2}, "fails: Σα is finite", "does not say"),
        ("piecewise", {"every": 50}, "fails: Σα is finite", "does not say"),
    ],
)
def test_the_verdict_is_said(schedule, arguments, verdict, words):
    found = measured(parabola(1.0), 0.1, schedule, arguments, batch_sizes=(1,), num_seeds=2)
    assert found.robbins_monro == verdict
    assert any("Robbins" in note and words in note for note in found.notes)
    assert (verdict in found.headline) == (schedule != "constant")
    assert any("every 10-th step" in n for n in measured(
        parabola(1.0), 0.1, schedule, arguments, batch_sizes=(1,), num_seeds=2, measure_every=10
    ).notes) == (schedule != "constant")  # fmt: skip


def test_a_step_beyond_the_theorem_has_no_bound():
    found = measured(parabola(1.0), 0.6, "polynomial", {"gamma": 1.0}, batch_sizes=(1,), num_seeds=2)
    assert np.isnan(found.bound).all()
    assert any("no bound beyond the step size 1/L = 0.5" in note for note in found.notes)


def test_steps_whose_size_is_nothing_are_never_measured():
    found = measured(parabola(3.0, (0.0,)), 0.25, "piecewise", {"gamma": 0.0}, batch_sizes=(1,), num_seeds=2)
    np.testing.assert_allclose(found.mean, 36.0, rtol=1e-13)
    assert found.status == "complete"


def test_random_steps_come_as_often_as_they_weigh():
    weights = np.array([5.0, 1.0, 0.0, 2.0, 0.5, 0.0])
    counts = sum(
        np.bincount(random_steps(6, 3, np.random.default_rng(seed), weights), minlength=6)
        for seed in range(2000)
    )
    share = weights / weights.sum()
    np.testing.assert_allclose(counts / 6000, share, atol=4 * np.sqrt(0.25 / 6000))
    assert counts[2] == counts[5] == 0


@pytest.mark.parametrize(
    ("schedule", "arguments", "words"),
    [
        ("plateau", {}, "follow the loss"),
        ("polynomial", {"rate": 1.0}, "no 'rate'"),
        ("polynomial", {"every": 0}, "at least one step"),
    ],
)
def test_other_schedules_are_refused(schedule, arguments, words):
    with pytest.raises(BadInput, match=words):
        KnownSizes(schedule, arguments).check()


def failed(**options) -> set[str]:
    asked = {"measure_every": 3, "num_seeds": 3, "num_steps": 60} | options
    found = measured(parabola(1.0, (0.0, 1.0, 3.0)), 0.2, "polynomial", {"gamma": 1.5}, **asked)
    return {check.name for check in found.checks if not check.passed}


def test_faults_of_falling_steps_are_seen(monkeypatch):
    assert failed() == failed(measure_every=None) == set()
    with monkeypatch.context() as patch:
        patch.setattr(runs, "step_weights", lambda steps, *_: np.ones(len(steps)))
        assert failed() == {"mean of a run"}
    with monkeypatch.context() as patch:
        patch.setattr(
            runs, "random_steps", lambda count, number, generator, _: random_steps(count, number, generator)
        )
        assert failed(measure_every=None) == {"measured steps"}
    with monkeypatch.context() as patch:
        patch.setattr(Replicas, "_reschedule", lambda self: None)
        assert failed() == {"stack"}
    true = KnownSizes.sums
    with monkeypatch.context() as patch:
        patch.setattr(KnownSizes, "sums", lambda *of: true(*of)._replace(total=1.01 * true(*of).total))
        assert failed() == {"step sums"}
    with monkeypatch.context() as patch:
        sizes = KnownSizes.sizes
        patch.setattr(KnownSizes, "sizes", lambda *of: sizes(*of)[1:])
        assert failed() == {"table"}


def test_a_plan_of_every_schedule_is_what_is_said_of_it():
    """The stack's own steps, from a slope of 1, against the sizes that weigh them."""
    for schedule, arguments in SCHEDULES:
        plan = Plan(step_size=0.3, num_steps=50, schedule=schedule, arguments=arguments)
        slope = lambda thetas, _: (torch.zeros(len(thetas), dtype=torch.float64), torch.ones_like(thetas))  # noqa: E731
        stack = Replicas(slope, torch.zeros(1, 1, dtype=torch.float64), [plan])
        stack.advance(50)
        known = KnownSizes(schedule, arguments)
        np.testing.assert_allclose(-float(stack.thetas), known.sizes(0.3, 50).sum(), rtol=1e-12)
