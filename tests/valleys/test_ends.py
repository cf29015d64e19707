"""Ends of descents whose loss has no minimum: H vanishes on the way to it, and is known to rounding of its terms."""

import pytest
import torch
from torch import nn

from landscape import Objective
from landscape.valleys.end_proofs import end_check
from landscape.valleys.widths import _end  # pyright: ignore[reportPrivateUsage]


def separable(seed: int) -> Objective:
    """Points within and without a circle, which six units tell apart."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(40, 2, generator=draw, dtype=torch.float64)
    y = (x.norm(dim=1) > 1.1).double()[:, None]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 1)).double()
    return Objective(module, "bce", (x, y))


@pytest.mark.parametrize("seed", [*range(5), 8])
def test_an_end_next_to_an_infimum_at_infinity(seed):
    """Its eigenvalues differ by more than rounding of them, and count as zero with ‖∇F‖ and where they go."""
    objective = separable(seed)
    said = _end(objective, objective.theta)
    assert said["loss"] < 1e-9
    theta = torch.from_numpy(said["theta"])
    assert all(check.passed for check in end_check(objective, theta, said))
    wrong = {
        "smallest_eigenvalue": said["smallest_eigenvalue"] - 1e-3 * said["largest_eigenvalue"],
        "largest_eigenvalue": 1.001 * said["largest_eigenvalue"],
    }
    *_, slope = end_check(objective, theta, {**said, "gradient_norm": said["gradient_norm"] ** 2})
    assert not slope.passed
    for name, value in wrong.items():
        values, *_ = end_check(objective, theta, {**said, name: value})
        assert not values.passed
    _, counts, _ = end_check(objective, theta, {**said, "index": said["index"] + 20})
    assert not counts.passed
