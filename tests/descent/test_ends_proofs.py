"""Steps, exactness and the ends of wide spectra are seen to be wrong where they are."""

import numpy as np
import pytest
import torch
from torch import nn

from landscape import Objective
from landscape.descent.ends_proofs import steps_check, wide_check
from landscape.numerics.steps.replicas import Plan, Replicas


def rows(steps, status, is_exact, index=0) -> dict[str, np.ndarray]:
    return {
        "num_steps": np.array(steps),
        "end_status": np.array(status),
        "is_exact": np.array(is_exact),
        "index": np.full(len(steps), index),
    }


@pytest.mark.parametrize(
    ("steps", "is_exact", "index", "d", "wrong"),
    [
        ([9, 4, 2], [True, True, False], 0, 5, 0),
        ([10, 4, 2], [True, True, False], 0, 5, 1),
        ([9, 4, 2], [True, False, False], 0, 5, 1),
        ([9, 4, 2], [True, True, True], 0, 5, 1),
        ([9, 4, 2], [False, False, False], 16, 3000, 0),
        ([9, 4, 2], [True, False, False], 16, 3000, 1),
    ],
)
def test_steps_that_were_not_taken_and_what_is_said_to_be_exact(steps, is_exact, index, d, wrong):
    """Of nine steps at most: one took all, one came to a plateau, one diverged."""
    said = rows(steps, ["minimum", "minimum", "diverged"], is_exact, index)
    assert steps_check(said, np.array([9, 5, 3]), 9, d).value == wrong


def test_evaluations_are_counted_and_go_on_from_a_state():
    """On cx²/2 of (x, c): one replica overflows, one stands still and stops, one goes all its steps."""
    starts = torch.tensor([[1.0, 3e200], [1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)

    def gradients(thetas, batch):
        x, c = thetas.T
        return c * x**2 / 2, torch.stack([c * x, 0 * c], 1)

    plans = [Plan(step_size=0.1, num_steps=12) for _ in range(3)]
    plans[1] = Plan(step_size=0.1, num_steps=12, patience=3, threshold=0.5)
    whole, part, again = (Replicas(gradients, starts, plans) for _ in range(3))
    whole.advance(12)
    part.advance(5)
    again.restore(part.state())
    again.advance(12)
    assert whole.diverged.tolist() == [True, False, False]
    assert (whole.evaluated - whole.steps).tolist() == [1, 1, 0]
    assert again.evaluated.tolist() == whole.evaluated.tolist()


@pytest.mark.parametrize("seed", range(3))
def test_another_eigenvalue_than_the_largest_of_a_wide_net_is_seen(seed):
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(4, 30), nn.Tanh(), nn.Linear(30, 1)).double()
    objective = Objective(module, "mse", (torch.randn(20, 4).double(), torch.randn(20, 1).double()))
    theta = objective.theta
    matrix = torch.stack([objective.hvp(theta, axis) for axis in torch.eye(len(theta), dtype=torch.float64)])
    values = torch.linalg.eigvalsh(matrix).tolist()
    said = {"smallest_eigenvalue": values[0], "largest_eigenvalue": values[-1]}
    assert wide_check(objective, theta, said).passed
    for name, wrong in (("largest_eigenvalue", values[-2]), ("smallest_eigenvalue", values[1])):
        assert not wide_check(objective, theta, {**said, name: wrong}).passed
    assert not wide_check(objective, theta, {**said, "largest_eigenvalue": 2 * values[-1]}).passed
