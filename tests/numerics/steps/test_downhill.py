"""Descents of different lengths against a plain loop, one row after another."""

import pytest
import torch
from torch import Tensor

from landscape.numerics.steps.downhill import FIRST, NARROWER, WIDER, descended
from landscape.numerics.steps.following import followed
from landscape.numerics.steps.newton import Local

BENDS = torch.tensor([1.0, 7.0, 0.1], dtype=torch.float64)


def slopes(thetas: Tensor) -> tuple[Tensor, Tensor]:
    return (thetas**4 * BENDS).sum(1), 4 * thetas**3 * BENDS


def test_every_row_goes_its_own_number_of_steps():
    starts = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    counts = torch.tensor([0, 3, 7, 1, 20])
    expected = []
    for theta, count in zip(starts, counts.tolist(), strict=True):
        size = FIRST
        for _ in range(count):
            trial = theta - size * slopes(theta[None])[1][0]
            falls = bool(slopes(trial[None])[0] < slopes(theta[None])[0])
            theta, size = (trial, size * WIDER) if falls else (theta, size * NARROWER)
        expected.append(theta)
    found = descended(slopes, starts, counts)
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-14, atol=0)
    assert (slopes(found)[0] <= slopes(starts)[0]).all()
    assert torch.equal(found[0], starts[0])


def test_a_row_that_is_not_finite_stays_and_the_others_go_on():
    starts = torch.tensor([[float("nan"), 1, 1], [1, 1, 1]], dtype=torch.float64)
    found = descended(slopes, starts, torch.tensor([9, 9]))
    assert torch.equal(found[0].nan_to_num(7.0), torch.tensor([7.0, 1, 1]).double())
    assert slopes(found)[0][1] < slopes(starts)[0][1]


@pytest.mark.parametrize("scale", [0.05, 0.4])
def test_without_an_index_each_row_goes_to_a_saddle_of_its_own(scale):
    """Σ (w² − 1)²: H is negative along every coordinate below 1/√3, and index = number of coordinates at 0."""

    def local(thetas: Tensor) -> Local:
        bends = torch.diag_embed(12 * thetas**2 - 4)
        return Local(
            ((thetas**2 - 1) ** 2).sum(1), 4 * thetas * (thetas**2 - 1), bends, torch.zeros(len(thetas))
        )

    starts = torch.tensor(
        [[s * scale if s else 0.9 for s in row] for row in ((1, 1), (1, 0), (0, 1), (0, 0))]
    )
    found = followed(local, starts.double(), None)
    torch.testing.assert_close(
        found, torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]]).double(), atol=1e-5, rtol=0
    )
