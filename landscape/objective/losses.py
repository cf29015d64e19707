"""Losses by what they mean: one value per sample, a weighted mean, a sum, or a value of all samples at once.

F is Σ ``total`` over what the loss is taken ``over``, however the data are cut, where they can be cut at all
(:mod:`landscape.objective.meaning`).
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from landscape import distributed
from landscape.errors import BadInput
from landscape.objective import trees
from landscape.objective.closures import made
from landscape.objective.samples import Samples
from landscape.specs import is_factory_spec, require_attribute, resolve

PerSample = Callable[[Any, Tensor], Tensor]
# What the sum of the totals is divided by: the number of samples, the sum of ``weight``, or nothing.
Over = Literal["samples", "weight", "one"]
# Of torch's losses: those that compare number with number, and so broadcast what does not fit.
ELEMENTWISE = (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss)
# And those whose targets number the outputs, as modules and as functions.
OF_CLASSES = (
    (nn.CrossEntropyLoss, nn.NLLLoss, nn.MultiMarginLoss),
    (functional.cross_entropy, functional.nll_loss, functional.multi_margin_loss),
)


@dataclass(frozen=True)
class Loss:
    """ℓ of the objective. ``total`` sums over the samples of a batch; ``correct`` marks those classified right.

    ``total(outputs, targets)`` returns a scalar, ``correct(outputs, targets)`` a boolean (n,) or, where
    a sample has several labels, the fraction of them that is right (n,); it is None where accuracy has
    no meaning. ``of_classes``: integer targets number the outputs along axis 1. ``rows(outputs, targets)``
    are the terms of that sum, float64 (n,), where the loss gives them at once. ``over`` says what the sum of
    the totals is divided by, ``weight(outputs, targets)`` a batch's part of it where that is a weight.
    ``has_price``: the last column of the outputs is a penalty, no output. ``is_of_outputs``: it reads nothing that a
    call leaves in the module beside them, so that a sample's is had from its row of the outputs.
    """

    name: str
    total: PerSample
    correct: PerSample | None = None
    of_classes: bool = False
    rows: PerSample | None = None
    over: Over = "samples"
    weight: PerSample | None = None
    has_price: bool = False
    is_of_outputs: bool = True

    def __reduce__(self) -> Any:
        """A built-in one is that of the process it comes to: which one it is decides how it is computed."""
        if LOSSES.get(self.name) is self:
            return built_in, (self.name,)
        return super().__reduce__()

    def each(self, outputs: Any, targets: Tensor) -> Tensor:
        """The loss of every sample, float64 (n,), detached; one by one where ``rows`` is None."""
        if self.rows is not None:
            return self.rows(outputs, targets).detach()
        parts = [slice(i, i + 1) for i in range(len(targets))]
        return torch.stack(
            [
                self.total(trees.rows(outputs, one), targets[one]).detach().double().reshape(())
                for one in parts
            ]
        )

    def of_batch(self, outputs: Any, targets: Tensor, count: int) -> tuple[Tensor, Tensor | None]:
        """A batch of ``count`` samples as one, of which these are some: what is differentiated, and its weight.

        Where the loss is taken over weights the mean is the former over the latter; elsewhere there is none.
        """
        total = self.total(outputs, targets).double()
        if self.over == "samples":
            return total / count, None
        return total, None if self.weight is None else self.weight(outputs, targets)

    def mean(self, outputs: Any, targets: Tensor) -> Tensor:
        """What the loss itself says of one batch: its total over the batch's own weight; float64, a scalar."""
        total = self.total(outputs, targets).double().reshape(())
        if self.over == "weight" and self.weight is not None:
            return total / self.weight(outputs, targets)
        return total / len(targets) if self.over == "samples" else total


def known_loss(loss: "str | nn.Module | Callable[..., Any] | Loss") -> "Loss | Callable[..., Any]":
    """A Loss for a name (``cross_entropy``, ``bce``, ``mse``, ``output``) or a Loss; else the callable that is meant.

    A callable ``loss(outputs, targets)`` may return one loss per sample (n, …), averaged over further axes, a
    scalar, or a pair of sums (total, weight); what a scalar means is found out on the data. A spec names a callable.
    A class, or a function without arguments, makes the one that is meant. Raises BadInput for an unknown name.
    """
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, str):
        if loss in LOSSES:
            return LOSSES[loss]
        if not is_factory_spec(loss):
            require_attribute(loss)
            raise BadInput(
                f"unknown loss {loss!r}", f"one of {', '.join(LOSSES)}", "or pkg.mod:attr, or file.py:attr"
            )
        return known_loss(resolve(loss))
    if not callable(loss):
        raise BadInput(f"the loss is a {type(loss).__name__}", "a name or a callable of (outputs, targets)")
    return made(loss)


def is_built_in(loss: Any) -> bool:
    """Whether a loss is one of :data:`LOSSES` itself, whatever it is called."""
    return any(loss is one for one in LOSSES.values())


def likelihood_of(loss: Any) -> str | None:
    """``cross_entropy``, ``bce`` or ``mse`` where a loss is that one, as built in or as torch's own; None for others.

    torch's own are no other functions of the outputs only where nothing is weighted, smoothed or summed.
    """
    if is_built_in(loss):
        return loss.name if loss.name in LIKELIHOODS else None
    if isinstance(loss, nn.Module):
        options = (getattr(loss, name, None) for name in ("weight", "pos_weight"))
        if any(one is not None for one in options) or getattr(loss, "label_smoothing", 0.0):
            return None
        if getattr(loss, "reduction", "") != "mean":
            return None
    return next((name for name, own in LIKELIHOODS.items() if type(loss) is own[0] or loss is own[1]), None)


def name_of(loss: Any) -> str:
    """What messages call a loss."""
    return loss.name if isinstance(loss, Loss) else getattr(loss, "__name__", type(loss).__name__)


def correct_of(loss: Any) -> tuple[PerSample | None, bool]:
    """How the samples that a loss of the user's classifies right are told, and whether its targets are classes."""
    if isinstance(loss, OF_CLASSES[0]) or any(loss is one for one in OF_CLASSES[1]):
        return LOSSES["cross_entropy"].correct, True
    if of_probabilities(loss):
        return _same_half, False
    is_of_sides = isinstance(loss, nn.BCEWithLogitsLoss) or loss is LIKELIHOODS["bce"][1]
    return (LOSSES["bce"].correct if is_of_sides else None), False


def of_probabilities(loss: Any) -> bool:
    """Whether outputs of a loss are probabilities of two classes, told apart by a half."""
    return isinstance(loss, nn.BCELoss) or loss is functional.binary_cross_entropy


def weighted_mean(loss: Any, samples: Samples) -> Loss | None:
    """The mean over classes that are weighted or ignored, as torch means it: Σ wᵢ ℓᵢ / Σ wᵢ; None for others.

    Without a weight, and where none is ignored, it is a plain mean.
    """
    if type(loss) not in (nn.CrossEntropyLoss, nn.NLLLoss) or loss.reduction != "mean":
        return None
    first = samples.head.targets
    if first.is_floating_point():
        return None
    ignored = loss.ignore_index
    here = sum(float((part == ignored).sum()) / max(1, part[0].numel()) for part in samples.target_parts())
    num_ignored = distributed.total(torch.tensor(here, dtype=torch.float64, device=first.device))
    if loss.weight is None and not bool(num_ignored):
        return None
    summed = reduced(loss, "sum")

    def weight(_: Any, targets: Tensor) -> Tensor:
        counted = targets != loss.ignore_index
        if loss.weight is None:
            return counted.double().sum()
        # The weight itself, not a copy: it may have been taken to another device since.
        return loss.weight.detach().double()[torch.where(counted, targets, 0)].mul(counted).sum()

    counts = torch.tensor([samples.count_here, samples.count_here - here], dtype=torch.float64)
    num_samples, counted = distributed.total(counts.to(first.device)).tolist()

    def correct(outputs: Tensor, targets: Tensor) -> Tensor:
        """Of the targets that count alone, so that their mean over all samples is the accuracy."""
        right = ((outputs.max(1).indices == targets) & (targets != loss.ignore_index)).double()
        return right.reshape(len(right), -1).mean(1) * (num_samples / counted)

    return Loss(name_of(loss), summed, correct if counted else None, True, over="weight", weight=weight)


def reduced(loss: nn.Module, reduction: str) -> nn.Module:
    """A loss of torch's with another reduction; its tensors are those of ``loss``."""
    bare = copy.copy(loss)
    bare.__dict__["reduction"] = reduction
    return bare


def per_sample(losses: Tensor) -> Tensor:
    """One loss per sample, averaged over further axes; float64, so that sums over samples are."""
    return losses.double() if losses.dim() == 1 else losses.flatten(1).double().mean(1)


def _cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    return per_sample(functional.cross_entropy(outputs, targets, reduction="none"))


def _same_class(outputs: Tensor, targets: Tensor) -> Tensor:
    classes = targets.argmax(1) if targets.is_floating_point() else targets
    # The indices of max are those of argmax, in less than half of its time.
    return _fraction(outputs.max(1).indices == classes)


def _bce(outputs: Tensor, targets: Tensor) -> Tensor:
    losses = functional.binary_cross_entropy_with_logits(outputs, _like(targets, outputs), reduction="none")
    return per_sample(losses)


def _same_side(outputs: Tensor, targets: Tensor, edge: float = 0.0) -> Tensor:
    return _fraction((outputs > edge) == (_like(targets, outputs) > 0.5))


def _same_half(outputs: Tensor, targets: Tensor) -> Tensor:
    return _same_side(outputs, targets, 0.5)


def wanted(outputs: Tensor, targets: Tensor) -> Tensor:
    """What ``mse`` compares the outputs with, in their shape: the targets, classes as zeros and a one. BadInput."""
    if not targets.is_floating_point() and targets.dim() == 1 and outputs.dim() == 2 and outputs.shape[1] > 1:
        return functional.one_hot(targets, outputs.shape[1]).to(outputs.dtype)
    return _like(targets, outputs)


def _mse(outputs: Tensor, targets: Tensor) -> Tensor:
    return per_sample((outputs - wanted(outputs, targets)).square())


def _output(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs.double().expand(len(targets)) if outputs.dim() == 0 else per_sample(outputs)


def _fraction(right: Tensor) -> Tensor:
    return right if right.dim() == 1 else right.flatten(1).double().mean(1)


def _like(targets: Tensor, outputs: Tensor) -> Tensor:
    """Targets in the outputs' shape and dtype; only axes of length one may differ. Raises BadInput."""
    if targets.shape != outputs.shape and _long_axes(targets) != _long_axes(outputs):
        raise BadInput(
            f"targets of shape {tuple(targets.shape)} for outputs of shape {tuple(outputs.shape)}",
            "the same shape",
            "of classes take cross_entropy, or torch.nn.functional.one_hot(targets, classes).float()"
            if targets.dim() == 1 and not targets.is_floating_point()
            else "",
        )
    return targets.to(outputs.dtype).reshape(outputs.shape)


def _long_axes(tensor: Tensor) -> list[int]:
    return [size for size in tensor.shape if size > 1]


def built_in(name: str) -> "Loss":
    """The built-in loss of that name."""
    return LOSSES[name]


def _built_in(name: str, rows: PerSample, correct: PerSample | None = None, of_classes: bool = False) -> Loss:
    return Loss(name, lambda o, t: rows(o, t).sum(), correct, of_classes, rows)


LOSSES = {
    "cross_entropy": _built_in("cross_entropy", _cross_entropy, _same_class, of_classes=True),
    "bce": _built_in("bce", _bce, _same_side),
    "mse": _built_in("mse", _mse, of_classes=True),
    "output": _built_in("output", _output),
}

# Those that are the negative logarithm of a likelihood, as torch has them.
LIKELIHOODS = {
    "cross_entropy": (nn.CrossEntropyLoss, functional.cross_entropy),
    "bce": (nn.BCEWithLogitsLoss, functional.binary_cross_entropy_with_logits),
    "mse": (nn.MSELoss, functional.mse_loss),
}
