"""Losses that read more than the outputs: parameters of the module, or what its call leaves in it."""

from typing import Any

import torch
from torch import Tensor

from landscape.objective import trees
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point

# Samples by which it is seen whether a loss reads parameters.
FEW = 8


def reads_parameters(objective: Objective, point: Point) -> bool:
    """Whether the loss has a derivative in θ where the outputs of some samples stay as they are.

    >>> module, x, y = torch.nn.Linear(1, 1), torch.ones(2, 1), torch.zeros(2, 1)
    >>> decayed = lambda h, y: (h - y).square().mean() + 0.1 * module.weight.square().sum()
    >>> for loss in ("mse", decayed):
    ...     objective = Objective(module, loss, (x, y))
    ...     print(reads_parameters(objective, objective.present_point()))
    False
    True
    """
    leaf = point.theta.clone().requires_grad_()
    inputs, targets = objective.few(FEW).picked(None)
    with torch.enable_grad(), objective.passed(leaf, point.fixed, inputs) as outputs:
        total = objective.loss.total(trees.mapped(Tensor.detach, outputs), targets)
        if not total.requires_grad:
            return False
        (own,) = torch.autograd.grad(total, leaf, allow_unused=True)
    return own is not None


def losses_of_samples(objective: Objective, inputs: Any, outputs: Any, targets: Tensor) -> Tensor:
    """The loss of every sample (n,) with its history, while the module stands where ``outputs`` are from.

    Of the row of each sample, or by a call of its own where the outputs have none, as distributions, or where the loss
    reads what calls leave in the module.
    """
    totals = []
    for i in range(len(targets)):
        one = slice(i, i + 1)
        if objective.tells_samples_apart:
            mine = trees.rows(outputs, one)
        else:
            mine = objective.called(trees.rows(inputs, one))
        totals.append(objective.loss.total(mine, targets[one]).reshape(()))
    return torch.stack(totals)
