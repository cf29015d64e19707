"""Independent tasks of an analysis, computed ahead by other processes into the journal that it goes on from.

An analysis that remembers its finished pieces takes them from wherever they were computed, as it does after a kill. So
whoever computes them, the analysis itself stays as it is, and so do its numbers, bit for bit.
"""

from __future__ import annotations

import io
import pickle
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch

from landscape.errors import BadInput, LandscapeError, OtherProcess, first_line
from landscape.numerics.steps.sampling import isolated_rng
from landscape.objective.batching import keep_freed_memory
from landscape.objective.kernels import exact
from landscape.objective.threads import using
from landscape.progress import Journal, Progress, silent

# Tasks handed to an executor at a time, and their bytes: it keeps them all in memory.
MOST_IN_HAND, BYTES_IN_HAND = 1024, 2**28
# What a process has made for itself, of the last call that asked for it.
_made: dict[bytes, Mapping[str, Any]] = {}
# Threads, device kernels and global generators belong to a process: its threads take turns.
_one_at_a_time = threading.Lock()
_executor: ContextVar[Executor | None] = ContextVar("executor", default=None)


class _Lost(LandscapeError):
    """The executor has failed, not the task."""


class Task(NamedTuple):
    """``work(journal)`` sets the ``keys`` of a journal, from nothing but itself and those of them that are there.

    Besides, it may read and set keys that begin with one of ``within``. ``then()`` gives the tasks that follow from its
    numbers; it is called where these stand in the journal.
    """

    keys: tuple[str, ...]
    work: Callable[[Journal], object]
    within: tuple[str, ...] = ()
    then: Callable[[], Sequence[Task]] = tuple

    def is_done(self, journal: Journal) -> bool:
        return all(key in journal for key in self.keys)

    def own(self, journal: Journal) -> list[str]:
        """Those of its keys that are there, the ones that say that it is done last."""
        others = [key for key in journal if key.startswith(self.within) and key not in self.keys]
        return [*others, *(key for key in self.keys if key in journal)]


class Making(Executor):
    """``executor`` for tasks in which some objects are ``named``: each process makes these for itself.

    ``make()`` gives them by name, once in each process; it is what they have in common that is sent.
    """

    def __init__(
        self, executor: Executor, named: Mapping[str, Any], make: Callable[[], Mapping[str, Any]]
    ) -> None:
        self.executor, self.named, self.make = executor, named, make

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """To the executor itself."""
        return self.executor.submit(function, *args, **kwargs)


@contextmanager
def computed_by(executor: Executor | None) -> Iterator[None]:
    """Inside, :func:`ahead` has its tasks computed by ``executor``; where that is None it leaves them."""
    token = _executor.set(executor)
    try:
        yield
    finally:
        _executor.reset(token)


def is_shared() -> bool:
    """Whether there is an executor to compute tasks."""
    return _executor.get() is not None


def ahead(
    journal: Journal, tasks: Callable[[], Sequence[Task]], progress: Progress = silent, what: str = "tasks"
) -> None:
    """Have ``tasks()``, and those that follow, computed into ``journal`` where there is an executor to do it.

    Each is computed with as many threads as torch has here, and remembered as soon as it is done. Raises what a task
    raises, once those in hand are done, and LandscapeError where the executor itself fails: both lose no other.
    """
    executor = _executor.get()
    if executor is None:
        return
    waiting, hand = deque(tasks()), dict[Future[Any], tuple[Task, int]]()
    done, failed = 0, list[BaseException]()
    try:
        while waiting or hand:
            while waiting and _has_room(hand):
                task = waiting.popleft()
                if task.is_done(journal):
                    done += 1
                    waiting.extend(task.then())
                    continue
                make, payload = _packed(executor, task, journal)
                hand[executor.submit(_computed, make, payload)] = task, len(payload)
            progress(done, done + len(waiting) + len(hand), what)
            for future in wait(hand, return_when=FIRST_COMPLETED).done if hand else ():
                task, _ = hand.pop(future)
                found, error = _found(future)
                for key, piece in found.items():
                    journal[key] = piece
                done += error is None
                if error is not None:
                    failed.append(error)
                    waiting.clear()
                elif not failed:
                    waiting.extend(task.then())
            # What is lost is not waited for.
            if lost := [one for one in failed if isinstance(one, _Lost)]:
                raise lost[0]
    except BaseException:
        for future in hand:
            future.cancel()
        raise
    progress(done, done, what)
    if failed:
        raise failed[0]


def _has_room(hand: Mapping[Future[Any], tuple[Task, int]]) -> bool:
    return len(hand) < MOST_IN_HAND and sum(size for _, size in hand.values()) < BYTES_IN_HAND


def _found(future: Future[Any]) -> tuple[dict[str, Any], BaseException | None]:
    """What a task has set, and what it has raised, or that the executor has lost it."""
    try:
        return future.result()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a CancelledError is no Exception
        said = first_line(error)
        return {}, _Lost(
            f"the workers are lost ({type(error).__name__}{f': {said}' if str(error) else ''})",
            remedy="the same call goes on from the tasks that are finished",
        )


def _packed(executor: Executor, task: Task, journal: Journal) -> tuple[bytes, bytes]:
    """How to make what the task names, and the task."""
    try:
        import cloudpickle
    except ImportError:
        raise BadInput(
            "an executor without cloudpickle, by which tasks are sent",
            "the package cloudpickle",
            "pip install 'torch-landscape[cluster]'",
        ) from None
    names: dict[int, str] = {}
    make = b""
    if isinstance(executor, Making):
        names = {id(one): name for name, one in executor.named.items()}
        make = cloudpickle.dumps((executor.make,))

    class Packer(cloudpickle.Pickler):
        def persistent_id(self, obj: Any) -> str | None:
            return names.get(id(obj))

    file = io.BytesIO()
    begun = {key: journal[key] for key in task.own(journal)}
    alone = task._replace(then=tuple)
    Packer(file).dump((alone, begun, torch.get_num_threads()))
    return make, file.getvalue()


class _Unpacker(pickle.Unpickler):
    def __init__(self, payload: bytes, named: Mapping[str, Any]):
        super().__init__(io.BytesIO(payload))
        self._named = named

    def persistent_load(self, pid: Any) -> Any:
        return self._named[pid]


def _computed(make: bytes, payload: bytes) -> tuple[dict[str, Any], Exception | None]:
    """What a task sets, by key, and what it raises: at work in another process."""
    with _one_at_a_time, computed_by(None):
        try:
            if make and make not in _made:
                _made.clear()
                _made[make] = _Unpacker(make, {}).load()[0]()
            task, begun, threads = _Unpacker(payload, _made.get(make, {})).load()
            journal = dict(begun)
            keep_freed_memory()
            with exact(), using(threads), isolated_rng(0, torch.device("cpu")):
                task.work(journal)
        except LandscapeError as error:
            return {}, error
        except Exception as error:
            # Another process may not know the class of an error of the user's own code.
            return {}, OtherProcess(f"a worker failed: {type(error).__name__}: {first_line(error)}.")
        # What it has only read may be another by now.
        return {
            key: journal[key]
            for key in task.own(journal)
            if key in task.keys or journal[key] is not begun.get(key)
        }, None
