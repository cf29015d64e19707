"""How a module uses its parameters, watched in one pass: along which axes its outputs lie, which layers normalise.

Every operation is followed as torch carries it out. The places of a parameter's numbers go along with them from one
operation to the next, until they meet the data in a sum of products: the axes of the parameter that are summed over
are not cut into filters, the others are.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.weak import WeakTensorKeyDictionary

from landscape.objective import trees
from landscape.objective.calling import called
from landscape.objective.contractions import Operand, aten, cut_of, operands
from landscape.objective.norms import normalises, scaling_layers, step_of
from landscape.objective.trial import Trial
from landscape.objective.uses import Cut, Uses

# Operations that move numbers and change none.
SHAPES = {aten.view, aten._unsafe_view, aten._reshape_alias}
COPIES = {aten.clone, aten._to_copy, aten.detach, aten.alias, aten.lift_fresh}
MOVES = {aten.t, aten.transpose, aten.permute, aten.expand, aten.squeeze, aten.unsqueeze, aten.unfold}
MOVES |= {aten.select, aten.slice, aten.split, aten.split_with_sizes, aten.unsafe_split, aten.unbind}
MOVES |= {aten.unsafe_split_with_sizes, aten.diagonal, aten.cat, aten.stack, aten.index, aten.index_select}
MOVES |= {aten.gather, aten.embedding, aten.flip, aten.roll, aten.repeat, aten.constant_pad_nd}
MOVES |= {aten.tril, aten.triu}
# The axes along which others of their arguments pick entries of the first.
PICKS: Mapping[Any, Callable[..., Sequence[int]]] = {
    aten.index: lambda _, indices: [axis for axis, one in enumerate(indices) if one is not None],
    aten.index_select: lambda _, axis, index: [axis],
    aten.gather: lambda _, axis, index, **others: [axis],
    aten.embedding: lambda *args: [0],
    aten._embedding_bag: lambda *args: [0],
}


class Origin(NamedTuple):
    """What a tensor comes from: the data, and by name the parameters whose numbers it holds.

    With the place in the parameter of each number; None where they are mixed. ``is_product``: times data.
    """

    is_data: bool = False
    places: Mapping[str, Tensor | None] = {}
    is_product: bool = False


CONSTANT, DATA = Origin(), Origin(is_data=True)


def uses_in(trial: Trial, rows: Tensor | None) -> Uses:
    """What is seen of every parameter's use in a pass over some samples; nothing where they cannot be followed."""
    subject = trial.subject
    inputs, _ = trial.rows(rows)
    fixed = {name: tensor.clone() for name, tensor in trial.fixed.items()}
    matrices = [piece.name for piece in subject.pieces if len(piece.shape) > 1 and piece.size]
    layers = scaling_layers(subject.module, subject.pieces)
    try:
        with subject.standing(trial.theta, fixed), torch.set_grad_enabled(trial.needs_gradients):
            watch = Watch({name: subject.now(name) for name in matrices}, inputs)
            with watch.beside(list(layers)), watch:
                called(subject, inputs)
    except Exception:  # whatever does not run while it is watched, or cannot be followed
        return Uses()
    watch.uses.norms = {name for layer in watch.normalising for name in layers[layer]}
    return watch.uses


class Watch(TorchDispatchMode):
    """Inside, every operation is followed: ``uses`` holds what was seen, ``normalising`` the layers that do so.

    ``parameters``, by name, have two axes or more; with ``inputs`` they are what a pass starts from.
    """

    def __init__(self, parameters: Mapping[str, Tensor], inputs: Any):
        super().__init__()
        self.uses = Uses()
        self.normalising: set[nn.Module] = set()
        self._shapes = {name: tuple(tensor.shape) for name, tensor in parameters.items()}
        self._origins = WeakTensorKeyDictionary()
        self._memory: set[int] = set()
        self._cuts: dict[Any, Cut | None] = {}
        self._steps: list[set[str]] = []
        for tensor in trees.tensors(inputs):
            self._origins[tensor] = DATA
        for name, tensor in parameters.items():
            dtype = torch.int32 if tensor.numel() < 2**31 - 1 else torch.int64
            places = torch.arange(1, tensor.numel() + 1, dtype=dtype, device=tensor.device)
            self._memory.add(places.data_ptr())
            self._origins[tensor] = Origin(places={name: places.view(tensor.shape)})

    @contextmanager
    def beside(self, layers: Sequence[nn.Module]) -> Iterator[None]:
        """Inside, ``layers`` are looked at one by one for what makes a norm."""

        def entered(layer: nn.Module, args: Any) -> None:
            self._steps.append(set())

        def left(layer: nn.Module, args: Any, outputs: Any) -> None:
            if normalises(self._steps.pop()):
                self.normalising.add(layer)

        hooks = [layer.register_forward_pre_hook(entered) for layer in layers]
        hooks += [layer.register_forward_hook(left) for layer in layers]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # To be kept out of the compiler, torch would load it first: longer than all else that is done here.
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        with self:
            # In inference mode operations come before they are taken apart.
            result = func.decompose(*args, **kwargs)
        if result is NotImplemented:
            result = func(*args, **kwargs)
            self._follow(func, args, kwargs, result)
        return result

    def _origin(self, tensor: Tensor) -> Origin:
        return self._origins.get(tensor) or CONSTANT

    def _follow(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> None:
        """Notes down where what ``func`` made comes from, and how it used parameters."""
        given = _tensors((*args, *kwargs.values()))
        origins = [self._origin(one) for one in given]
        made = _tensors(result if isinstance(result, list | tuple) else [result])
        is_data = any(one.is_data for one in origins)
        if not is_data and not any(one.places for one in origins):
            return
        if is_data and self._steps:
            self._steps[-1].add(step_of(func, args))
        found: Sequence[Origin] = [DATA if is_data else _mixed(origins)] * len(made)
        # A derivative sums over other axes than the function.
        is_derivative = torch._C._current_autograd_node() is not None
        if any(one.places for one in origins) and not is_derivative:
            found = self._used(func, args, kwargs, origins, made) or found
        for tensor, origin in zip(made, found, strict=True):
            self._origins[tensor] = origin
        if is_data and func._schema.is_mutable and given[0]._is_view():
            # What was written into a part is in the whole.
            self._origins[given[0]._base] = DATA

    def _used(
        self,
        func: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        origins: Sequence[Origin],
        made: Sequence[Tensor],
    ) -> Sequence[Origin] | None:
        """The origins of what an operation on parameters makes, where it is not data or a mixture of all."""
        operation, first = func.overloadpacket, origins[0]
        met = operands(operation, args)
        if met:
            self._summed(met)
        elif first.is_product:
            if operation in (aten.sum, aten.mean):
                axes = args[1] if len(args) > 1 and isinstance(args[1], list | tuple) and args[1] else None
                self._note(self.uses.summed, first, Operand(args[0], axes or range(args[0].dim())))
        elif operation in PICKS and any(one.is_data for one in origins[1:]):
            axes = PICKS[operation](*args, **kwargs)
            for name, cut in self._cuts_of(first, Operand(args[0], _others(args[0], axes))):
                # Of the other axes nothing is known yet.
                seen = tuple(None if count == 1 else count for count in cut)
                self.uses.picked.setdefault(name, set()).add(seen)
            return self._moved(func, args, kwargs, made, is_data=True) if operation in MOVES else None
        elif operation in MOVES or operation in SHAPES:
            is_data = any(one.is_data for one in origins)
            if is_data:
                self._stood_beside_data(origins)
            return self._moved(func, args, kwargs, made, is_data=is_data)
        elif operation in COPIES:
            return [first]
        elif operation is aten.copy_:
            return [origins[1]]
        elif operation is aten._weight_norm_interface:
            return [_joined(origins, made[0].shape), _mixed(origins)]
        elif torch.Tag.pointwise in func.tags or operation is aten.complex:
            return self._entrywise(operation, origins, made)
        return None

    def _entrywise(
        self, operation: Any, origins: Sequence[Origin], made: Sequence[Tensor]
    ) -> Sequence[Origin]:
        joined = _joined(origins, made[0].shape)
        if not any(one.is_data for one in origins):
            return [joined] * len(made)
        self._stood_beside_data(origins)
        return [Origin(True, joined.places, True) if operation is aten.mul else DATA] * len(made)

    def _stood_beside_data(self, origins: Sequence[Origin]) -> None:
        for one in origins:
            if not one.is_data:
                self.uses.entrywise |= {name for name, places in one.places.items() if places is not None}

    def _summed(self, met: Sequence[Operand]) -> None:
        """Every operand beside data, or beside what is computed from other parameters and constants alone."""
        for operand in met:
            origin = self._origin(operand.tensor)
            others = [self._origin(one.tensor) for one in met if one is not operand]
            if any(one.is_data for one in others):
                self._note(self.uses.summed, origin, operand)
            elif not any(places is not None for one in others for places in one.places.values()):
                self._note(self.uses.beside, origin, operand)

    def _note(self, kind: dict[str, set[Cut]], origin: Origin, operand: Operand) -> None:
        for name, cut in self._cuts_of(origin, operand):
            kind.setdefault(name, set()).add(cut)

    def _cuts_of(self, origin: Origin, operand: Operand) -> Iterator[tuple[str, Cut]]:
        for name, places in origin.places.items():
            if places is None:
                continue
            places = operand.folded(places)
            memory = places.untyped_storage().data_ptr()
            key = (memory, places.storage_offset(), places.shape, places.stride(), tuple(operand.summed))
            cut = self._cuts[key] if key in self._cuts else cut_of(places, operand.summed, self._shapes[name])
            if memory in self._memory:
                self._cuts[key] = cut
            if cut is not None:
                yield name, cut

    def _moved(
        self,
        func: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        made: Sequence[Tensor],
        *,
        is_data: bool,
    ) -> Sequence[Origin]:
        """What is moved with its places, parameter by parameter; where others stand there is no place."""
        given = _tensors((*args, *kwargs.values()))
        found: list[dict[str, Tensor | None]] = [{} for _ in made]
        for name in {name for one in given for name in self._origin(one).places}:

            def placed(tensor: Any, name: str = name) -> Any:
                if not isinstance(tensor, Tensor):
                    return tensor
                places = self._origin(tensor).places
                if places.get(name) is not None:
                    return places[name]
                return tensor.new_zeros(tensor.shape, dtype=torch.int32) if _has_numbers(tensor) else tensor

            moved: list[Tensor | None] = [None] * len(made)
            is_mixed = any(self._origin(one).places.get(name, one) is None for one in given)
            if not is_mixed and func.overloadpacket in SHAPES:
                if made[0].dtype == args[0].dtype:
                    moved = [placed(args[0]).reshape(made[0].shape)]
            elif not is_mixed:
                result = func(*tree_map(placed, args), **tree_map(placed, kwargs))
                moved = list(result) if isinstance(result, list | tuple) else [result]
            for places, one in zip(found, moved, strict=True):
                places[name] = one
        return [Origin(is_data, places) for places in found]


def _joined(origins: Sequence[Origin], shape: Sequence[int]) -> Origin:
    """The origin of what is computed entry by entry: every entry of it from one of each parameter, or mixed."""
    joined: dict[str, Tensor | None] = {}
    clashing: set[str] = set()
    for origin in origins:
        for name, places in origin.places.items() if not origin.is_data else ():
            wide = None if places is None else places.expand(shape)
            before = joined.get(name)
            if before is None:
                joined[name] = wide
            elif wide is not None and not torch.equal(before, wide):
                clashing.add(name)
    return Origin(places={name: None if name in clashing else places for name, places in joined.items()})


def _mixed(origins: Sequence[Origin]) -> Origin:
    return Origin(places=dict.fromkeys(name for one in origins for name in one.places))


def _others(tensor: Tensor, axes: Sequence[int]) -> tuple[int, ...]:
    inside = {axis % tensor.dim() for axis in axes}
    return tuple(axis for axis in range(tensor.dim()) if axis not in inside)


def _tensors(given: Iterable[Any]) -> list[Tensor]:
    """Those among the arguments of an operation, or in a list among them: no operation takes them deeper."""
    found: list[Tensor] = []
    for one in given:
        if isinstance(one, Tensor):
            found.append(one)
        elif isinstance(one, list | tuple):
            found += [part for part in one if isinstance(part, Tensor)]
    return found


def _has_numbers(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()
