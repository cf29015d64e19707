"""What an analysis may be given to report to and to remember with; both default to nothing."""

from collections.abc import Callable, MutableMapping
from typing import Any

# progress(done, total, what)
Progress = Callable[[int, int, str], None]
# Finished pieces by key; a Journal makes them survive a kill, a plain dict only this call.
Journal = MutableMapping[str, dict[str, Any]]


def silent(done: int, total: int, what: str) -> None:
    """Reports nothing."""
