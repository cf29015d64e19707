"""What is no part of θ and might be thought one: parameters of the loss, tensors in the memory of parameters."""

from typing import Any

import torch
from torch import Tensor, nn

from landscape.errors import BadInput
from landscape.objective import trees
from landscape.objective.calling import called, rewrites
from landscape.objective.derivatives import nodes_of
from landscape.objective.losses import name_of
from landscape.objective.memory import lies_somewhere
from landscape.objective.parameters import split
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
    subject = trial.subject
    with trial.recorded():
        own = {id(subject.now(piece.name)) for piece in subject.pieces}
        outputs = called(subject, inputs)
        found = trees.tensors(callable_of(given, outputs)(outputs, targets))
    leaves = [getattr(node, "variable", None) for node in nodes_of(found)]
    return [
        f"one of shape {tuple(one.shape)}"
        for one in leaves
        if isinstance(one, nn.Parameter) and id(one) not in own
    ]


def told_of_the_module(trial: Trial, rows: Tensor | None) -> list[str]:
    """A note on tensors that are no parameter and lie in the memory of one, after a call on some samples.

    Raises BadInput for parameters that the call has made, or written into.
    """
    subject, module = trial.subject, trial.subject.module
    pieces = () if subject.is_sharded else subject.pieces
    # As the trial's own may have been written into.
    placed = split(subject.present_point().theta, pieces) if pieces else {}
    known = {name for name, _ in module.named_parameters()}
    own = {
        one.untyped_storage().data_ptr(): name
        for name, one in module.named_parameters()
        if one.requires_grad and type(one.data) is Tensor and lies_somewhere(one)
    }
    notes = []
    with trial.passed(rows):
        # In the place of some stand tensors that are no parameters.
        if made := [name for name, _ in module.named_parameters() if name not in known]:
            raise BadInput(
                f"{type(module).__name__} makes {listed(made)} in its forward",
                "parameters that are there before",
                "call it on a batch before, as module(inputs)",
            )
        if rewritten := [one.name for one in pieces if _differ(subject.now(one.name), placed[one.name])]:
            raise rewrites(type(module).__name__, listed(rewritten))
        for prefix, layer in module.named_modules():
            for key, one in layer.__dict__.items():
                if type(one) is not Tensor or not lies_somewhere(one):
                    continue
                if (name := own.get(one.untyped_storage().data_ptr())) is not None:
                    notes.append(
                        f"{f'{prefix}.{key}'.lstrip('.')} lies in the memory of {name} and is none of θ: it stays as "
                        "it is where θ moves, and would move with steps in a loop of your own"
                    )
    return notes


def _differ(one: Tensor, other: Tensor) -> bool:
    here, there = one.detach(), other.to(one.device, one.dtype)
    return not torch.allclose(here, there, rtol=0, atol=0, equal_nan=True)
