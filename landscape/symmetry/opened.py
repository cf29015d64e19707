"""A module whose outputs are objects that hold tensors, as distributions are, as one that returns these tensors."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.modules import transformer

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
    """Inside, nothing of torch's own looks at numbers, of which a tracer knows none.

    Distributions do, and layers of transformers at a mask, for a kernel that is faster where it is causal.
    """
    before, detect = Distribution._validate_args, transformer._detect_is_causal_mask
    Distribution.set_default_validate_args(False)
    transformer._detect_is_causal_mask = _is_said_to_be_causal
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)
        transformer._detect_is_causal_mask = detect


def _is_said_to_be_causal(
    mask: Tensor | None, is_causal: bool | None = None, size: int | None = None
) -> bool:
    return is_causal is True
