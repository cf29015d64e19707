"""Errors are one sentence: seen, wanted, remedy."""

import pytest

from landscape.errors import BadInput, LandscapeError, NotDifferentiable, NotFinite


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("50 points",), "50 points."),
        (("50 points", "an odd number"), "50 points; expected an odd number."),
        (("50 points", "an odd number", "take 51"), "50 points; expected an odd number; take 51."),
        (("50 points", "", "take 51"), "50 points; take 51."),
        (("unknown model 'mpl'", "", "did you mean 'mlp'?"), "unknown model 'mpl'; did you mean 'mlp'?"),
    ],
)
def test_the_sentence(arguments, sentence):
    assert str(LandscapeError(*arguments)) == sentence


def test_exit_codes_and_families():
    assert BadInput("x").exit_code == 2
    assert isinstance(BadInput("x"), ValueError)
    for kind in (NotDifferentiable, NotFinite):
        assert kind("x").exit_code == 1
        assert issubclass(kind, LandscapeError)
