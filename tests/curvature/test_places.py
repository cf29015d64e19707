"""How large an eigenvalue a step size allows: against the spectral radius of the method on a parabola."""

import numpy as np
import pytest

from landscape.curvature.places import stability_limit


def radius(step_size: float, curvature: float, momentum: float, nesterov: bool) -> float:
    """The spectral radius of a step of torch's SGD on λx²/2, as a map of (x, velocity)."""
    step = np.zeros((2, 2))
    for column, (x, velocity) in enumerate(((1.0, 0.0), (0.0, 1.0))):
        slope = curvature * x
        moved = momentum * velocity + slope
        step[:, column] = x - step_size * (slope + momentum * moved if nesterov else moved), moved
    return float(np.abs(np.linalg.eigvals(step)).max())


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("step_size", [0.01, 0.7])
def test_beyond_the_limit_a_parabola_is_left_and_within_it_kept(step_size, momentum, nesterov):
    limit = stability_limit(step_size, momentum=momentum, nesterov=nesterov)
    assert radius(step_size, 0.999 * limit, momentum, nesterov) < 1
    assert radius(step_size, 1.001 * limit, momentum, nesterov) > 1
