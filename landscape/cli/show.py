"""``landscape show``: what files hold."""

import json
from pathlib import Path

import click

from landscape.cli.options import VERIFY, Command
from landscape.cli.overview import COLUMNS


@click.command("show", cls=Command)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--sort", type=click.Choice(COLUMNS), help="Order the table by this column.")
@click.option(
    "--csv", type=click.Path(path_type=Path), help="The table as CSV in this file; - for standard output."
)
@click.option(
    "--json", "as_json", is_flag=True, help="JSON on standard output: an object, a list for several files."
)
@click.option("--no-verify", "verify", **VERIFY)
def command(files: tuple[Path, ...], sort: str | None, csv: Path | None, as_json: bool, verify: bool) -> None:
    """Say what FILES hold.

    Of one file by whom, from what; its values, checks, arrays and points. Of several a table with a row for each.

    \b
    landscape show a.slice2d.h5
    landscape show *.h5 --sort kind
    """
    if csv is not None and as_json:
        raise click.UsageError("--csv and --json are two ways to say the same; one of them is expected")
    if len(files) > 1 or csv is not None:
        _several(files, sort, csv, as_json, verify)
    else:
        _one(files, as_json, verify)


def _one(files: tuple[Path, ...], as_json: bool, verify: bool) -> None:
    from landscape.cli.screen import Look, Screen
    from landscape.runs import store

    result = store.load(files[0], verify=verify)
    screen = Screen(Look(as_json=as_json, verbosity=1))
    screen.summary(result, files[0])
    if not as_json:
        screen.contents(result)


def _several(
    files: tuple[Path, ...], sort: str | None, csv: Path | None, as_json: bool, verify: bool
) -> None:
    """A row for each file, also for one that cannot be read, which then is the exit code."""
    from landscape.cli.failures import BAD_INPUT
    from landscape.cli.overview import as_csv, by_column, is_unreadable, opened, print_table, row_of
    from landscape.result import Result

    told = []
    for path, found in opened(files, verify):
        row = row_of(path, found)
        # No result is kept but for what JSON says of it.
        if not isinstance(found, Result):
            about = {"kind": "", "status": row.status, "output": row.name, "error": row.headline}
        else:
            about = found.as_json(row.name) | {"headline": row.headline, "time": row.time} if as_json else {}
        told.append((row, about))
    if sort is not None:
        key = by_column(sort)
        told.sort(key=lambda one: key(one[0]))
    rows = [row for row, _ in told]
    if as_json:
        click.echo(json.dumps([about for _, about in told], allow_nan=False))
    elif csv is None:
        print_table(rows)
    elif str(csv) == "-":
        click.echo(as_csv(rows), nl=False)
    else:
        from landscape.cli.written import write

        write(csv, as_csv(rows))
    if any(map(is_unreadable, rows)):
        raise click.exceptions.Exit(BAD_INPUT)
