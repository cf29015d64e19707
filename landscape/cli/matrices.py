"""Tables of numbers as texts, each number with what is known of its error."""

import math

import numpy as np

from landscape.result import Result, Variable, with_error

# Digits of a number in a table; an error beyond them says nothing there.
DIGITS = 4
NOT_APART = "≈"
# Rows of a table; more where each has a name, as a layer or a file has, for which no picture stands in.
MOST_ROWS, MOST_NAMED = 20, 200


def texts_of(result: Result, one: Variable) -> np.ndarray:
    """The values of ``one`` as texts, of its shape: with their errors, and ``≈`` before what is not told apart.

    Errors stand in the array that ``one`` names, or in the one called like it with ``_error``.
    """
    from landscape.cli.screen import text_of

    named = {other.name: other.values for other in result.arrays()}
    errors = named.get(one.errors or f"{one.name}_error")
    apart = named.get(one.apart)
    texts = np.empty(one.values.shape, dtype=object)
    for place in np.ndindex(*one.values.shape):
        value = one.values[place].item()
        text = text_of(value, digits=DIGITS)
        if errors is not None and errors.shape == one.values.shape and _is_told(value, float(errors[place])):
            text = with_error(value, float(errors[place]))
        mark = NOT_APART if apart is not None and not apart[place] else ""
        texts[place] = mark + text
    return texts


def is_short(result: Result, dims: tuple[str, ...], shape: tuple[int, ...]) -> bool:
    """Whether an array over ``dims`` is printed row by row; its last axis, if there are several, lies in columns.

    Rows with names are many where a result asks for a table of them.
    """
    arrays = list(result.arrays())
    asked = {dim for one in arrays if one.printed for dim in one.dims[: max(len(one.dims) - 1, 1)]}
    named = {one.name for one in arrays if one.dims == (one.name,) and one.values.dtype.kind in "US"} & asked
    rows = len(dims) - (len(dims) > 1)
    most = [MOST_NAMED if axis < rows and dim in named else MOST_ROWS for axis, dim in enumerate(dims)]
    return all(0 < size <= limit for size, limit in zip(shape, most, strict=True))


def heading_of(one: Variable, name: str) -> str:
    """``name`` with what the marks in its table mean."""
    return f"{name} ({NOT_APART}: not told apart from another)" if one.apart else name


def _is_told(value: float, error: float) -> bool:
    if not (math.isfinite(value) and math.isfinite(error) and error > 0):
        return False
    return value == 0 or error > 0.5 * 10.0 ** (math.floor(math.log10(abs(value))) - DIGITS + 1)
