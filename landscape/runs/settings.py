"""What every computation shares: where it runs, what it draws from, where its result goes."""

from dataclasses import dataclass, fields
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one computation, whatever its question.

    ``device``: auto, cpu, cuda, cuda:1 or mps; ``dtype``: float32 or float64 (default: the run's, float32 in training);
    ``chunk_size``: samples at a time, memory only; ``threads``: 1 for small nets, else measured; ``subset``: so many
    training samples, drawn by ``seed``; ``trust``: run code outside the current folder that a run file names;
    ``command``: what was typed, or called, for the provenance.
    """

    output: Path | None = None
    overwrite: bool = False
    device: str = "auto"
    dtype: str | None = None
    seed: int = 0
    chunk_size: int | None = None
    threads: int | None = None
    subset: int | None = None
    data_dir: Path | None = None
    trust: bool = False
    command: str = ""


NAMES = frozenset(one.name for one in fields(Settings))
