"""The tests on a device: objectives compute there, and what a test itself mixes of its tensors is brought together.

A test writes its reference as a user would, on the CPU, and compares it with what came from the device. Such a mixture
is resolved here, by the device of the first tensor, and only where no line of ``landscape`` is under way: one in the
library is the error that these runs are there to find.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pretend
import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

import landscape
from landscape.objective.parametrised import Parametrised
from landscape.runs import session

LIBRARY = str(Path(landscape.__file__).parent)
READ = {Tensor.numpy, Tensor.__array__}
ASSERT_CLOSE = torch.testing.assert_close


class Together(TorchFunctionMode):
    """A call of a test that fails on tensors of several devices is made again with all of them on one."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        try:
            return function(*args, **kwargs)
        except (RuntimeError, TypeError):
            tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
            places = {one.device for one in tensors} | ({torch.device("cpu")} if function in READ else set())
            if len(places) < 2 or _is_in_library():
                raise
            where = "cpu" if function in READ else tensors[0].device
        return function(*tree_map(lambda one: _brought(one, where), args), **_all_brought(kwargs, where))


def _all_brought(kwargs: dict[str, Any], where: Any) -> dict[str, Any]:
    return tree_map(lambda one: _brought(one, where), kwargs)


def _brought(one: Any, where: Any) -> Any:
    return one.to(where) if isinstance(one, Tensor) else one


def _is_in_library() -> bool:
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename.startswith(LIBRARY):
            return True
        frame = frame.f_back
    return False


def _equal(actual: Any, expected: Any, **options: Any) -> None:
    bring = partial(tree_map, lambda one: _brought(one, "cpu"))
    ASSERT_CLOSE(bring(actual), bring(expected), **options)


@contextmanager
def computing_on(name: str) -> Iterator[None]:
    """Inside, objectives that are told no device compute on the one of that name, and ``auto`` means it."""
    with ExitStack() as stack:
        device = stack.enter_context(pretend.device()) if name == "pretend" else torch.device(name)
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        stack.enter_context(Together())
        made, named = Parametrised.__init__, session.device

        def make(self: Parametrised, module: Any, **options: Any) -> None:
            options["device"] = device if options.get("device") is None else options["device"]
            is_here = torch.device(options["device"]) == device
            if is_here and name == "pretend" and isinstance(module, nn.Module):
                # Its tensors cannot be given numbers of another device for a while.
                module.to(device)
            made(self, module, **options)

        patch.setattr(Parametrised, "__init__", make)
        patch.setattr(torch.testing, "assert_close", _equal)
        if name == "pretend":
            patch.setattr(
                session, "device", lambda one, *rest: device.type if one == "auto" else named(one, *rest)
            )
        yield
