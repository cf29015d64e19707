"""``landscape import-surface``: a slice that was computed by tomgoldstein/loss-landscape."""

from pathlib import Path
from typing import Any

import click

from landscape.cli.options import Command


@click.command("import-surface", cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File to write [default: x.slice2d.h5 or x.slice1d.h5 beside x.h5].",
)
@click.option(
    "--proj-file", type=click.Path(path_type=Path), help="Projection file with a trajectory to show."
)
@click.option(
    "--dir-file", type=click.Path(path_type=Path), help="Direction file with the shares of variance (PCA)."
)
@click.option("--overwrite", is_flag=True, help="Replace what something else made.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
def command(
    file: Path,
    output: Path | None,
    proj_file: Path | None,
    dir_file: Path | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Take in a surface file of tomgoldstein/loss-landscape as a slice.

    Of one coordinate or two, with losses, accuracies and eigenvalues; plot, show, basins and report take it like any.
    Its numbers were computed elsewhere, which the result says; landscape export writes such files.

    \b
    landscape import-surface x.h5
    landscape import-surface x.h5 --proj-file p.h5 --dir-file directions.h5
    """
    from landscape.cli.options import settings_of
    from landscape.cli.screen import Look, Screen
    from landscape.runs.surfaces import imported

    given: dict[str, Any] = {"output": output, "overwrite": overwrite}
    line = str(click.get_current_context().find_root().obj)
    found = imported(file, proj_file, dir_file, settings_of(given, line))
    assert found.output is not None
    screen = Screen(Look(as_json=as_json, verbosity=-int(quiet)))
    screen.summary(found.result, found.output, "already there" if found.was_there else "")
