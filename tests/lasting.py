"""Cases of a test that take seconds each, which the default run leaves out."""

from collections.abc import Iterable
from typing import Any

import pytest


def lasting(cases: Iterable[Any], *long: Any) -> list[Any]:
    """``cases`` as they are, a tuple for several arguments; those that are ``long`` with the mark of that name."""
    return [
        pytest.param(*(one if isinstance(one, tuple) else (one,)), marks=pytest.mark.long)
        if one in long
        else one
        for one in cases
    ]
