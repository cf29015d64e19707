"""What was written is what was measured: a result read back from its file, bit for bit."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from landscape.errors import LandscapeError
from landscape.result import Result


def require_written(result: Result, there: Result, path: Path) -> None:
    """Raises LandscapeError where ``there``, read back from what is to stand at ``path``, is not ``result``.

    A class of the user's own may hold more than its kind does, which files do not keep.
    """
    mine, theirs = dict(_numbers(result)), dict(_numbers(there))
    names = mine.keys() | theirs.keys() if type(there) is type(result) else mine.keys() & theirs.keys()
    for name in sorted(names):
        if name not in mine or name not in theirs or not _is_same(mine[name], theirs[name]):
            raise LandscapeError(
                f"what was written for {path} does not hold {name} as it was measured",
                "every number bit for bit",
                "nothing was published",
            )


def _numbers(result: Result) -> Iterator[tuple[str, Any]]:
    """Everything that a result says in numbers and texts, by name."""
    yield from ((one.name, one.values) for one in result.arrays())
    yield from result.scalars().items()
    for label, state in result.states.items():
        yield from ((f"{label} {name}", value) for name, value in state.items())
    for check in result.checks:
        yield f"the check {check.name}", (check.value, check.bound)


def _is_same(one: Any, other: Any) -> bool:
    one, other = np.asarray(one), np.asarray(other)
    if one.dtype.kind in "USO" or other.dtype.kind in "USO":
        return one.shape == other.shape and bool((one.astype(str) == other.astype(str)).all())
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
