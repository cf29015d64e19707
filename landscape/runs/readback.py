"""What was written is what was measured: a result read back from its file, bit for bit."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from landscape.errors import LandscapeError
from landscape.result import Result
from landscape.runs import store


def require_written(result: Result, path: Path) -> None:
    """Raises LandscapeError, and removes the file, where it holds another number than ``result``."""
    there = dict(_numbers(store.load(path, verify=False)))
    mine = dict(_numbers(result))
    for name in mine.keys() | there.keys():
        if name not in mine or name not in there or not _is_same(mine[name], there[name]):
            path.unlink()
            raise LandscapeError(
                f"{path} did not hold {name} as it was measured",
                "every number in it bit for bit",
                "tell where it is developed",
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
