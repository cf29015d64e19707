"""``landscape efficiency``: methods compared by what they make of the same observations."""

from typing import Any

import click

from landscape.cli.options import Command, Settings, numbers, pairs, preset, shared

# Fleischmann 2021, section 5.2: standardised on all 20640 rows; before the sizes, ten rows were drawn.
PRESETS: dict[str, dict[str, Any]] = {
    "thesis-5.2": {
        "model": "mlp",
        "model_arg": ("widths=12,12,12,12,12", "activation=relu", "init=glorot"),
        "data": "housing",
        "data_arg": ("test_size=0",),
        "loss": "mse",
        "methods": "gd,minibatch,sgd",
        "sizes": "100,1000,10000",
        "step_sizes": "1,0.5,0.1,0.05,0.01,0.005,0.001,5e-4,1e-4,5e-5",
        "batch_size": 50,
        "sampling": "uniform",
        "observations_per_sample": 20.0,
        "draw_seed": 42,
        "discard": 10,
    }
}


@click.command("efficiency", cls=Command)
@preset(PRESETS)
@click.option("--model", default="mlp", show_default=True, help="As in landscape train.")
@pairs("--model-arg", "Arguments of the model: widths=100,100 activation=tanh.")
@click.option("--data", default="digits", show_default=True, help="As in landscape train.")
@pairs("--data-arg", "Arguments of the data: classes=3,6 test_size=0.")
@click.option("--loss", default="", help="As in landscape train [default: follows the data].")
@click.option("--methods", default="gd,minibatch,sgd", show_default=True, help="Some of these.")
@click.option("--sizes", default="", help="Training-set sizes, drawn from the data [default: all of them].")
@click.option(
    "--step-sizes",
    default="1,0.5,0.1,0.05,0.01,0.005,0.001,5e-4,1e-4,5e-5",
    show_default=True,
    help="For each method and size, the best of these.",
)
@click.option("--batch-size", default=50, show_default=True, help="Samples of a mini-batch.")
@click.option(
    "--sampling",
    type=click.Choice(["uniform", "cycle", "reshuffle"]),
    default="uniform",
    show_default=True,
    help="With replacement, one order for ever, or a new order each epoch.",
)
@click.option("--observations-per-sample", default=20.0, show_default=True, help="The budget, over the size.")
@click.option("--seeds", default=3, show_default=True, help="Initial points, from --seed on.")
@click.option("--records", default=20, show_default=True, help="Costs recorded within the budget.")
@click.option("--draw-seed", default=0, show_default=True, help="NumPy's seed of the drawn sizes.")
@click.option("--discard", default=0, show_default=True, help="Draw so many samples before, for nothing.")
@shared
def command(settings: Settings, **given: Any) -> None:
    """What do the same observations buy: all at once, in mini-batches, or one by one?

    Every method, training-set size, step size and seed is a replica; those of one size train as one computation.
    Costs are over the drawn training set.

    \b
    landscape efficiency --preset thesis-5.2 --seeds 5 -o thesis.h5
    landscape efficiency --model my_net.py:build --data digits --sizes 100,1000 -o mine.h5
    """
    from landscape.analyses import efficiency
    from landscape.cli.session import Work, create
    from landscape.errors import BadInput

    sizes = numbers("--sizes", given["sizes"], int) if given["sizes"] else None
    step_sizes = numbers("--step-sizes", given["step_sizes"], float)
    if given["seeds"] < 1:
        raise BadInput(f"--seeds {given['seeds']}", "at least 1")

    def analyse(work: Work) -> Any:
        assert work.variant is not None
        return efficiency(
            work.objective,
            [work.variant(settings.seed + s, {}).theta for s in range(given["seeds"])],
            sizes=sizes,
            methods=[name.strip() for name in given["methods"].split(",")],
            step_sizes=step_sizes,
            batch_size=given["batch_size"],
            sampling=given["sampling"],
            observations_per_sample=given["observations_per_sample"],
            num_records=given["records"],
            draw_seed=given["draw_seed"],
            discarded=given["discard"],
            seed=settings.seed,
            journal=work.journal,
            progress=work.progress,
        )

    create("efficiency", settings, analyse)
