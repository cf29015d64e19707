"""Barriers and tests in words: to the digits of their errors, and no barrier where none is beyond its error."""

import math
from collections.abc import Mapping

import numpy as np

from landscape.numerics.curves.barriers import is_below_its_error
from landscape.result import with_error


def in_words(height: float, error: float | None) -> str:
    """A barrier to the digits of its error, and whether it is one.

    >>> in_words(0.5, 0.04), in_words(0.002, 0.004), in_words(0.5, None)
    ('0.50 ± 0.04', '0.002 ± 0.004: none beyond its error', '0.5')
    """
    if error is None or not math.isfinite(error):
        return f"{height:.3g}"
    known = with_error(height, error)
    return f"{known}: none beyond its error" if is_below_its_error(height, error) else known


def below_their_errors(found: Mapping[str, tuple[float, float]]) -> list[str]:
    """A note for each (height, error) over a chord, by what has it, that is no barrier beyond its error."""
    return [
        f"barrier of {name} over the chord {in_words(height, error)}, which comes from the data"
        for name, (height, error) in found.items()
        if is_below_its_error(height, error)
    ]


def tested_in_words(table: np.ndarray, places: Mapping[str, int]) -> list[str]:
    """Test loss and accuracy at some rows of a table of :meth:`~landscape.objective.sweep.Sweep.measure`, by name.

    Nothing where there are no errors.
    """
    if np.isnan(table[:, 4]).all():
        return []
    parts = []
    for name, row in places.items():
        loss, accuracy, loss_error, accuracy_error = table[row, 2:6]
        right = "" if np.isnan(accuracy) else f", accuracy {with_error(accuracy, accuracy_error)}"
        parts.append(f"at {name} {with_error(loss, loss_error)}{right}")
    return [f"test loss (± standard error over the test samples) {'; '.join(parts)}"]
