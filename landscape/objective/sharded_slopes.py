"""Derivatives by the parameters of a sharded module, by ``.backward()`` on it, whatever a training has set there."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from landscape import distributed
from landscape.objective.derivatives import no_gradient, undifferentiable

# What FSDP does with a gradient unless it is told otherwise, by the names of its groups, its state and parameters.
PLAIN = {
    "reduce_grads": True,
    "all_reduce_grads": True,
    "gradient_divide_factor": None,
    "_all_reduce_hook": None,
    "_partial_reduce_output": None,
    "unsharded_accumulated_grad": None,
    "is_last_backward": True,
    "_post_accumulate_grad_hooks": None,
}


def slopes(scalar: Tensor, own: Sequence[Tensor], module: nn.Module) -> list[Tensor | None]:
    """The derivatives of the sum of ``scalar`` over the processes by ``own``, the parameters of a sharded module.

    Each is sharded as they are, and None of one that the graph does not reach. Whatever gradients stand there are as
    before afterwards, and so is what the user has set or hooked to be done with them. Raises NotDifferentiable.
    """
    if not scalar.requires_grad:
        raise no_gradient()
    groups = _groups(module)
    held = [one for group in groups for one in group.fsdp_params]
    # All that gather a gradient, be it asked for or not, and those that a training has not yet summed.
    every = [*own, *(one.sharded_param for one in held)]
    every += [one._unsharded_param for one in held if hasattr(one, "_unsharded_param")]
    before = [one.grad for one in every]
    try:
        for one in every:
            one.grad = None
        try:
            with _plainly_reduced(module, [*groups, *held, *every]):
                scalar.backward()
        except (NotImplementedError, RuntimeError) as error:
            raise undifferentiable(error) from error
        # FSDP takes the mean over the processes.
        count = distributed.num_processes()
        return [None if one.grad is None else one.grad * count for one in own]
    finally:
        for one, kept in zip(every, before, strict=True):
            one.grad = kept


def filled(slopes: Sequence[Tensor | None], own: Sequence[Tensor]) -> list[Tensor]:
    """``slopes`` with zeros for None."""
    return [torch.zeros_like(one) if slope is None else slope for slope, one in zip(slopes, own, strict=True)]


def layers(module: nn.Module) -> list[Any]:
    """Those that gather parameters."""
    from torch.distributed.fsdp import FSDPModule

    return [layer for layer in module.modules() if isinstance(layer, FSDPModule)]


def reshard(module: nn.Module) -> None:
    for layer in layers(module):
        layer.reshard()


def _groups(module: nn.Module) -> list[Any]:
    """What is gathered and summed together: by older versions of torch a layer has one, or none."""
    states = [layer._get_fsdp_state() for layer in layers(module)]
    one_each = ([getattr(state, "_fsdp_param_group", None)] for state in states)
    found = [getattr(state, "_fsdp_param_groups", own) for state, own in zip(states, one_each, strict=True)]
    return [group for each in found for group in each if group is not None]


@contextmanager
def _plainly_reduced(module: nn.Module, places: Sequence[Any]) -> Iterator[None]:
    """Inside, a gradient is the mean over the processes, whatever it is in training, and nobody else is told of it.

    There a step may take the sum, leave that to a later one, or follow at once in a hook.
    """
    contexts = [layer._get_fsdp_state()._state_ctx for layer in layers(module)]
    every = [*contexts, *places]
    before = [(one, name, getattr(one, name)) for one in every for name in PLAIN if hasattr(one, name)]
    try:
        for one, name, _ in before:
            setattr(one, name, PLAIN[name])
        yield
    finally:
        for one, name, value in reversed(before):
            setattr(one, name, value)
