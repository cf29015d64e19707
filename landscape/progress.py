"""What an analysis may be given to report to and to remember with; both default to nothing."""

import time
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

from landscape import distributed

# progress(done, total, what)
Progress = Callable[[int, int, str], None]
# Finished pieces by key; that of runs/journal.py makes them survive a kill, a plain dict only this call.
Journal = MutableMapping[str, dict[str, Any]]
# Between two savings of work under way.
SAVE_SECONDS = 5.0


def silent(done: int, total: int, what: str) -> None:
    """Reports nothing."""


def seconds_since(then: float, journal: Journal) -> float:
    """Of the clock that ``then`` was read from; where every process keeps a part of what is kept, the most of all."""
    seconds = time.monotonic() - then
    return distributed.largest(seconds)[0] if keeps_parts(journal) else seconds


def keeps_parts(journal: Journal) -> bool:
    """Whether every process has a journal of its own, for its part of what is in pieces, at the same time as others."""
    return getattr(journal, "keeps_parts", False)


class Within(MutableMapping[str, dict[str, Any]]):
    """The pieces of a journal that belong to one of several parts, by their own keys.

    >>> journal = {}
    >>> Within(journal, "first ")["loss"] = {"value": 1.0}
    >>> journal, list(Within(journal, "second "))
    ({'first loss': {'value': 1.0}}, [])
    """

    def __init__(self, journal: Journal, start: str):
        self._journal, self._start = journal, start

    @property
    def keeps_parts(self) -> bool:
        """As of the journal."""
        return keeps_parts(self._journal)

    def __getitem__(self, key: str) -> dict[str, Any]:
        return self._journal[self._start + key]

    def __setitem__(self, key: str, piece: dict[str, Any]) -> None:
        self._journal[self._start + key] = piece

    def __delitem__(self, key: str) -> None:
        del self._journal[self._start + key]

    def __iter__(self) -> Iterator[str]:
        start = self._start
        return (key.removeprefix(start) for key in self._journal if key.startswith(start))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Saver:
    """The state of work under way, kept in ``journal[key]`` every so often, so that a later call goes on from it.

    A state is a dictionary of JSON values and numpy arrays, its own: what moves on must be copied into it.
    Those that are large are worth saving less often: ``weight`` times SAVE_SECONDS apart.
    """

    def __init__(self, journal: Journal, key: str, *, weight: float = 1.0):
        self._journal, self._key, self._weight = journal, key, weight
        self._last = time.monotonic()

    def restore(self) -> dict[str, Any] | None:
        """The state kept last, None where there is none."""
        return self._journal.get(self._key)

    def offer(self, state: Callable[[], dict[str, Any]]) -> None:
        """Keep ``state()`` if the last one was kept long enough ago."""
        if seconds_since(self._last, self._journal) > self._weight * SAVE_SECONDS:
            self.save(state())

    def save(self, state: dict[str, Any]) -> None:
        """Keep ``state`` now."""
        self._journal[self._key] = state
        self._last = time.monotonic()
