"""Options that commands share, each defined once."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from landscape.errors import BadInput

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Settings:
    """The shared options of one command line, and the line itself."""

    output: Path | None = None
    overwrite: bool = False
    device: str = "auto"
    dtype: str | None = None
    seed: int = 0
    chunk_size: int | None = None
    threads: int | None = None
    subset: int | None = None
    data_dir: Path | None = None
    trust: bool = False
    as_json: bool = False
    verbosity: int = 0
    strict: bool = False
    command: str = ""


class Command(click.Command):
    """A command whose k=v options take several pairs after one flag: ``--data-arg classes=3,6 size=14``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        pair_flags = {name for one in self.params if one.metavar == PAIRS for name in one.opts}
        spelled, flag = [], None
        for argument in args:
            is_pair = "=" in argument and argument.partition("=")[0].isidentifier()
            if flag and is_pair and spelled[-1] != flag:
                spelled.append(flag)
            elif not is_pair:
                flag = argument if argument in pair_flags else None
            spelled.append(argument)
        return super().parse_args(ctx, spelled)


PAIRS = "K=V..."


def pairs(flag: str, help: str) -> Callable[[Function], Function]:
    """An option that takes ``name=value`` any number of times."""
    return click.option(flag, multiple=True, metavar=PAIRS, help=help)


def preset(presets: Mapping[str, Mapping[str, Any]]) -> Callable[[Function], Function]:
    """``--preset``: values by name of option, in place of the defaults of those that were not given."""

    def fill_in(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def filled(**given: Any) -> Any:
            ctx = click.get_current_context()
            for name, value in presets.get(ctx.params["preset"] or "", {}).items():
                if ctx.get_parameter_source(name) is ParameterSource.DEFAULT:
                    ctx.params[name] = given[name] = value
            return function(**given)

        help = "A published setting; other options override it."
        return click.option("--preset", type=click.Choice(sorted(presets)), help=help)(filled)

    return fill_in  # pyright: ignore[reportReturnType]


def numbers(flag: str, text: str, kind: type) -> list[Any]:
    """``1,2,5`` as positive numbers of one kind. Raises BadInput, naming the option, for anything else."""
    what = "positive whole" if kind is int else "positive"
    try:
        found = [kind(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(0 < one < math.inf for one in found):
        raise BadInput(f"{flag} {text!r}", f"{what} numbers with commas between", f"as in {flag} 1,2,5")
    return found


def chosen(ctx: click.Context) -> dict[str, Any]:
    """The command's own options by name: what makes this measurement this one."""
    return {name: value for name, value in ctx.params.items() if name not in _SHARED}


_OPTIONS = [
    click.option(
        "-o", "--output", type=click.Path(path_type=Path), help="File to write [default: beside the input]."
    ),
    click.option("--overwrite", is_flag=True, help="Replace an output that other options made."),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps."),
    click.option(
        "--dtype", type=click.Choice(["float32", "float64"]), help="[default: the run's; float32 in training]"
    ),
    click.option("--seed", type=int, default=0, show_default=True, help="Seed of everything drawn here."),
    click.option(
        "--chunk-size",
        type=click.IntRange(min=1),
        help="Samples at a time: memory only, never the value [default: by size].",
    ),
    click.option(
        "--threads",
        type=click.IntRange(min=1),
        help="CPU threads [default: 1 for small nets, else measured].",
    ),
    click.option("--subset", type=click.IntRange(min=1), help="Take N training samples, drawn by --seed."),
    click.option(
        "--data-dir",
        type=click.Path(path_type=Path),
        envvar="LANDSCAPE_DATA",
        help="Folder with data files [default: LANDSCAPE_DATA, then a cache].",
    ),
    click.option("--trust", is_flag=True, help="Run code outside this folder that a run file names."),
    click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output."),
    click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors."),
    click.option("-v", "--verbose", is_flag=True, help="Print provenance too, and where an error arose."),
    click.option("--strict", is_flag=True, help="Exit with 3 unless converged and every check passed."),
]
_SHARED = {field.name for field in fields(Settings)} | {"quiet", "verbose"}


def shared(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the shared options, and hands them over as one ``settings``."""

    @wraps(function)
    def bundled(**given: Any) -> Any:
        verbosity = int(given.pop("verbose")) - int(given.pop("quiet"))
        own = {name: given.pop(name) for name in list(given) if name in _SHARED}
        line = str(click.get_current_context().find_root().obj)
        return function(settings=Settings(**own, verbosity=verbosity, command=line), **given)

    for option in reversed(_OPTIONS):
        bundled = option(bundled)
    return bundled


batchnorm = click.option(
    "--batchnorm",
    type=click.Choice(["frozen", "recalibrate"]),
    default="frozen",
    show_default=True,
    help="Batch-norm statistics between points: theirs, mixed in proportion, or taken anew from the data.",
)


def line_batchnorm(default: str) -> Callable[[Function], Function]:
    """``--batchnorm`` where there is a straight line, on which it can be ``repair`` too."""
    return click.option(
        "--batchnorm",
        type=click.Choice(["frozen", "recalibrate", "repair"]),
        default=default,
        show_default=True,
        help="Batch-norm statistics between points: theirs, mixed in proportion (right only for nearby points), "
        "or taken anew from the data at every point; repair also gives every layer of the straight line the "
        "spread it has at the ends (Jordan et al. 2023).",
    )


def slicing(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that slice1d and slice2d share."""
    for option in reversed(
        [
            click.option(
                "--directions",
                type=click.Choice(["random", "pca", "eigen", "eigen-ends", "axes"]),
                default="random",
                show_default=True,
                help="Random, the run's principal components, Hessian eigenvectors (top, or both ends), or the "
                "two axes of a module with two trainable numbers.",
            ),
            click.option(
                "--norm",
                type=click.Choice(["filter", "layer", "none"]),
                default="filter",
                show_default=True,
                help="What of a random direction is as long as in θ* (Li et al. 2018).",
            ),
            click.option(
                "--ignore",
                default="bias,norm",
                show_default=True,
                help="What stays at rest: bias, norm (scales and shifts), vector (others of one axis), or none.",
            ),
            click.option(
                "--span", type=float, help="Half width s of the cut, [−s, s] [default: 1, or what is drawn]."
            ),
            click.option("--num-points", default=51, show_default=True, help="Points per axis, odd."),
            click.option(
                "--draws", default=1, show_default=True, help="Direction seeds, for a mean and a spread."
            ),
            click.option(
                "--trajectory", is_flag=True, help="Draw the run's checkpoints, with their distance."
            ),
            batchnorm,
        ]
    ):
        function = option(function)
    return function


def roles(text: str) -> tuple[str, ...]:
    """``bias,norm`` as a tuple; '' and ``none`` as an empty one."""
    return tuple(part for part in text.replace(" ", "").split(",") if part and part != "none")
