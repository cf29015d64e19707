"""torch's own losses are to a certificate what the built-in ones are, as objects and as functions."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from landscape import Objective
from landscape.certificates.losses import meaning_of


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("cross_entropy", functional.cross_entropy),
        ("cross_entropy", nn.CrossEntropyLoss()),
        ("cross_entropy", nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0]))),
        ("bce", functional.binary_cross_entropy_with_logits),
        ("bce", nn.BCEWithLogitsLoss()),
        ("mse", functional.mse_loss),
        ("mse", nn.MSELoss()),
    ],
)
def test_an_own_loss_is_known_as_the_built_in_one(name, loss):
    targets = torch.arange(8) % 2
    targets = targets if name == "cross_entropy" else torch.stack([targets, 1 - targets], 1).float()
    mine, built_in = (
        meaning_of(Objective(nn.Linear(3, 2), one, (torch.randn(8, 3), targets))) for one in (loss, name)
    )
    assert mine == built_in
    assert mine.is_convex


@pytest.mark.parametrize(
    "loss", [nn.MSELoss(reduction="sum"), nn.L1Loss(), lambda h, y: (h - y).square().mean()]
)
def test_of_others_nothing_is_known(loss):
    found = meaning_of(Objective(nn.Linear(3, 2), loss, (torch.randn(8, 3), torch.randn(8, 2))))
    assert (found.is_convex, found.attains) == (None, None)
