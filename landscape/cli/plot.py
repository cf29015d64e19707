"""``landscape plot``: the picture of a result."""

from pathlib import Path

import click

from landscape.cli.options import VERIFY, Command


@click.command("plot", cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="FILE.png, .pdf or .svg [default: beside the input, .png].",
)
@click.option(
    "--kind",
    type=click.Choice(["contour", "surface", "heatmap"]),
    default="contour",
    show_default=True,
    help="How a 2-D slice is drawn.",
)
@click.option("--log", is_flag=True, help="Logarithmic loss.")
@click.option("--levels", help="Contour levels: how many, or which (0.1,0.5,1,2).")
@click.option("--no-verify", "verify", **VERIFY)
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
def command(
    file: Path,
    output: Path | None,
    kind: str,
    log: bool,
    levels: str | None,
    verify: bool,
    quiet: bool,
) -> None:
    """Draw the result in FILE as png, pdf or svg.

    \b
    landscape plot a.slice2d.h5
    landscape plot a.slice2d.h5 --kind surface --log -o a.pdf
    """
    from landscape.plots.plot import plot
    from landscape.runs import store

    path = output or file.with_suffix(".png")
    plot(store.load(file, verify=verify), path, kind=kind, log=log, levels=_levels(levels))
    if not quiet:
        click.echo(str(path))


def _levels(text: str | None) -> int | list[float] | None:
    if text is None:
        return None
    try:
        if text.isdigit():
            return int(text)
        return sorted(float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(
            f"{text!r} gives no levels; a number of them is wanted, or their values: 0.1,0.5,1"
        ) from None
