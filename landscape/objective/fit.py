"""Do module, data and loss fit one another? Found out once, on a few samples, before anything is measured."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from landscape.errors import BadInput, LandscapeError, loss_failed
from landscape.objective.losses import Loss, settle_reduction

FEW = 4
# Two evaluations of the same samples differ by rounding only; this is far above it and far below a dropout.
SAME = 1e-3


class Fit(NamedTuple):
    """What a module was seen to do with a few samples in eval mode.

    ``moves_buffers`` and ``moves_inputs``: it writes into its buffers, or into its inputs.
    ``mixes_samples``: the output of a sample depends on the others, as with batch norm that keeps no
    running statistics.
    """

    loss: Loss
    activations_per_sample: int
    moves_buffers: bool
    moves_inputs: bool
    mixes_samples: bool


def private_copy(module: nn.Module) -> nn.Module:
    """A deep copy that can be called without side effects on its weights. Raises BadInput."""
    try:
        private = copy.deepcopy(module)
    except Exception as error:
        raise BadInput(
            f"{type(module).__name__} cannot be copied ({error})",
            "a module that copy.deepcopy takes",
            "old-style weight_norm hooks are the usual cause; use torch.nn.utils.parametrizations",
        ) from error
    for layer in private.modules():
        if isinstance(layer, nn.Embedding | nn.EmbeddingBag):
            if layer.max_norm is not None:
                raise BadInput("an embedding with max_norm rewrites its weights when called", "max_norm=None")
            layer.sparse = False
    for parameter in private.parameters():
        parameter.grad = None
    return private


def fit(
    module: nn.Module, loss: Loss, inputs: tuple[Tensor, ...], targets: Tensor, all_targets: Tensor
) -> Fit:
    """Run ``module``, in eval mode, and ``loss`` on a few samples; check the range of all targets.

    The module's buffers are left as they were. Raises BadInput where module, data and loss do not fit,
    and where the same inputs give different outputs, as then there is no function to look at.
    """
    buffers = {name: tensor.clone() for name, tensor in module.named_buffers()}

    def run(count: int) -> tuple[Any, bool]:
        """The outputs of the first samples, and whether the inputs were overwritten."""
        used = tuple(part[:count].clone() for part in inputs)
        with torch.no_grad():
            outputs = _outputs(module, used)
        kept = all(torch.equal(a, b[:count]) for a, b in zip(used, inputs, strict=True))
        return outputs, not kept

    sizes: list[int] = []
    hooks = [
        layer.register_forward_hook(
            lambda _, __, out: sizes.append(out.numel() if isinstance(out, Tensor) else 0)
        )
        for layer in module.modules()
    ]
    try:
        outputs, moves_inputs = run(len(targets))
    finally:
        for hook in hooks:
            hook.remove()
    moves_buffers = any(not torch.equal(buffers[name], now) for name, now in module.named_buffers())
    _put_back(module, buffers)
    again, _ = run(len(targets))
    _put_back(module, buffers)
    if not _is_same(again, outputs):
        raise BadInput(
            f"{type(module).__name__} gives different outputs for the same inputs in eval mode",
            "a function of its parameters",
            "switch its randomness off where self.training is false",
        )
    half = (len(targets) + 1) // 2
    head = run(half)[0] if half < len(targets) else outputs
    _put_back(module, buffers)
    _check_targets(loss, outputs, all_targets)
    return Fit(
        _settled(loss, outputs, targets),
        max(1, sum(sizes) // len(targets)),
        moves_buffers,
        moves_inputs,
        mixes_samples=not _is_same(head, _first(outputs, half, len(targets))),
    )


def _outputs(module: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
    try:
        return module(*inputs)
    except LandscapeError:
        raise
    except Exception as error:
        shapes = ", ".join(str(tuple(part.shape)) for part in inputs)
        raise BadInput(
            f"{type(module).__name__} does not take inputs of shape {shapes}: {error}",
            "a module that fits the data",
        ) from error


def _put_back(module: nn.Module, buffers: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, tensor in module.named_buffers():
            tensor.copy_(buffers[name])


def _first(outputs: Any, count: int, whole: int) -> Any:
    has_samples = isinstance(outputs, Tensor) and outputs.dim() > 0 and len(outputs) == whole
    return outputs[:count] if has_samples else None


def _is_same(one: Any, other: Any) -> bool:
    """Equal but for rounding; True for what cannot be compared."""
    if not (isinstance(one, Tensor) and isinstance(other, Tensor)) or one.shape != other.shape:
        return True
    one, other = one.double(), other.double()
    size = float(other[other.isfinite()].abs().max()) if bool(other.isfinite().any()) else 0.0
    return torch.allclose(one, other, rtol=SAME, atol=SAME * size, equal_nan=True)


def _settled(loss: Loss, outputs: Any, targets: Tensor) -> Loss:
    total: Callable[..., Tensor] = loss.total
    if isinstance(total, nn.Module) and isinstance(outputs, Tensor):
        # The user's own loss may hold weights; theirs stay where they are.
        loss = replace(loss, total=copy.deepcopy(total).to(outputs.device, outputs.dtype))
    try:
        with torch.no_grad():
            settled = settle_reduction(loss, outputs, targets)
            settled.total(outputs, targets)
    except LandscapeError:
        raise
    except Exception as error:
        raise loss_failed(loss.name, outputs, targets, error) from error
    return settled


def _check_targets(loss: Loss, outputs: Any, targets: Tensor) -> None:
    if loss.name == "bce":
        low, high = float(targets.min()), float(targets.max())
        if low < 0 or high > 1:
            raise BadInput(f"targets run from {low:g} to {high:g}", "0 to 1 for the loss bce")
    if not loss.of_classes or targets.is_floating_point() or not isinstance(outputs, Tensor):
        return
    ignored = int((targets == getattr(loss.total, "ignore_index", -1)).sum())
    if ignored and getattr(loss.total, "reduction", "mean") == "mean":
        raise BadInput(
            f"{ignored} targets are ignored by {loss.name}, so its mean is not one over all samples",
            "a loss for every sample",
            "leave those samples out",
        )
    if targets.dim() == outputs.dim() - 1 and outputs.shape[1] > 1:
        classes = outputs.shape[1]
        low, high = int(targets.min()), int(targets.max())
        if low < 0 or high >= classes:
            raise BadInput(
                f"targets run from {low} to {high}",
                f"classes 0 to {classes - 1}, as the module has {classes} outputs",
            )
