"""The two modes of a module: what ``train()`` and ``eval()``, which layers may have made their own, change in them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from landscape.errors import BadInput
from landscape.objective import trees


class Attributes(NamedTuple):
    """What is another in a dictionary of a layer, ``within``, as of its hooks, or among its attributes (None)."""

    layer: nn.Module
    within: str | None
    entries: dict[str, Any]
    gone: list[str]

    @property
    def own(self) -> dict[str, Any]:
        attributes = self.layer.__dict__
        return attributes if self.within is None else attributes[self.within]

    def put(self) -> None:
        self.own.update(self.entries)
        for key in self.gone:
            self.own.pop(key, None)


class Mode(NamedTuple):
    """What a mode is: of every layer whether it trains, and of some the attributes that are others then.

    ``more`` names what else the call changes: numbers of parameters and buffers, what is computed from them and kept.
    """

    flags: list[bool]
    attributes: list[Attributes]
    more: list[str]

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Inside, the attributes are those of the mode."""
        before = [(one.own, dict(one.own)) for one in self.attributes]
        try:
            for one in self.attributes:
                one.put()
            yield
        finally:
            for own, had in reversed(before):
                own.clear()
                own.update(had)


def in_mode(module: nn.Module, training: bool) -> nn.Module:
    """``module`` in that mode, its numbers as they are; one whose graph was exported stays in the mode of then."""
    layers = list(module.modules())
    if not any(map(has_own_modes, layers)):
        return switched(module, training)
    mode = modes_of(module)[training]
    for layer, flag in zip(layers, mode.flags, strict=True):
        layer.__dict__["training"] = flag
    for attributes in mode.attributes:
        attributes.put()
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
        if before and more:
            attributes, more = _without_constants(module, before, training, attributes, more)
        return Mode([layer.training for layer in layers], attributes, more)
    finally:
        if module.training is not flags[0]:
            switched(module, flags[0])
        if before:
            before.put_back()
        for layer, flag in zip(layers, flags, strict=True):
            layer.__dict__["training"] = flag


def _without_constants(
    module: nn.Module, before: "_Before", training: bool, attributes: list[Attributes], more: list[str]
) -> tuple[list[Attributes], list[str]]:
    """Both, without the attributes in ``more`` whose numbers are the same where those of all parameters are others."""
    found = before.loose
    if set(found) != set(more):
        return attributes, more
    before.put_back()
    is_same, begun = True, module.training
    before.draw()
    with suppress(Exception):
        # There, and back to the mode that it was handed over in.
        for mode, at in ((training, 1), (begun, 0)) if training is not begun else ((training, 1),):
            switched(module, mode)
            is_same &= all(
                _is_still(layer.__dict__.get(key), numbers[at]) for (layer, key), numbers in found.values()
            )
        return (before.seen, []) if is_same else (attributes, more)
    return attributes, more


class _Before:
    """A module as it is now: what is another later, and how to put it back."""

    def __init__(self, module: nn.Module, layers: Sequence[nn.Module]):
        self._names = {layer: name for name, layer in module.named_modules()}
        self._held = [(layer, None, layer.__dict__, dict(layer.__dict__)) for layer in layers]
        # Parameters, buffers, layers and hooks lie in dictionaries of their own.
        self._held += [
            (layer, key, own, dict(own))
            for layer in layers
            for key, own in layer.__dict__.items()
            if isinstance(own, dict)
        ]
        tensors = (*module.named_parameters(), *module.named_buffers())
        self._numbers = [(name, one, one.detach().clone(), one.requires_grad) for name, one in tensors]
        # Attributes that hold numbers, which these were and are, and all that are others, as of :meth:`changed`.
        self.loose: dict[str, tuple[tuple[nn.Module, str], tuple[Any, Any]]] = {}
        self.seen: list[Attributes] = []

    def changed(self) -> tuple[list[Attributes], list[str]]:
        """Attributes that follow from a mode, of their layers; or the names of what else is another."""
        more = [name for name, now, was, _ in self._numbers if not _are_same(now.detach(), was)]
        found: list[Attributes] = []
        self.loose = {}
        for layer, within, own, had in self._held:
            entries = {key: one for key, one in own.items() if not _is_still(one, had.get(key, own))}
            if within is None:
                entries.pop("training", None)
            gone = [key for key in had if key not in own]
            for key in (*entries, *gone):
                if _holds_numbers(own.get(key)) or _holds_numbers(had.get(key)):
                    name = f"{self._names[layer]}.{key}".lstrip(".")
                    more.append(name)
                    if within is None:
                        self.loose[name] = (layer, key), (had.get(key), own.get(key))
            if entries or gone:
                found.append(Attributes(layer, within, entries, gone))
        self.seen = found
        # Where numbers go with the mode, so do the attributes that tell of them.
        return ([] if more else found), more

    def draw(self) -> None:
        """Other numbers in all tensors of real ones, drawn."""
        generator = torch.Generator().manual_seed(0)
        for _, now, _, _ in self._numbers:
            if now.is_floating_point():
                now.data.copy_(torch.randn(now.shape, generator=generator).abs())

    def put_back(self) -> None:
        for _, now, was, needs_gradient in self._numbers:
            if now.shape != was.shape or now.dtype != was.dtype:
                now.data = was
            elif not _are_same(now.detach(), was):
                now.data.copy_(was)
            if now.requires_grad is not needs_gradient:
                now.requires_grad_(needs_gradient)
        for _, _, own, had in self._held:
            own.clear()
            own.update(had)


def _holds_numbers(one: Any) -> bool:
    """Whether there are numbers in it that may be computed from θ; what else it holds follows from the mode."""
    leaves = trees.leaves(one)
    layers = (
        tensor for leaf in leaves if isinstance(leaf, nn.Module) for tensor in leaf.state_dict().values()
    )
    return (
        any(isinstance(leaf, np.ndarray) for leaf in leaves)
        or bool(trees.held(one))
        or any(True for _ in layers)
    )


def _is_still(now: Any, was: Any) -> bool:
    """Whether it is the same object, or a tensor of the same numbers."""
    return now is was or (
        isinstance(now, Tensor) and isinstance(was, Tensor) and _are_same(now.detach(), was.detach())
    )


def _are_same(now: Tensor, was: Tensor) -> bool:
    """Whether all numbers are; NaN is NaN."""
    if now.shape != was.shape or now.dtype != was.dtype:
        return False
    return torch.equal(now, was) or bool(((now == was) | ((now != now) & (was != was))).all())
