"""Several files at once: a row for each, in a table, as CSV or as JSON."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from landscape.errors import LandscapeError
from landscape.result import Result

UNREADABLE = "unreadable"
# Columns of a terminal from which on a table says the minute too.
WIDE = 110


@dataclass(frozen=True)
class Row:
    """What stands of one file in a table; ``headline`` says what is wrong with one that cannot be read."""

    kind: str
    name: str
    headline: str
    checks: str
    status: str
    time: str


COLUMNS = tuple(one.name for one in fields(Row))


def opened(files: Iterable[Path], verify: bool) -> Iterator[tuple[Path, Result | LandscapeError]]:
    """Every file once, in the order given: what it holds, or why that cannot be said; one is held at a time."""
    from landscape.runs import store

    for path in dict.fromkeys(files):
        try:
            found: Result | LandscapeError = store.load(path, verify=verify)
        except LandscapeError as error:
            found = error
        yield path, found


def row_of(path: Path, found: Result | LandscapeError) -> Row:
    """The row of a file.

    >>> from landscape.errors import BadInput
    >>> row_of(Path("a.h5"), BadInput("a.h5 is a folder", "a result")).status
    'unreadable'
    """
    from landscape.cli.words import told

    if isinstance(found, LandscapeError):
        return Row("", str(path), told(str(found)), "", UNREADABLE, "")
    passed = sum(check.passed for check in found.checks)
    time = str(found.provenance.get("created", ""))
    return Row(found.kind, str(path), found.headline, f"{passed} of {len(found.checks)}", found.status, time)


def is_unreadable(row: Row) -> bool:
    return row.status == UNREADABLE


def by_column(name: str) -> Callable[[Row], Any]:
    """What rows are ordered by: texts as they are, checks by how many failed and then how many there are.

    >>> rows = [Row("a", "x", "", checks, "", "") for checks in ("9 of 9", "10 of 10", "1 of 2", "")]
    >>> [row.checks for row in sorted(rows, key=by_column("checks"))]
    ['', '9 of 9', '10 of 10', '1 of 2']
    """
    if name != "checks":
        return lambda row: getattr(row, name)

    def counted(row: Row) -> tuple[int, int]:
        passed, _, of = row.checks.partition(" of ")
        return (int(of) - int(passed), int(of)) if of else (0, 0)

    return counted


def as_csv(rows: Iterable[Row]) -> str:
    """A line of names, then a line a file."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(astuple(row) for row in rows)
    return written.getvalue()


def print_table(rows: Iterable[Row]) -> None:
    """The table on standard output."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False)
    for name in COLUMNS:
        table.add_column(name, overflow="fold", no_wrap=name in ("kind", "checks", "time"))
    # The day, and the minute where there is room.
    length = 16 if console.width >= WIDE else 10
    for row in rows:
        colour = "green" if row.status == "complete" else "bold red"
        cells = list(map(escape, astuple(row)))
        cells[COLUMNS.index("time")] = row.time[:length].replace("T", " ")
        cells[COLUMNS.index("status")] = f"[{colour}]{escape(row.status)}[/{colour}]"
        table.add_row(*cells)
    console.print(table)
