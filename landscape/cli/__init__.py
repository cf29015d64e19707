"""The command line: ``landscape COMMAND POINTS OPTIONS``, one file per command, loaded when asked for."""

import difflib
import importlib
import shlex
import sys
import traceback
from collections.abc import Sequence

import click

from landscape import __version__
from landscape.cli import failures

EPILOG = """\b
Exit codes: 0 done; 1 failure; 2 usage or bad input;
3 done and saved, but not converged, diverged or a check failed, and --strict was given;
130 interrupted (run the same command again to go on).
"""

# Each command's module; its help line is read from the module, which imports nothing heavy.
COMMANDS = {
    "tour": "tour",
    "train": "train",
    "import": "import_",
    "export": "export",
    "hessian": "hessian",
    "sharpness": "sharpness",
    "interpolate": "interpolate",
    "slice1d": "slice1d",
    "slice2d": "slice2d",
    "connect": "connect",
    "align": "align",
    "minima": "minima",
    "efficiency": "efficiency",
    "noise": "noise",
    "plot": "plot",
    "show": "show",
}


class Commands(click.Group):
    """A group that imports a command's module when the command is named, or listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"landscape.cli.{COMMANDS[cmd_name]}")
        return module.command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(COMMANDS)} is expected"
            raise click.UsageError(f"there is no command {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)


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
    """The console script: runs the command and turns what fails into one sentence and an exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        return perform(given)
    except BaseException as error:
        if "-v" in given or "--verbose" in given:
            traceback.print_exc()
        sentence, code = failures.described(error)
        if sentence:
            click.echo(f"Error: {sentence}", err=True)
        return code
