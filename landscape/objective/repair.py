"""REPAIR (Jordan et al. 2023): give the nets between two their spread of activations back.

Halfway between two nets the pre-activations have collapsed: their variance is far below that of
either. REPAIR rescales every channel to the mean and standard deviation interpolated between the ends'
(equation 3 there). Here the rescaling is folded into weight and bias of the layer itself, so that a
repaired net is a function of θ and no module is rewritten; batch norm has its statistics recomputed,
which does the same for its outputs.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from landscape import distributed
from landscape.objective import batchnorm
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point, split

AFFINE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
Fixed = Mapping[str, Tensor]


class Moments(NamedTuple):
    """Mean and standard deviation of every channel of a layer's outputs over the data, float64 (c,)."""

    mean: Tensor
    deviation: Tensor


class _Reached(Exception):
    """The forward pass has gone through the layer whose outputs are wanted."""


class Repair:
    """Repairs points of the straight line from ``first`` to ``second``, whose statistics it measures once.

    Rescaled are linear and convolutional layers, in the order in which they are reached, each with the
    layers before it already repaired. Left alone are the last one reached, whose outputs are the net's,
    one that batch norm follows, and one whose weight is used twice. A layer without a bias gets its
    spread and not its mean.
    """

    def __init__(self, objective: Objective, first: Point, second: Point):
        self.objective = objective
        self.layers = _layers_in_order(objective, first)
        self.ends = [
            [_moments(objective, point.theta, point.fixed, name) for name in self.layers]
            for point in (first, second)
        ]

    def __call__(self, theta: Tensor, fixed: Fixed, t: float) -> tuple[Tensor, Fixed]:
        """θ and buffers of the net at ``theta`` = (1 − t)A + tB, repaired; the ends are left as they are."""
        objective = self.objective
        if objective.has_batchnorm:
            fixed = objective.recalibrated(theta, fixed)
        if t in (0, 1):
            return theta, fixed
        repaired = theta.clone()
        views = split(repaired, objective.pieces)
        for name, at_first, at_second in zip(self.layers, *self.ends, strict=True):
            now = _moments(objective, repaired, fixed, name)
            mean, deviation = ((1 - t) * a + t * b for a, b in zip(at_first, at_second, strict=True))
            # A channel that is constant has no spread to rescale.
            factor = torch.where(now.deviation > 0, deviation / now.deviation, torch.ones_like(deviation))
            weight, bias = views[f"{name}.weight"], views.get(f"{name}.bias")
            weight.mul_(factor.to(weight).reshape(-1, *[1] * (weight.dim() - 1)))
            if bias is not None:
                bias.copy_((bias.double() * factor + mean - factor * now.mean).to(bias))
            if objective.has_batchnorm:
                fixed = objective.recalibrated(repaired, fixed)
        return repaired, fixed


def _layers_in_order(objective: Objective, point: Point) -> list[str]:
    """Names of the layers to rescale, in the order of a forward pass."""
    trainable = {piece.name for piece in objective.pieces}
    weights = [getattr(layer, "weight", None) for layer in objective.layers.values()]
    affine = {name: layer for name, layer in objective.layers.items() if isinstance(layer, AFFINE)}
    normalised = batchnorm.normalisation_layers(objective.layers[""])
    reached: dict[str, list[Tensor]] = {}
    normed: list[Tensor] = []

    def note(name: str) -> Callable[..., None]:
        return lambda _, __, outputs: reached.setdefault(name, []).append(outputs)

    hooks = {layer: note(name) for name, layer in affine.items()}
    hooks |= {layer: lambda _, inputs, __: normed.append(inputs[0]) for layer in normalised.values()}
    with _hooks(hooks):
        _run(objective, point.theta, point.fixed, first_chunk_only=True)
    return [
        name
        for name, outputs in list(reached.items())[:-1]
        if len(outputs) == 1
        and f"{name}.weight" in trainable
        and sum(weight is affine[name].weight for weight in weights) == 1
        and not any(one is outputs[0] for one in normed)
    ]


def _moments(objective: Objective, theta: Tensor, fixed: Fixed, name: str) -> Moments:
    """Mean and spread of the outputs of one layer at θ over all samples, in two passes that end there."""
    layer = objective.layers[name]
    axis = -1 if isinstance(layer, nn.Linear) else 1
    sums: list[Tensor] = []
    centre: Tensor | None = None

    def collect(_: nn.Module, __: Any, outputs: Tensor) -> None:
        values = outputs.double().movedim(axis, 0).flatten(1)
        size = torch.full((1,), values.shape[1], dtype=torch.float64, device=values.device)
        terms = values.sum(1) if centre is None else (values - centre[:, None]).square().sum(1)
        sums.append(torch.cat([size, terms]))
        raise _Reached

    found: list[Tensor] = []
    for _ in range(2):
        sums.clear()
        with _hooks({layer: collect}):
            _run(objective, theta, fixed)
        whole = distributed.total(torch.stack(sums).sum(0))
        centre = whole[1:] / whole[0]
        found.append(centre)
    return Moments(found[0], found[1].sqrt())


def _run(objective: Objective, theta: Tensor, fixed: Fixed, first_chunk_only: bool = False) -> None:
    with torch.no_grad():
        for inputs, _ in objective.chunks():
            with suppress(_Reached):
                objective.outputs(theta, fixed, inputs)
            if first_chunk_only:
                return


@contextmanager
def _hooks(hooks: Mapping[nn.Module, Callable[..., None]]) -> Iterator[None]:
    """Forward hooks that are there inside the ``with`` alone."""
    handles = [layer.register_forward_hook(hook) for layer, hook in hooks.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
