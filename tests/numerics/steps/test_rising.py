"""Where a function of one step first rises above its value at 0, against functions whose place is known."""

import numpy as np
import pytest

from landscape.numerics.steps.rising import AT_ONCE, LOST, NEVER, first_rise

FINE = {"most": 1e6, "room": 1e-14, "tolerance": 1e-10}


@pytest.mark.parametrize("start", [1e-9, 0.03, 1.0, 2.0, 4.0, 1e4])
@pytest.mark.parametrize(
    ("rise", "place"),
    [
        (lambda s: s**2 - 2 * s, 2.0),
        (lambda s: s**4 - 8 * s, 2.0),
        (lambda s: s - 3 if s else 0.0, 3.0),
        (lambda s: -1.0 if s < 5 else np.nan, 5.0),
        (lambda s: -s if s < 0.7 else np.inf, 0.7),
    ],
    ids=["quadratic", "quartic", "jump", "nan", "infinite"],
)
def test_the_bracket_holds_the_place(rise, place, start):
    found = first_rise(rise, start, **FINE)
    assert found.why == ""
    assert found.low <= place <= found.high
    assert found.high - found.low <= 4e-10 * place
    assert (np.diff(found.steps) > 0).all()
    np.testing.assert_array_equal(found.rises, [rise(step) for step in found.steps])


def test_a_rise_that_is_met_before_the_last_one_is_the_one():
    """Up from 1 to 1.4, down again, and up for good at 40."""

    def rise(s: float) -> float:
        return 1.0 if 1 <= s <= 1.4 else s - 40

    for start in (0.01, 0.9, 3.0):
        found = first_rise(rise, start, **FINE)
        assert found.low <= 1 <= found.high, start


def test_what_rounding_hides_widens_the_bracket_and_no_more():
    """f within ±room of f(0) says nothing: the bracket reaches from where it is surely below to surely above."""
    found = first_rise(lambda s: s**2 - 2 * s, 0.1, most=1e6, room=0.1, tolerance=1e-8)
    assert found.low == pytest.approx(1 + 0.9**0.5, rel=1e-7)
    assert found.high == pytest.approx(1 + 1.1**0.5, rel=1e-7)


@pytest.mark.parametrize(
    ("rise", "why"),
    [
        (lambda s: s, AT_ONCE),
        (lambda s: np.nan, AT_ONCE),
        (lambda s: -s, NEVER),
        (lambda s: -1 + 1 / (1 + s), NEVER),
        (lambda s: 0.0, LOST),
        (lambda s: 1e-15 * (s - 1), AT_ONCE),
    ],
)
def test_where_there_is_none_it_is_said_why(rise, why):
    found = first_rise(rise, 1e-3, **FINE)
    assert found.why == why
    assert np.isnan(found.low)
    assert np.isnan(found.high)
