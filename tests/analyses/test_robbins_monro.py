"""Σα and Σα² of every schedule, by formula, against series in high precision and the verdicts of theory."""

import math

import numpy as np
import pytest
from surfaces import surface

import landscape
from landscape.descent import step_sums as wing
from landscape.numerics.steps.robbins_monro import step_sums
from landscape.numerics.steps.schedules import PARAMETERS, step_size

INF = math.inf
SCHEDULES = [
    ("constant", {}, INF, INF),
    ("piecewise", {"gamma": 0.5}, 2, 4 / 3),
    ("piecewise", {"gamma": 0.0}, 1, 1),
    ("piecewise", {"gamma": 1.0}, INF, INF),
    ("exponential", {"rate": 0.2}, 1 + 4.5166555661, 1 / (1 - math.exp(-0.4))),
    ("exponential", {"rate": 0.0}, INF, INF),
    # γ = ½ is not enough, γ = 1 the most; k = 0 adds 1 to the sheet's sums from k = 1 on.
    ("polynomial", {"beta": 1.0, "gamma": 0.5}, INF, INF),
    ("polynomial", {"beta": 1.0, "gamma": 0.51}, INF, None),
    ("polynomial", {"beta": 1.0, "gamma": 1.0}, INF, 1 + 0.6449340668),
    ("polynomial", {"beta": 2.0, "gamma": 1.0}, INF, math.pi**2 / 8),
    ("polynomial", {"beta": 1.0, "gamma": 1.01}, None, None),
    ("polynomial", {"beta": 1.0, "gamma": 2.0}, math.pi**2 / 6, math.pi**4 / 90),
    ("polynomial", {"beta": 0.0, "gamma": 2.0}, INF, INF),
    ("polynomial", {"beta": 3.0, "gamma": 0.0}, INF, INF),
]


@pytest.mark.parametrize(("name", "about", "total", "squares"), SCHEDULES)
@pytest.mark.parametrize(("first", "every"), [(1.0, 1), (0.3, 7)])
def test_sums_by_formula(name, about, total, squares, first, every):
    found = step_sums(name, {**PARAMETERS[name], **about}, first, every)
    for value, wanted, power in ((found.total, total, 1), (found.squares, squares, 2)):
        if wanted is None:
            assert math.isfinite(value)
        else:
            np.testing.assert_allclose(value, every * first**power * wanted, rtol=1e-9)
    assert (found.verdict == "holds") == (math.isinf(found.total) and math.isfinite(found.squares))


@pytest.mark.parametrize(("beta", "gamma"), [(1.0, 1.5), (0.01, 3.0), (50.0, 1.2), (1e-4, 40.0)])
def test_finite_sums_are_what_partial_sums_come_to(beta, gamma):
    # From a million terms on the rest lies between two integrals.
    k = np.arange(10**6)
    begun = math.fsum((beta * k + 1) ** -gamma)
    rest = [(beta * m + 1) ** (1 - gamma) / (beta * (gamma - 1)) for m in (10**6, 10**6 - 1)]
    found = step_sums("polynomial", {"beta": beta, "gamma": gamma}, 1.0, 1).total
    assert begun + rest[0] - 1e-9 * begun <= found <= begun + rest[1] + 1e-9 * begun


def trained(**options):
    objective = surface(lambda t: (t[0] - 1) ** 2, 1)
    return landscape.train(objective, method="gd", steps=20, lr=0.25, measure_every=1, **options)


@pytest.mark.parametrize(
    ("schedule", "arguments", "verdict"),
    [
        ("constant", {}, "fails: Σα² is infinite"),
        ("polynomial", {"gamma": 1.0}, "holds"),
        ("polynomial", {}, "fails: Σα² is infinite"),
        ("exponential", {}, "fails: Σα is finite"),
        ("piecewise", {"every": 5}, "fails: Σα is finite"),
        ("plateau", {}, "cannot be known: the steps follow the loss"),
    ],
)
def test_a_run_says_it_of_its_schedule(schedule, arguments, verdict):
    found = trained(schedule=schedule, schedule_arguments=arguments)
    assert found.robbins_monro == verdict
    assert found.status == "complete"
    (note,) = (one for one in found.notes if "Robbins" in one)
    assert "infinite run" in note
    assert "20 steps" in note
    if schedule == "plateau":
        assert found.step_sum is None
        return
    every = arguments.get("every", 1)
    parameters = PARAMETERS[schedule] | {k: v for k, v in arguments.items() if k != "every"}
    # θ ← θ − 2α(θ − 1) from 0, with the mean of ‖∇F‖² = 4(θ − 1)² weighted by the step that follows.
    theta, above, below = 0.0, 0.0, 0.0
    for k in range(20):
        alpha = step_size(schedule, parameters, 0.25, k // every)
        above, below = above + alpha * 4 * (theta - 1) ** 2, below + alpha
        theta -= 2 * alpha * (theta - 1)
    np.testing.assert_allclose(found.weighted_squared_gradient_norm, above / below, rtol=1e-12)


def test_other_sums_and_another_mean_are_seen(monkeypatch):
    whole = wing.diminishing

    def failed(change):
        monkeypatch.setattr(wing, "diminishing", lambda *where: change(whole(*where)))
        found = trained(schedule="exponential")
        return {check.name for check in found.checks if not check.passed}

    assert failed(lambda one: one) == set()
    assert failed(lambda one: one._replace(sums=one.sums._replace(squares=1.1 * one.sums.squares))) == {
        "step sums"
    }
    assert failed(lambda one: one._replace(weighted_mean=1.1 * one.weighted_mean)) == {"step sums"}


def test_fixed_steps_of_sgd_are_told_apart_too():
    objective = surface(lambda t: t[0] ** 2, 1)
    found = landscape.noise(objective, objective.theta + 1, step_sizes=(0.1,), batch_sizes=(1,), num_steps=5)
    assert any("Σα² = ∞" in note for note in found.notes)
