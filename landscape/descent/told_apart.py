"""Outputs on the data as one row by which ends are told apart: less what the loss does not see of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.numerics.arrays import array_of
from landscape.objective import trees
from landscape.objective.losses import LOSSES
from landscape.objective.objective import Objective
from landscape.objective.undefined import RAISED

# Two losses, relative, that are one.
SAME = 1e-10


def row_of(objective: Objective) -> Callable[[Any], np.ndarray]:
    """What makes a row of the outputs on all data: without a column that is the price of θ, which tells nothing.

    Where the loss is the same for outputs moved by one number along their second axis, as every cross entropy is, they
    are less their mean there: of two ends that are one classifier the outputs differ by what no gradient ever moves.
    """
    has_price, is_centred = objective.loss.has_price, _is_blind(objective)

    def row(outputs: Any) -> np.ndarray:
        found = [*trees.held(outputs[:, :-1] if has_price else outputs).values()]
        if is_centred:
            found = [one - one.mean(1, keepdim=True) for one in found]
        # Of outputs that hold none the loss alone tells.
        return np.concatenate([np.zeros(1), *(array_of(one.flatten()) for one in found)])

    return row


def _is_blind(objective: Objective) -> bool:
    """Whether the loss of all data does not see a number that is added to all outputs of a sample at a place."""
    present = objective.present_point()
    inputs, targets = objective.samples
    with torch.no_grad(), objective.passed(present.theta, present.fixed, inputs) as outputs:
        if not isinstance(outputs, Tensor) or outputs.dim() < 2 or outputs.shape[1] < 2:
            return objective.given is LOSSES["cross_entropy"]
        first = outputs[:, :1]
        way = torch.linspace(0.5, 1.5, first.numel(), dtype=outputs.dtype, device=outputs.device)
        try:
            before, after = (
                float(objective.loss.total(one, targets).double().sum())
                for one in (outputs, outputs + way.reshape(first.shape))
            )
        except RAISED:
            # Moved they are no matrix that has a Cholesky factor, or no probabilities, which the loss sees.
            return False
    return abs(after - before) <= SAME * abs(before)
