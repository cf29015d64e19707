"""Parameters that the loss has beside those of the module, as learned weights of its terms: said, as they stay."""

from typing import Any

import torch
from torch import Tensor, nn

from landscape.objective import trees
from landscape.objective.calling import called
from landscape.objective.derivatives import nodes_of
from landscape.objective.losses import name_of
from landscape.objective.trial import Trial, callable_of
from landscape.objective.uses import listed


def outside(trial: Trial, given: Any, rows: Tensor | None) -> list[str]:
    """A note on trainable parameters that the loss has, or that it reaches in a call on some samples."""
    told = _held(trial, given) if isinstance(given, nn.Module) else _reached(trial, given, rows)
    if not told:
        return []
    return [
        f"the loss {name_of(given)} has trainable parameters of its own ({listed(told)}), which stay as they are: θ is "
        "of the module alone; to move them let one module hold both and return the loss, with `loss` output"
    ]


def _held(trial: Trial, criterion: nn.Module) -> list[str]:
    own = {id(one) for one in trial.subject.module.parameters()}
    return [name for name, one in criterion.named_parameters() if one.requires_grad and id(one) not in own]


def _reached(trial: Trial, given: Any, rows: Tensor | None) -> list[str]:
    inputs, targets = trial.rows(rows)
    theta = trial.theta.detach().requires_grad_()
    with trial.subject.standing(theta, trial.copies()), torch.enable_grad():
        outputs = called(trial.subject, inputs)
        found = trees.tensors(callable_of(given, outputs)(outputs, targets))
    leaves = [getattr(node, "variable", None) for node in nodes_of(found)]
    return [f"one of shape {tuple(one.shape)}" for one in leaves if isinstance(one, nn.Parameter)]
