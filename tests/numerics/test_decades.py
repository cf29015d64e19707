"""Which law the steps out of a saddle follow, and when they do not tell."""

import numpy as np
import pytest

from landscape.numerics.decades import fit_decades

NEAR, FAR = np.array([0.3, 0.2, 0.1]), np.array([1e-1, 1e-2, 1e-3, 1e-4])


def steps_out(amplitude: np.ndarray, order: int, alpha: float = 0.05) -> np.ndarray:
    """Steps of x ← x + 2α(1 − x³)x^order from x = ``amplitude`` to 0.8, one by one: (m, 1)."""
    found = []
    for x in amplitude.tolist():
        count = 0
        while x < 0.8:
            x, count = x + 2 * alpha * (1 - x**3) * x**order, count + 1
        found.append([float(count)])
    return np.array(found)


@pytest.mark.parametrize(
    ("amplitude", "order", "fit"),
    [(FAR, 1, "logarithmic"), (FAR[:3], 2, "algebraic"), (NEAR, 2, "algebraic"), (NEAR, 1, "undecided")],
)
def test_a_logarithm_takes_two_decades_to_be_told(amplitude, order, fit):
    assert fit_decades(amplitude, steps_out(amplitude, order)).fit == fit


@pytest.mark.parametrize("power", [0, 0.05])
def test_what_the_errors_of_the_means_explain_tells_no_law(power):
    # One of two seeds late, by chance as large as the way between the laws.
    clean = 40 * FAR[:, None] ** -power * np.ones((1, 2))
    spread = np.array([[-15, 15], [16, -12], [-14, 15], [18, -16]])
    assert fit_decades(FAR, clean + spread).fit == "undecided"
