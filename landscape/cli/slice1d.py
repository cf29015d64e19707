"""``landscape slice1d``: the loss along one direction through a point."""

import click

from landscape.cli.options import Command, Settings, roles, shared, slicing


@click.command("slice1d", cls=Command)
@click.argument("point")
@slicing
@shared
def command(
    settings: Settings,
    point: str,
    directions: str,
    norm: str,
    ignore: str,
    span: float | None,
    num_points: int,
    draws: int,
    trajectory: bool,
    batchnorm: str,
) -> None:
    """The loss along a direction through POINT.

    F(θ* + αd) on an odd grid with θ* in its middle.

    \b
    landscape slice1d a.h5 --span 1 --draws 5
    """
    from landscape.analyses import slice1d
    from landscape.cli.session import measure

    measure(
        "slice1d",
        (point,),
        settings,
        lambda work: slice1d(
            work.objective,
            work.points[0],
            test=work.test,
            directions=directions,
            norm=norm,
            ignore=roles(ignore),
            span=span,
            num_points=num_points,
            draws=draws,
            trajectory=work.trajectory,
            show_trajectory=trajectory,
            batchnorm=batchnorm,
            seed=settings.seed,
            journal=work.journal,
            progress=work.progress,
        ),
    )
