"""Bumps of any line pass their proof, and others do not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.numerics.curves.barriers import bumps
from landscape.paths.bump_proofs import bumps_check

HEIGHTS = st.lists(st.sampled_from([0.0, 1e-3, 0.5, 1.0, 2.0, 3.0]), min_size=2, max_size=14)


def checked(loss: np.ndarray, floor: float, **changes):
    t = np.linspace(0, 1, len(loss))
    found = bumps(t, loss, floor)
    stated = {"at": found.at, "heights": found.heights, "is_monotone": len(found.at) == 0, **changes}
    return bumps_check(t, loss, stated["at"], stated["heights"], stated["is_monotone"], floor)


@given(HEIGHTS, st.sampled_from([0.0, 1e-2, 0.6]))
def test_those_of_any_line_pass(heights, floor):
    assert checked(np.array(heights), floor).passed


def test_a_line_that_is_nan_somewhere_has_one_bump_there():
    assert checked(np.array([2.0, np.nan, 0.0]), 0.0).passed


@pytest.mark.parametrize(
    "changes",
    [
        {"at": np.array([0.25, 0.75])},
        {"heights": np.array([0.5, 2.0])},
        {"at": np.array([0.5]), "heights": np.array([1.0])},
        {"is_monotone": True},
    ],
)
def test_others_are_seen(changes):
    loss = np.array([4.0, 1.0, 2.0, 0.5, 2.0, 0.0, 0.0])
    assert checked(loss, 0.0).passed
    assert not checked(loss, 0.0, **changes).passed
