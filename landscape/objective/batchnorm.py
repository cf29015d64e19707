"""Batch norm away from the point its statistics belong to: ``frozen`` or ``recalibrate``.

``frozen`` keeps the buffers of the point (mixed in proportion between several points).
``recalibrate`` replaces running means and variances by those of the whole data set at the new θ,
dropout off: what one training-mode pass over all samples as a single batch would store.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, get_args

import torch
from torch import Tensor, nn

from landscape import distributed
from landscape.choices import BatchNorm as Policy
from landscape.choices import LineBatchNorm
from landscape.errors import BadInput

POLICIES = get_args(Policy)
# On the straight line between two points there is one more, :mod:`landscape.objective.repair`.
LINE_POLICIES = get_args(LineBatchNorm)
BatchNorm = nn.modules.batchnorm._BatchNorm


class _Reached(Exception):
    """The forward pass has come to the layer whose inputs are wanted."""


def normalisation_layers(module: nn.Module) -> dict[str, nn.Module]:
    """Batch-norm layers that keep running statistics, by name."""
    return {
        name: layer
        for name, layer in module.named_modules()
        if isinstance(layer, BatchNorm) and layer.running_mean is not None
    }


def blend(parts: Sequence[Mapping[str, Tensor]], weights: Sequence[float]) -> Mapping[str, Tensor]:
    """Buffers and frozen parameters of several points mixed by ``weights``.

    Weights are clipped to be non-negative and rescaled to sum one, so a variance never turns
    negative outside the points; integer buffers are those of the heaviest point.
    """
    clipped = [max(weight, 0.0) for weight in weights]
    whole = sum(clipped)
    heaviest = max(range(len(parts)), key=clipped.__getitem__)
    if clipped[heaviest] == whole or all(part is parts[0] for part in parts):
        return parts[heaviest]
    mixed: dict[str, Tensor] = {}
    for name, reference in parts[heaviest].items():
        if reference.is_floating_point():
            terms = [
                part[name] * (weight / whole) for part, weight in zip(parts, clipped, strict=True) if weight
            ]
            mixed[name] = torch.stack(terms).sum(0)
        else:
            mixed[name] = reference
    return mixed


def require_splittable(module: nn.Module) -> None:
    """Raises BadInput where a training batch split over processes would not be that of one process."""
    for name, layer in module.named_modules():
        if isinstance(layer, BatchNorm | nn.modules.dropout._DropoutNd):
            raise BadInput(
                f"{name or 'the module'} is a {type(layer).__name__}, which sees a batch as a whole in training",
                "a module that trains on each sample by itself, where several processes share a batch",
                "train in one process",
            )


@contextmanager
def single_samples_explained() -> Iterator[None]:
    """A training pass that batch norm refuses, as one sample has no variance, becomes a sentence."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise BadInput(
            "batch norm has no variance in a batch of one sample",
            "at least two samples in every batch, the last one of a pass too",
            "take another `batch_size`",
        ) from error


def recalibrated(
    module: nn.Module,
    fixed: Mapping[str, Tensor],
    forward: Callable[[Mapping[str, Tensor], Any], object],
    chunks: Callable[[], Iterable[Any]],
) -> dict[str, Tensor]:
    """``fixed`` with the running statistics of the whole data set.

    ``forward(fixed, inputs)`` runs ``module`` in eval mode. Each layer's statistics are taken, chunk
    by chunk, from inputs already normalised by the layers before it, so the result does not depend
    on the chunks: one cut-off pass over the data per layer, in the order the layers are reached.
    Means and variances are combined in float64 (Chan, Golub and LeVeque 1983).
    """
    layers = normalisation_layers(module)
    names = {layer: name for name, layer in layers.items()}
    fresh = dict(fixed)
    corrections: dict[str, float] = {}
    remaining = set(layers.values())
    while remaining:
        target = _next_layer(remaining, forward, fresh, next(iter(chunks())))
        if target is None:
            break
        count, mean, squares = _moments(target, forward, fresh, chunks())
        remaining.discard(target)
        name = names[target]
        for buffer, value in (("running_mean", mean), ("running_var", squares / count)):
            key = f"{name}.{buffer}" if name else buffer
            fresh[key] = value.to(fresh[key].dtype)
        # A training pass normalises with the biased variance and stores the unbiased one.
        corrections[f"{name}.running_var" if name else "running_var"] = count / max(count - 1, 1)
    for key, factor in corrections.items():
        fresh[key] = fresh[key] * factor
    return fresh


def _next_layer(
    remaining: set[nn.Module], forward: Any, fixed: Mapping[str, Tensor], inputs: Any
) -> nn.Module | None:
    reached: list[nn.Module] = []

    def stop(layer: nn.Module, _: Any) -> None:
        reached.append(layer)
        raise _Reached

    hooks = [layer.register_forward_pre_hook(stop) for layer in remaining]
    try:
        forward(fixed, inputs)
    except _Reached:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    return reached[0] if reached else None


def _moments(layer: nn.Module, forward: Any, fixed: Mapping[str, Tensor], chunks: Iterable[Any]) -> Any:
    count, mean, squares = 0, torch.zeros(()), torch.zeros(())

    def collect(_: nn.Module, arguments: Any) -> None:
        nonlocal count, mean, squares
        values = arguments[0].double().transpose(0, 1).flatten(1)
        size, centre = values.shape[1], values.mean(1)
        spread = (values - centre[:, None]).square().sum(1)
        shift = centre - mean
        mean = mean + shift * (size / (count + size))
        squares = squares + spread + shift.square() * (count * size / (count + size))
        count += size
        raise _Reached

    hook = layer.register_forward_pre_hook(collect)
    try:
        for inputs in chunks:
            with suppress(_Reached):
                forward(fixed, inputs)
    finally:
        hook.remove()
    if distributed.num_processes() > 1:
        whole = distributed.total(torch.tensor(float(count), device=mean.device))
        centre = distributed.total(mean * count) / whole
        squares = distributed.total(squares + count * (mean - centre).square())
        count, mean = int(whole.item()), centre
    return count, mean, squares
