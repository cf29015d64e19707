"""A loss of the module alone: it calls the module itself, how often it likes and on what it likes, and returns F."""

import inspect
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from landscape.errors import BadInput, raised_at
from landscape.objective.samples import Samples

Taken = Literal["module", "outputs and targets", "either", "neither"]
# What such a loss is taken over: one entry, which nothing reads.
NOTHING = Samples((), torch.zeros(1), 1, slice(0, 1))


class Closure:
    """``function`` of the module alone, in the place of a loss of (outputs, targets).

    In a pass :meth:`of` stands where others call the module: the outputs are F itself, and the loss hands them on.
    ``draws``: it takes random numbers that do not show in its value, and is given the same ones at every call.
    Raises BadInput for what cannot be called with one argument.
    """

    def __init__(self, function: Callable[[nn.Module], Any]):
        name = getattr(function, "__name__", type(function).__name__)
        if isinstance(function, Closure) or not callable(function):
            raise BadInput(
                f"the loss of the module is a {type(function).__name__}", "a function of the module"
            )
        if taken_by(function) not in ("module", "either"):
            raise BadInput(
                f"{name} cannot be called with one argument ({signature_of(function)})",
                "a function of the module alone that returns its loss",
                "leave all others a default, or bind them with functools.partial",
            )
        self.function, self.__name__, self.draws = function, name, False

    def __call__(self, outputs: Tensor, targets: Any) -> Tensor:
        return outputs

    def of(self, module: nn.Module) -> Any:
        """What the function returns for the module as it stands; a single number as a scalar."""
        if self.draws:
            with seeded(0):
                value = self.function(module)
        else:
            value = self.function(module)
        return value.reshape(()) if isinstance(value, Tensor) and value.numel() == 1 else value

    @property
    def criterion(self) -> nn.Module | None:
        """The module that the function is, or is a method of: it may hold tensors of its own."""
        owner = (
            self.function
            if isinstance(self.function, nn.Module)
            else getattr(self.function, "__self__", None)
        )
        return owner if isinstance(owner, nn.Module) else None


def taken_by(function: Callable[..., Any]) -> Taken:
    """What a loss takes, by its signature: ``module`` where one argument can be given and two cannot.

    ``either``: both can, as of ``f(module, weight=1.0)``. What has no signature takes outputs and targets.

    >>> taken_by(lambda module: 0), taken_by(lambda outputs, targets: 0), taken_by(lambda a, b=1: 0)
    ('module', 'outputs and targets', 'either')
    """
    try:
        known = _known(function)
    except (TypeError, ValueError):
        return "outputs and targets"
    one, two = (_binds(known, count) for count in (1, 2))
    if one:
        return "either" if two else "module"
    return "outputs and targets" if two else "neither"


def made(named: Any) -> Any:
    """The loss that is meant: an instance of a class, what a function without arguments returns, all else as it is.

    Raises BadInput for a class that wants arguments, and for a function that raises something or makes no loss.
    """
    is_class = isinstance(named, type)
    if not is_class and (taken_by(named) != "neither" or not _binds(_known(named), 0)):
        return named
    name = getattr(named, "__name__", type(named).__name__)
    try:
        found = named()
    except BadInput:
        raise
    except Exception as error:
        if is_class and isinstance(error, TypeError):
            raise BadInput(
                f"the loss {name} is a class whose instances want arguments ({error})",
                "a loss",
                "give an instance of it, or a function without arguments that makes one",
            ) from None
        raise _makes_none(name, f"raised {type(error).__name__}: {error}{raised_at(error)}") from error
    if not (callable(found) or hasattr(found, "total")):
        raise _makes_none(name, f"returned a {type(found).__name__}")
    return found


def _makes_none(name: str, what: str) -> BadInput:
    return BadInput(
        f"the loss {name}, which takes no arguments, was called for the loss that it makes and {what}",
        "a loss of (outputs, targets), or of the module",
        "let it take these, or return such a function",
    )


def signature_of(function: Callable[..., Any]) -> str:
    """The arguments of a function in a sentence."""
    try:
        return f"its signature is {_known(function)}"
    except (TypeError, ValueError):
        return "no signature"


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, the global generators of torch, numpy and Python begin at ``seed``; afterwards as before."""
    numbers, own = np.random.get_state(), random.getstate()
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        for device in devices:
            torch.cuda.default_generators[device].manual_seed(seed)
        np.random.set_state(np.random.RandomState(seed).get_state())
        random.setstate(random.Random(seed).getstate())
        try:
            yield
        finally:
            np.random.set_state(numbers)
            random.setstate(own)


def states() -> tuple[Any, ...]:
    """Of the generators that :func:`seeded` sets, as what compares."""
    cuda = [one.tolist() for one in torch.cuda.get_rng_state_all()] if torch.cuda.is_initialized() else []
    kind, keys, *rest = np.random.get_state()
    return torch.get_rng_state().tolist(), cuda, (kind, np.asarray(keys).tolist(), *rest), random.getstate()


def _known(function: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(function.forward if isinstance(function, nn.Module) else function)


def _binds(known: inspect.Signature, count: int) -> bool:
    try:
        known.bind(*[None] * count)
    except TypeError:
        return False
    return True
