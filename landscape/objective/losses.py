"""Losses as sums over samples, so that a value never depends on how the data were cut."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from landscape.errors import BadInput
from landscape.specs import is_factory_spec, resolve

PerSample = Callable[[Any, Tensor], Tensor]


@dataclass(frozen=True)
class Loss:
    """ℓ of the objective. ``total`` sums over the samples of a batch; ``correct`` marks those classified right.

    ``total(outputs, targets)`` returns a scalar, ``correct(outputs, targets)`` a boolean (n,) or, where
    a sample has several labels, the fraction of them that is right (n,); it is None where accuracy has
    no meaning. ``of_classes``: integer targets number the outputs along axis 1. ``rows(outputs, targets)``
    are the terms of that sum, float64 (n,), where the loss gives them at once.
    """

    name: str
    total: PerSample
    correct: PerSample | None = None
    of_classes: bool = False
    rows: PerSample | None = None

    def each(self, outputs: Any, targets: Tensor) -> Tensor:
        """The loss of every sample, float64 (n,), detached; one by one where ``rows`` is None."""
        if self.rows is not None:
            return self.rows(outputs, targets).detach()
        parts = [slice(i, i + 1) for i in range(len(targets))]
        return torch.stack(
            [self.total(_part(outputs, one), targets[one]).detach().double().reshape(()) for one in parts]
        )


def named_loss(loss: "str | nn.Module | Callable[..., Tensor] | Loss") -> Loss:
    """The Loss for a name (``cross_entropy``, ``bce``, ``mse``, ``output``), a spec, a module or a callable.

    A callable ``loss(outputs, targets)`` may return one loss per sample (n, …), averaged over further
    axes, or a scalar; whether a scalar is a mean or a sum is found out on the data
    (:func:`settle_reduction`). Raises BadInput for an unknown name.
    """
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, str):
        if loss in LOSSES:
            return LOSSES[loss]
        if not is_factory_spec(loss):
            raise BadInput(
                f"unknown loss {loss!r}", f"one of {', '.join(LOSSES)}", "or pkg.mod:attr, or file.py:attr"
            )
        named = resolve(loss)
        return named_loss(named() if isinstance(named, type) else named)
    if not callable(loss):
        raise BadInput(f"the loss is a {type(loss).__name__}", "a name or a callable of (outputs, targets)")
    name = getattr(loss, "__name__", type(loss).__name__)
    if isinstance(loss, nn.CrossEntropyLoss | nn.NLLLoss):
        if loss.weight is not None and loss.reduction == "mean":
            raise _weighted(name)
        return Loss(name, loss, LOSSES["cross_entropy"].correct, of_classes=True)
    return Loss(name, loss, LOSSES["bce"].correct if isinstance(loss, nn.BCEWithLogitsLoss) else None)


def settle_reduction(loss: Loss, outputs: Any, targets: Tensor) -> Loss:
    """``loss`` with a ``total`` that truly sums over samples, checked on a few of them.

    A sum satisfies L(a ∪ b) = L(a) + L(b), a mean |a ∪ b| L(a ∪ b) = |a| L(a) + |b| L(b). What does
    neither (a class-weighted mean, a loss that compares samples) has no value free of the batch and
    raises BadInput.
    """
    if loss.name in LOSSES and LOSSES[loss.name] is loss:
        return loss
    function = _unreduced(loss.total)
    whole = function(outputs, targets)
    if not isinstance(whole, Tensor):
        raise BadInput(f"the loss {loss.name} returned a {type(whole).__name__}", "a tensor")
    if whole.dim() > 0 and whole.shape[0] == len(targets):
        if isinstance(loss.total, nn.Module) and getattr(loss.total, "reduction", "none") == "mean":
            mean = loss.total(outputs, targets).double()
            if not torch.allclose(_rows(whole).mean(), mean, rtol=1e-4, equal_nan=True):
                raise _weighted(loss.name)
        return _summed(loss, lambda o, t: _rows(function(o, t)))
    if whole.numel() != 1:
        raise BadInput(
            f"the loss {loss.name} returned shape {tuple(whole.shape)}", "a scalar, or one loss per sample"
        )
    if _is_mean(function, outputs, targets, loss.name):
        return replace(loss, total=lambda o, t: function(o, t).double().reshape(()) * len(t))
    return replace(loss, total=lambda o, t: function(o, t).reshape(()))


def _summed(loss: Loss, rows: PerSample) -> Loss:
    return replace(loss, total=lambda o, t: rows(o, t).sum(), rows=rows)


def _is_mean(function: PerSample, outputs: Any, targets: Tensor, name: str) -> bool:
    """Whether a scalar loss is a mean (True) or a sum (False) over samples. BadInput where it is neither."""
    count = len(targets)
    if count == 1:
        return True
    half = (count + 1) // 2
    # A loss that is zero, or not finite, on these samples tells nothing: then other outputs tell.
    for trial in (outputs, _spread(outputs, -1.0), _spread(outputs, 1.0)):
        whole, head, tail = (
            float(function(_part(trial, part), targets[part]))
            for part in (slice(count), slice(half), slice(half, count))
        )
        scale = abs(head) + abs(tail)
        if not (0 < scale < math.inf):
            continue
        tolerance = 1e-4 * scale
        is_mean = abs(whole - (head * half + tail * (count - half)) / count) <= tolerance
        is_sum = abs(whole - head - tail) <= tolerance
        if is_mean != is_sum:
            return is_mean
    raise BadInput(
        f"the loss {name} is neither a mean nor a sum over samples",
        "a value that does not depend on the batch",
        "give it reduction='none'",
    )


def _spread(outputs: Any, top: float) -> Any:
    """Numbers between 0 and ``top``, none equal, in the shapes of ``outputs``."""
    if isinstance(outputs, tuple):
        return tuple(_spread(part, top) for part in outputs)
    if not outputs.is_floating_point():
        return outputs
    return torch.linspace(0, top, outputs.numel() + 1)[1:].to(outputs).reshape(outputs.shape)


def _unreduced(loss: PerSample) -> PerSample:
    if isinstance(loss, nn.Module) and getattr(loss, "reduction", None) == "mean":
        bare = copy.copy(loss)
        bare.reduction = "none"  # type: ignore[assignment]
        return bare
    return loss


def _weighted(name: str) -> BadInput:
    return BadInput(
        f"the mean of {name} is weighted, so it depends on the batch",
        "a plain mean over samples",
        "give it reduction='none'",
    )


def _part(outputs: Any, span: slice) -> Any:
    return tuple(part[span] for part in outputs) if isinstance(outputs, tuple) else outputs[span]


def _rows(losses: Tensor) -> Tensor:
    """One loss per sample, averaged over further axes; float64, so that sums over samples are."""
    return losses.double() if losses.dim() == 1 else losses.flatten(1).double().mean(1)


def _cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    return _rows(functional.cross_entropy(outputs, targets, reduction="none"))


def _same_class(outputs: Tensor, targets: Tensor) -> Tensor:
    classes = targets.argmax(1) if targets.is_floating_point() else targets
    # The indices of max are those of argmax, in less than half of its time.
    return _fraction(outputs.max(1).indices == classes)


def _bce(outputs: Tensor, targets: Tensor) -> Tensor:
    losses = functional.binary_cross_entropy_with_logits(outputs, _like(targets, outputs), reduction="none")
    return _rows(losses)


def _same_side(outputs: Tensor, targets: Tensor) -> Tensor:
    return _fraction((outputs > 0) == (_like(targets, outputs) > 0.5))


def _mse(outputs: Tensor, targets: Tensor) -> Tensor:
    if not targets.is_floating_point() and targets.dim() == 1 and outputs.dim() == 2 and outputs.shape[1] > 1:
        wanted = functional.one_hot(targets, outputs.shape[1]).to(outputs.dtype)
    else:
        wanted = _like(targets, outputs)
    return _rows((outputs - wanted).square())


def _output(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs.double().expand(len(targets)) if outputs.dim() == 0 else _rows(outputs)


def _fraction(right: Tensor) -> Tensor:
    return right if right.dim() == 1 else right.flatten(1).double().mean(1)


def _like(targets: Tensor, outputs: Tensor) -> Tensor:
    """Targets in the outputs' shape and dtype; only axes of length one may differ. Raises BadInput."""
    if targets.shape != outputs.shape and _long_axes(targets) != _long_axes(outputs):
        raise BadInput(
            f"targets of shape {tuple(targets.shape)} for outputs of shape {tuple(outputs.shape)}",
            "the same shape",
        )
    return targets.to(outputs.dtype).reshape(outputs.shape)


def _long_axes(tensor: Tensor) -> list[int]:
    return [size for size in tensor.shape if size > 1]


def _built_in(name: str, rows: PerSample, correct: PerSample | None = None, of_classes: bool = False) -> Loss:
    return Loss(name, lambda o, t: rows(o, t).sum(), correct, of_classes, rows)


LOSSES = {
    "cross_entropy": _built_in("cross_entropy", _cross_entropy, _same_class, of_classes=True),
    "bce": _built_in("bce", _bce, _same_side),
    "mse": _built_in("mse", _mse, of_classes=True),
    "output": _built_in("output", _output),
}
