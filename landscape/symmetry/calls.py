"""One call of an operation in a traced graph: its name, its arguments with tensors labelled, the shapes it returns."""

from collections.abc import Callable
from typing import Any, NamedTuple

from landscape.symmetry.axes import Axis, fixed, pin
from landscape.symmetry.permutations import BY_DATA, BY_NUMBER


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
    # Whether whole numbers among its arguments are the data's, or follow from these.
    is_of_data: bool = False

    @property
    def picks(self) -> str:
        """Why what it picks positions of by number has an order."""
        return f"{self.name} {BY_DATA if self.is_of_data else BY_NUMBER}"

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
