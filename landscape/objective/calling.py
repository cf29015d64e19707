"""A call of a module, and the sentence where it does not take its inputs: their shape, or what their numbers are."""

import inspect
import re
from collections.abc import Mapping
from typing import Any

from landscape.errors import BadInput, LandscapeError
from landscape.objective import trees
from landscape.objective.parametrised import Parametrised

# How torch says that numbers of two dtypes meet in an operation that takes one, one of them whole, or wants places.
DTYPES_MEET = re.compile(r"dtype|scalar type|\btype \(")
OF_INTEGERS = re.compile(
    r"\b(Long|Int|Short|Byte|Char|Bool|long int|int|short|bool|unsigned char|signed char)\b"
)
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
        remedy = _by_keyword(subject, inputs)
        return BadInput(
            f"{name} does not take inputs of shape {shapes}: {error}", "a module that fits the data", remedy
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


def _by_keyword(subject: Parametrised, inputs: tuple[Any, ...]) -> str:
    """What to do where a dictionary meets a forward that takes its fields by keyword alone; '' elsewhere."""
    fields = inputs[0] if len(inputs) == 1 else None
    try:
        known = inspect.signature(subject.module.forward).parameters.values()
    except (TypeError, ValueError):
        return ""
    is_by_keyword = any(one.kind in (one.KEYWORD_ONLY, one.VAR_KEYWORD) for one in known)
    if not isinstance(fields, Mapping) or not is_by_keyword:
        return ""
    return (
        f"write forward(self, {', '.join(map(str, fields))}), without * and **: what a dictionary holds is given by "
        "the names of such arguments; or forward(self, batch), which is given the dictionary"
    )
