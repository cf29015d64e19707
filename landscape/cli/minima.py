"""``landscape minima``: descents from many starts, for every width and depth."""

from typing import Any

import click

from landscape.cli.options import Command, Settings, numbers, pairs, preset, shared

# Fleischmann 2021, section 5.1: 100 of 10000 points, 56 and 44 a class.
PRESETS: dict[str, dict[str, Any]] = {
    "thesis-5.1": {
        "model": "mlp",
        "model_arg": ("activation=leaky_relu:0.1",),
        "data": "circles",
        "data_arg": (
            "num_samples=10000",
            "noise=0.35",
            "factor=0",
            "seed=1",
            "test_size=0.99",
            "shuffle=false",
            "stratified=false",
        ),
        "loss": "bce",
        "widths": "1,2,3,4,5,10,15,20,30,40,50,75,100",
        "depths": "1,2,3",
        "restarts": "50,15,15",
        "init": ("uniform:-100,100", "uniform:-1,1", "uniform:-1,1"),
        "lr": "1,0.5,0.1",
        "steps": 40000,
        "max_steps": 120000,
        "plateau": (),
        "stop_after": 10000,
        "stop_below": 1e-7,
    }
}
# The preset's values of one depth, where --depths asks for fewer than it has.
PER_DEPTH = ("restarts", "init", "lr")


@click.command("minima", cls=Command)
@preset(PRESETS)
@click.option(
    "--model", default="mlp", show_default=True, help="mlp, or any factory that takes width and depth."
)
@pairs("--model-arg", "Arguments of the model: activation=tanh.")
@click.option("--data", default="circles", show_default=True, help="As in landscape train.")
@pairs("--data-arg", "Arguments of the data: num_samples=200 noise=0.2.")
@click.option("--loss", default="", help="As in landscape train [default: follows the data].")
@click.option("--widths", default="1,2,3,5,10,20", show_default=True, help="Units of every hidden layer.")
@click.option("--depths", default="1", show_default=True, help="Hidden layers.")
@click.option(
    "--restarts", default="50", show_default=True, help="Descents per cell; one number, or one a depth."
)
@click.option(
    "--init",
    multiple=True,
    default=("own",),
    show_default=True,
    help="own (the module's), or uniform:a,b for all weights and biases; again for each further depth.",
)
@click.option("--lr", default="0.1", show_default=True, help="Step size; one number, or one a depth.")
@click.option("--steps", default=40000, show_default=True, help="Steps of constant size.")
@click.option(
    "--max-steps",
    default=120000,
    show_default=True,
    help="Steps at most, the further ones halved on plateaus.",
)
@pairs("--plateau", "factor=0.5 threshold=1e-4 patience=40 cooldown=10 floor=1e-7, in steps.")
@click.option(
    "--stop-after", default=10000, show_default=True, help="Stop when so many further steps bring less than …"
)
@click.option("--stop-below", default=1e-7, show_default=True, help="… this.")
@click.option(
    "--polish", is_flag=True, help="Go on to ‖∇F‖ ≤ 1e-9 by L-BFGS and Newton's method, or say why not."
)
@shared
@click.pass_context
def command(ctx: click.Context, settings: Settings, **_: Any) -> None:
    """How good are local minima, against width and depth?

    \b
    landscape minima --widths 1,2,5,10 --restarts 20 --init uniform:-1,1 --lr 0.5 -o m.h5
    landscape minima --preset thesis-5.1 --depths 1 --polish -o thesis.h5
    landscape minima --model my_net.py:build --data digits --widths 8,16 -o mine.h5
    """
    from landscape.analyses import minima
    from landscape.analyses.minima import PLATEAU
    from landscape.cli.session import Work, create
    from landscape.numerics.steps.schedules import schedule_parameters
    from landscape.specs import parse_arguments

    _keep_depths(ctx)
    given = ctx.params
    widths, depths, restarts = (
        numbers(f"--{name}", given[name], int) for name in ("widths", "depths", "restarts")
    )
    plateau = PLATEAU | parse_arguments(given["plateau"])
    schedule_parameters("plateau", plateau)

    def analyse(work: Work) -> Any:
        variant = work.variant
        assert variant is not None
        return minima(
            lambda width, depth, seed: variant(seed, {"width": width, "depth": depth}),
            widths=widths,
            depths=depths,
            restarts=restarts,
            init=given["init"],
            lr=numbers("--lr", given["lr"], float),
            steps=given["steps"],
            max_steps=given["max_steps"],
            plateau=plateau,
            stop_after=given["stop_after"],
            stop_below=given["stop_below"],
            polish=given["polish"],
            seed=settings.seed,
            max_threads=work.max_threads,
            journal=work.journal,
            progress=work.progress,
        )

    create("minima", settings, analyse, arguments={"width": widths[0], "depth": depths[0]})


def _keep_depths(ctx: click.Context) -> None:
    """Of the preset's values for each depth those of the depths that are asked for."""
    values = PRESETS.get(ctx.params["preset"] or "")
    if values is None:
        return
    known = values["depths"].split(",")
    places = [known.index(depth) for depth in ctx.params["depths"].split(",") if depth in known]
    for name in PER_DEPTH:
        one = values[name]
        if ctx.params[name] is one and isinstance(one, str):
            ctx.params[name] = ",".join(one.split(",")[place] for place in places)
        elif ctx.params[name] is one:
            ctx.params[name] = tuple(one[place] for place in places)
