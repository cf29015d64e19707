"""``landscape train``: from a module and data to a run file."""

from typing import Any

import click

from landscape.cli.options import Command, Settings, pairs, shared


@click.command("train", cls=Command)
@click.option(
    "--model",
    default="mlp",
    show_default=True,
    help="mlp, linear, cnn, resnet, toy-product, toy-neuron, toy-relu-neuron, toy-saddle, toy-chain; "
    "or yours: pkg.mod:factory, path/file.py:factory.",
)
@pairs("--model-arg", "Arguments of the model: widths=100,100 activation=tanh.")
@click.option(
    "--data",
    default="digits",
    show_default=True,
    help="digits, breast_cancer, circles, moons, mnist, housing, cifar10, point; or yours: npz:file.npz, "
    "pkg.mod:factory, path/file.py:factory.",
)
@pairs("--data-arg", "Arguments of the data: classes=3,6 size=14 limit=1000.")
@click.option(
    "--loss",
    default="",
    help="cross_entropy, bce, mse, output (the module's own), or yours: pkg.mod:function of (outputs, targets) "
    "that gives a mean, a sum or one loss per sample [default: follows the data].",
)
@click.option(
    "--method",
    type=click.Choice(["gd", "minibatch", "sgd"]),
    default="minibatch",
    show_default=True,
    help="All samples a step, --batch-size of them, or one.",
)
@click.option("--batch-size", type=int, default=128, show_default=True, help="Samples of a mini-batch.")
@click.option(
    "--sampling",
    type=click.Choice(["uniform", "cycle", "reshuffle"]),
    default="reshuffle",
    show_default=True,
    help="With replacement, one order for ever, or a new order each epoch.",
)
@click.option("--optimizer", type=click.Choice(["sgd", "adam", "adamw"]), default="sgd", show_default=True)
@click.option("--lr", type=float, default=0.1, show_default=True, help="First step size.")
@click.option("--momentum", type=float, default=0.0, show_default=True)
@click.option("--nesterov", is_flag=True, help="Nesterov's momentum.")
@click.option("--weight-decay", type=float, default=0.0, show_default=True)
@click.option(
    "--schedule",
    type=click.Choice(["constant", "piecewise", "exponential", "polynomial", "plateau"]),
    default="constant",
    show_default=True,
    help="How the step size falls.",
)
@pairs(
    "--schedule-arg",
    "every=STEPS; gamma (piecewise), rate (exponential), beta gamma (polynomial), "
    "factor threshold patience cooldown floor (plateau).",
)
@click.option("--epochs", type=float, help="Passes over the data [default: 60, unless --steps].")
@click.option("--steps", type=int, help="Steps, instead of --epochs.")
@click.option("--checkpoint-every", type=int, help="Keep a point every N epochs (or steps, with --steps).")
@click.option(
    "--measure-every", type=int, help="Log the full loss and ‖∇F‖ every N epochs (or steps, with --steps)."
)
@shared
def command(settings: Settings, **given: Any) -> None:
    """Train a module; write its points and logs as a run file.

    \b
    landscape train --model mlp --data digits -o a.h5
    landscape train --model my_net.py:build --model-arg depth=20 --data cifar10 -o b.h5
    """
    from landscape.analyses import train
    from landscape.cli.session import Work, create

    arguments = given.pop("schedule_arg")
    epochs, steps = given["epochs"], given["steps"]

    def analyse(work: Work) -> Any:
        from landscape.specs import parse_arguments

        return train(
            work.objective,
            test=work.test,
            method=given["method"],
            batch_size=given["batch_size"],
            sampling=given["sampling"],
            epochs=60 if epochs is None and steps is None else epochs,
            steps=steps,
            lr=given["lr"],
            optimizer=given["optimizer"],
            momentum=given["momentum"],
            nesterov=given["nesterov"],
            weight_decay=given["weight_decay"],
            schedule=given["schedule"],
            schedule_arguments=parse_arguments(arguments),
            measure_every=given["measure_every"],
            checkpoint_every=given["checkpoint_every"],
            seed=settings.seed,
            journal=work.journal,
            progress=work.progress,
        )

    create("train", settings, analyse)
