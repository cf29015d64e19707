"""``landscape hessian``: the spectrum of the Hessian at a point, or along a run."""

import click

from landscape.cli.options import Command, Settings, shared


@click.command("hessian", cls=Command)
@click.argument("point")
@click.option("--top-k", default=10, show_default=True, help="Number of largest eigenvalues.")
@click.option(
    "--bottom-k", default=0, show_default=True, help="Number of smallest ones, from the same basis."
)
@click.option(
    "--which",
    type=click.Choice(["largest", "smallest", "both", "magnitude"]),
    default="largest",
    show_default=True,
    help="What --top-k counts: algebraically largest, smallest, so many of both, or largest in magnitude.",
)
@click.option(
    "--operator",
    type=click.Choice(["hessian", "gauss-newton", "fisher", "empirical-fisher"]),
    default="hessian",
    show_default=True,
    help="Which matrix.",
)
@click.option("--block", help="Only the parameters whose names match, for example 'layers.0.*'.")
@click.option("--per-layer", is_flag=True, help="The diagonal block of every layer.")
@click.option(
    "--subsets",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="With --subset N: on so many random subsets of N samples, for the spread.",
)
@click.option("--l2", default=0.0, show_default=True, help="Add (l2/2)‖θ‖² to F.")
@click.option("--split", is_flag=True, help="The Gauss–Newton part of each eigenvalue, and the rest.")
@click.option(
    "--tol",
    default=1e-6,
    show_default=True,
    help="Residual ‖Hv − λv‖ relative to the largest |λ|; with --no-certify the error r²/gap.",
)
@click.option("--max-products", type=int, help="Products in the search at most [default: by k].")
@click.option(
    "--memory-limit",
    type=float,
    default=4.0,
    show_default=True,
    help="GiB for the basis, which restarts where it would not fit, and for kept graphs (half at most).",
)
@click.option(
    "--basis",
    type=click.Choice(["device", "cpu"]),
    default="device",
    show_default=True,
    help="Where the basis is kept: with the data, or on the CPU, which has more room.",
)
@click.option(
    "--search/--no-search",
    default=True,
    show_default=True,
    help="Look in the complement of what was found for multiple or missed eigenvalues.",
)
@click.option(
    "--certify/--no-certify",
    default=None,
    help="Go on until the residual proves it; in float32 with a last step in float64 [default: on one process].",
)
@click.option("--trace", is_flag=True, help="The trace, with its standard error.")
@click.option("--trace-error", default=0.01, show_default=True, help="Relative error to reach.")
@click.option("--density", is_flag=True, help="The spectral density, with its error bars.")
@click.option("--probes", default=2, show_default=True, help="Random vectors for the density.")
@click.option("--steps", default=40, show_default=True, help="Lanczos steps from each.")
@click.option("--exact", is_flag=True, help="All eigenvalues of the dense matrix: index, nullity, verdict.")
@click.option("--at", help="Several points of the run: all, or init,final,epoch=10.")
@click.option("--save-vectors", is_flag=True, help="Store the Ritz vectors too.")
@shared
def command(
    settings: Settings,
    point: str,
    top_k: int,
    bottom_k: int,
    which: str,
    operator: str,
    block: str | None,
    per_layer: bool,
    subsets: int,
    l2: float,
    split: bool,
    tol: float,
    max_products: int | None,
    memory_limit: float,
    basis: str,
    search: bool,
    certify: bool | None,
    trace: bool,
    trace_error: float,
    density: bool,
    probes: int,
    steps: int,
    exact: bool,
    at: str | None,
    save_vectors: bool,
) -> None:
    """Top Hessian eigenvalues at POINT, with bounds.

    Lanczos on Hessian-vector products over the whole data; each Ritz value with ‖Hv − λv‖.

    \b
    landscape hessian a.h5 --top-k 10
    landscape hessian a.h5 --top-k 5 --bottom-k 5 --trace --density
    landscape hessian a.h5 --at all --top-k 1
    """
    from landscape.analyses import hessian
    from landscape.cli.session import measure, points_of

    addresses = (point,) if at is None else points_of(point, at)
    measure(
        "hessian",
        addresses,
        settings,
        lambda work: hessian(
            work.objective,
            work.points[0] if at is None else work.points,
            top_k=top_k,
            bottom_k=bottom_k,
            which=which,
            operator=operator,
            block=block,
            per_layer=per_layer,
            others=work.others,
            split=split,
            tol=tol,
            max_products=max_products,
            memory_limit=memory_limit * 2**30,
            basis_device="cpu" if basis == "cpu" else None,
            search=search,
            certify=certify,
            trace=trace,
            trace_error=trace_error,
            density=density,
            num_probes=probes,
            num_steps=steps,
            exact=exact,
            stability_limits=work.stability_limits,
            save_vectors=save_vectors,
            seed=settings.seed,
            progress=work.progress,
        ),
        resumable=False,
        l2=l2,
        num_subsets=1 if at or per_layer else subsets,
    )
