"""``landscape show``: what a file holds."""

from pathlib import Path

import click

from landscape.cli.options import VERIFY, Command


@click.command("show", cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("--no-verify", "verify", **VERIFY)
def command(file: Path, as_json: bool, verify: bool) -> None:
    """Say what FILE holds.

    By whom, from what; its values, checks, arrays and points.

    \b
    landscape show a.slice2d.h5
    """
    from landscape.cli.screen import Look, Screen
    from landscape.runs import store

    result = store.load(file, verify=verify)
    screen = Screen(Look(as_json=as_json, verbosity=1))
    screen.summary(result, file)
    if not as_json:
        screen.contents(result)
