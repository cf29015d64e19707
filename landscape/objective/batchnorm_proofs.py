"""Batch-norm statistics by torch itself: one training pass of the batch-norm layers over all data as one batch."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from landscape import distributed
from landscape.objective import checks, plain, trees
from landscape.objective.batchnorm import normalisation_layers
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.result import Check, largest_gap

# Bytes that one batch of all data may take; beyond, nothing is proven.
MEMORY_LIMIT = 2**31


def statistics_of_a_pass(objective: Objective, tensors: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """The buffers that batch-norm layers store in one training pass of the momentum 1, dropout off.

    None where a pass over all samples at once cannot be had: in several processes, beyond the memory limit, or where
    a layer is called more than once or not at all. One evaluation.
    """
    size = torch.finfo(objective.dtype).bits // 8
    if distributed.num_processes() > 1 or objective.activations * size > MEMORY_LIMIT:
        return None
    layers = {
        name: layer
        for name, layer in normalisation_layers(objective.module).items()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm)
    }
    calls: dict[nn.Module, int] = dict.fromkeys(layers.values(), 0)

    def count(layer: nn.Module, _: object) -> None:
        calls[layer] += 1

    momenta = {layer: layer.momentum for layer in layers.values()}
    handles = [layer.register_forward_pre_hook(count) for layer in layers.values()]
    with (
        plain.proving(evaluations=1),
        objective.written(tensors),
        torch.set_grad_enabled(objective.needs_gradients),
    ):
        try:
            for layer in layers.values():
                layer.momentum, layer.__dict__["training"] = 1.0, True
                layer.reset_running_stats()
            objective.called(trees.mapped(torch.clone, objective.samples.inputs))
            found = {
                f"{name}.{buffer}" if name else buffer: getattr(layer, buffer).detach().clone()
                for name, layer in layers.items()
                for buffer in ("running_mean", "running_var")
            }
        except (RuntimeError, ValueError):
            return None
        finally:
            for handle in handles:
                handle.remove()
            for layer, momentum in momenta.items():
                layer.momentum, layer.__dict__["training"] = momentum, False
    return found if all(number == 1 for number in calls.values()) else None


def repaired_spread(
    objective: Objective, layers: Sequence[str], ends: Sequence[Point], moved: Point, t: float
) -> Check:
    """Mean and spread of every repaired channel against those between the ends', by plain hooks. Three evaluations.

    ``ends`` are the two points as their own models, statistics and all. And which layers are repaired at all.

    Channels are off by the roundings of their own sums; a layer without bias keeps its mean.
    """
    with _watched(objective) as wanted_layers:
        first = _spread(objective, layers, ends[0])
    second, now = (_spread(objective, layers, point) for point in (ends[1], moved))
    worst = 0.0 if {*layers} == wanted_layers() else math.inf
    for name in layers:
        wanted = [(1 - t) * a + t * b for a, b in zip(first[name], second[name], strict=True)]
        layer = objective.layers[name]
        scale = wanted[1].abs().max().clamp_min(1e-300)
        gaps = [now[name][1] - wanted[1]]
        if getattr(layer, "bias", None) is not None:
            gaps.append((now[name][0] - wanted[0]) * scale / (scale + wanted[0].abs().max()))
        # A channel that is constant at this point has no spread to rescale.
        gaps[0] = torch.where(now[name][1] > 0, gaps[0], 0.0)
        worst = largest_gap(worst, *(float(gap.abs().max() / scale) for gap in gaps))
    meaning = (
        "mean and spread of the channels after repair against those between the ends', by hooks, relative; infinite "
        "where other layers are repaired than can be"
    )
    return Check("repaired spread", worst, 10 * checks.rounding(objective), meaning)


@contextmanager
def _watched(objective: Objective) -> Iterator[Callable[[], set[str]]]:
    """What passes inside the ``with`` tell of the layers that can be repaired: a function that gives their names.

    Linear and convolutional ones that are called once a pass with a trained weight of their own, not the last one, nor
    any whose outputs batch norm is handed.
    """
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    named = objective.layers
    affine = {name: layer for name, layer in named.items() if isinstance(layer, kinds)}
    uses = Counter(id(getattr(layer, "weight", None)) for layer in named.values())
    calls, latest, normed = Counter[str](), dict[str, Tensor](), set[str]()

    def called(name: str) -> Callable[..., None]:
        def note(_: nn.Module, __: object, outputs: Tensor) -> None:
            calls[name] += 1
            latest[name] = outputs

        return note

    def handed(_: nn.Module, inputs: tuple[object, ...]) -> None:
        normed.update(name for name, outputs in latest.items() if outputs is inputs[0])

    def found() -> set[str]:
        order = [name for name in latest if name in affine]
        trained = {piece.name for piece in objective.pieces}
        return {
            name
            for name in order[:-1]
            if calls[name] == calls[""]
            and f"{name}.weight" in trained
            and uses[id(affine[name].weight)] == 1
            and name not in normed
        }

    handles = [layer.register_forward_hook(called(name)) for name, layer in {**affine, "": named[""]}.items()]
    handles += [layer.register_forward_pre_hook(handed) for layer in normalisation_layers(named[""]).values()]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _spread(objective: Objective, layers: Sequence[str], point: Point) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and standard deviation (c,) of the outputs of each layer over all samples, from one plain pass.

    Sums are taken about the first sample, so that nothing cancels.
    """
    sums: dict[str, Tensor] = {}
    centres: dict[str, Tensor] = {}

    def hook(name: str, axis: int) -> Callable[..., None]:
        def collect(_: nn.Module, __: object, outputs: Tensor) -> None:
            values = outputs.detach().double().movedim(axis, 0).flatten(1)
            if name not in centres:
                start = values[:, :1].clone() / distributed.num_processes()
                centres[name] = distributed.total(start)
            off = values - centres[name]
            count = torch.full((len(off), 1), off.shape[1], dtype=off.dtype, device=off.device)
            terms = torch.cat([count, off.sum(1, True), off.square().sum(1, True)], 1)
            sums[name] = sums[name] + terms if name in sums else terms

        return collect

    handles = [
        objective.layers[name].register_forward_hook(
            hook(name, -1 if isinstance(objective.layers[name], nn.Linear) else 1)
        )
        for name in layers
    ]
    try:
        plain.measure(objective, plain.by_name(objective, point))
    finally:
        for handle in handles:
            handle.remove()
    found = {}
    for name in layers:
        count, total, squares = distributed.total(sums[name]).T
        mean = total / count
        found[name] = (centres[name][:, 0] + mean, (squares / count - mean.square()).clamp_min(0).sqrt())
    return found
