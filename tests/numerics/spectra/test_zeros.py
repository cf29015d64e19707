"""What counts as zero near a critical point: one rule, the same number wherever it is asked for."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import landscape
from landscape import Objective
from landscape.descent.critical import examined
from landscape.numerics.spectra.zeros import zero_thresholds
from landscape.valleys.plateau import local

NOTHING = torch.zeros(1, 1, dtype=torch.float64)


class Surface(nn.Module):
    def __init__(self, function, point):
        super().__init__()
        self.function, self.theta = function, nn.Parameter(torch.tensor(point, dtype=torch.float64))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.function(self.theta).reshape(1, 1).expand(len(inputs), 1)


@pytest.mark.parametrize(
    ("function", "point", "index", "nullity"),
    [
        # H = 12 x² is 1e-7 here, far above its rounding and ‖∇F‖ = 4e-13, and 0 at the critical point.
        (lambda w: w[0] ** 4 + w[1] ** 2, (1e-4, 0.0), 0, 1),
        (lambda w: -(w[0] ** 4) + w[1] ** 2, (1e-4, 0.0), 0, 1),
        (lambda w: w[0] ** 6 + w[1] ** 2, (1e-2, 0.0), 0, 1),
        # Not degenerate: −1e-3 and 1e-3 at the critical point, and nearer to zero where it is looked at.
        (lambda w: -5e-4 * w[0] ** 2 + w[0] ** 4 + w[1] ** 2, (0.005, 0.0), 1, 0),
        (lambda w: 5e-4 * w[0] ** 2 + w[0] ** 4 + w[1] ** 2, (0.001, 0.0), 0, 0),
        (lambda w: -1e-6 * w[0] ** 2 + w[1] ** 2, (1e-3, 0.0), 1, 0),
        # A slope of 1e-6 along an orbit, that of the circle, bends it by 1e-6.
        (lambda w: ((w**2).sum() - 1) ** 2 / 8, (1 + 1e-6, 0.0), 0, 1),
    ],
)
def test_it_is_one_rule_in_every_command(function, point, index, nullity):
    objective = Objective(Surface(function, point), "output", (NOTHING, NOTHING))
    theta = objective.theta
    exact = landscape.hessian(objective, theta, top_k=1, exact=True)
    assert (exact.index, exact.nullity) == (index, nullity)
    assert [check.name for check in exact.checks if not check.passed] == []
    end = examined(objective, theta)
    assert (end.index, end.status == "degenerate") == (index, not index and nullity > 0)
    signs = local(objective, theta).signs
    assert (signs.num_negative, signs.num_zero, signs.threshold) == (index, nullity, exact.zero_threshold)


def test_the_terms_one_by_one():
    """λ = 3, 1e-3, −1e-3 and 1e-7, the last two on their way to zero or away from it."""
    values = torch.tensor([[-1e-3, 1e-7, 1e-3, 3.0]], dtype=torch.float64)
    vectors, stated = torch.eye(4, dtype=torch.float64)[None], torch.tensor([1e-12], dtype=torch.float64)
    slopes = torch.tensor([[1e-9, 0.0, 0.0, 0.0]], dtype=torch.float64)

    def threshold(there: list[float], norm: float = 1e-10, slope: Tensor = slopes) -> float:
        beyond = lambda steps: (torch.tensor([norm]), torch.tensor([there]))  # noqa: E731
        return float(zero_thresholds(values, vectors, slope, stated, beyond)[0])

    still = [-1e-3, 1e-7, 1e-3, 3.0]
    base = 1e-12 + 1e-9
    assert threshold(still) == pytest.approx(base)
    assert threshold([-1e-3, 0.5e-7, 1e-3, 3.0]) == pytest.approx(base + 1e-7)
    assert threshold([-0.8e-3, 1e-7, 1e-3, 3.0]) == pytest.approx(base + 1e-3)
    # Away from zero, or too little of the way.
    assert threshold([-1.5e-3, 1e-7, 0.95e-3, 2.9]) == pytest.approx(base)
    # A step that leads no nearer tells nothing; beyond the tolerance no point is critical.
    assert threshold([-0.8e-3, 1e-7, 1e-3, 3.0], norm=1.0) == pytest.approx(base)
    assert threshold([-0.8e-3, 1e-7, 1e-3, 3.0], slope=1e6 * slopes) == pytest.approx(1e-12)
    assert float(zero_thresholds(values, None, slopes, stated, None)[0]) == pytest.approx(base)
    assert np.isfinite(threshold([float("nan")] * 4, norm=float("nan")))
