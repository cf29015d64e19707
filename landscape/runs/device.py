"""The device by name, and the processes that share the work."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from landscape import distributed
from landscape.errors import BadInput


def device(name: str, dtype: str | None = None) -> str:
    """The device that ``name`` means here: ``auto`` is a CUDA device where there is one.

    Raises BadInput for one that is not on this machine, or that has no ``dtype``.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = name.partition(":")
    if kind == "cuda" and distributed.is_launched() and not number:
        number = os.environ.get("LOCAL_RANK", "0")
        name = f"cuda:{number}"
    there = {
        "cpu": lambda: True,
        "cuda": lambda: torch.cuda.is_available() and int(number or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available,
    }
    if kind not in there or (number and not number.isdigit()):
        raise BadInput(f"`device` {name!r}", "auto, cpu, cuda, cuda:1 or mps")
    if not there[kind]():
        raise BadInput(f"`device` {name!r} is not on this machine", "a device that is", "take `device` cpu")
    if kind == "mps" and dtype == "float64":
        raise BadInput("float64 on mps", "float32 there", "take `device` cpu for float64")
    return name


@contextmanager
def processes(name: str, command: str = "") -> Iterator[None]:
    """Where torchrun started this process: its group, joined and left again, on the device ``name``.

    ``command`` is what was typed, or called; the loss of a process is said with what goes on from there.
    """
    if not distributed.is_launched() or distributed.is_active():
        yield
        return
    if name.startswith("cuda"):
        torch.cuda.set_device(name)
    distributed.start(name.partition(":")[0], launched(command))
    try:
        yield
    except BaseException as error:
        distributed.stop(error)
        raise
    distributed.stop()


def launched(command: str) -> str:
    """A command line as it was typed: where torchrun was given it, as far as its environment tells."""
    if not distributed.is_launched() or not command.startswith("landscape "):
        return command
    here, all_of_them = (os.environ.get(name, "1") for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    nodes = f"--nproc-per-node {here}" if here == all_of_them else "..."
    return f"torchrun {nodes} -m {command}"
