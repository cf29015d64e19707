"""What people see: progress on standard error, tables on standard output, or one JSON object."""

import json
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from landscape import progress as reporting
from landscape.cli.matrices import heading_of, is_short, texts_of
from landscape.cli.words import told
from landscape.result import Check, Result, field_metadata, with_error

# Work that is over sooner needs no bar.
PATIENCE_SECONDS = 1.0
MOST_CHECKS = 14
MOST_TOLD = 6


@dataclass(frozen=True)
class Look:
    """What ``--json``, ``-q``, ``-v`` and ``--strict`` ask for."""

    as_json: bool = False
    verbosity: int = 0
    is_strict: bool = False

    @classmethod
    def of(cls, given: dict[str, Any]) -> "Look":
        """Taken out of the values of a command line."""
        verbosity = int(given.pop("verbose")) - int(given.pop("quiet"))
        return cls(given.pop("as_json"), verbosity, given.pop("strict"))


class _Column(NamedTuple):
    title: str
    texts: list[str]
    is_text: bool

    @property
    def least_width(self) -> int:
        """The longest of what is not broken, as nothing of a column of texts is, and two spaces."""
        cells = [self.title, *self.texts]
        return 2 + max(
            len(word) for cell in cells for word in ([cell] if self.is_text else cell.split() or [""])
        )


class Screen:
    """Prints as its look asks."""

    def __init__(self, look: Look):
        self.look = look
        self.out = Console(highlight=False)
        self.err = Console(stderr=True, highlight=False)

    def say(self, text: str) -> None:
        """A remark on standard error."""
        if self.look.verbosity >= 0:
            self.err.print(escape(text))

    @contextmanager
    def progress(self, *, is_shown: bool = True) -> Iterator[reporting.Progress]:
        """A progress callback that draws a bar with the time left, on a terminal alone."""
        if not is_shown or self.look.verbosity < 0 or not sys.stderr.isatty():
            yield reporting.silent
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        bar = Progress(*columns, console=self.err, transient=True)
        began = time.monotonic()
        tasks: dict[str, Any] = {}

        def report(done: int, total: int, what: str) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)
            if not bar.live.is_started and time.monotonic() - began > PATIENCE_SECONDS:
                bar.start()

        try:
            yield report
        finally:
            if bar.live.is_started:
                bar.stop()

    def summary(self, result: Result, output: Path, remark: str = "") -> None:
        """What a result says, and its checks."""
        if self.look.as_json:
            click.echo(json.dumps(result.as_json(str(output)), allow_nan=False))
            return
        if self.look.verbosity < 0:
            return
        title = f"[bold]{result.kind}[/bold] → [bold]{escape(str(output))}[/bold]  {status_text(result)}"
        self.out.print(title + (f" ({escape(remark)})" if remark else ""), soft_wrap=True)
        self.values(result)
        self.checks(result, output)
        self.notes(result)
        if assumed := result.provenance.get("assumed"):
            self.out.print(f"[dim]assumed:[/dim] {escape(str(assumed))}", soft_wrap=True)
        if self.look.verbosity > 0:
            self.provenance(result)

    def values(self, result: Result) -> None:
        """Scalars, then short arrays over a common dimension as the columns of one table; each with its error."""
        about = field_metadata(type(result))
        table = Table(box=None, show_header=False, pad_edge=False)
        for name, (value, error) in with_errors(result.scalars()).items():
            text = text_of(value) if error is None else with_error(value, error)
            table.add_row(escape(name), text, f"[dim]{escape(about[name]['long_name'])}[/dim]")
        if table.row_count:
            self.out.print(table)
        by_dims: dict[str, dict[str, np.ndarray]] = {}
        for one in result.arrays():
            if len(one.dims) == 1 and is_short(result, one.dims, one.values.shape):
                by_dims.setdefault(one.dims[0], {})[one.name] = one.values
        for columns in by_dims.values():
            if len(columns) < 2:
                continue
            found, alike = [], {}
            for name, (values, errors) in with_errors(columns).items():
                if found and errors is None and is_constant(values):
                    alike[name.replace("_", " ")] = text_of(values[0], digits=4)
                    continue
                if errors is None:
                    texts = [text_of(value, digits=4) for value in values.tolist()]
                else:
                    texts = list(map(with_error, values.tolist(), errors.tolist()))
                # Without underscores a long name breaks between its words.
                found.append(_Column(name.replace("_", " "), texts, values.dtype.kind in "US"))
            for part in _side_by_side(found, self.out.width) if len(found) > 1 else []:
                rows = Table(box=None, pad_edge=False)
                for one, width in zip(part, _widths(part, self.out.width), strict=True):
                    rows.add_column(
                        escape(one.title), justify="right", width=width, no_wrap=one.is_text, overflow="fold"
                    )
                for row in zip(*(one.texts for one in part), strict=True):
                    rows.add_row(*row)
                self.out.print(rows)
            if alike:
                told_once = ", ".join(f"{escape(name)} {text}" for name, text in alike.items())
                self.out.print(f"[dim]every {found[0].title}:[/dim] {told_once}", soft_wrap=True)
        self._matrices(result)

    def _matrices(self, result: Result) -> None:
        """The tables a result asks to be printed, rows and columns named by its coordinates."""
        coordinates = {one.name: one.values.tolist() for one in result.arrays() if one.dims == (one.name,)}
        for one in result.arrays():
            if not one.printed or len(one.dims) < 2 or not is_short(result, one.dims, one.values.shape):
                continue
            *names, heads = (
                coordinates.get(d, range(n)) for d, n in zip(one.dims, one.values.shape, strict=True)
            )
            texts, rows = texts_of(result, one), list(np.ndindex(*one.values.shape[:-1]))
            columns = [
                _Column(dim, [text_of(name[row[k]]) for row in rows], True)
                for k, (dim, name) in enumerate(zip(one.dims[:-1], names, strict=True))
            ]
            columns += [
                _Column(text_of(head), [texts[*row, j] for row in rows], True) for j, head in enumerate(heads)
            ]
            title = escape(heading_of(one, one.name.replace("_", " ")))
            for part in _side_by_side(columns, self.out.width, len(names)):
                table = Table(box=None, pad_edge=False, title=title, title_justify="left")
                for each in part:
                    table.add_column(escape(each.title), justify="right", no_wrap=True)
                for row in zip(*(each.texts for each in part), strict=True):
                    table.add_row(*row)
                self.out.print(table)

    def checks(self, result: Result, output: Path) -> None:
        """One line a check: passed or failed, value, bound, what was compared; the telling ones, or with -v all."""
        every = worst_of_each(result.checks)
        shown = every if self.look.verbosity > 0 else telling(every)
        table = Table(box=None, pad_edge=False, header_style="dim")
        for title, justify in (("check", "left"), ("", "left"), ("value", "right"), ("bound", "right")):
            table.add_column(title, justify=justify)  # pyright: ignore[reportArgumentType]
        table.add_column("meaning", style="dim")
        for one in shown:
            verdict = "[green]passed[/green]" if one.passed else "[bold red]failed[/bold red]"
            table.add_row(
                escape(one.name), verdict, f"{one.value:.2g}", f"{one.bound:.2g}", escape(one.meaning)
            )
        if result.checks:
            self.out.print(table)
        if len(shown) < len(every):
            others = f"{len(every) - len(shown)} other checks passed"
            self.out.print(f"[dim]{others}: landscape show {escape(str(output))}[/dim]", soft_wrap=True)

    def contents(self, result: Result) -> None:
        """The arrays of a result with their dimensions and ranges, and the points of a run."""
        table = Table(box=None, pad_edge=False, header_style="dim")
        for title in ("array", "dimensions", "smallest", "largest", "meaning"):
            table.add_column(title)
        for one in result.arrays():
            dims = " × ".join(f"{dim} {size}" for dim, size in zip(one.dims, one.values.shape, strict=True))
            is_numeric = one.values.size and one.values.dtype.kind not in "US"
            ends = [text_of(end(one.values).item()) for end in (np.min, np.max)] if is_numeric else ["", ""]
            table.add_row(escape(one.name), dims, *ends, f"[dim]{escape(one.long_name)}[/dim]")
        self.out.print(table)
        if result.states:
            self.out.print(f"points: {', '.join(map(escape, result.states))}", soft_wrap=True)

    def notes(self, result: Result) -> None:
        for note in result.notes:
            self.out.print(f"[yellow]note:[/yellow] {escape(told(note, result.kind))}")

    def provenance(self, result: Result) -> None:
        """Who made it, when, from what."""
        table = Table(box=None, show_header=False, pad_edge=False)
        for name, value in result.provenance.items():
            table.add_row(f"[dim]{escape(name)}[/dim]", escape(str(value)))
        table.add_row("[dim]config[/dim]", escape(json.dumps(result.config, default=str)))
        self.out.print(table)


def worst_of_each(checks: list[Check]) -> list[Check]:
    """All checks while they are few; of many that differ in their point alone, those that failed and the closest.

    >>> worst_of_each([Check(f"loss at {i}", i, 20.0, "") for i in range(15)])
    [Check(name='loss (15 points)', value=14, bound=20.0, meaning='')]
    """
    if len(checks) <= MOST_CHECKS:
        return checks
    groups: dict[str, list[Check]] = {}
    for one in checks:
        groups.setdefault(one.name.partition(" at ")[0], []).append(one)
    shown: list[Check] = []
    for name, group in groups.items():
        failed = [one for one in group if not one.passed]
        closest = max(group, key=_nearness)
        title = closest.name if len(group) == 1 else f"{name} ({len(group)} points)"
        shown += failed or [Check(title, closest.value, closest.bound, closest.meaning)]
    return shown


def _side_by_side(columns: list[_Column], width: int, num_labels: int = 1) -> list[list[_Column]]:
    """The columns as tables that are no wider than ``width``, the first ``num_labels`` in front of each."""
    labels, others = columns[:num_labels], columns[num_labels:]
    tables = [[*labels]]
    for one in others:
        if len(tables[-1]) > num_labels and sum(x.least_width for x in [*tables[-1], one]) > width + 2:
            tables.append([*labels])
        tables[-1].append(one)
    return tables


def _widths(columns: list[_Column], room: int) -> list[int]:
    """As broad as each asks for while there is room, and none narrower than what is not broken.

    Left to itself rich narrows the broadest below that, and cuts off the end of the table.
    """
    widths = [one.least_width - 2 for one in columns]
    left = room - sum(widths) - 2 * (len(columns) - 1)
    for place, one in enumerate(columns):
        more = max(0, min(left, max(map(len, [one.title, *one.texts])) - widths[place]))
        widths[place], left = widths[place] + more, left - more
    return widths


def telling(checks: list[Check]) -> list[Check]:
    """Those that failed, and up to :data:`MOST_TOLD` in all those closest to their bounds, in their order.

    >>> [one.name for one in telling([Check(str(i), i, 100.0, "") for i in range(9)])]
    ['3', '4', '5', '6', '7', '8']
    """
    closest = sorted(checks, key=_nearness, reverse=True)[:MOST_TOLD]
    return [one for one in checks if not one.passed or one in closest]


def _nearness(check: Check) -> float:
    return check.value / check.bound if check.bound else check.value


def with_errors(values: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Every value with the one called its error, which then is none of its own; None where there is none.

    >>> with_errors({"trace": 4.0, "trace_error": 0.1, "loss": 1.0})
    {'trace': (4.0, 0.1), 'loss': (1.0, None)}
    """
    owners = {f"{name}_error" for name in values}
    return {
        name: (value, values.get(f"{name}_error")) for name, value in values.items() if name not in owners
    }


def is_constant(values: np.ndarray) -> bool:
    """Whether a column says the same in each of at least three rows, and need not be one."""
    return len(values) > 2 and bool((values == values[0]).all())


def status_text(result: Result) -> str:
    colour = "green" if result.status == "complete" else "bold red"
    return f"[{colour}]{result.status}[/{colour}]"


def text_of(value: Any, digits: int = 6) -> str:
    """A value as a person reads it: so many digits, yes and no."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.item()
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.{digits}g}" if math.isfinite(value) else str(value)
    return escape(str(value))
