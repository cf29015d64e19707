"""``landscape align``: hidden units permuted so that two points lie close."""

import click

from landscape.cli.options import Command, Settings, batchnorm, shared


@click.command("align", cls=Command)
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option(
    "--match",
    type=click.Choice(["weights", "activations"]),
    default="weights",
    show_default=True,
    help="What is brought together: weights, or activations on the data (Ainsworth et al. 2023).",
)
@click.option(
    "--restarts", default=2, show_default=True, help="Starts of the coordinate descent; the best is kept."
)
@click.option(
    "--rescale", is_flag=True, help="Rescale ReLU-like units too: balanced to match, then closest to A."
)
@click.option(
    "--refine",
    default=0,
    show_default=True,
    metavar="STEPS",
    help="Steps of a straight-through estimator that lower the loss half way by permutations.",
)
@click.option("--num-points", default=61, show_default=True, help="Points on the line, for the barriers.")
@batchnorm
@shared
def command(
    settings: Settings,
    first: str,
    second: str,
    match: str,
    restarts: int,
    rescale: bool,
    refine: int,
    num_points: int,
    batchnorm: str,
) -> None:
    """Permute B's hidden units to lie closest to A.

    The function of B stays as it is, which is checked. Writes B-aligned.h5, a run file with the point
    final, and the straight line's barrier before and after. What can be permuted is found in the module
    itself; what cannot is named with the reason.

    \b
    landscape align a.h5 b.h5
    landscape interpolate a.h5 b-aligned.h5
    """
    from landscape.analyses import align
    from landscape.cli.session import measure

    measure(
        "align",
        (first, second),
        settings,
        lambda work: align(
            work.objective,
            *work.points,
            match=match,
            restarts=restarts,
            rescale=rescale,
            refine=refine,
            num_points=num_points,
            batchnorm=batchnorm,
            seed=settings.seed,
            journal=work.journal,
            progress=work.progress,
        ),
        aligns=True,
    )
