"""``landscape connect``: a curve of low loss between two points."""

import click

from landscape.cli.options import Command, Settings, batchnorm, shared


@click.command("connect", cls=Command)
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--bends", default=1, show_default=True, help="Free control points, the ends not counted.")
@click.option("--epochs", default=60, show_default=True, help="Passes over the data to train the curve.")
@click.option("--lr", type=float, default=0.05, show_default=True, help="First step size.")
@click.option("--momentum", type=float, default=0.9, show_default=True)
@click.option("--batch-size", default=128, show_default=True, help="Samples of a mini-batch.")
@click.option("--num-points", default=61, show_default=True, help="Points of the profile.")
@batchnorm
@shared
def command(
    settings: Settings,
    first: str,
    second: str,
    bends: int,
    epochs: int,
    lr: float,
    momentum: float,
    batch_size: int,
    num_points: int,
    batchnorm: str,
) -> None:
    """Train a curve of low loss from A to B.

    A Bézier curve (Garipov et al. 2018), with its profile and barriers beside the straight line's.

    \b
    landscape connect a.h5 b.h5
    """
    from landscape.analyses import connect
    from landscape.cli.session import measure

    measure(
        "connect",
        (first, second),
        settings,
        lambda work: connect(
            work.objective,
            *work.points,
            test=work.test,
            bends=bends,
            epochs=epochs,
            lr=lr,
            momentum=momentum,
            batch_size=batch_size,
            num_points=num_points,
            batchnorm=batchnorm,
            seed=settings.seed,
            pieces=work.pieces,
            progress=work.progress,
        ),
    )
