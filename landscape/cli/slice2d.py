"""``landscape slice2d``: the loss on a plane through a point, or through three."""

import click

from landscape.cli.options import Command, Settings, roles, shared, slicing


@click.command("slice2d", cls=Command)
@click.argument("points", nargs=-1, required=True, metavar="A [B C]")
@slicing
@click.option("--orthogonal", is_flag=True, help="Make the second direction orthogonal to the first.")
@click.option("--curvature", is_flag=True, help="The largest and smallest Hessian eigenvalue in every cell.")
@shared
def command(
    settings: Settings,
    points: tuple[str, ...],
    directions: str,
    norm: str,
    ignore: str,
    span: float | None,
    num_points: int,
    draws: int,
    trajectory: bool,
    batchnorm: str,
    orthogonal: bool,
    curvature: bool,
) -> None:
    """The loss on a plane through A, or A, B and C.

    F(θ* + αd₁ + βd₂) along filter-normalised directions, principal components, top eigenvectors, or
    the two axes of a module with two trainable numbers; or through three points.

    \b
    landscape slice2d a.h5
    landscape slice2d a.h5 --directions pca --trajectory
    landscape slice2d a.h5 --directions eigen
    landscape slice2d toy.h5 --directions axes --trajectory
    landscape slice2d a.h5 b.h5 c.h5
    """
    from landscape import distributed
    from landscape.analyses import slice2d
    from landscape.cli.screen import Screen
    from landscape.cli.session import Work, measure
    from landscape.curvature.map import estimate
    from landscape.result import Result

    def analyse(work: Work) -> Result:
        if curvature:
            announced = estimate(work.objective, work.points[0], num_points**2)
            if distributed.rank() == 0:
                Screen(settings).say(announced)
        return slice2d(
            work.objective,
            work.points,
            test=work.test,
            directions=directions,
            norm=norm,
            ignore=roles(ignore),
            orthogonal=orthogonal,
            curvature=curvature,
            span=span,
            num_points=num_points,
            draws=draws,
            trajectory=work.trajectory,
            show_trajectory=trajectory,
            batchnorm=batchnorm,
            seed=settings.seed,
            journal=work.journal,
            progress=work.progress,
        )

    measure("slice2d", points, settings, analyse)
