"""A symmetry that was found is tried: random permutations must leave the function as it is."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from landscape.numerics.permutations import Symmetry, permuted
from landscape.symmetry.tracing import Traced, traced

TOLERANCE = 1e-9


def symmetry_of(module: nn.Module, inputs: tuple[Any, ...], *, seed: int = 0) -> Traced:
    """The permutations of hidden units that leave the function of ``module`` as it is.

    Found from its graph on ``inputs`` (a few samples along axis 0); then all groups are permuted at random
    in float64, and where the outputs move by more than 1e-9 of their size, each one alone: those that
    change the function are blocked and say so. The module stays as it is. Raises BadInput for a module
    that cannot be traced.
    """
    module = copy.deepcopy(module).double().eval().cpu().requires_grad_()
    inputs = tuple(_double(part) for part in inputs)
    found = traced(module, inputs)
    generator = torch.Generator().manual_seed(seed)
    tensors = {name: t.detach() for name, t in (*module.named_parameters(), *module.named_buffers())}
    symmetry = found.symmetry

    def changes(only: int | None = None) -> bool:
        other = permuted(tensors, symmetry, symmetry.random(generator, only))
        return not function_difference(module, tensors, other, inputs) <= TOLERANCE

    if changes():
        for group in symmetry.free:
            if changes(group):
                symmetry = symmetry.without(group, "permuting it changed the function")
        if changes():
            for group in symmetry.free:
                symmetry = symmetry.without(group, "permuting it with others changed the function")
    return found._replace(symmetry=symmetry)


def function_difference(
    module: nn.Module, tensors: Mapping[str, Tensor], other: Mapping[str, Tensor], inputs: tuple[Any, ...]
) -> float:
    """max |h(x; other) − h(x; tensors)| over max |h(x; tensors)|, NaN where an output is."""
    with torch.no_grad():
        first, second = (
            list(_tensors(functional_call(module, dict(one), tuple(_copied(inputs))))) for one in (tensors, other)
        )
    scale = max((float(part.double().abs().max()) for part in first), default=0.0)
    gap = max(
        (float((a.double() - b.double()).abs().max()) for a, b in zip(first, second, strict=True)), default=0.0
    )
    return gap / scale if scale else gap


def _double(part: Any) -> Any:
    part = part.detach().cpu()
    return part.double() if part.is_floating_point() else part


def _copied(inputs: tuple[Any, ...]) -> list[Any]:
    return [part.clone() for part in inputs]


def _tensors(outputs: Any) -> list[Tensor]:
    if isinstance(outputs, Tensor):
        return [outputs]
    parts = outputs.values() if isinstance(outputs, dict) else outputs
    return [one for part in parts for one in _tensors(part)] if isinstance(outputs, dict | list | tuple) else []
