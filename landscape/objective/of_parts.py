"""The user's loss of targets that are several tensors, as a loss of the one tensor that carries them."""

import functools
from typing import Any

import torch
from torch import Tensor, nn

from landscape.errors import BadInput
from landscape.inputs.data.several import Layout
from landscape.objective import trees
from landscape.objective.losses import LOSSES, Loss, name_of


class OfParts:
    """``loss`` (outputs, targets), called with the targets as they came."""

    def __init__(self, loss: Any, layout: Layout):
        functools.update_wrapper(self, loss)
        self.loss, self.layout = loss, layout

    def __call__(self, outputs: Any, targets: Tensor) -> Any:
        return self.loss(outputs, self.layout.parted(targets, _dtype_of(outputs)))


class ModuleOfParts(nn.Module):
    """The same of a loss that is a module, and may hold tensors."""

    def __init__(self, loss: nn.Module, layout: Layout):
        super().__init__()
        self.loss, self.layout, self.__name__ = loss, layout, name_of(loss)
        self.train(loss.training)

    def forward(self, outputs: Any, targets: Tensor) -> Any:
        return self.loss(outputs, self.layout.parted(targets, _dtype_of(outputs)))


def of_parts(loss: Any, layout: Layout | None, targets: Tensor) -> Any:
    """``loss`` as one of ``targets`` that are laid out so; those of one tensor are None, or some that were before.

    Raises BadInput for one of ours, and for targets laid out otherwise than those that it was given before.
    """
    if isinstance(loss, OfParts | ModuleOfParts):
        if layout != loss.layout and not (layout is None and loss.layout.is_of(targets)):
            raise BadInput(
                "targets of other fields, shapes or dtypes", "those that the loss was given before"
            )
        return loss
    if layout is None:
        return loss
    if loss is LOSSES["output"]:
        return loss  # which reads none
    if isinstance(loss, Loss):
        raise BadInput(
            f"targets that hold several tensors, for the loss {loss.name}",
            "one tensor",
            "give the one that is meant, or a function of (outputs, targets)",
        )
    return ModuleOfParts(loss, layout) if isinstance(loss, nn.Module) else OfParts(loss, layout)


def own(loss: Any) -> Any:
    """The user's own of a ``loss``, that one is made of or that it is."""
    return loss.loss if isinstance(loss, OfParts | ModuleOfParts) else loss


def as_they_came(loss: Any, targets: Tensor) -> Any:
    """What ``loss`` is given of ``targets``."""
    is_of_parts = isinstance(loss, OfParts | ModuleOfParts)
    return loss.layout.parted(targets, None) if is_of_parts else targets


def _dtype_of(outputs: Any) -> torch.dtype | None:
    moving = trees.moving(outputs)
    return moving[0].dtype if moving else None
