"""Other processes that compute independent tasks: of this machine, or of a Dask scheduler's."""

import contextlib
import logging
import os
import socket
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landscape import distributed
from landscape.errors import BadInput, LandscapeError, first_line
from landscape.objective.tasks import Making
from landscape.runs import sources

Named = Mapping[str, Any]
# Seconds until a scheduler has answered, and a worker of this machine has come.
REACHED, COME = 10, 300


@dataclass(frozen=True)
class Again:
    """What a call is made from, made again in another process, where it is called: objects by name.

    ``made()`` gives these and the hashes of their parts, which are to be ``parts``. The files whose ``contents`` are
    known by their sha256 are looked for in ``folder``. Raises BadInput where anything differs there; code that differs
    is not run.
    """

    made: Callable[[], tuple[Named, Mapping[str, str]]]
    folder: Path
    contents: Mapping[str, str]
    parts: Mapping[str, str]

    def __call__(self) -> Named:
        try:
            if not self.folder.is_dir():
                raise BadInput(
                    f"there is no folder {self.folder}",
                    "the files of the caller at the same place",
                    "start the workers where they see the same files",
                )
            with contextlib.chdir(self.folder):
                sources.require_same(self.contents)
                named, parts = self.made()
        except BadInput as error:
            raise BadInput(f"on the worker {_who()}, {error.seen}", error.wanted, error.remedy) from error
        for name, digest in self.parts.items():
            if parts.get(name) != digest:
                raise BadInput(
                    f"the {name} of the worker {_who()} is not that of the caller "
                    f"({parts.get(name, '')[:12]}, not {digest[:12]})",
                    "the same data, weights and code in every process",
                    "start the workers in the same place, or with copies of the same files",
                )
        return named


def parsed(workers: str | int | None) -> int | str | None:
    """How many processes of this machine, or the address of a scheduler. Raises BadInput for neither."""
    if workers is None:
        return None
    text = str(workers)
    if text.isdecimal() and int(text) > 0:
        most = max(16, 4 * (os.cpu_count() or 1))
        if int(text) > most:
            raise BadInput(
                f"`workers` {text}, each a process of this machine", f"at most {most} of them here"
            )
        return int(text)
    scheme, colon, place = text.partition("://")
    if colon and scheme and place:
        return text
    raise BadInput(
        f"`workers` {text!r}", "how many processes, or a scheduler's address such as tcp://host:8786"
    )


@contextmanager
def hired(
    workers: int | str, named: Named, again: Again | None, say: Callable[[str], None]
) -> Iterator[Executor]:
    """Processes for tasks in which some objects are ``named``; without ``again`` all of a task is sent to them.

    Raises BadInput where Dask is not installed, or torchrun has started several processes already, and LandscapeError
    for a scheduler that does not answer.
    """
    distributed.require_one_process(f"`workers` {workers}")
    try:
        from dask import config  # pyright: ignore[reportMissingImports]
        from distributed import Client, LocalCluster  # pyright: ignore[reportAttributeAccessIssue]
    except ImportError:
        raise BadInput(
            f"`workers` {workers} without the package distributed, which is Dask's",
            "it installed",
            "pip install 'torch-landscape[cluster]'",
        ) from None
    settings = {
        # Tasks bring what they need with them.
        "distributed.admin.large-graph-warning-threshold": "1TB",
        "distributed.comm.timeouts.connect": f"{REACHED}s",
        # Nobody looks at what each worker does with its memory: it is the caller's machine.
        "distributed.worker.memory.terminate": False,
        "distributed.worker.memory.pause": False,
        # Looking at what a worker does a hundred times a second takes a tenth of it.
        "distributed.worker.profile.enabled": False,
        "distributed.admin.tick.interval": "1s",
    }
    with contextlib.ExitStack() as stack:
        stack.enter_context(_in_silence())
        stack.enter_context(config.set(settings))
        place: Any = workers
        if isinstance(workers, int):
            folder = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="landscape-", ignore_cleanup_errors=True)
            )
            place = stack.enter_context(
                LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    host="127.0.0.1",
                    dashboard_address=None,  # pyright: ignore[reportArgumentType]
                    memory_limit=0,
                    local_directory=folder,
                    silence_logs=logging.CRITICAL,
                )
            )
        try:
            client = stack.enter_context(Client(place, timeout=REACHED))
        except (OSError, ValueError) as error:
            raise LandscapeError(
                f"the scheduler {workers} cannot be reached ({first_line(error)})",
                "the address of one that runs",
                "start it (dask scheduler), or give `workers` 4 for processes of this machine",
            ) from error
        if isinstance(workers, int):
            client.wait_for_workers(workers, timeout=COME)
        elif not client.scheduler_info(n_workers=-1)["workers"]:
            say(f"the scheduler {workers} has no workers yet: waiting for them")
        executor = client.get_executor(pure=False)
        yield Making(executor, named, again) if again else executor


def _who() -> str:
    """This process, by where it is."""
    return f"{socket.gethostname()} ({os.getpid()})"


@contextmanager
def _in_silence() -> Iterator[None]:
    """What Dask writes of its own accord is left unsaid: whatever counts is raised."""
    # Each has a level of its own, by Dask's configuration.
    known = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "distributed"]
    before = {logger: logger.level for logger in map(logging.getLogger, known)}
    for logger in before:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"distributed|dask|tornado")
            yield
    finally:
        for logger, level in before.items():
            logger.setLevel(level)
