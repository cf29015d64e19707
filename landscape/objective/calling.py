"""A call of a module, and the sentence where it does not take its inputs: their shape, or what their numbers are."""

import re
from typing import Any

from landscape.errors import BadInput, LandscapeError
from landscape.objective import trees
from landscape.objective.parametrised import Parametrised

# How torch says that numbers of two dtypes meet in an operation that takes one, one of them whole, or wants places.
DTYPES_MEET = re.compile(r"dtype|scalar type|\btype \(")
OF_INTEGERS = re.compile(r"\b(Long|Int|long int|int)\b")
OF_PLACES = re.compile(r"\bind(ices|ex)\b")


def called(subject: Parametrised, inputs: tuple[Any, ...]) -> Any:
    """The outputs of the module of ``subject``. Raises BadInput where it does not take the inputs."""
    try:
        return subject.called(inputs)
    except LandscapeError:
        raise
    except Exception as error:
        raise _refusal(subject, inputs, error) from error


def _refusal(subject: Parametrised, inputs: tuple[Any, ...], error: Exception) -> BadInput:
    name, said = type(subject.module).__name__, str(error)
    dtype = str(subject.dtype).removeprefix("torch.")
    shapes = ", ".join(map(trees.described, inputs))
    if not DTYPES_MEET.search(said):
        return BadInput(
            f"{name} does not take inputs of shape {shapes}: {error}", "a module that fits the data"
        )
    are_real = [one.is_floating_point() for one in trees.tensors(inputs)]
    if all(are_real) and OF_PLACES.search(said):
        return BadInput(
            f"{name} does not take inputs of shape {shapes}, which are no integers: {error}",
            "tokens, or other numbers of places",
            "let the data return inputs.long(); of a table, store them as integers in an .npz file",
        )
    if not any(are_real) and OF_INTEGERS.search(said):
        return BadInput(
            f"{name} does not take inputs of shape {shapes}, which are integers: {error}",
            f"numbers in {dtype}",
            "let the data return inputs.float(); of a file, store them as floats",
        )
    return BadInput(
        f"{name} does not compute in {dtype}: {error}",
        f"operations that take {dtype}",
        "write `x.to(weight.dtype)` in the place of `x.float()`, or take another `dtype`",
    )
