"""``landscape init``: a TOML file with every option of a command, or of all of them, ready to be run and changed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from landscape.cli.config import Spelled
from landscape.cli.options import PAIRS, AtLeastOne, Command, shared
from landscape.errors import BadInput

# What a command cannot do without, by the keys of its file: of the run that `landscape init train` makes.
NEEDED: dict[str, dict[str, Any]] = {
    "train": {"model": "mlp", "data": "digits", "output": "a.h5"},
    "export": {"point": "a.h5", "output": "a.safetensors"},
    "import": {"points": "a.safetensors", "model": "mlp", "data": "digits", "output": "imported.h5"},
    "import-surface": {"file": "surface.h5"},
    "interpolate": {"points": ["a.h5@init", "a.h5"]},
    "connect": {"points": ["a.h5@init", "a.h5"]},
    "align": {"points": ["a.h5@init", "a.h5"]},
    "basins": {"points": ["a.slice2d.h5"]},
    "minima": {"output": "minima.h5"},
    "efficiency": {"output": "efficiency.h5"},
    "plot": {"files": ["a.h5"]},
    "report": {"files": ["a.h5"]},
    "show": {"files": ["a.h5"]},
    "tour": {},
    "init": {},
}
OTHERS = {"points": ["a.h5"]}
# What has to be there before.
BEFORE = {
    "train": "",
    "minima": "",
    "efficiency": "",
    "tour": "",
    "import": "landscape init export and landscape export --config export.toml make a.safetensors.",
    "import-surface": "landscape export a.slice2d.h5 -o surface.h5 makes surface.h5.",
    "basins": "landscape slice2d a.h5 makes a.slice2d.h5.",
}
MAKE_RUN = "landscape init train and landscape train --config train.toml make a.h5."


@click.command("init", cls=Command)
@click.argument("name", metavar="[COMMAND]", required=False)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File to write [default: COMMAND.toml; landscape.toml for all].",
)
def command(name: str | None, output: Path | None) -> None:
    """Write a TOML file with every option of COMMAND, or of all commands, its help and its default.

    It runs as it stands, by --config. A file that is there is never overwritten.

    \b
    landscape init train
    landscape train --config train.toml
    """
    from landscape.cli import commands
    from landscape.cli.written import check_place

    known = [one for one in commands() if one != "init"]
    if name is not None and name not in known:
        import difflib

        near = difflib.get_close_matches(name, known, n=1)
        raise BadInput(
            f"no command {name!r}", f"one of {', '.join(known)}", f"did you mean {near[0]}?" if near else ""
        )
    path = output or Path(f"{name or 'landscape'}.toml")
    check_place(path, "landscape.toml")
    text = "\n".join(of_command(name, str(path)) if name else of_all(known, str(path))) + "\n"
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise BadInput(f"{path} exists", "a new file", "give `output` another.toml") from None
    typed = name or "train"
    click.echo(f"{path} is written; run it with: landscape {typed} --config {path}")


def of_command(name: str, path: str) -> Iterator[str]:
    """The lines of a file for one command."""
    yield from _head(name, path)
    yield "#"
    yield "# Several runs: put a table [[run]] for each at the end, with what is its own. Above stands what they share."
    yield from _body(name, frozenset())


def of_all(names: list[str], path: str) -> Iterator[str]:
    """The lines of a file for all commands: what they share, then a table for each."""
    yield f"# Options of every command. Take one with: landscape COMMAND --config {path}, first of all train."
    yield "# What stands here is the default; take away the # to change it. What is typed on the line goes first."
    yield '# Several runs: a table [[run]] for each at the end, with command = "train" and what is its own.'
    common = {_key(one) for one in shared()} - {"output"}
    yield ""
    yield "# --- for every command ---"
    for one in shared():
        if _key(one) in common:
            yield from _option(one, _key(one))
    for name in names:
        yield ""
        yield f"[{name}]"
        yield from _head(name, path)
        yield from _body(name, common)


def _head(name: str, path: str) -> Iterator[str]:
    made = _made(name)
    first = (made.help or "").splitlines()[0]
    yield f"# landscape {name}: {first}"
    yield f"# landscape {name} --config {path}"
    if before := BEFORE.get(name, MAKE_RUN):
        yield f"# {before}"


def _body(name: str, left_out: "frozenset[str] | set[str]") -> Iterator[str]:
    needed = NEEDED.get(name, OTHERS)
    for key, one in Spelled(_made(name), name).known.items():
        if key in needed:
            yield ""
            yield from _about(one)
            yield f"{key} = {_toml(needed[key])}"
        elif isinstance(one, click.Argument):
            yield ""
            yield f"# {key} = []"
        elif key not in left_out:
            yield from _option(one, key)


def _option(one: click.Parameter, key: str) -> Iterator[str]:
    yield ""
    yield from _about(one)
    yield f"# {key} = {_toml(default) if (default := _default(one)) is not None else _example(one)}"


def _about(one: click.Parameter) -> Iterator[str]:
    help = " ".join((getattr(one, "help", None) or "").split())
    choices = f"One of {', '.join(one.type.choices)}." if isinstance(one.type, click.Choice) else ""
    none = "" if isinstance(one, click.Argument) or _default(one) is not None else "Not given by default."
    if said := " ".join(part for part in (help, choices, none) if part):
        yield f"# {said}"


def _default(one: click.Parameter) -> Any:
    """What a file would say for the default; None where it can say nothing."""
    assert isinstance(one, click.Option)
    value = one.default() if callable(one.default) else one.default
    if one.is_flag:
        # A flag that turns something off says true for what is not so by default.
        return bool(value) and one.name != "verify"
    if one.metavar == PAIRS:
        return {}
    if repr(value).startswith("Sentinel") or value is None:
        return None
    return list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value


def _example(one: click.Parameter) -> str:
    """A value of the right kind, for an option that has no default."""
    assert isinstance(one, click.Option)
    if isinstance(one.type, click.Choice):
        return _toml(one.type.choices[0])
    if parameter := getattr(one.type, "parameter", None):
        return {int: "[1, 2]", float: "[0.1, 0.2]"}.get(parameter.scalar, "[]")
    if one.multiple:
        return "[]"
    if one.nargs > 1:
        return _toml([float(number) for number in range(one.nargs)])
    if isinstance(one.type, click.types.IntParamType | AtLeastOne):
        return "1"
    return "1.0" if isinstance(one.type, click.types.FloatParamType) else '""'


def _made(name: str) -> click.Command:
    from landscape.cli import landscape

    found = landscape.get_command(click.Context(landscape), name)
    assert found is not None
    return found


def _key(one: click.Parameter) -> str:
    return max(one.opts, key=len).lstrip("-")


def _toml(value: Any) -> str:
    """A value in TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return "{}" if isinstance(value, dict) else repr(value)
