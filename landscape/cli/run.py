"""A derived command at work: typed values to the session, its answer to the screen and an exit code."""

from typing import Any

import click

from landscape import distributed
from landscape.analyses.declare import Analysis
from landscape.cli.derived import from_command_line, kind_of
from landscape.cli.failures import INTERRUPTED, STRICT
from landscape.cli.options import settings_of
from landscape.cli.screen import Look, Screen
from landscape.errors import BadInput


def run(declared: Analysis, given: dict[str, Any]) -> None:
    """Compute and publish what a command line asks for, and show it."""
    from landscape.errors import Interrupted
    from landscape.runs.session import answer

    line = str(click.get_current_context().find_root().obj)
    look = Look.of(given)
    settings = settings_of(given, line)
    points = given.pop("points", ())
    places = points if isinstance(points, tuple) else () if points is None else (points,)
    screen = Screen(look)
    kind = kind_of(declared, places)
    options = from_command_line(declared, given)
    for name in options.keys() & (declared.parameters.keys() - kind.parameters.keys()):
        raise BadInput(f"`{name}` with {len(places)} points", f"{declared.points[0]} points")  # type: ignore[index]
    # Of the processes that torchrun starts one speaks.
    is_first = distributed.is_first()
    say = screen.say if is_first else lambda text: None
    try:
        with screen.progress(is_shown=is_first) as progress:
            found = answer(list(places), kind.name, options, settings, progress=progress, say=say)
    except Interrupted as stopped:
        from landscape.runs.device import launched

        said = f"Interrupted; {stopped}. Go on with: {launched(line)}"
        distributed.is_first_to_say(said, INTERRUPTED)  # others need not
        click.echo(said, err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    if not found.is_mine or found.output is None:
        return
    screen.summary(found.result, found.output, "already there" if found.was_there else "")
    if found.result.outcome == "interrupted":
        raise click.exceptions.Exit(INTERRUPTED)
    if look.is_strict and found.result.status != "complete":
        raise click.exceptions.Exit(STRICT)
