"""Options from a TOML file, for any command: checked as strictly as it says, then spelled as they would be typed.

A file holds options by their long names, without dashes in front. Those at its top are for every command, those in a
table ``[hessian]`` for that command; every ``[[run]]`` is a run of its own, of the command it names as ``command``, or
of whichever is typed. The nearer one wins: the line, then the run, the command, the top.
"""

import difflib
import hashlib
import json
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from landscape.cli.options import PAIRS, AtLeastOne, shared
from landscape.errors import BadInput

RUN, COMMAND = "run", "command"


@dataclass(frozen=True)
class Entry:
    """One ``key = value`` of a file, in the table it stands in: '' at the top, a command's, or ``run`` by number."""

    key: str
    value: Any
    table: str = ""
    number: int = 0


@dataclass(frozen=True)
class ConfigFile:
    """A file that was read: its path, its text, and what tomllib made of it."""

    path: Path
    text: str
    values: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> "ConfigFile":
        """Raises BadInput for a file that is missing, or is no TOML."""
        try:
            text = path.read_bytes().decode()
            return cls(path, text, tomllib.loads(text))
        except (OSError, UnicodeDecodeError) as error:
            said = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
            raise BadInput(
                f"{path} cannot be read ({said})", "a TOML file", "landscape init writes one"
            ) from None
        except tomllib.TOMLDecodeError as error:
            raise BadInput(f"{path} is no TOML: {error}", "key = value", "texts stand in quotes") from None

    def runs(self, name: str, known: Sequence[str]) -> list[dict[str, Entry]]:
        """The entries of every run of the command ``name``, by key; ``known`` are all commands. Raises BadInput."""
        top = {
            key: value
            for key, value in self.values.items()
            if key != RUN and not _is_table_of(key, value, known)
        }
        common = self._entries(top, "") | self._entries(self.values.get(name, {}), name)
        tables = self.values.get(RUN)
        if tables is None:
            return [common]
        if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
            raise BadInput(f"`{RUN}` in {self.path} is no list of tables", "a table [[run]] for each")
        found = []
        for number, table in enumerate(tables, start=1):
            whose = table.get(COMMAND, name)
            if whose not in known:
                raise BadInput(
                    f"{COMMAND} = {whose!r} in [[run]] {number} of {self.path}",
                    "a command",
                    _near(str(whose), known),
                )
            if whose == name:
                own = {key: value for key, value in table.items() if key != COMMAND}
                found.append(common | self._entries(own, RUN, number))
        if not found:
            there = ", ".join(dict.fromkeys(one[COMMAND] for one in tables))
            raise BadInput(f"no [[run]] in {self.path} is of {name}", f"one of the commands there, {there}")
        return found

    def record(self, run: int, count: int) -> str:
        """For a result: the whole text, where it stood, and which of its runs this was."""
        digest = hashlib.sha256(self.text.encode()).hexdigest()
        about = {"path": str(self.path), "sha256": digest, "run": run, "runs": count, "text": self.text}
        return json.dumps(about)

    def place(self, entry: Entry) -> str:
        """Where an entry stands, for a sentence."""
        table, number, found = "", 0, None
        for at, line in enumerate(self.text.splitlines(), start=1):
            if header := re.match(r"\s*(\[\[?)\s*([\w-]+)\s*\]", line):
                table = header[2]
                number += table == RUN and header[1] == "[["
            elif table == entry.table and (table != RUN or number == entry.number):
                key = line.partition("=")[0].strip().strip("\"'").replace("_", "-")
                found = at if key == entry.key and "=" in line else found
        where = (
            f"[[run]] {entry.number} of "
            if entry.table == RUN
            else f"[{entry.table}] of "
            if entry.table
            else ""
        )
        return f"{where}{self.path}" + (f", line {found}" if found else "")

    def _entries(self, values: Any, table: str, number: int = 0) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        for key, value in values.items():
            entry = Entry(key.replace("_", "-"), value, table, number)
            if entry.key in found:
                raise BadInput(f"{entry.key} stands twice in {self.place(entry)}", "each option once")
            found[entry.key] = entry
        return found


class Spelled:
    """The options and arguments of a command by the keys a file has for them."""

    def __init__(self, command: click.Command, name: str):
        self.name = name
        self.known: dict[str, click.Parameter] = {}
        for one in command.params:
            if one.name and one.name != "config":
                longest = max(one.opts, key=len) if isinstance(one, click.Option) else one.name
                self.known[longest.lstrip("-").replace("_", "-")] = one

    def checked(self, file: ConfigFile, entries: Mapping[str, Entry]) -> dict[str, Entry]:
        """The entries that are of this command. Raises BadInput for a key that is none of its, and a wrong value."""
        everywhere = {max(one.opts, key=len).lstrip("-") for one in shared()}
        found: dict[str, Entry] = {}
        for key, entry in entries.items():
            if key in self.known:
                self.tokens(file, entry)
                found[key] = entry
            elif entry.table or key not in everywhere:
                raise BadInput(
                    f"{self.name} has no option {key!r} ({file.place(entry)})",
                    "the long names of its options",
                    _elsewhere(entry, self.name)
                    if key == RUN
                    else _near(key, list(self.known)) or _elsewhere(entry, self.name),
                )
        return found

    def tokens(self, file: ConfigFile, entry: Entry) -> list[str]:
        """An entry as it would be typed. Raises BadInput for a value of another type than the option's."""
        one, value = self.known[entry.key], entry.value
        try:
            return _typed(one, value)
        except _Wrong as wrong:
            near = _near(value, list(one.type.choices)) if isinstance(one.type, click.Choice) else ""
            raise BadInput(
                f"{entry.key} = {_shown(value)} ({file.place(entry)})", wrong.wanted, near
            ) from None


class _Wrong(Exception):
    def __init__(self, wanted: str):
        self.wanted = wanted


def lines_of(
    file: ConfigFile, command: click.Command, name: str, known: Sequence[str], typed: Mapping[str, Any]
) -> tuple[list[list[str]], list[str]]:
    """The words of every run that are not on the line, and what the line overrides; ``typed`` by parameter name."""
    spelled = Spelled(command, name)
    lines, overridden = [], []
    for entries in file.runs(name, known):
        words: list[str] = []
        for key, entry in spelled.checked(file, entries).items():
            one = spelled.known[key]
            if one.name in typed:
                flag = max(one.opts, key=len)
                overridden.append(
                    f"{flag} on the line overrides {key} = {_shown(entry.value)} of {file.place(entry)}"
                )
                continue
            words += spelled.tokens(file, entry)
        lines.append(words)
    return lines, list(dict.fromkeys(overridden))


def _typed(one: click.Parameter, value: Any) -> list[str]:
    if isinstance(one, click.Argument):
        values: list[Any] = value if isinstance(value, list) else [value]
        if not values or not all(isinstance(part, str) and part for part in values):
            raise _Wrong("a text" if one.nargs == 1 else "a list of texts")
        if one.nargs > 0 and len(values) != one.nargs:
            raise _Wrong("a text" if one.nargs == 1 else f"{one.nargs} texts")
        return values
    assert isinstance(one, click.Option)
    flag = max(one.opts, key=len)
    if one.is_flag:
        if not isinstance(value, bool):
            raise _Wrong("true or false")
        return [flag] if value else list(one.secondary_opts)
    if one.metavar == PAIRS:
        if not isinstance(value, dict):
            raise _Wrong("a table, as in {widths = [100, 100]}")
        return [word for name, part in value.items() for word in (flag, f"{name}={_python(part)}")]
    if one.multiple:
        parts = _list(value, str, "a list of texts")
        return [f"{flag}={part}" for part in parts]
    parameter = getattr(one.type, "parameter", None)
    if parameter is not None:
        kind = parameter.scalar
        parts = _list(value, kind, f"a list of {_plural(kind)}")
        return [f"{flag}={','.join(map(_text, parts)) or 'none'}"]
    if one.nargs > 1:
        parts = _list(value, float, f"a list of {one.nargs} numbers")
        if len(parts) != one.nargs:
            raise _Wrong(f"a list of {one.nargs} numbers")
        return [flag, *map(_text, parts)]
    return [f"{flag}={_text(_scalar(one.type, value))}"]


def _scalar(kind: click.ParamType, value: Any) -> Any:
    if isinstance(kind, click.Choice):
        if value not in kind.choices:
            raise _Wrong(f"one of {', '.join(map(repr, kind.choices))}")
        return value
    if isinstance(kind, click.types.IntParamType | AtLeastOne):
        return _of(value, int, "a whole number")
    if isinstance(kind, click.types.FloatParamType):
        return _of(value, float, "a number")
    return _of(value, str, "a text, in quotes")


def _of(value: Any, kind: type, wanted: str) -> Any:
    kinds = (int, float) if kind is float else (kind,)
    if (
        isinstance(value, bool)
        or not isinstance(value, kinds)
        or (isinstance(value, float) and math.isnan(value))
    ):
        raise _Wrong(wanted)
    return value


def _list(value: Any, kind: type, wanted: str) -> list[Any]:
    if not isinstance(value, list):
        raise _Wrong(wanted)
    return [_of(part, kind, wanted) for part in value]


def _plural(kind: type) -> str:
    return {int: "whole numbers", float: "numbers"}.get(kind, "texts")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def _python(value: Any) -> str:
    """A value of a file so that a ``name=value`` gives it back: lists as tuples, texts in quotes."""
    if isinstance(value, list):
        inside = ", ".join(map(_python, value))
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name!r}: {_python(part)}" for name, part in value.items()) + "}"
    if isinstance(value, float) and not math.isfinite(value):
        return "1e999" if value > 0 else "-1e999"
    if not isinstance(value, bool | int | float | str):
        raise _Wrong("texts, numbers, true, false and lists of them")
    return repr(value)


def _is_table_of(key: str, value: Any, known: Sequence[str]) -> bool:
    return isinstance(value, dict) and key in known


def _elsewhere(entry: Entry, name: str) -> str:
    if entry.key == RUN:
        return f'write [[{RUN}]] with {COMMAND} = "{name}" in it for each run, and what all have in [{name}]'
    if entry.table == RUN:
        return f'a run of another command says so: {COMMAND} = "train"'
    return f"landscape init {name} writes them all"


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _near(value: Any, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(str(value), known, n=1)
    return f"did you mean {near[0]}?" if near else ""
