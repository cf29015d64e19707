"""The two modes of a module: what ``train()`` and ``eval()``, which layers may have made their own, change in them."""

from collections.abc import Sequence
from contextlib import suppress
from enum import Enum
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from landscape.errors import BadInput

# What an attribute may hold that follows from the mode alone.
FROM_THE_MODE = (bool, int, float, complex, str, bytes, Enum, type(None))


Attributes = list[tuple[nn.Module, dict[str, Any]]]


class Mode(NamedTuple):
    """What a mode is: of every layer whether it trains, and of some the attributes that are others then.

    ``more`` names what else the call changes: numbers of parameters and buffers, what is computed from them and kept.
    """

    flags: list[bool]
    attributes: Attributes
    more: list[str]


def in_mode(module: nn.Module, training: bool) -> nn.Module:
    """``module`` in that mode, its numbers as they are; one whose graph was exported stays in the mode of then."""
    layers = list(module.modules())
    if not any(map(has_own_modes, layers)):
        return switched(module, training)
    mode = modes_of(module)[training]
    for layer, flag in zip(layers, mode.flags, strict=True):
        layer.__dict__["training"] = flag
    for layer, attributes in mode.attributes:
        layer.__dict__.update(attributes)
    return module


def switched(module: nn.Module, training: bool) -> nn.Module:
    """``module`` after its own ``train()`` or ``eval()``."""
    with suppress(NotImplementedError):
        if training:
            module.train()
        else:
            module.eval()
    return module


def has_own_modes(layer: nn.Module) -> bool:
    """Whether its ``train()`` or its ``eval()`` is another than that of every module."""
    kind, usual = type(layer), nn.Module
    is_own = kind.train is not usual.train or kind.eval is not usual.eval
    return is_own or not layer.__dict__.keys().isdisjoint(("train", "eval"))


def modes_of(module: nn.Module) -> dict[bool, Mode]:
    """Both modes of ``module``, which is left as it was, bit for bit."""
    layers = list(module.modules())
    return {training: _mode(module, layers, training) for training in (True, False)}


def require_own_numbers(module: nn.Module, modes: dict[bool, Mode]) -> None:
    """Raises BadInput where ``eval()`` has rewritten parameters, as of merged adapters: they do nothing then."""
    if more := () if module.training else modes[True].more:
        raise BadInput(
            f"eval() of {type(module).__name__} has changed {', '.join(more[:3])}, which train() changes back",
            "parameters that enter the outputs as they are",
            "hand the module over in training mode, by train() once more: F is that of eval mode all the same",
        )


def _mode(module: nn.Module, layers: Sequence[nn.Module], training: bool) -> Mode:
    flags = [layer.training for layer in layers]
    before = _Before(module, layers) if any(map(has_own_modes, layers)) else None
    try:
        switched(module, training)
        attributes, more = before.changed() if before else ([], [])
        return Mode([layer.training for layer in layers], attributes, more)
    finally:
        if module.training is not flags[0]:
            switched(module, flags[0])
        if before:
            before.put_back()
        for layer, flag in zip(layers, flags, strict=True):
            layer.__dict__["training"] = flag


class _Before:
    """A module as it is now: what is another later, and how to put it back."""

    def __init__(self, module: nn.Module, layers: Sequence[nn.Module]):
        self._names = {layer: name for name, layer in module.named_modules()}
        self._held = [(layer, dict(layer.__dict__)) for layer in layers]
        # Parameters, buffers and layers lie in dictionaries of their own.
        registers: list[dict[str, Any]] = []
        for layer in layers:
            registers += [layer._parameters, layer._buffers, layer._modules]
        self._within = [(own, dict(own)) for own in registers]
        tensors = (*module.named_parameters(), *module.named_buffers())
        self._numbers = [(name, one, one.detach().clone()) for name, one in tensors]

    def changed(self) -> tuple[Attributes, list[str]]:
        """Attributes that follow from a mode, of their layers; or the names of what else is another."""
        more = [name for name, now, was in self._numbers if not _are_same(now.detach(), was)]
        if any(
            own.keys() != had.keys() or any(own[key] is not had[key] for key in had)
            for own, had in self._within
        ):
            more.append("its layers")
        found: Attributes = []
        for layer, had in self._held:
            now = {key: one for key, one in layer.__dict__.items() if one is not had.get(key, layer)}
            now.pop("training", None)
            for key, value in now.items():
                if not all(_is_of_the_mode(one) for one in (value, had.get(key))):
                    more.append(f"{self._names[layer]}.{key}".lstrip("."))
            if now:
                found.append((layer, now))
        # Where numbers go with the mode, so do the attributes that tell of them.
        return ([] if more else found), more

    def put_back(self) -> None:
        for _, now, was in self._numbers:
            if now.shape != was.shape or now.dtype != was.dtype:
                now.data = was
            elif not _are_same(now.detach(), was):
                now.data.copy_(was)
        for own, had in self._within:
            own.clear()
            own.update(had)
        for layer, had in self._held:
            layer.__dict__.clear()
            layer.__dict__.update(had)


def _is_of_the_mode(one: Any) -> bool:
    is_function = callable(one) and not isinstance(one, nn.Module | type)
    return is_function or isinstance(one, FROM_THE_MODE)


def _are_same(now: Tensor, was: Tensor) -> bool:
    """Whether all numbers are; NaN is NaN."""
    if now.shape != was.shape or now.dtype != was.dtype:
        return False
    return torch.equal(now, was) or bool(((now == was) | ((now != now) & (was != was))).all())
