"""The command line: ``landscape COMMAND POINTS OPTIONS``, one file per command, loaded when asked for."""

import difflib
import importlib
import shlex
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress

import click

from landscape import __version__, analyses, distributed
from landscape.cli import failures, streams

EPILOG = """\b
Exit codes: 0 done; 1 failure; 2 usage or bad input;
3 done and saved, but not converged, diverged or a check failed, and --strict was given;
130 interrupted (run the same command again to go on).
"""

# The commands that are no analysis, each in the module of its name.
OTHERS = ("init", "tour", "import-surface", "export", "plot", "report", "show")
# In the order of the help: an analysis by its name, whatever is not listed after those that are.
ORDER = (
    "init",
    "tour",
    "train",
    "import",
    "import-surface",
    "export",
    "hessian",
    "sharpness",
    "compare",
    "certify",
    "interpolate",
    "slice1d",
    "slice2d",
    "connect",
    "align",
    "merge",
    "minima",
    "basins",
    "efficiency",
    "noise",
    "critical",
    "plot",
    "report",
    "show",
)


def commands() -> list[str]:
    """Every command in the order of the help."""
    found = [*OTHERS, *analyses.commands()]
    place = {name: number for number, name in enumerate(ORDER)}
    return sorted(found, key=lambda name: place.get(name, ORDER.index("plot") - 0.5))


class Commands(click.Group):
    """A group that makes a command, or imports its module, when it is named; listing them imports none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return commands()

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in OTHERS:
            return _other(cmd_name)
        if cmd_name not in analyses.commands():
            return None
        from landscape.cli.derived import command

        return command(analyses.declared(cmd_name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, _question(name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in commands() and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], commands(), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(commands())} is expected"
            raise click.UsageError(f"there is no command {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, _merging(args))


def _merging(args: list[str]) -> list[str]:
    """``align A B … --to merged.h5`` as the ``merge`` that it is."""
    place = next((k for k, one in enumerate(args) if one == "--to" or one.startswith("--to=")), None)
    if args[:1] != ["align"] or place is None:
        return args
    return ["merge", *args[1:place], args[place].replace("--to", "--output", 1), *args[place + 1 :]]


def _other(name: str) -> click.Command:
    return importlib.import_module(f"landscape.cli.{name.replace('-', '_')}").command


def _question(name: str) -> str:
    """What a command is for, read from its file, which is not imported."""
    if name in OTHERS:
        return _other(name).get_short_help_str(100)
    return analyses.question(name)


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="landscape")
def landscape() -> None:
    """Measure the loss landscape of any PyTorch module, with the proof beside every number.

    A command is a sentence: what to do, at which points, how, and where to write it. Points are
    addresses into run files: a.h5 (its final point), a.h5@init, a.h5@epoch=10.
    """


def perform(arguments: Sequence[str]) -> int:
    """Run one command line in this process: its exit code; what fails is raised."""
    command = shlex.join(["landscape", *arguments])
    return landscape.main(list(arguments), "landscape", standalone_mode=False, obj=command) or 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script: runs the command and turns what fails into one sentence and an exit code.

    Called without arguments it is the whole process, which Ctrl-C no longer reaches once the code is known.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    with streams.readable():
        try:
            return _exit_code(given)
        except KeyboardInterrupt:  # while the last words were said
            return failures.INTERRUPTED
        finally:
            if arguments is None:
                with suppress(ValueError):  # in a thread, which hears no signals
                    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _exit_code(given: list[str]) -> int:
    try:
        return perform(given)
    except BaseException as error:
        is_usage = isinstance(error, click.UsageError)
        if ("-v" in given or "--verbose" in given) and not is_usage:
            traceback.print_exc()
        sentence, code = failures.described(error)
        # Ctrl-C reaches all of several processes, and the first one knows what is kept.
        is_silent = isinstance(error, KeyboardInterrupt) and not distributed.is_first()
        if sentence and not is_silent and distributed.is_first_to_say(sentence, code):
            from landscape.cli.words import told

            # Where not even this can be written, the code still tells.
            with suppress(OSError):
                click.echo(f"Error: {told(sentence, given[0] if given else '')}", err=True)
        return code
