"""A module whose outputs are objects that hold tensors, as distributions are, as one that returns these tensors."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.distributions import Distribution

from landscape.objective import trees


def opened(module: nn.Module) -> nn.Module:
    """``module``, a copy, whose forward returns the tensors that objects among its outputs hold, in a fixed order.

    What it returns without such objects is as before; a forward of its own instance stays.
    """
    kind = type(module)
    if kind.__module__.startswith("torch.nn") or "forward" in module.__dict__ or hasattr(kind, "opens"):
        return module
    forward = kind.forward

    @functools.wraps(forward)
    def tensors(self: nn.Module, *places: Any, **named: Any) -> Any:
        found = forward(self, *places, **named)
        if all(isinstance(one, Tensor | int | float | bool | str) for one in trees.leaves(found)):
            return found
        return tuple(trees.held(found).values()) or found

    module.__class__ = type(kind.__name__, (kind,), {"forward": tensors, "opens": True})
    return module


@contextmanager
def without_looks() -> Iterator[None]:
    """Inside, distributions do not look at their numbers, of which a tracer knows none."""
    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)
