"""Layers that neither their weights nor their inputs move from one point to the next: computed once for all points.

Of a net whose first layers are at rest (frozen, or off the block along which F is cut) a sweep has the same activations
at every point. They are kept, and given out again in place of a call, where nothing can be another:

- what is given in is a tensor of the data, or was given out by such a layer, and nobody has written into it since;
- all parameters within the layer have had the same bits at every point yet, and F has one set of buffers;
- the call drew no random number, and the module is in eval mode and was seen to leave nothing behind;
- the first time that it would be given out at another point, the layer is called after all, and says the same bits.

The last one is for what no list of parameters tells, such as the weight of another layer that a layer reads, or that
is put in the place of its own for a call. The first point may be called twice, and many points may be one call.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from landscape.objective import trees
from landscape.objective.objective import Objective
from landscape.objective.streamed import Streamed

# Bytes of activations that are kept at most.
ROOM = 2**28
ABSENT = object()


@dataclass
class _Kept:
    """What a layer made of an input, at which point, and which writes into both there had been."""

    given: Tensor
    given_version: int
    made: Tensor
    made_version: int
    point: tuple[float, ...]
    is_tried: bool = False

    @property
    def is_as_it_was(self) -> bool:
        return self.given._version == self.given_version and self.made._version == self.made_version


class Resting:
    """Activations of the layers of an objective's module that rest, for points whose buffers are the same."""

    def __init__(self, objective: Objective):
        self._objective, self._module = objective, objective.module
        self._first: Tensor | None = None
        self._moving: set[str] = set()
        self._layers: list[nn.Module] = []
        # Processes that share a module have to call its layers alike.
        is_alone = not objective.is_sharded and not objective.training
        self._is_possible = is_alone and not any(map(_is_compiled, self._module.modules()))
        inputs = () if isinstance(objective.samples, Streamed) else objective.samples.inputs
        self._data = {
            one.untyped_storage().data_ptr() for one in trees.tensors(inputs) if type(one) is Tensor
        }
        self._forget()

    @contextmanager
    def during(self, thetas: Tensor) -> Iterator[None]:
        """Inside, what has rested at all points yet, ``thetas`` (K, d) among them, is called as seldom as can be."""
        self._look(thetas)
        if not self._layers or not self._objective.leaves_nothing(training=False):
            yield
            return
        before = [(layer, layer.__dict__.get("forward", ABSENT)) for layer in (self._module, *self._layers)]
        try:
            self._module.__dict__["forward"] = self._entered(self._module.forward)
            for layer in self._layers:
                layer.__dict__["forward"] = self._reusing(layer, layer.forward)
            yield
        finally:
            for layer, forward in before:
                del layer.__dict__["forward"]
                if forward is not ABSENT:
                    layer.__dict__["forward"] = forward

    def _look(self, thetas: Tensor) -> None:
        """Which pieces have moved by now, and which layers are left."""
        if not self._is_possible:
            return
        if self._first is None:
            self._first = thetas[0].clone()
        moved = {
            piece.name
            for piece in self._objective.pieces
            if piece.name not in self._moving
            and not bool((thetas[:, piece.span] == self._first[piece.span]).all())
        }
        if moved:
            self._moving |= moved
            self._forget()
            self._layers = self._at_rest()

    def _at_rest(self) -> list[nn.Module]:
        moving = {
            id(p) for n, p in self._module.named_parameters(remove_duplicate=False) if n in self._moving
        }
        layers = [
            layer
            for layer in self._module.modules()
            if layer is not self._module and moving.isdisjoint(map(id, layer.parameters()))
        ]
        return layers if any(True for layer in layers for _ in layer.parameters()) else []

    def _forget(self) -> None:
        self._kept: dict[tuple[Any, ...], _Kept] = {}
        # What is the same at every point, by where it lies: itself, so that nothing else comes to lie there.
        self._constant: dict[tuple[Any, ...], tuple[Tensor, int]] = {}
        self._barred: set[int] = set()
        self._size = 0
        self._here: tuple[float, ...] | None = None

    def _entered(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """The module's own call, before which its inputs are known as data."""

        def call(*args: Any, **kwargs: Any) -> Any:
            self._here = None
            for one in trees.tensors((args, kwargs)):
                if type(one) is Tensor and (place := _place(one)) is not None and place[0] in self._data:
                    self._constant[place] = one, one._version
            return forward(*args, **kwargs)

        return call

    def _reusing(self, layer: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            given = args[0] if len(args) == 1 and not kwargs else None
            place = None if torch.is_grad_enabled() or id(layer) in self._barred else _place(given)
            known = self._constant.get(place) if place else None
            if known is None or given._version != known[1]:  # type: ignore[union-attr]
                return forward(*args, **kwargs)
            key = id(layer), *place  # type: ignore[misc]
            kept = self._kept.get(key)
            if kept is None:
                return self._first_call(layer, forward, given, key)  # type: ignore[arg-type]
            if kept.is_tried and kept.is_as_it_was:
                return kept.made
            is_as_it_was, made = kept.is_as_it_was, forward(given)
            if is_as_it_was and kept.is_as_it_was and _same(made, kept.made):
                kept.is_tried = all(a != b for a, b in zip(self._point(), kept.point, strict=True))
                return kept.made
            self._barred.add(id(layer))
            return made

        return call

    def _first_call(
        self, layer: nn.Module, forward: Callable[..., Any], given: Tensor, key: tuple[Any, ...]
    ) -> Any:
        drawn, version = _drawn(given.device), given._version
        made = forward(given)
        place = _place(made)
        if (
            place is None
            or made is given
            or given._version != version
            or not torch.equal(drawn, _drawn(given.device))
        ):
            self._barred.add(id(layer))
        elif self._size + made.nbytes <= ROOM:
            self._size += made.nbytes
            self._kept[key] = _Kept(given, version, made, made._version, self._point())
            self._constant[place] = made, made._version
        return made

    def _point(self) -> tuple[float, ...]:
        """Where the module stands in this call: sums of every piece that moves, NaN where many points are one call.

        What is no batch of points there depends on none of them, and NaN is another number than any.
        """
        if self._here is None:
            standing = (tensor for tensor, name in self._standing() if name in self._moving)
            self._here = tuple(
                float("nan") if _is_batch(tensor) else float(tensor.sum(dtype=torch.float64))
                for tensor in standing
            )
        return self._here

    def _standing(self) -> Iterator[tuple[Tensor, str]]:
        """What stands in for the parameters, and their names."""
        for prefix, layer in self._module.named_modules():
            for key, tensor in layer._parameters.items():
                if tensor is not None:
                    yield tensor, f"{prefix}.{key}" if prefix else key


def _place(tensor: Any) -> tuple[Any, ...] | None:
    """Where a plain tensor lies, and how; None for anything else, as what stands for many tensors in one."""
    if type(tensor) is not Tensor and type(tensor) is not nn.Parameter:
        return None
    # Of an inference tensor nobody counts the writes.
    if tensor.is_inference():
        return None
    try:
        storage = tensor.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):
        return None
    return storage, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype


def _drawn(device: torch.device) -> Tensor:
    """The state of the generators that a layer on the device may draw from."""
    own = torch.get_rng_state()
    return torch.cat([own, torch.cuda.get_rng_state(device)]) if device.type == "cuda" else own


def _same(one: Any, other: Tensor) -> bool:
    return (
        isinstance(one, Tensor)
        and not _is_batch(one)
        and one.shape == other.shape
        and torch.equal(one, other)
    )


def _is_batch(tensor: Tensor) -> bool:
    """Whether it stands for a tensor at each of many points."""
    return torch._C._functorch.is_batchedtensor(tensor)  # pyright: ignore[reportAttributeAccessIssue]


def _is_compiled(layer: nn.Module) -> bool:
    return isinstance(layer, torch.jit.ScriptModule) or hasattr(layer, "_orig_mod")
