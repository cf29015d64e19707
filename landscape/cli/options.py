"""The options that commands share, and how options are grouped in help and completed in a shell."""

from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from landscape.choices import Dtype
from landscape.runs.settings import NAMES, Settings

PAIRS = "K=V..."
WHAT, HOW, RUNNING = "What", "How", "Running"

# The flag --no-verify as a value ``verify``, of every command that opens files.
VERIFY: dict[str, Any] = {
    "is_flag": True,
    "callback": lambda context, option, is_given: not is_given,
    "help": "Open files without checking their bytes.",
}


class Command(click.Command):
    """A command whose k=v options take several pairs after one flag, and whose help shows its options in groups."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        pair_flags = {name for one in self.params if one.metavar == PAIRS for name in one.opts}
        spelled, flag = [], None
        for argument in args:
            is_pair = "=" in argument and argument.partition("=")[0].isidentifier()
            if flag and is_pair and spelled[-1] != flag:
                spelled.append(flag)
            elif not is_pair:
                flag = argument if argument in pair_flags else None
            spelled.append(argument)
        return super().parse_args(ctx, spelled)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Options by group: what is asked, how it is computed, where it runs; one heading where there is but one."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for one in self.get_params(ctx):
            record = one.get_help_record(ctx) if isinstance(one, click.Option) else None
            if record is not None:
                groups.setdefault(getattr(one, "group", RUNNING), []).append(record)
        for name in (WHAT, HOW, RUNNING):
            if name in groups:
                with formatter.section(name if len(groups) > 1 else "Options"):
                    formatter.write_dl(groups[name], col_max=28)


class Grouped(click.Option):
    """An option that knows its group in the help."""

    def __init__(self, *args: Any, group: str = RUNNING, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.group = group


class Address(click.ParamType):
    """A point of a run file; a shell completes files, and after ``a.h5@`` the points they hold."""

    name = "point"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        path, at, label = incomplete.rpartition("@")
        if not at or not Path(path).is_file():
            return [CompletionItem(incomplete, type="file")]
        from landscape.errors import BadInput
        from landscape.runs import store

        try:
            labels = store.point_labels(path, verify=False)
        except BadInput:
            return []
        return [CompletionItem(f"{path}@{one}") for one in labels if one.startswith(label)]


class Named(click.ParamType):
    """A name of ours or the user's own ``file.py:factory``; a shell completes both."""

    name = "text"

    def __init__(self, names: tuple[str, ...]):
        self.names = names

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        found = [CompletionItem(one) for one in self.names if one.startswith(incomplete)]
        return found or [CompletionItem(incomplete, type="file")]


class AtLeastOne(click.ParamType):
    """A whole number of at least 1, which the help does not dwell on."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        return click.IntRange(min=1).convert(value, param, ctx)


def shared() -> list[click.Option]:
    """A fresh list of the options every computation has; one line of help each."""
    path = click.Path(path_type=Path)
    data_help = "Folder of data files [LANDSCAPE_DATA]."
    return [
        Grouped(["-o", "--output"], type=path, help="File to write [default: beside the input]."),
        Grouped(["--overwrite"], is_flag=True, help="Replace what other options made."),
        Grouped(["--device"], default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps."),
        Grouped(["--dtype"], type=click.Choice(Dtype.__args__), help="[default: the run's, else float32]"),  # type: ignore[attr-defined]
        Grouped(["--seed"], type=int, default=0, show_default=True, help="Of everything drawn here."),
        Grouped(["--chunk-size"], type=AtLeastOne(), help="Samples at a time: memory only."),
        Grouped(["--threads"], type=AtLeastOne(), help="CPU threads [default: 1, or measured]."),
        Grouped(["--subset"], type=AtLeastOne(), help="N training samples, drawn by --seed."),
        Grouped(["--data-dir"], type=path, envvar="LANDSCAPE_DATA", help=data_help),
        Grouped(["--training"], is_flag=True, help="The module in training mode, its buffers frozen."),
        Grouped(["--trust"], is_flag=True, help="Trust the code that a run file names."),
        Grouped(["--no-verify", "verify"], **VERIFY),
        Grouped(["--json", "as_json"], is_flag=True, help="One JSON object on standard output."),
        Grouped(["-q", "--quiet"], is_flag=True, help="Print nothing but errors."),
        Grouped(
            ["-v", "--verbose"], is_flag=True, help="Print provenance, all checks, and where an error arose."
        ),
        Grouped(["--strict"], is_flag=True, help="Exit 3 unless converged and checks passed."),
    ]


def settings_of(given: dict[str, Any], command: str) -> Settings:
    """The settings among the values of a command line, which are taken out of ``given``."""
    return Settings(**{name: given.pop(name) for name in list(given) if name in NAMES}, command=command)
