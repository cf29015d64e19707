"""``run.h5@point``: where a point is to be found."""

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Address:
    """A point of a run file: ``path@name`` or ``path@epoch=12``; ``name`` is '' when none was given."""

    path: Path
    name: str

    def __str__(self) -> str:
        return f"{self.path}@{self.name}" if self.name else str(self.path)


def parse_address(text: str) -> Address:
    """``run.h5@final`` as an Address; an ``@`` inside a folder's name does not count.

    >>> parse_address("runs/a.h5@epoch=12")
    Address(path=PosixPath('runs/a.h5'), name='epoch=12')
    """
    found = re.fullmatch(r"(.+?)@([A-Za-z_]+(?:=\d+)?)", text)
    if found and not Path(text).exists():
        return Address(Path(found[1]), found[2])
    return Address(Path(text), "")
