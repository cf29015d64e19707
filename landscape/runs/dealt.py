"""Tasks of one computation dealt to the processes that torchrun started: what each of them has made for itself."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from landscape import distributed
from landscape.distributed.dealing import Dealing, serve
from landscape.objective.tasks import Making

_named: Mapping[str, Any] = {}


def held() -> Mapping[str, Any]:
    """The objects by name that tasks of this process take."""
    return _named


@contextmanager
def to_all(named: Mapping[str, Any]) -> Iterator[Making]:
    """An executor of the first process, whose tasks all compute; each has its own of what is ``named``."""
    with Dealing(distributed.num_launched()) as dealing:
        yield Making(dealing, named, held)


def answered_by_first(named: Mapping[str, Any], ask: Callable[[], Any]) -> Any:
    """What ``ask()`` gives in the first process, which may use :func:`to_all`, in every one of them.

    What it raises is raised in all.
    """
    global _named
    _named, rank = named, distributed.rank()

    def asked() -> Any:
        with distributed.alone():
            return ask()

    try:
        if rank:
            with distributed.alone():
                serve(rank)
        return distributed.from_first(asked)
    finally:
        _named = {}
