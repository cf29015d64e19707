"""Where F is not defined, as the module or the loss raises an error of its own: a distribution of a negative scale, a
Cholesky factor of a matrix that is not positive. There F is NaN, as where the same is computed without a look.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from landscape.errors import LandscapeError, NotFinite
from landscape.objective import trees
from landscape.objective.fitted import Fitted

LINALG: type[Exception] = torch._C._LinAlgError  # pyright: ignore[reportAttributeAccessIssue]
# What a look at numbers raises. Other errors are of shapes, dtypes or memory.
RAISED = (ValueError, ArithmeticError, AssertionError, LINALG)


@contextmanager
def undefined(
    subject: Fitted, inputs: Any, targets: Tensor, *, training: bool = False, derives: bool = False
) -> Iterator[list[str]]:
    """Inside, a call of the module and its loss on a chunk may raise what it raises at some θ; yields what was said.

    The error goes on where the module raises one at its own point too, so that it is the data that it does not take,
    or, with ``derives``, a fault of its backward; and where many points go through ``torch.func`` together, of which
    one may raise it.
    """
    said: list[str] = []
    try:
        yield said
    except RAISED as error:
        is_ours = isinstance(error, LandscapeError) or _is_transformed()
        if is_ours or not _takes(subject, inputs, targets, training, derives):
            raise
        name = type(error).__name__.lstrip("_")
        first = next(iter(str(error).splitlines()), "")
        # Of a distribution without the shapes, which are those of a chunk.
        first = re.sub(
            r" \(Tensor of shape .*\) of distribution (\w+)\(.*\) to satisfy", r" of \1 to satisfy", first
        )
        first = first.removesuffix(", but found invalid values:")
        said.append(f"{name} ({first})" if first else name)
        subject.undefined.append(said[0])


@contextmanager
def required(subject: Fitted, inputs: Any, targets: Tensor) -> Iterator[None]:
    """The same, where nothing can go on with NaN. Raises NotFinite."""
    with undefined(subject, inputs, targets, derives=True) as said:
        yield
    if said:
        raise NotFinite(
            f"{told(subject, said[0])} at this point",
            "a point at which F is defined",
            "let what it looks at hold at every θ, as a scale by softplus does",
        )


def _is_transformed() -> bool:
    """Whether this is inside of a transformation of ``torch.func``."""
    return torch._C._functorch.peek_interpreter_stack() is not None  # pyright: ignore[reportAttributeAccessIssue]


def told(subject: Fitted, said: str) -> str:
    """Who raises what."""
    return f"{type(subject.module).__name__}, or the loss {subject.loss.name}, raises {said}"


def _takes(subject: Fitted, inputs: Any, targets: Tensor, training: bool, derives: bool) -> bool:
    """Whether a call on the chunk, and its gradient where it ``derives``, raise nothing at the module's own point."""
    point = subject.present_point()
    fixed = {name: one.clone() for name, one in point.fixed.items()}
    theta = point.theta.detach().requires_grad_(derives)
    try:
        with torch.random.fork_rng(devices=[]), torch.set_grad_enabled(derives or subject.needs_gradients):
            given = trees.mapped(torch.clone, inputs)
            with subject.passed(theta, fixed, given, training) as outputs:
                total = subject.loss.total(outputs, targets)
                if derives and total.requires_grad:
                    torch.autograd.grad(total, theta, allow_unused=True)
    except RAISED:
        return False
    return True
