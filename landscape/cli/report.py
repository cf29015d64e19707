"""``landscape report``: results as one page."""

from collections.abc import Iterable
from pathlib import Path

import click

from landscape.cli.options import VERIFY, Command
from landscape.errors import BadInput, LandscapeError
from landscape.result import Result

TITLE = "Loss landscape"


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
@click.option("--title", default=TITLE, show_default=True, help="Heading of the page.")
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
    from landscape.cli.words import told

    unread = report(files, output, title=title, turning=turning, verify=verify)
    for sentence in unread:
        click.echo(f"not in the report: {told(sentence)}", err=True)
    if unread:
        count = len(dict.fromkeys(files))
        click.echo(f"{output} is written with {count - len(unread)} of {count} files.", err=True)
    if not quiet:
        click.echo(str(output))
    if unread:
        raise click.exceptions.Exit(BAD_INPUT)


def report(
    files: Path | str | Iterable[Path | str],
    output: Path | str = "report.html",
    *,
    title: str = TITLE,
    turning: bool = False,
    verify: bool = True,
) -> list[str]:
    """Write result files as one page, byte for byte that of ``landscape report``; a sentence for each unreadable one.

    Of each file its question, picture, numbers, checks, notes, from what it was made and the command to repeat it;
    runs first. ``turning`` adds surfaces that turn, 5 MB each, ``verify=False`` takes damaged files as they are. What
    cannot be read is said on the page, and here. Raises BadInput for no file or none that can be read, for a result
    that stands in none, for an ``output`` that is no page or whose folder is not there, and for ``turning`` without
    plotly.
    """
    from landscape.cli.html import page, section
    from landscape.cli.overview import opened, row_of
    from landscape.cli.written import check_place, write

    output = Path(output)
    check_place(output, "report.html")
    if output.suffix.lower() not in (".html", ".htm"):
        raise BadInput(f"{output} ends in {output.suffix or 'nothing'}", "html")
    found, unread = [], []
    for path, result in opened(_paths(files), verify):
        if isinstance(result, LandscapeError):
            unread.append(result)
        row = row_of(path, result)
        found.append((row, section(path, row, result, turning=turning)))
    if len(unread) == len(found) == 1:
        raise unread[0]
    if len(unread) == len(found):
        first = str(unread[0]).partition("; expected")[0]
        raise BadInput(
            f"none of {len(found)} files for a report can be read: {first}", "results of landscape"
        )
    write(output, page(title, found, turning=turning))
    return [str(one) for one in unread]


def _paths(files: Path | str | Iterable[Path | str]) -> list[Path]:
    many = [files] if isinstance(files, Path | str | Result) else list(files)
    if not many:
        raise BadInput("no files for a report", "one result file, or several")
    for one in many:
        if not isinstance(one, Path | str):
            raise BadInput(f"a {type(one).__name__} for a report", "files", "save it first")
    return [Path(one) for one in many]
