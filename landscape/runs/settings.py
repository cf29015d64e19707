"""What every computation shares: where it runs, what it draws from, where its result goes."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any, get_type_hints

from landscape.analyses.options import SEED, Option, Parameter
from landscape.choices import Dtype
from landscape.errors import BadInput

# Of very many an operating system makes none, and the process dies without a word.
MOST_THREADS = 1024


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one computation, whatever its question.

    ``device``: auto, cpu, cuda, cuda:1 or mps; ``dtype``: float32 or float64 (default: the run's, float32 in training);
    ``chunk_size``: samples at a time, memory only; ``threads``: 1 for small nets, else measured; ``subset``: so many
    training samples, drawn by ``seed``; ``trust``: trust, now and later, the code that a run file names;
    ``workers``: processes for independent tasks, so many of this machine or those of a Dask scheduler at
    ``tcp://host:8786``, where the analysis has such tasks;
    ``training``: F of the module in training mode, its buffers frozen (default: the run's);
    ``verify``: check the bytes of every file that is opened; ``command``: what was typed or called, for the record;
    ``config_file``: the file that options came from, whole, for the record too.
    """

    output: Path | None = None
    overwrite: bool = False
    device: str = "auto"
    dtype: Dtype | None = None
    seed: int = 0
    chunk_size: int | None = None
    threads: int | None = None
    workers: str | None = None
    subset: int | None = None
    data_dir: Path | None = None
    training: bool = False
    trust: bool = False
    verify: bool = True
    command: str = ""
    config_file: str = ""

    def __post_init__(self) -> None:
        if (self.threads or 0) > MOST_THREADS:
            raise BadInput(
                f"`threads` {self.threads}", f"1 to {MOST_THREADS}, best as many as there are cores"
            )


NAMES = frozenset(one.name for one in fields(Settings))
PATHS = ("output", "data_dir")
COUNTS = ("chunk_size", "threads", "subset")


def called(command: str, given: Mapping[str, Any]) -> Settings:
    """The settings of a call from Python. Raises BadInput, naming the one that cannot be."""
    kinds = get_type_hints(Settings)
    values: dict[str, Any] = {}
    for one in fields(Settings):
        if one.name not in given:
            continue
        value = given[one.name]
        if one.name == "workers" and isinstance(value, int):
            value = str(value)
        if one.name == SEED.name:
            value = SEED.checked(value)
        elif one.name not in PATHS:
            about = Option(least=1 if one.name in COUNTS else None)
            value = Parameter(one.name, kinds[one.name], one.default, about).checked(value)
        elif isinstance(value, str | PathLike):
            value = Path(value)
        elif value is not None:
            raise BadInput(f"`{one.name}` = {value!r}", "a path")
        values[one.name] = value
    return Settings(**{"command": command, **values})
