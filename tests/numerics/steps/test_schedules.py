"""Step sizes by their formulas, and the plateau rule as a state machine."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.errors import BadInput
from landscape.numerics.steps.schedules import PARAMETERS, Plateau, schedule_parameters, step_size

steps = st.integers(0, 50)


@given(st.floats(0.001, 1), steps)
def test_closed_formulas(first, k):
    def at(name, **parameters):
        return step_size(name, parameters, first, k)

    assert at("constant") == first
    assert at("piecewise", gamma=0.5) == pytest.approx(first / 2**k)
    assert at("exponential", rate=0.3) == pytest.approx(first * math.exp(-0.3 * k))
    assert at("polynomial", beta=2.0, gamma=0.5) == pytest.approx(first / math.sqrt(2 * k + 1))
    assert at("polynomial", beta=1.0, gamma=1.0) == pytest.approx(first / (k + 1))


def test_polynomial_steps_meet_the_conditions_of_robbins_and_monro():
    """γ = 1: the sum diverges like a logarithm, the sum of squares is π²/6."""
    parameters = {"beta": 1.0, "gamma": 1.0}
    sizes = [step_size("polynomial", parameters, 1.0, k) for k in range(20_000)]
    assert sum(sizes) == pytest.approx(math.log(20_000) + 0.5772156649, abs=1e-4)
    assert sum(s * s for s in sizes) == pytest.approx(math.pi**2 / 6, abs=1e-4)


def test_defaults_are_overridden_and_the_period_left_out():
    assert schedule_parameters("exponential", {"rate": 0.5, "every": 10}) == {"rate": 0.5}
    assert schedule_parameters("constant", {}) == {}
    assert schedule_parameters("polynomial", {}) == {"beta": 1.0, "gamma": 0.5}


@pytest.mark.parametrize(
    ("name", "given_parameters", "message"),
    [
        ("cosine", {}, "one of constant, piecewise"),
        ("piecewise", {"rate": 1}, "has no 'rate'; expected some of every, gamma"),
        ("constant", {"gamma": 1}, "some of every"),
        ("piecewise", {"gamma": -1}, "at least 0"),
        ("piecewise", {"gamma": math.nan}, "at least 0"),
        ("piecewise", {"gamma": "half"}, "gamma='half'"),
    ],
)
def test_unknown_schedules_and_parameters(name, given_parameters, message):
    with pytest.raises(BadInput, match=message):
        schedule_parameters(name, given_parameters)


def plateau(**changes):
    return Plateau(1.0, {**PARAMETERS["plateau"], **changes})


def walk(rule, losses):
    return [rule.observe(loss) for loss in losses]


def test_a_falling_loss_keeps_the_step():
    assert walk(plateau(), [5, 4, 3, 2, 1]) == [1, 1, 1, 1, 1]


def test_a_plateau_halves_after_patience():
    assert walk(plateau(), [5, 5, 5]) == [1, 0.5, 0.25]
    assert walk(plateau(patience=3), [5, 5, 5, 5, 5, 5, 5]) == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]


def test_progress_resets_the_wait():
    assert walk(plateau(patience=2), [5, 5, 4, 4, 3, 3, 3]) == [1, 1, 1, 1, 1, 1, 0.5]


def test_less_than_the_threshold_is_no_progress():
    assert walk(plateau(threshold=0.5), [5.0, 4.6, 4.0]) == [1, 0.5, 0.5]


def test_small_gains_add_up():
    assert walk(plateau(threshold=0.5, patience=3), [5.0, 4.7, 4.4, 4.1, 3.8, 3.5]) == [1] * 6


def test_cooldown_leaves_periods_unjudged():
    assert walk(plateau(cooldown=2), [5, 5, 5, 5, 5]) == [1, 0.5, 0.5, 0.5, 0.25]


def test_the_floor_holds():
    assert walk(plateau(floor=0.3, factor=0.1), [5, 5, 5]) == [1, 0.3, 0.3]


def test_a_loss_that_is_nan_is_no_progress_and_no_record():
    rule = plateau()
    assert walk(rule, [5, math.nan, 4.0]) == [1, 0.5, 0.5]
    assert rule.best == 4.0


@given(st.lists(st.floats(0, 10), max_size=30), st.integers(0, 29))
def test_a_stopped_plateau_goes_on_from_its_numbers(losses, cut):
    parameters = {**PARAMETERS["plateau"], "patience": 2, "cooldown": 1}
    whole, first = Plateau(1.0, parameters), Plateau(1.0, parameters)
    expected = walk(whole, losses)
    seen = walk(first, losses[:cut])
    resumed = Plateau(first.step, parameters, first.best, first.waited, first.cooling)
    assert seen + walk(resumed, losses[cut:]) == expected


def test_what_grows_ends_at_a_number_that_float32_has():
    assert step_size("piecewise", {"gamma": 1e30}, 0.1, 1) == pytest.approx(1e29)
    assert step_size("piecewise", {"gamma": 1e30}, 0.1, 3) == 1e30
    assert step_size("piecewise", {"gamma": 1e30}, 0.1, 1000) == 1e30
