"""``landscape sharpness``: the measures of sharpness at a point, side by side."""

import click

from landscape.cli.options import Command, Settings, roles, shared


@click.command("sharpness", cls=Command)
@click.argument("point")
@click.option(
    "--sigmas",
    default="0.001,0.002,0.005,0.01,0.02,0.05,0.1,0.2",
    show_default=True,
    help="Standard deviations of the noise, increasing.",
)
@click.option("--draws", default=32, show_default=True, help="Pairs ±ξ of noise, the same at every σ.")
@click.option("--rho", default=0.05, show_default=True, help="Radius of the ball (Foret et al. 2021).")
@click.option("--ascent-steps", default=20, show_default=True, help="Steps of ascent within the ball.")
@click.option("--tol", type=float, help="Error of λ_max, relative [default: 1e-6; 1e-5 in float32].")
@click.option(
    "--ignore",
    default="bias,norm",
    show_default=True,
    help="Roles at rest where filters set the scale: some of bias,norm,vector; '' for none.",
)
@click.option(
    "--rescaling",
    type=click.Choice(["unit", "layer", "none"]),
    default="unit",
    show_default=True,
    help="Measure again with each unit, or layer, of a ReLU-like net rescaled.",
)
@shared
def command(
    settings: Settings,
    point: str,
    sigmas: str,
    draws: int,
    rho: float,
    ascent_steps: int,
    tol: float | None,
    ignore: str,
    rescaling: str,
) -> None:
    """The scalars called sharpness at POINT, with errors.

    λ_max, trace, rise under noise and within a ball; and again after a rescaling of the units that
    leaves the function as it is: what changes is no property of the function.

    \b
    landscape sharpness a.h5 --sigmas 0.01,0.1 --draws 100
    """
    from landscape.analyses import sharpness
    from landscape.cli.session import measure
    from landscape.errors import BadInput

    try:
        steps = [float(part) for part in sigmas.split(",")]
    except ValueError:
        raise BadInput(f"--sigmas {sigmas!r}", "numbers with commas between", "as in 0.01,0.1") from None
    measure(
        "sharpness",
        (point,),
        settings,
        lambda work: sharpness(
            work.objective,
            work.points[0],
            sigmas=steps,
            num_draws=draws,
            rho=rho,
            ascent_steps=ascent_steps,
            tol=tol,
            ignore=roles(ignore),
            rescaling=rescaling,
            seed=settings.seed,
            journal=work.journal,
            progress=work.progress,
        ),
    )
