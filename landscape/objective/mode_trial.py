"""Whether the mode in which F is taken is that of a module whose ``eval()`` is its own."""

from contextlib import suppress

import torch
from torch import Tensor

from landscape.errors import BadInput
from landscape.objective import trees
from landscape.objective.arguments import call
from landscape.objective.modes import switched
from landscape.objective.trial import SAME, Trial


def require_mode(trial: Trial, rows: Tensor | None) -> None:
    """Raises BadInput where a copy of the module, after its own ``eval()``, gives other outputs on some samples.

    In F a mode is what layers and attributes say, with the numbers of θ; adapters that ``eval()`` merges give the
    same outputs so, averages that it puts in the place of parameters do not.
    """
    subject = trial.subject
    if not subject.has_own_modes:
        return
    copy = None
    with suppress(BadInput):
        copy = subject.module_at(subject.present_point())
    if copy is None:
        return
    # From the mode that it was handed over in.
    for layer, own in zip(copy.modules(), subject.module.modules(), strict=True):
        layer.training = own.training
    switched(copy, subject.training)
    inputs, _ = trial.rows(rows)
    with torch.set_grad_enabled(trial.needs_gradients):
        outputs = call(copy, inputs)
    if not trees.agree(outputs, trial.outputs(rows), SAME):
        name, mode = type(subject.module).__name__, "train()" if subject.training else "eval()"
        raise BadInput(
            f"{mode} of {name} puts other numbers in the place of its parameters: its outputs are others then",
            "outputs that follow from the parameters",
            "hand over a module that holds the numbers to be measured as its parameters, without a train() and an "
            "eval() that exchange them",
        )
