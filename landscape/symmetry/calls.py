"""One call of an operation in a traced graph: its name, its arguments with tensors labelled, the shapes it returns."""

from collections.abc import Callable
from typing import Any, NamedTuple

from landscape.symmetry.axes import Axis, fixed, pin


class Labelled(NamedTuple):
    """A tensor of the graph: its sizes, and what each of its axes is."""

    shape: tuple[int, ...]
    axes: list[Axis]


Rule = Callable[["Call"], Any]


class Call(NamedTuple):
    name: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    shape: tuple[int, ...]
    is_pointwise: bool

    @property
    def reason(self) -> str:
        return f"{self.name} does not commute with a permutation of it"

    @property
    def tensors(self) -> list[Labelled]:
        return list(_tensors((self.arguments, self.options)))

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        given = self.arguments[position] if len(self.arguments) > position else None
        return self.options.get(name, default) if given is None else given


def _tensors(value: Any) -> Any:
    if isinstance(value, Labelled):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)


def unknown(call: Call) -> list[Axis]:
    for tensor in call.tensors:
        for axis in tensor.axes:
            pin(axis, call.reason)
    return [fixed(size, call.reason) for size in call.shape]
