"""``landscape import``: weights from elsewhere as a run file."""

from pathlib import Path
from typing import Any

import click

from landscape.cli.options import Command, Settings, pairs, shared


@click.command("import", cls=Command)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--model", required=True, help="The module the weights belong to, as in train.")
@pairs("--model-arg", "Arguments of the model.")
@click.option("--data", required=True, help="The data to measure on, as in train.")
@pairs("--data-arg", "Arguments of the data.")
@click.option("--loss", default="", help="As in train [default: follows the data].")
@shared
def command(settings: Settings, checkpoint: Path, **_: Any) -> None:
    """Bring in the weights of CHECKPOINT as a run file.

    CHECKPOINT is a state_dict, bare or under "state_dict", a Lightning .ckpt, or .safetensors.

    \b
    landscape import w.safetensors --model mlp --data digits -o a.h5
    Nothing in the file is ever executed; a pickle that is not weights is refused.
    """
    from landscape.analyses import import_point
    from landscape.cli.session import create

    create(
        "import",
        settings,
        lambda work: import_point(work.objective, work.points[0], test=work.test),
        checkpoint=checkpoint,
    )
