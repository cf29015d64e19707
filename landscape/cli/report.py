"""``landscape report``: results as one page."""

from pathlib import Path

import click

from landscape.cli.options import VERIFY, Command


@click.command("report", cls=Command)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("report.html"),
    show_default=True,
    help="FILE.html to write.",
)
@click.option("--title", default="Loss landscape", show_default=True, help="Heading of the page.")
@click.option("--turning", is_flag=True, help="Planes as surfaces that turn, too: 5 MB each, needs plotly.")
@click.option("--no-verify", "verify", **VERIFY)
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
def command(
    files: tuple[Path, ...], output: Path, title: str, turning: bool, verify: bool, quiet: bool
) -> None:
    """Write FILES as one page to read, print and hand on.

    Of each its question, picture, numbers, checks, notes, from what it was made and the command to repeat it; runs
    first. The page needs no network and no other file. A file that cannot be read is said in it, by exit code 2.

    \b
    landscape report *.h5 -o report.html
    """
    from landscape.cli.failures import BAD_INPUT
    from landscape.cli.html import page, section
    from landscape.cli.overview import is_unreadable, opened, row_of
    from landscape.cli.written import write
    from landscape.errors import BadInput

    if output.suffix.lower() not in (".html", ".htm"):
        raise BadInput(f"{output} ends in {output.suffix or 'nothing'}", "html")
    if not output.parent.is_dir():
        raise BadInput(f"there is no folder {output.parent}", "an existing folder", "make it first")
    found = []
    for path, result in opened(files, verify):
        row = row_of(path, result)
        if is_unreadable(row):
            click.echo(f"not in the report: {row.headline}", err=True)
        found.append((row, section(path, row, result, turning=turning)))
    write(output, page(title, found, turning=turning))
    if not quiet:
        click.echo(str(output))
    if any(is_unreadable(row) for row, _ in found):
        raise click.exceptions.Exit(BAD_INPUT)
