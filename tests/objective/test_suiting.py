"""The loss that outputs and targets leave no doubt of; probabilities before a loss that squashes them again."""

import pytest
import torch
from torch import nn

from landscape.errors import BadInput
from landscape.objective import Objective
from landscape.objective.suiting import suiting_loss

SIDES, FIVE, PLACES = torch.tensor([0, 1, 1, 0]), torch.tensor([0, 4, 2, 1]), torch.zeros(4, 3, 5).long()
REAL, FLAGS = torch.randn(4, 2), torch.tensor([[0.0], [1.0], [1.0], [0.0]])


@pytest.mark.parametrize(
    ("shape", "targets", "classes", "name"),
    [
        ((4, 2), SIDES, 2, "cross_entropy"),
        ((4, 1), SIDES, 2, "bce"),
        ((4,), SIDES, 2, "bce"),
        ((4, 5), FIVE, 5, "cross_entropy"),
        ((4, 7), FIVE, 5, "cross_entropy"),
        ((4, 6, 3, 5), PLACES, 2, "cross_entropy"),
        ((4, 1, 3, 5), PLACES, 2, "bce"),
        ((4, 3, 5), PLACES, 2, "bce"),
        ((4, 2), REAL, None, "mse"),
        ((), REAL, None, "output"),
        ((), SIDES, 2, "output"),
    ],
)
def test_the_loss_follows_from_outputs_and_targets(shape, targets, classes, name):
    found, why = suiting_loss(torch.zeros(shape), targets, classes)
    assert found == name
    assert why


@pytest.mark.parametrize(
    ("outputs", "targets", "classes", "said"),
    [
        (torch.zeros(4, 1), FIVE, 5, "1 output and 5 classes"),
        (torch.zeros(4, 3, 5, 6), PLACES, 2, r"outputs \(n, 3, 5, 6\) for classes \(n, 3, 5\)"),
        (torch.zeros(4, 1), FLAGS, None, "bce or mse"),
        (torch.zeros(4, 2), torch.eye(2)[SIDES], None, "cross_entropy, bce or mse"),
        ({"logits": torch.zeros(4, 2)}, SIDES, 2, "the module gives a dict"),
    ],
)
def test_what_may_mean_several_is_refused(outputs, targets, classes, said):
    with pytest.raises(BadInput, match=f"{said}.*`loss`"):
        suiting_loss(outputs, targets, classes)


def twice(module, loss, targets):
    inputs = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    return [one for one in Objective(module, loss, (inputs, targets)).notes if "probabilities already" in one]


def test_a_softmax_and_a_sigmoid_before_such_a_loss_are_told_of():
    torch.manual_seed(0)
    classes, sides = torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([0, 1, 1, 0, 1, 0])
    three, one = nn.Linear(3, 3), nn.Linear(3, 1)
    for loss in ("cross_entropy", nn.CrossEntropyLoss()):
        assert twice(nn.Sequential(three, nn.Softmax(1)), loss, classes)
        assert not twice(three, loss, classes)
        assert not twice(nn.Sequential(three, nn.LogSoftmax(1)), loss, classes)
    assert not twice(nn.Sequential(three, nn.LogSoftmax(1)), nn.NLLLoss(), classes)
    assert twice(nn.Sequential(one, nn.Sigmoid()), "bce", sides)
    assert not twice(one, "bce", sides)
    assert not twice(nn.Sequential(one, nn.Sigmoid()), "mse", sides)
