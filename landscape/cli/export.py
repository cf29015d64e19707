"""``landscape export``: a point of a run as weights for elsewhere."""

from pathlib import Path

import click

from landscape.cli.options import VERIFY, Command


@click.command("export", cls=Command)
@click.argument("point")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="FILE.safetensors, .pt or .pth."
)
@click.option("--trust", is_flag=True, help="Trust the code that the run file names.")
@click.option("--no-verify", "verify", **VERIFY)
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
def command(point: str, output: Path, trust: bool, verify: bool, quiet: bool) -> None:
    """Write the weights at POINT as a state_dict.

    \b
    landscape export a.h5@final -o w.safetensors
    """
    from landscape.runs.address import parse_address
    from landscape.runs.run import Run

    address = parse_address(point)
    Run(address.path, trust=trust, verify=verify).export(address.name, output)
    if not quiet:
        click.echo(f"{address} → {output}")
