"""``run.h5@point``: where a point is to be found, and where a result is put."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from landscape.analyses.declare import Analysis
from landscape.errors import BadInput
from landscape.runs import store


@dataclass(frozen=True)
class Address:
    """A point of a run file: ``path@name``, ``path@epoch=12``, ``path@12``; ``name`` is '' when none was given."""

    path: Path
    name: str

    def __str__(self) -> str:
        return f"{self.path}@{self.name}" if self.name else str(self.path)


def parse_address(text: str) -> Address:
    """``run.h5@final`` as an Address; an ``@`` inside a folder's name does not count.

    >>> parse_address("runs/a.h5@epoch=12")
    Address(path=PosixPath('runs/a.h5'), name='epoch=12')
    >>> parse_address("a.h5@3").name
    '3'
    """
    found = re.fullmatch(r"(.+?)@([A-Za-z_]+(?:=\d+)?|\d+)", text)
    if found is None and (named := re.fullmatch(r"(.+?)@([\w.+=-]+)", text)) and Path(named[1]).is_file():
        found = named
    if found and not Path(text).exists():
        return Address(Path(found[1]), found[2])
    return Address(Path(text), "")


def default_output(declared: Analysis, paths: Sequence[Path]) -> Path:
    """``a.h5, b.h5`` and ``connect`` as ``a-b.connect.h5``, beside the first; the aligned ``b`` beside ``b``.

    Raises BadInput for a folder.
    """
    for path in paths:
        if path.is_dir():
            raise BadInput(f"{path} is a folder", "a result or run file")
    if declared.name == "align":  # a run file of the last of its points, moved
        return paths[-1].with_name(f"{paths[-1].stem}-aligned.h5")
    stems = "-".join(dict.fromkeys(path.stem for path in paths))
    return paths[0].with_name(f"{stems}.{declared.name}.h5")


def points_of(address: str, at: str, *, verify: bool = True) -> list[str]:
    """``a.h5`` and ``all`` or ``init,final`` as addresses of points."""
    path = parse_address(address).path
    labels = [part.strip() for part in at.split(",")]
    if "all" in labels and len(labels) > 1:
        raise BadInput(
            f"points {at}", "all, or some by their names", "all are every one already: give all alone"
        )
    labels = store.point_labels(path, verify=verify) if labels == ["all"] else labels
    return [f"{path}@{label}" for label in labels]
