"""Whether a module sees parameters of pairs as complex numbers, which torch takes from even places alone."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from landscape.objective.trial import Trial

# What torch.view_as_complex says of a tensor that begins at an odd place.
SAID = "divisible by 2"


def tell_pairs(trial: Trial, call: Callable[[Tensor], Any]) -> None:
    """Notes in the subject of ``trial`` that ``call``, of θ, fails for where θ or a part of it begins in memory.

    Called for modules with parameters of pairs, at most twice.
    """
    subject, theta = trial.subject, trial.theta
    if subject.is_sharded or not any(piece.shape[-1:] == (2,) for piece in subject.pieces):
        return
    behind = torch.empty(len(theta) + 1, dtype=theta.dtype, device=theta.device)[1:].copy_(theta)
    # What needs gradients is told later; here they do no harm.
    trial.needs_gradients = True
    try:
        for one in (theta, behind):
            try:
                call(one)
            except Exception as error:
                if SAID in str(error):
                    subject.sees_pairs = True
                    return
    finally:
        trial.needs_gradients = False
