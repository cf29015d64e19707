"""``landscape plot``: the picture of a result."""

from pathlib import Path

import click

from landscape.cli.options import VERIFY, Command


@click.command("plot", cls=Command)
@click.argument("files", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="FILE...")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="FILE.png, .pdf, .svg; .html, .vts, .vtp, .csv [default: beside the input, .png].",
)
@click.option(
    "--kind",
    type=click.Choice(["contour", "surface", "heatmap"]),
    default="contour",
    show_default=True,
    help="How a 2-D slice is drawn.",
)
@click.option("--view", help="Where a surface is seen from: ELEVATION,AZIMUTH in degrees.")
@click.option("--log", is_flag=True, help="Logarithmic loss.")
@click.option("--levels", help="Contour levels: how many, or which (0.1,0.5,1,2).")
@click.option(
    "--spacing",
    type=click.Choice(["auto", "linear", "log", "quantile"]),
    default="auto",
    show_default=True,
    help="Of levels and colours; auto: the first in which the shape is seen.",
)
@click.option("--title", help="Instead of the own one; empty: none.")
@click.option(
    "--width",
    type=click.FloatRange(2, 40),
    help="Inches [default: 3.5, a column; 7 for more than two files]; 10 fits a slide.",
)
@click.option("--dpi", type=click.IntRange(20, 2400), help="Dots to the inch of a png [default: 300].")
@click.option("--panel", help="The one panel to draw: a word of its title or labels, or its number.")
@click.option("--style", help="A style sheet of matplotlib's, by name or file.")
@click.option("--no-caption", is_flag=True, help="Leave out the small print.")
@click.option("--no-verify", "verify", **VERIFY)
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
def command(
    files: tuple[Path, ...],
    output: Path | None,
    kind: str,
    view: str | None,
    log: bool,
    levels: str | None,
    spacing: str,
    title: str | None,
    width: float | None,
    dpi: int | None,
    panel: str | None,
    style: str | None,
    no_caption: bool,
    verify: bool,
    quiet: bool,
) -> None:
    """Draw the result in FILE as png, pdf or svg; several of one kind in one picture, on one scale.

    A plane also becomes a page on which it turns (.html), files for ParaView (.vts, its runs .vtp), a table (.csv).

    \b
    landscape plot a.slice2d.h5
    landscape plot a.slice2d.h5 --kind surface --log -o a.pdf
    landscape plot a.slice2d.h5 b.slice2d.h5 -o ab.png
    landscape plot a.slice2d.h5 --kind surface -o a.html
    """
    from landscape.plots.plot import plot
    from landscape.runs import store

    results = [store.load(file, verify=verify) for file in files]
    path = output or files[0].with_name("+".join(file.stem for file in files) + ".png")
    plot(
        results if len(results) > 1 else results[0],
        path,
        kind=kind,
        log=log,
        levels=_levels(levels),
        spacing=spacing,
        title=title,
        width=width,
        dpi=dpi,
        panel=panel,
        style=style,
        caption=not no_caption,
        names=[file.stem for file in files],
        view=_view(view),
    )
    if not quiet:
        click.echo(str(path))


def _view(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        elevation, azimuth = map(float, text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is no view; two angles in degrees are wanted: 30,-60") from None
    return elevation, azimuth


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
