"""The options that commands share, and how options are grouped in help and completed in a shell."""

from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from landscape.analyses.options import SEED
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


# What a file of options is kept under while its runs are under way: what a result records of it, and further runs.
RECORD, RUNS = "landscape.config", "landscape.runs"


class Command(click.Command):
    """A command whose k=v options take several pairs after one flag, and whose help shows its options in groups.

    With ``--config`` options come from a file too, which may hold several runs: all are parsed before the first is run.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        help = "Options from a TOML file (landscape init writes one)."
        self.params.append(
            Grouped(["--config"], type=click.Path(path_type=Path), expose_value=False, help=help)
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return self._parsed(ctx, args)
        except click.BadArgumentUsage as error:
            (place,) = [one for one in self.params if isinstance(one, click.Argument)]
            wanted = f"{ctx.info_name} takes {place.nargs} values, {place.metavar}"
            raise click.UsageError(wanted, ctx) from error

    def _parsed(self, ctx: click.Context, args: list[str]) -> list[str]:
        spelled = self._spelled(args)
        if ctx.resilient_parsing or not any(one.partition("=")[0] == "--config" for one in spelled):
            return super().parse_args(ctx, spelled)
        given, _, _ = self.make_parser(ctx).parse_args(args=list(spelled))
        if not isinstance(given.get("config"), str):
            return super().parse_args(ctx, spelled)
        lines, records = self._from_file(Path(given["config"]), given)
        whole = [[*spelled, *line] for line in lines]
        if len(whole) > 1:
            # Parsed now, so that no run begins where a later one cannot.
            plain = [[*self._spelled(_without_config(args)), *line] for line in lines]
            runs = [self.make_context(ctx.info_name, list(one), parent=ctx.parent) for one in plain]
            _require_other_outputs(runs)
            ctx.meta[RUNS] = list(zip(runs, records, strict=True))
        ctx.meta[RECORD] = records[0]
        return super().parse_args(ctx, whole[0])

    def invoke(self, ctx: click.Context) -> Any:
        """The command itself, or every run of its file in turn; the exit code is then the largest of theirs."""
        runs = ctx.meta.pop(RUNS, None)
        if runs is None:
            return super().invoke(ctx)
        from landscape.cli.failures import INTERRUPTED
        from landscape.errors import LandscapeError

        worst = 0
        for number, (inner, record) in enumerate(runs, start=1):
            ctx.meta[RECORD] = record
            try:
                with inner:
                    super().invoke(inner)
            except click.exceptions.Exit as left:
                if left.exit_code == INTERRUPTED:
                    raise
                worst = max(worst, left.exit_code)
            except LandscapeError as error:
                error.args = (f"[[run]] {number} of {len(runs)}: {error}",)
                raise
        if worst:
            raise click.exceptions.Exit(worst)
        return None

    def _from_file(self, path: Path, given: dict[str, Any]) -> tuple[list[list[str]], list[str]]:
        """The words of every run of a file that the line does not say otherwise, and what is recorded of each."""
        from landscape.cli import commands
        from landscape.cli.config import ConfigFile, lines_of

        typed = {one.name: given[one.name] for one in self.params if _is_typed(given.get(str(one.name)))}
        file = ConfigFile.read(path)
        lines, overridden = lines_of(file, self, str(self.name), commands(), typed)
        for said in overridden if "quiet" not in typed else ():
            click.echo(said, err=True)
        return lines, [file.record(number, len(lines)) for number in range(1, len(lines) + 1)]

    def _spelled(self, args: list[str]) -> list[str]:
        """The line with the flag before each of several pairs."""
        pair_flags = {name for one in self.params if one.metavar == PAIRS for name in one.opts}
        spelled, flag = [], None
        for argument in args:
            is_pair = "=" in argument and argument.partition("=")[0].isidentifier()
            if flag and is_pair and spelled[-1] != flag:
                spelled.append(flag)
            elif not is_pair:
                flag = argument if argument in pair_flags else None
            spelled.append(argument)
        return spelled

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


def _is_typed(value: Any) -> bool:
    """Whether the parser found a value: it has others for what is absent."""
    return value is not None and value != () and value != [] and not repr(value).startswith("Sentinel")


def _without_config(args: list[str]) -> list[str]:
    kept, skips = [], False
    for one in args:
        if skips or one.startswith("--config="):
            skips = False
        elif one == "--config":
            skips = True
        else:
            kept.append(one)
    return kept


def _require_other_outputs(runs: list[click.Context]) -> None:
    from landscape.errors import BadInput

    seen: dict[str, int] = {}
    for number, one in enumerate(runs, start=1):
        output = one.params.get("output")
        if output is not None and str(output) in seen:
            raise BadInput(
                f"[[run]] {seen[str(output)]} and {number} both write {output}", "another `output` for each"
            )
        seen[str(output)] = number


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


class Seed(click.types.IntParamType):
    """A whole number that a generator takes."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        return SEED.checked(super().convert(value, param, ctx))


def shared() -> list[click.Option]:
    """A fresh list of the options every computation has; one line of help each."""
    path = click.Path(path_type=Path)
    data_help = "Folder of data files [LANDSCAPE_DATA]."
    return [
        Grouped(["-o", "--output"], type=path, help="File to write [default: beside the input]."),
        Grouped(["--overwrite"], is_flag=True, help="Replace what other options made."),
        Grouped(["--device"], default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps."),
        Grouped(["--dtype"], type=click.Choice(Dtype.__args__), help="[default: the run's, else float32]"),  # type: ignore[attr-defined]
        Grouped(["--seed"], type=Seed(), default=0, show_default=True, help="Of everything drawn here."),
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


def workers() -> click.Option:
    """That of the analyses with independent tasks."""
    help = "Processes: 4 of this machine, or tcp://HOST:8786 of a Dask scheduler."
    return Grouped(["--workers"], metavar="N|ADDRESS", help=help)


def settings_of(given: dict[str, Any], command: str) -> Settings:
    """The settings among the values of a command line, which are taken out of ``given``."""
    named = {name: given.pop(name) for name in list(given) if name in NAMES}
    context = click.get_current_context(silent=True)
    return Settings(**named, command=command, config_file=context.meta.get(RECORD, "") if context else "")
