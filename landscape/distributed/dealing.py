"""Independent tasks that the first of several processes hands to all of them, through the store that torchrun keeps.

While it asks, and the others serve, each is :func:`~landscape.distributed.alone`.
"""

from __future__ import annotations

import io
import os
import pickle
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from landscape.distributed.watch import REACHED

# Seconds between two looks for what is to come.
LOOK = 0.005
# How often tasks were dealt: what was said before is over.
_number = 0


class Dealing(Executor):
    """Tasks for ``count`` processes, of which this is the first; it computes as the others do.

    Functions, arguments and answers are pickled. At the end of a ``with`` all have answered, and the others go on.
    """

    def __init__(self, count: int):
        global _number
        _number += 1
        self._waiting = queue.SimpleQueue[tuple[Future[Any], bytes] | None]()
        work = [self._compute, *(lambda rank=rank: self._ask(rank) for rank in range(1, count))]
        self._threads = [threading.Thread(target=one, daemon=True) for one in work]
        for one in self._threads:
            one.start()

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """To whichever process is free first."""
        future: Future[Any] = Future()
        self._waiting.put((future, pickle.dumps((function, args, kwargs))))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing more will come."""
        for _ in self._threads:
            self._waiting.put(None)
        for one in self._threads if wait else ():
            one.join()

    def _compute(self) -> None:
        while (item := self._waiting.get()) is not None:
            future, task = item
            if future.set_running_or_notify_cancel():
                _settle(future, *_answered(task))

    def _ask(self, rank: int) -> None:
        store, place = _store(), 0
        while (item := self._waiting.get()) is not None:
            future, task = item
            if not future.set_running_or_notify_cancel():
                continue
            store.set(f"task {rank} {place}", task)
            _settle(future, *_unpacked(_taken(store, f"answer {rank} {place}")))
            place += 1
        store.set(f"task {rank} {place}", b"")


def serve(rank: int) -> None:
    """Compute what the first process hands to this one, until it has nothing more."""
    global _number
    _number += 1
    store, place = _store(), 0
    while task := _taken(store, f"task {rank} {place}"):
        store.set(f"answer {rank} {place}", pickle.dumps(_answered(task)))
        place += 1


def _answered(task: bytes) -> tuple[Any, Exception | None]:
    try:
        function, args, kwargs = _unpacked(task)
        return function(*args, **kwargs), None
    except Exception as error:
        return None, error


def _unpacked(text: bytes) -> Any:
    """What another process of the same launch has said, as in the collectives of objects of torch.distributed."""
    return pickle.Unpickler(io.BytesIO(text)).load()


def _settle(future: Future[Any], found: Any, error: Exception | None) -> None:
    if error is None:
        future.set_result(found)
    else:
        future.set_exception(error)


def _taken(store: Any, key: str) -> bytes:
    """What stands in the store, once it does, where it then no longer is."""
    # Not waited for in the store, where no signal is heard.
    while not store.check([key]):
        time.sleep(LOOK)
    found = store.get(key)
    store.delete_key(key)
    return found


def _store() -> Any:
    """A connection of its own, as one that waits holds up all that share it."""
    from torch.distributed import PrefixStore, TCPStore  # pyright: ignore[reportPrivateImportUsage]

    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    store = TCPStore(host, port, is_master=False, timeout=REACHED)
    return PrefixStore(f"landscape/dealt/{attempt}/{_number}", store)
