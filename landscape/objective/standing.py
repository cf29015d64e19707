"""The user's own module, standing at another point for a while: other tensors in place of its own, then put back.

No copy is made, so whatever reads the module's parameters (a penalty in the loss, a hook or a ``forward`` that closes
over the module) reads the tensors that stand in for them.
"""

import copy
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from landscape.errors import BadInput
from landscape.inputs.checkpoints.names import plain
from landscape.objective.kernels import differentiable
from landscape.objective.modes import has_own_modes, modes_of, require_own_numbers
from landscape.objective.samples import converted


def unwrapped(module: nn.Module) -> nn.Module:
    """The module that data parallelism or a compiler was put around. Raises BadInput for a scripted or traced one."""
    while isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        module = module.module
    inner = getattr(module, "_orig_mod", None)
    if isinstance(inner, nn.Module):
        return unwrapped(inner)
    for name, layer in module.named_modules():
        here = name or "the module"
        if isinstance(layer, torch.jit.ScriptModule):
            raise BadInput(
                f"{here} is a scripted or traced module, whose weights nothing can stand in for",
                "a plain torch.nn.Module",
                "give the module that it was made from, with the weights loaded",
            )
        if isinstance(layer, nn.DataParallel | nn.parallel.DistributedDataParallel):
            raise BadInput(
                f"{here} is a {type(layer).__name__}", "a plain torch.nn.Module", "unwrap it first"
            )
        if isinstance(layer, nn.Embedding | nn.EmbeddingBag) and layer.max_norm is not None:
            raise BadInput("an embedding with max_norm rewrites its weights when called", "max_norm=None")
    return module


def unwrapped_names(tensors: Mapping[str, Tensor], own: Collection[str]) -> Mapping[str, Tensor]:
    """The tensors of a wrapped module under its ``own`` names, those that it has in :func:`unwrapped`.

    >>> list(unwrapped_names({"_orig_mod.module.0.weight": torch.zeros(1)}, ["0.weight"]))
    ['0.weight']
    """
    found = tensors
    if not any(name in found for name in own):
        found = {plain(name): tensor for name, tensor in found.items()}
    while found and not any(name in found for name in own):
        if not all(name.startswith("module.") for name in found):
            return tensors
        found = {name.removeprefix("module."): tensor for name, tensor in found.items()}
    return found


# What stands in the attributes of any module; a recurrent layer lists its weights anew.
OF_EVERY_MODULE = frozenset(nn.Module().__dict__) | {"_flat_weights", "_flat_weight_refs"}


class Standing:
    """A module and, where the loss is one, its criterion: what can stand in for their tensors, by name.

    A tied tensor has its first name everywhere; where the criterion holds a tensor of the module, it follows.
    ``is_training``: it stands in training mode whatever is asked for; ``has_modes``: its ``train()`` changes something;
    ``has_own_modes``: that of some layer is its own.
    """

    def __init__(self, module: nn.Module, *, is_training: bool = False):
        self.module, self.is_training = module, is_training
        self._layers = list(module.modules())
        self._slots: list[tuple[dict[str, Any], str, str]] = []
        self._places: dict[str, tuple[dict[str, Any], str]] = {}
        self._names: dict[int, str] = {}
        for prefix, layer in module.named_modules():
            for held in (layer._parameters, layer._buffers):
                for key, tensor in held.items():
                    if tensor is not None:
                        name = self._names.setdefault(id(tensor), f"{prefix}.{key}" if prefix else key)
                        self._slots.append((held, key, name))
                        self._places.setdefault(name, (held, key))
        self._num_own = len(self._slots)
        self._sparse = [
            one for one in self._layers if isinstance(one, nn.Embedding | nn.EmbeddingBag) and one.sparse
        ]
        self._modes = modes_of(module)
        require_own_numbers(module, self._modes)
        self.has_modes = self._modes[True][:2] != self._modes[False][:2]
        self.has_own_modes = any(map(has_own_modes, self._layers))
        # Layers in which a call leaves something behind beside buffers, by mode; not known before the first call.
        self._loose: dict[bool, list[nn.Module] | None] = {True: None, False: None}
        self._constants: list[tuple[dict[str, Any], str, Tensor]] = []
        self._held = self._holding()

    def become_familiar(self) -> None:
        """Takes layers without parameters that were exchanged, as activations, for the module's own, in its modes."""
        self._held = self._holding()
        if not self.has_own_modes:
            self._layers = list(self.module.modules())
            self._modes = modes_of(self.module)
            self._loose = {True: None, False: None}

    def _holding(self) -> list[tuple[dict[str, Any], dict[str, Any], dict[str, Any], set[str]]]:
        """Of every layer the layers and parameters that it holds, and what they are now."""
        return [
            (layer._modules, dict(layer._modules), layer._parameters, set(layer._parameters))
            for layer in self.module.modules()
        ]

    @property
    def is_familiar(self) -> bool:
        """Whether the module has the layers that it had, with parameters of the same names: told in no time."""
        return all(
            layers == had and parameters.keys() == names for layers, had, parameters, names in self._held
        )

    def follow(self, criterion: nn.Module, device: torch.device, dtype: torch.dtype | None) -> None:
        """Lets ``criterion`` see what stands in for tensors it shares; its own are taken to device and dtype.

        For None they keep their own dtype.
        """
        self._slots, self._constants = self._slots[: self._num_own], []
        mine = set(map(id, self._layers))
        for layer in criterion.modules():
            for held in (layer._parameters, layer._buffers) if id(layer) not in mine else ():
                for key, tensor in held.items():
                    if tensor is None:
                        continue
                    if id(tensor) in self._names:
                        self._slots.append((held, key, self._names[id(tensor)]))
                    else:
                        self._constants.append((held, key, converted(tensor.detach(), device, dtype)))

    def replaced(self) -> list[str]:
        """Parameters and buffers whose layer is no longer the module's, and parameters that it has got since."""
        now: dict[tuple[int, str], str] = {}
        grown: dict[tuple[int, str], str] = {}
        for prefix, layer in self.module.named_modules():
            for held, found in ((layer._parameters, grown), (layer._buffers, now)):
                for key, tensor in held.items():
                    if tensor is not None:
                        found[id(held), key] = f"{prefix}.{key}" if prefix else key
        now |= grown
        own = {(id(held), key): name for held, key, name in self._slots[: self._num_own]}
        gone = [name for place, name in own.items() if place not in now]
        return list(dict.fromkeys([*gone, *(name for place, name in grown.items() if place not in own)]))

    @contextmanager
    def at(self, tensors: Mapping[str, Tensor], *, training: bool = False) -> Iterator[None]:
        """Inside, the module has ``tensors`` for its own; what is left out stays. Afterwards all is as before.

        Modes, what a call leaves behind in a layer, and the switch of the transformer's fast path, whose outputs
        differ from what is differentiated, are put back too, also after an exception.
        """
        with self.kept(training=training):
            before = [held[key] for held, key, _ in self._slots]
            others = [held[key] for held, key, _ in self._constants]
            for held, key, name in self._slots:
                if name in tensors:
                    held[key] = tensors[name]
            for held, key, tensor in self._constants:
                held[key] = tensor
            try:
                yield
            finally:
                for (held, key, _), tensor in zip(self._slots, before, strict=True):
                    held[key] = tensor
                for (held, key, _), tensor in zip(self._constants, others, strict=True):
                    held[key] = tensor

    def now(self, name: str) -> Tensor:
        """What is in the place of a tensor at present."""
        held, key = self._places[name]
        return held[key]

    def leaves_nothing(self, *, training: bool) -> bool:
        """Whether calls in that mode leave nothing behind beside buffers; False where there was none yet."""
        return self._loose[training or self.is_training] == []

    @contextmanager
    def kept(self, *, training: bool = False) -> Iterator[None]:
        """The mode set, every call differentiable; afterwards they and what a call leaves behind are as before."""
        training = training or self.is_training
        with self._modes[training].standing(), self._flagged(training):
            yield

    @contextmanager
    def _flagged(self, training: bool) -> Iterator[None]:
        """:meth:`kept`, but for attributes of the mode."""
        modes = [
            (layer, layer.training)
            for layer, flag in zip(self._layers, self._modes[training].flags, strict=True)
            if layer.training is not flag
        ]
        for layer, flag in modes:
            layer.__dict__["training"] = not flag
        for layer in self._sparse:
            layer.__dict__["sparse"] = False
        known = self._loose[training]
        if known is None or known:
            watched = self._layers if known is None else known
            left: list[
                tuple[nn.Module, dict[str, Any], dict[str, list[Any]], dict[str, Any], dict[str, Any]]
            ] = [
                (layer, dict(layer.__dict__), contents(layer), dict(layer._buffers), dict(layer._parameters))
                for layer in watched
            ]
        else:
            left = []
        is_whole = False
        try:
            with differentiable():
                yield
            is_whole = True
        finally:
            changed = [layer for layer, *had in left if _put_back(layer, *had)]
            # A call that was cut short may not have come to what leaves something.
            if known is None and is_whole:
                self._loose[training] = changed
            for layer in self._sparse:
                layer.__dict__["sparse"] = True
            for layer, flag in modes:
                layer.__dict__["training"] = flag

    @contextmanager
    def written(self, tensors: Mapping[str, Tensor], *, training: bool = False) -> Iterator[None]:
        """Inside, the numbers of ``tensors`` are those of the module's own tensors, in the mode of F or in training.

        The objects stay who they are, so that a plain call sees the numbers wherever it finds a tensor, and on the
        device of ``tensors``.
        """
        with self.kept(training=training):
            held_before = [held[key] for held, key, _ in self._slots]
            own = {name: self.now(name) for name in tensors if name in self._places}
            before: list[tuple[Tensor, Tensor]] = []
            constants = [(held, key, held[key]) for held, key, _ in self._constants]
            try:
                for name, tensor in own.items():
                    now = tensors[name].detach()
                    # A call may write into a buffer, or see pairs as complex numbers, which begin at an even place.
                    is_odd = now.shape[-1:] == (2,) and now.storage_offset() % 2 == 1
                    now = now if isinstance(tensor, nn.Parameter) and not is_odd else now.clone()
                    before.append((tensor, _exchanged(tensor, now)))
                for held, key, tensor in self._constants:
                    held[key] = tensor
                yield
            finally:
                for held, key, tensor in constants:
                    held[key] = tensor
                # A call may put another buffer in the place of one.
                for (held, key, _), tensor in zip(self._slots, held_before, strict=True):
                    held[key] = tensor
                for tensor, kept in before:
                    _exchanged(tensor, kept)


def _exchanged(tensor: Tensor, other: Tensor) -> Tensor:
    """The numbers of ``other`` in ``tensor``, which stays the same object, and those before, to be put in place again.

    Where the dtype or device is another one, ``tensor.data = other`` would drop the node at which gradients arrive:
    graphs made before would lose their end, and data parallelism its hooks. There all but the object is exchanged,
    its gradient too.
    """
    if tensor.is_leaf and (tensor.dtype, tensor.device) != (other.dtype, other.device):
        other.requires_grad_(tensor.requires_grad and other.is_floating_point())
        torch._C._swap_tensor_impl(tensor, other)
        return other
    before, tensor.data = tensor.data, other
    return before


def contents(layer: nn.Module) -> dict[str, list[Any]]:
    """What lies in the lists, queues and dictionaries (as pairs) of a layer, beside those of every module."""
    return {
        key: list(value.items()) if isinstance(value, dict) else list(value)
        for key, value in layer.__dict__.items()
        if isinstance(value, list | dict | deque) and key not in OF_EVERY_MODULE
    }


def are_alike(some: list[Any], others: list[Any]) -> bool:
    """Whether two of :func:`contents` hold the same objects."""
    flat = [
        [part for one in of for part in (one if isinstance(one, tuple) else (one,))] for of in (some, others)
    ]
    return len(flat[0]) == len(flat[1]) and all(a is b for a, b in zip(*flat, strict=True))


def _put_back(
    layer: nn.Module,
    kept: dict[str, Any],
    held_within: dict[str, list[Any]],
    buffers: dict[str, Any],
    parameters: dict[str, Any],
) -> bool:
    """Everything a layer holds as it was before a call; whether anything was not, buffers of the same names aside."""
    changed = False
    now = layer.__dict__
    if now.keys() != kept.keys() or any(now[key] is not value for key, value in kept.items()):
        changed = True
        now.clear()
        now.update(kept)
    for key, here in contents(layer).items():
        if not are_alike(here, held_within[key]):
            changed = True
            now[key].clear()
            (now[key].update if isinstance(now[key], dict) else now[key].extend)(held_within[key])
    for held, had in ((layer._buffers, buffers), (layer._parameters, parameters)):
        if held.keys() != had.keys():
            changed = True
            held.clear()
            held.update(had)
    return changed


def copied(module: nn.Module) -> nn.Module:
    """A deep copy, for what has to be kept or changed. Raises BadInput for what cannot be copied.

    What hooks have computed from weights, and left in a layer, is copied without its history.
    """
    left = [
        (layer, key, value)
        for layer in module.modules()
        for key, value in layer.__dict__.items()
        if isinstance(value, Tensor) and not value.is_leaf
    ]
    for layer, key, value in left:
        layer.__dict__[key] = value.detach()
    try:
        return copy.deepcopy(module)
    except Exception as error:
        raise BadInput(
            f"{type(module).__name__} cannot be copied ({error})", "a module that copy.deepcopy takes"
        ) from error
    finally:
        for layer, key, value in left:
            layer.__dict__[key] = value
