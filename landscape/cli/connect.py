"""``landscape connect``: a curve of low loss between two points, or between every two of several."""

from typing import Any

import click

from landscape.cli.options import Command, Settings, line_batchnorm, pairs, shared


@click.command("connect", cls=Command)
@click.argument("points", nargs=-1, required=True, metavar="A B [C ...]")
@click.option(
    "--method",
    type=click.Choice(["bezier", "chain", "neb", "minmax"]),
    default="bezier",
    show_default=True,
    help="Bézier curve or polygonal chain of low mean loss, minimum-energy band, or a Bézier curve of low "
    "(smooth) maximum.",
)
@click.option(
    "--bends",
    default=1,
    show_default=True,
    help="Free control points; Garipov's num_bends counts the two ends as well. A band begins with so many.",
)
@click.option(
    "--epochs",
    type=int,
    help="Passes over the data to train the curve; neb makes each for every pivot [default: 60, unless --steps].",
)
@click.option("--steps", type=int, help="Steps, instead of --epochs.")
@click.option(
    "--lr",
    type=float,
    default=0.1,
    show_default=True,
    help="First step size, of the size that trained the ends.",
)
@click.option("--momentum", type=float, default=0.9, show_default=True)
@click.option("--batch-size", default=128, show_default=True, help="Samples of a mini-batch.")
@click.option(
    "--schedule",
    type=click.Choice(["garipov", "constant", "piecewise", "exponential", "polynomial", "plateau"]),
    default="garipov",
    show_default=True,
    help="How the step size falls; garipov: level for half of the passes, then linear to a hundredth at 90 %.",
)
@pairs(
    "--schedule-arg",
    "every=PASSES; gamma (piecewise), rate (exponential), beta gamma (polynomial), "
    "factor threshold patience cooldown floor (plateau).",
)
@click.option(
    "--l2", default=0.0, show_default=True, help="Train with (l2/2)‖θ(t)‖² on the curve; given apart."
)
@click.option(
    "--restarts", default=1, show_default=True, help="Trainings, of which the lowest barrier is shown."
)
@click.option("--num-points", default=61, show_default=True, help="Points of the profile, before refinement.")
@click.option(
    "--tolerance",
    default=1e-4,
    show_default=True,
    help="Refine the profile around its top until the barrier moves by less.",
)
@click.option("--align", is_flag=True, help="Permute the hidden units of B to lie closest to A first.")
@click.option("--plane", is_flag=True, help="The plane through A, B and the middle control point.")
@click.option("--plane-points", default=31, show_default=True, help="Points per axis of the plane.")
@line_batchnorm("recalibrate")
@shared
def command(
    settings: Settings, points: tuple[str, ...], plane: bool, plane_points: int, **given: Any
) -> None:
    """Train a curve of low loss from A to B.

    A Bézier curve or chain (Garipov et al. 2018) or a band (Draxler et al. 2018), with its profile and
    barriers beside the straight line's. More than two points: every two of them, as a matrix of barriers
    with its spanning tree (kind modes).

    \b
    landscape connect a.h5 b.h5 --epochs 180
    landscape connect a.h5 b.h5 --method chain --bends 3 --plane
    landscape connect a.h5 b.h5 --align
    landscape connect a.h5 b.h5 c.h5 d.h5
    """
    from landscape.analyses import connect, modes
    from landscape.cli.session import Work, measure
    from landscape.errors import BadInput
    from landscape.result import Result
    from landscape.specs import parse_arguments

    if len(points) < 2:
        raise BadInput(f"{len(points)} point", "two or more", "name where the curve ends")
    if len(points) > 2 and plane:
        raise BadInput(f"--plane with {len(points)} points", "two points for one plane")
    arguments = parse_arguments(given.pop("schedule_arg"))
    l2 = given.pop("l2")

    def analyse(work: Work) -> Result:
        options = {
            **given,
            "schedule_arguments": arguments,
            "seed": settings.seed,
            "journal": work.journal,
            "progress": work.progress,
        }
        if len(points) == 2:
            map_options = {"test": work.test, "plane": plane, "plane_points": plane_points}
            return connect(work.objective, *work.points, **map_options, **options)
        return modes(work.objective, work.points, **options)

    measure("connect" if len(points) == 2 else "modes", points, settings, analyse, l2=l2)
