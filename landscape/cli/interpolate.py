"""``landscape interpolate``: the loss on the straight line between two points."""

import click

from landscape.cli.options import Command, Settings, line_batchnorm, shared


@click.command("interpolate", cls=Command)
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--num-points", default=51, show_default=True, help="Points on the line.")
@click.option(
    "--range",
    "span",
    type=(float, float),
    default=(0.0, 1.0),
    show_default=True,
    help="From where to where: 0 is A, 1 is B.",
)
@click.option("--align", is_flag=True, help="Permute B's hidden units to lie closest to A first.")
@line_batchnorm("frozen")
@shared
def command(
    settings: Settings,
    first: str,
    second: str,
    num_points: int,
    span: tuple[float, float],
    align: bool,
    batchnorm: str,
) -> None:
    """The loss on the line from A to B, and barriers.

    F((1 − α)A + αB) on training and test data; barriers in both definitions, monotone or not.

    \b
    landscape interpolate a.h5@init a.h5@final
    landscape interpolate a.h5 b.h5 --range -0.25 1.25
    landscape interpolate a.h5 b.h5 --align
    """
    from landscape.analyses import interpolate
    from landscape.cli.session import measure

    measure(
        "interpolate",
        (first, second),
        settings,
        lambda work: interpolate(
            work.objective,
            *work.points,
            test=work.test,
            num_points=num_points,
            span=span,
            batchnorm=batchnorm,
            align=align,
            seed=settings.seed,
            journal=work.journal,
            progress=work.progress,
        ),
    )
