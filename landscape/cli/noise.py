"""``landscape noise``: the gradient norm of SGD against step size and batch size."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from landscape.cli.options import Command, Settings, numbers, preset, shared

# Fleischmann (2021), section 5.3; its model and data are made here, and trained first.
PRESETS: dict[str, dict[str, Any]] = {
    "thesis-5.3": {
        "step_sizes": ",".join(f"{k}e-4" for k in range(1, 11)),
        "batch_sizes": ",".join(map(str, range(1, 11))),
        "steps": 30000,
        "seeds": 20,
        "descent_steps": 25000,
    }
}
RECIPES: dict[str, dict[str, Any]] = {
    "thesis-5.3": {
        "model": "mlp",
        "model_arg": ("widths=10,10,10", "init=glorot"),
        "data": "mnist",
        "data_arg": ("classes=3,6", "size=14"),
        "loss": "bce",
    }
}


@click.command("noise", cls=Command)
@click.argument("point", required=False)
@preset(PRESETS)
@click.option(
    "--step-sizes", default="0.001,0.002,0.005,0.01", show_default=True, help="At the smallest batch size."
)
@click.option("--batch-sizes", default="1,2,5,10", show_default=True, help="At the largest step size.")
@click.option("--steps", default=3000, show_default=True, help="Steps K of each run.")
@click.option("--seeds", default=10, show_default=True, help="Runs of each setting.")
@click.option(
    "--measure-every", type=int, help="Measure every N steps [default: at random, about one in a hundred]."
)
@click.option("--probes", default=5, show_default=True, help="Visited points at which L and M are taken.")
@click.option("--infimum", default=0.0, show_default=True, help="F_inf, a lower bound of the loss.")
@click.option("--descent-steps", default=0, show_default=True, help="Steps of gradient descent before.")
@click.option("--descent-step-size", default=0.1, show_default=True, help="Their step size.")
@shared
def command(
    settings: Settings,
    point: str | None,
    preset: str | None,
    step_sizes: str,
    batch_sizes: str,
    steps: int,
    seeds: int,
    measure_every: int | None,
    probes: int,
    infimum: float,
    descent_steps: int,
    descent_step_size: float,
) -> None:
    """The mean of ‖∇F‖² along SGD from POINT, by step size and by batch size.

    All runs are one stack. Beside them the exponents with their intervals, and the bound of theory
    (Bottou et al. 2018, theorem 4.8).

    \b
    landscape noise a.h5 --step-sizes 0.001,0.002,0.004 --batch-sizes 1,2,4 --steps 5000 --seeds 10
    landscape noise --preset thesis-5.3 -o noise.h5
    """
    from landscape.analyses import noise
    from landscape.cli.session import Work, create, measure
    from landscape.errors import BadInput

    if (point is None) == (preset is None):
        seen = "neither a point nor a preset" if point is None else "both a point and a preset"
        raise BadInput(f"{seen} given", "one of them")

    def analyse(work: Work) -> Any:
        return noise(
            work.objective,
            work.points[0],
            step_sizes=numbers("--step-sizes", step_sizes, float),
            batch_sizes=numbers("--batch-sizes", batch_sizes, int),
            num_steps=steps,
            num_seeds=seeds,
            measure_every=measure_every,
            num_probes=probes,
            infimum=infimum,
            descent_steps=descent_steps,
            descent_step_size=descent_step_size,
            seed=settings.seed,
            journal=work.journal,
            progress=work.progress,
        )

    if point is not None:
        measure("noise", (point,), settings, analyse)
    else:
        # Without a point the preset says what to train, in the words of landscape train.
        click.get_current_context().params.update(RECIPES[preset or ""])
        create("noise", replace(settings, output=settings.output or Path(f"{preset}.noise.h5")), analyse)
