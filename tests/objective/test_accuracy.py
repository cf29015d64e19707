"""Accuracies are counts."""

import pytest
import torch
from torch import nn

from landscape import Objective
from landscape.objective.accuracy import accuracy_check


def objective(dtype: torch.dtype) -> Objective:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(400, 4, generator=generator), torch.randint(3, (400,), generator=generator)
    return Objective(nn.Linear(4, 3), "cross_entropy", (x, y), dtype=dtype)


@pytest.mark.parametrize(
    ("dtype", "said", "passes"),
    [
        (torch.float64, 0.5, True),
        (torch.float64, 0.5 + 1 / 400, False),
        (torch.float64, 0.5 * 400 / 401, False),
        (torch.float32, 0.5 + 1 / 400, True),  # a tie
        (torch.float32, 0.5 + 2 / 400, False),
        (torch.float32, 0.5 * 400 / 401, False),
        (torch.float32, None, False),
    ],
)
def test_accuracies_are_whole_numbers_of_labels(dtype, said, passes):
    assert accuracy_check("accuracy", objective(dtype), said, 0.5, "").passed is passes


def test_no_accuracy_agrees_with_none_alone():
    for said, reference, passes in ((None, float("nan"), True), (float("nan"), 0.5, False)):
        assert accuracy_check("accuracy", objective(torch.float64), said, reference, "").passed is passes
