"""Losses as sums over samples, so that a value never depends on how the data were cut."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from landscape.errors import BadInput
from landscape.sources import is_factory_spec, resolve

PerSample = Callable[[Any, Tensor], Tensor]


@dataclass(frozen=True)
class Loss:
    """ℓ of the objective. ``total`` sums over the samples of a batch; ``correct`` marks those classified right.

    ``total(outputs, targets)`` returns a scalar, ``correct(outputs, targets)`` a boolean (n,), or is
    None where accuracy has no meaning.
    """

    name: str
    total: PerSample
    correct: PerSample | None = None


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
    correct = LOSSES["cross_entropy"].correct if isinstance(loss, nn.CrossEntropyLoss | nn.NLLLoss) else None
    if isinstance(loss, nn.BCEWithLogitsLoss):
        correct = LOSSES["bce"].correct
    return Loss(name, loss, correct)


def settle_reduction(loss: Loss, outputs: Any, targets: Tensor) -> Loss:
    """``loss`` with a ``total`` that truly sums over samples, checked on a few of them.

    A sum satisfies L(a ∪ b) = L(a) + L(b), a mean |a ∪ b| L(a ∪ b) = |a| L(a) + |b| L(b). What does
    neither (a class-weighted mean, a loss that compares samples) has no value free of the batch and
    raises BadInput.
    """
    if loss.name in LOSSES and LOSSES[loss.name] is loss:
        return loss
    function = _unreduced(loss.total)
    count = len(targets)

    def of(span: slice) -> Tensor:
        return function(_part(outputs, span), targets[span])

    whole = of(slice(0, count))
    if not isinstance(whole, Tensor):
        raise BadInput(f"the loss {loss.name} returned a {type(whole).__name__}", "a tensor")
    if whole.dim() > 0 and whole.shape[0] == count:
        if isinstance(loss.total, nn.Module) and getattr(loss.total, "reduction", "none") == "mean":
            _same_mean(loss, whole, loss.total(outputs, targets))
        return Loss(loss.name, lambda o, t: _rows(function(o, t)).sum(), loss.correct)
    if whole.numel() != 1:
        raise BadInput(
            f"the loss {loss.name} returned shape {tuple(whole.shape)}", "a scalar, or one loss per sample"
        )
    if count == 1:
        return Loss(loss.name, lambda o, t: function(o, t).reshape(()) * len(t), loss.correct)
    half = (count + 1) // 2
    head, tail = of(slice(0, half)), of(slice(half, count))
    scale = (head.abs() + tail.abs()).item() * count
    tolerance = 1e-4 * scale + 1e-12
    if abs((whole * count - head * half - tail * (count - half)).item()) <= tolerance:
        return Loss(loss.name, lambda o, t: function(o, t).reshape(()) * len(t), loss.correct)
    if abs((whole - head - tail).item()) <= tolerance:
        return Loss(loss.name, lambda o, t: function(o, t).reshape(()), loss.correct)
    raise BadInput(
        f"the loss {loss.name} is neither a mean nor a sum over samples",
        "a value that does not depend on the batch",
        "give it reduction='none'",
    )


def _unreduced(loss: PerSample) -> PerSample:
    if isinstance(loss, nn.Module) and getattr(loss, "reduction", None) == "mean":
        bare = copy.copy(loss)
        bare.reduction = "none"  # type: ignore[assignment]
        return bare
    return loss


def _same_mean(loss: Loss, per_sample: Tensor, mean: Tensor) -> None:
    if not torch.allclose(per_sample.mean(), mean, rtol=1e-4, equal_nan=True):
        raise BadInput(
            f"the mean of {loss.name} is weighted, so it depends on the batch",
            "a plain mean over samples",
            "give it reduction='none'",
        )


def _part(outputs: Any, span: slice) -> Any:
    return tuple(part[span] for part in outputs) if isinstance(outputs, tuple) else outputs[span]


def _rows(losses: Tensor) -> Tensor:
    return losses if losses.dim() == 1 else losses.flatten(1).mean(1)


def _cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    if outputs.dim() == 2:
        return functional.cross_entropy(outputs, targets, reduction="sum")
    return _rows(functional.cross_entropy(outputs, targets, reduction="none")).sum()


def _bce(outputs: Tensor, targets: Tensor) -> Tensor:
    losses = functional.binary_cross_entropy_with_logits(outputs, _like(targets, outputs), reduction="none")
    return _rows(losses).sum()


def _mse(outputs: Tensor, targets: Tensor) -> Tensor:
    if not targets.is_floating_point() and outputs.dim() == 2:
        wanted = functional.one_hot(targets, outputs.shape[1]).to(outputs.dtype)
    else:
        wanted = _like(targets, outputs)
    return _rows((outputs - wanted).square()).sum()


def _output(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs.reshape(()) * len(targets) if outputs.dim() == 0 else _rows(outputs).sum()


def _like(targets: Tensor, outputs: Tensor) -> Tensor:
    return targets.to(outputs.dtype).reshape(outputs.shape)


LOSSES = {
    "cross_entropy": Loss("cross_entropy", _cross_entropy, lambda o, t: o.argmax(1) == t),
    "bce": Loss("bce", _bce, lambda o, t: (o > 0) == (_like(t, o) > 0.5)),
    "mse": Loss("mse", _mse),
    "output": Loss("output", _output),
}
