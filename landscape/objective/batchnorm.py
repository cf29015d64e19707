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
from landscape.inputs.data.batches import joined
from landscape.objective import trees

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


def statistics_of(module: nn.Module) -> set[str]:
    """The names of the buffers in which :func:`normalisation_layers` keep them."""
    layers = normalisation_layers(module).items()
    return {f"{name}.{key}".lstrip(".") for name, layer in layers for key in layer._buffers}


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
    Means and variances are combined in float64 (Chan, Golub and LeVeque 1983). Where a layer is called
    several times, or its statistics are read without a call of it, there is a training pass of these layers
    over all samples as a single batch; of several calls it stores the mean, as ``momentum=None`` does.

    Raises BadInput where statistics are read that no such pass stores, and for such a pass in several processes.
    """
    layers = normalisation_layers(module)
    names = {layer: name for name, layer in layers.items()}
    if _is_called_otherwise(layers, forward, fixed, next(iter(chunks()))):
        return _by_a_pass(module, layers, forward, fixed, list(chunks()))
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
        for key, value in zip(_keys(name), (mean, squares / count), strict=True):
            fresh[key] = value.to(fresh[key].dtype)
        # A training pass normalises with the biased variance and stores the unbiased one.
        corrections[_keys(name)[1]] = count / max(count - 1, 1)
    for key, factor in corrections.items():
        fresh[key] = fresh[key] * factor
    return fresh


def _keys(name: str) -> tuple[str, str]:
    """The names of the statistics of a layer."""
    prefix = f"{name}." if name else ""
    return f"{prefix}running_mean", f"{prefix}running_var"


def _is_called_otherwise(
    layers: Mapping[str, nn.Module], forward: Any, fixed: Mapping[str, Tensor], inputs: Any
) -> bool:
    """Whether a layer is called more than once, or not at all though its statistics are read."""
    calls: dict[nn.Module, int] = dict.fromkeys(layers.values(), 0)

    def count(layer: nn.Module, _: Any) -> None:
        calls[layer] += 1

    hooks = [layer.register_forward_pre_hook(count) for layer in calls]
    try:
        outputs = forward(fixed, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    unseen = [key for name, layer in layers.items() if not calls[layer] for key in _keys(name)]
    if unseen and max(calls.values()) < 2:
        other = forward({**fixed, **{key: 2 * fixed[key] + 1 for key in unseen}}, inputs)
        return not trees.agree(other, outputs, 0.0)
    return max(calls.values(), default=0) > 1


def _by_a_pass(
    module: nn.Module,
    layers: Mapping[str, nn.Module],
    forward: Any,
    fixed: Mapping[str, Tensor],
    chunks: Sequence[Any],
) -> dict[str, Tensor]:
    if distributed.num_processes() > 1:
        raise BadInput(
            "batch-norm layers that are called several times, or not by themselves, in several processes",
            "one process, which has all samples as one batch",
            "take `batchnorm` frozen, or leave torchrun away",
        )
    calls: dict[nn.Module, int] = dict.fromkeys(layers.values(), 0)
    before = [(layer, layer.momentum, layer.training) for layer in calls]

    def train(*_: Any) -> None:
        for layer in calls:
            layer.__dict__["training"] = True

    def weigh(layer: nn.Module, _: Any) -> None:
        calls[layer] += 1
        layer.__dict__["momentum"] = 1 / calls[layer]

    hooks = [module.register_forward_pre_hook(train)]
    hooks += [layer.register_forward_pre_hook(one) for layer in calls for one in (train, weigh)]
    keys = [key for name in layers for key in _keys(name)]
    # What is still there afterwards was not stored by the pass.
    begin = {key: 2 * fixed[key] + 1 for key in keys}
    fresh = {name: begin.get(name, tensor).clone() for name, tensor in fixed.items()}
    try:
        for layer in calls:
            layer.__dict__["momentum"] = 1.0
        with single_samples_explained():
            forward(fresh, joined(chunks) if len(chunks) > 1 else chunks[0])
    finally:
        for hook in hooks:
            hook.remove()
        for layer, momentum, training in before:
            layer.__dict__.update(momentum=momentum, training=training)
    found = {**fixed, **{key: fresh[key] for key in keys if not torch.equal(fresh[key], begin[key])}}
    left = {name: one for name, one in layers.items() if found[_keys(name)[0]] is fixed[_keys(name)[0]]}
    read = [
        name for name, one in left.items() if _is_called_otherwise({name: one}, forward, found, chunks[0])
    ]
    if read:
        raise BadInput(
            f"the statistics of {', '.join(read)} are read where it is not called, and stored by no training pass",
            "batch norm that is called as a layer",
            "call it in the forward, or take `batchnorm` frozen",
        )
    return found


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
