"""``landscape hessian``: extreme eigenvalues of the Hessian at a point."""

import click

from landscape.cli.options import Command, Settings, shared


@click.command("hessian", cls=Command)
@click.argument("point")
@click.option("--top-k", default=10, show_default=True, help="Number of eigenvalues.")
@click.option(
    "--which",
    type=click.Choice(["largest", "smallest", "magnitude"]),
    default="largest",
    show_default=True,
    help="Algebraically largest or smallest, or largest in magnitude.",
)
@click.option(
    "--tol", type=float, help="Residual relative to the largest |λ| [default: 1e-6; 1e-5 in float32]."
)
@click.option("--max-products", type=int, help="Hessian-vector products at most [default: by k].")
@click.option("--save-vectors", is_flag=True, help="Store the Ritz vectors too.")
@shared
def command(
    settings: Settings,
    point: str,
    top_k: int,
    which: str,
    tol: float | None,
    max_products: int | None,
    save_vectors: bool,
) -> None:
    """Top Hessian eigenvalues at POINT, with bounds.

    Lanczos on Hessian-vector products over the whole data; each Ritz value with ‖Hv − λv‖.

    \b
    landscape hessian a.h5 --top-k 10
    """
    from landscape.analyses import hessian
    from landscape.cli.session import measure

    measure(
        "hessian",
        (point,),
        settings,
        lambda work: hessian(
            work.objective,
            work.points[0],
            top_k=top_k,
            which=which,
            tol=tol,
            max_products=max_products,
            save_vectors=save_vectors,
            seed=settings.seed,
            progress=work.progress,
        ),
        resumable=False,
    )
