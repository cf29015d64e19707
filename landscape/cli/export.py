"""``landscape export``: for elsewhere, a point of a run as weights, a slice as a surface file."""

from pathlib import Path

import click

from landscape.cli.options import VERIFY, Command
from landscape.errors import BadInput


@click.command("export", cls=Command)
@click.argument("point")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="FILE.safetensors, .pt or .pth of weights; .h5 of a surface.",
)
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
@click.option("--trust", is_flag=True, help="Trust the code that the run file names.")
@click.option("--no-verify", "verify", **VERIFY)
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
def command(point: str, output: Path, overwrite: bool, trust: bool, verify: bool, quiet: bool) -> None:
    """Write the weights at POINT as a state_dict, or the slice POINT as a surface file.

    Such a file is read by plot_2D.py and plot_1D.py of tomgoldstein/loss-landscape, and by landscape import-surface.

    \b
    landscape export a.h5@final -o w.safetensors
    landscape export a.slice2d.h5 -o surface.h5
    """
    from landscape.runs.address import parse_address

    address = parse_address(point)
    if output.is_dir():
        raise BadInput(
            f"{output} is a folder", "a file to write", f"give -o {output / 'weights.safetensors'}"
        )
    if output.exists() and not overwrite:
        raise BadInput(f"{output} is there already", remedy="give --overwrite, or another -o")
    if output.exists() and address.path.exists() and output.samefile(address.path):
        raise BadInput(f"{output} is what is to be exported", "another name", "give another -o")
    if output.suffix.lower() in (".h5", ".hdf5"):
        from landscape.runs.surfaces import export_surface

        if address.name:
            raise BadInput(f"the point {address} in a surface file", "a slice", "give -o FILE.safetensors")
        export_surface(address.path, output, verify=verify)
    else:
        from landscape.runs.run import Run

        Run(address.path, trust=trust, verify=verify).export(address.name, output)
    if not quiet:
        click.echo(f"{address} → {output}")
