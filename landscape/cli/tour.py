"""``landscape tour``: every main command once, on real data, with every picture."""

import shlex
import time
from pathlib import Path
from typing import Any

import click

from landscape import analyses
from landscape.cli.options import Command

# {folder} is where the tour writes. Each line is a command as it could be typed.
MODEL = "--model mlp --model-arg widths=128,128 --data digits --epochs 60 --lr 0.05 --momentum 0.9"
TOUR = (
    "train {MODEL} --checkpoint-every 5 --seed 0 -o {folder}/a.h5",
    "train {MODEL} --seed 1 -o {folder}/b.h5",
    "hessian {folder}/a.h5 --top-k 10",
    "interpolate {folder}/a.h5@init {folder}/a.h5@final",
    "interpolate {folder}/a.h5 {folder}/b.h5",
    "slice2d {folder}/a.h5 --num-points 51",
    "slice2d {folder}/a.h5 --directions pca --trajectory -o {folder}/a.trajectory.h5",
    "connect {folder}/a.h5 {folder}/b.h5",
)


@click.command("tour", cls=Command)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("tour"),
    show_default=True,
    help="Folder for the files and the pictures.",
)
def command(output: Path) -> None:
    """Run every main command once, on real data.

    Trains two networks on the digits and measures their landscape in every way, in a minute or two.
    Prints each command as it could be typed; what is already in the folder is not computed again.
    """
    from landscape.cli import perform
    from landscape.plots.plot import plot
    from landscape.runs import store

    output.mkdir(parents=True, exist_ok=True)
    rows: list[tuple[Path, Any, float]] = []
    for line in TOUR:
        words = shlex.split(line.format(MODEL=MODEL, folder=shlex.quote(str(output))))
        click.echo(f"$ landscape {shlex.join(words)}")
        began = time.monotonic()
        perform([*words, "--quiet"])
        path = _output(words)
        result = store.load(path)
        plot(result, path.with_suffix(".png"), log=result.kind in ("slice2d",))
        rows.append((path, result, time.monotonic() - began))
    _summary(rows)


def _output(words: list[str]) -> Path:
    """Where a command of the tour writes."""
    if "-o" in words:
        return Path(words[words.index("-o") + 1])
    from landscape.runs.address import default_output, parse_address

    addresses = [parse_address(word).path for word in words[1:] if ".h5" in word]
    return default_output(analyses.declared(words[0]), addresses)


def _summary(rows: list[tuple[Path, Any, float]]) -> None:
    """One table: each file, what it says in a few words, its checks."""
    from rich.console import Console
    from rich.table import Table

    from landscape.cli.screen import status_text

    table = Table(title="What was found", title_justify="left", box=None, pad_edge=False)
    for heading in ("file", "status", "found", "checks", "time"):
        justify = "right" if heading == "time" else "left"
        table.add_column(heading, overflow="fold", no_wrap=heading != "found", justify=justify)
    for path, result, seconds in rows:
        passed = sum(check.passed for check in result.checks)
        checks = f"{passed} of {len(result.checks)}"
        table.add_row(path.name, status_text(result), result.headline, checks, f"{seconds:.1f} s")
    Console(highlight=False).print(table)
