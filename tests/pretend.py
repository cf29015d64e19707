"""A device without hardware: tensors that say they lie on ``meta``, compute on the CPU, and refuse to be mixed with it.

What an accelerator refuses, this refuses: operations on tensors of both devices but for numbers (tensors without axes)
and indices, and arrays of NumPy. So the road of a device is walked on machines that have none, if slowly. It is no
proof of what a device computes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

PLACE = torch.device("meta")
COPIES = {"aten::copy_", "aten::_to_copy", "aten::copy"}
INDEXED = {
    "aten::index",
    "aten::index_put",
    "aten::index_put_",
    "aten::_index_put_impl_",
    "aten::_unsafe_index",
}
# Where even a tensor without axes has to be on the device.
STRICT = {
    f"aten::{name}" for name in ("cat", "stack", "mm", "bmm", "addmm", "mv", "dot", "gather", "embedding")
}
SET_DATA = Tensor.data.__set__
ITEMS = {Tensor.__getitem__, Tensor.__setitem__}
MATMULS = {torch.matmul, Tensor.matmul, Tensor.__matmul__}


class Elsewhere(Tensor):
    """A tensor of the device; its numbers are in ``_numbers``, on the CPU."""

    _numbers: Tensor

    @staticmethod
    def __new__(cls, numbers: Tensor) -> "Elsewhere":
        return Tensor._make_wrapper_subclass(
            cls,
            numbers.shape,
            strides=numbers.stride(),
            storage_offset=numbers.storage_offset(),
            dtype=numbers.dtype,
            device=PLACE,
        )

    def __init__(self, numbers: Tensor):
        self._numbers = numbers

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"Elsewhere({self._numbers!r})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if id(self) not in memo:
            copy = self.detach().clone()
            is_parameter = isinstance(self, nn.Parameter)
            memo[id(self)] = (
                nn.Parameter(copy, self.requires_grad)
                if is_parameter
                else copy.requires_grad_(self.requires_grad)
            )
        return memo[id(self)]

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, *args: Any, **options: Any) -> Any:
        raise TypeError("can't convert a tensor of the device to numpy")

    __array__ = numpy

    def untyped_storage(self) -> Any:
        return self._numbers.untyped_storage()

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _called(function, args, kwargs or {})


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if kwargs.get("device") is None and Elsewhere not in types:
            return function(*args, **kwargs)
        return _called(function, args, kwargs)


class _Makings(TorchFunctionMode):
    """What no operation tells of: ``tensor.data = other``, and tensors made of numbers of Python."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function == SET_DATA and isinstance(args[0], Elsewhere):
            # Within one dtype, or torch refuses.
            if args[0].dtype != args[1].dtype:
                function(*args)
            args[0]._numbers = _numbers(args[1])
            return None
        if function in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None:
            place = kwargs.pop("device")
            return function(*args, **kwargs).to(place)
        if function == Tensor.new_tensor and isinstance(args[0], Elsewhere):
            return args[0]._numbers.new_tensor(*args[1:], **kwargs).to(PLACE)
        if function in ITEMS and isinstance(args[0], Elsewhere):
            args = (args[0], _indices(args[1]), *args[2:])
        if function in MATMULS and args[0].dim() == 1 and args[1].dim() == 2:
            # torch would squeeze the outcome in place, which is not seen from outside.
            return function(args[0][None], *args[1:], **kwargs)[0]
        return function(*args, **kwargs)


@contextmanager
def device() -> Iterator[torch.device]:
    """Inside, tensors can lie on the device."""
    with _Makings(), _Operations():
        yield PLACE


def _indices(one: Any) -> Any:
    """An index of which torch would make a tensor without numbers, with a tensor in its place."""
    if isinstance(one, tuple):
        return tuple(map(_indices, one))
    return torch.tensor(one) if isinstance(one, list) else one


def _numbers(one: Any) -> Any:
    if isinstance(one, list | tuple):
        return type(one)(map(_numbers, one)) if any(isinstance(part, Tensor) for part in one) else one
    return one._numbers if isinstance(one, Elsewhere) else one


def _called(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    if function is torch.ops.aten._efficientzerotensor.default:
        function = torch.ops.aten.zeros.default
    tensors = [one for one in _flat((*args, *kwargs.values())) if isinstance(one, Tensor)]
    here = {id(one._numbers): one for one in tensors if isinstance(one, Elsewhere)}
    is_here = bool(here)
    if kwargs.get("device") is not None:
        is_here = kwargs["device"] == PLACE
        kwargs = {**kwargs, "device": "cpu"}
    name, writes = _told(function)
    if here and name not in COPIES:
        _refuse_mixture(name, args, tensors)
    if name == "aten::copy_":
        _numbers(args[0]).copy_(_numbers(args[1]))
        return args[0]
    out = function(*map(_numbers, args), **{key: _numbers(one) for key, one in kwargs.items()})
    if not is_here:
        return out
    if writes is not None and not isinstance(out, list | tuple):
        written = kwargs[writes] if isinstance(writes, str) else args[writes]
        if isinstance(written, Elsewhere):
            return written
    return _lifted(out, here)


def _lifted(out: Any, known: dict[int, "Elsewhere"]) -> Any:
    if isinstance(out, list | tuple):
        return type(out)(_lifted(one, known) for one in out)
    if not isinstance(out, Tensor):
        return out
    return known.get(id(out)) if id(out) in known else Elsewhere(out)


def _flat(values: Any) -> Iterator[Any]:
    for one in values:
        if isinstance(one, list | tuple):
            yield from _flat(one)
        else:
            yield one


@cache
def _told(function: Any) -> tuple[str, int | str | None]:
    """The name of an operation, and which of its arguments it writes into, by position or name."""
    schema = function._schema
    for position, one in enumerate(schema.arguments):
        if one.alias_info is not None and one.alias_info.is_write:
            return schema.name, one.name if one.kwarg_only else position
    return schema.name, None


def _refuse_mixture(name: str, args: Any, tensors: list[Tensor]) -> None:
    if all(isinstance(one, Elsewhere) for one in tensors):
        return
    if any(one.is_meta and not isinstance(one, Elsewhere) for one in tensors):
        raise RuntimeError(f"{name} got a tensor without numbers")
    indices = [*_flat([args[1]])] if name in INDEXED and isinstance(args[0], Elsewhere) else []
    for one in tensors:
        is_number = one.dim() == 0 and name not in STRICT
        if not isinstance(one, Elsewhere) and not is_number and not any(one is index for index in indices):
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but {name} got one of shape {tuple(one.shape)} on cpu"
            )
