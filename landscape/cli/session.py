"""From options to a published result: open the points, remember what is finished, save, print."""

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import torch

from landscape import distributed
from landscape.analyses.hessian import stability_limits
from landscape.cli.failures import INTERRUPTED
from landscape.cli.options import Settings, chosen
from landscape.cli.screen import Screen
from landscape.errors import BadInput
from landscape.inputs import checkpoints
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.threads import best_number, using
from landscape.progress import Journal as AnyJournal
from landscape.progress import Progress, silent
from landscape.result import Result
from landscape.runs import provenance, store
from landscape.runs.address import parse_address
from landscape.runs.config import config_difference, config_hash
from landscape.runs.journal import Journal
from landscape.runs.recipe import DTYPES, Recipe
from landscape.runs.run import Run
from landscape.specs import parse_arguments

STRICT = 3


@dataclass
class Work:
    """What an analysis is given by the command line."""

    objective: Objective
    test: Objective | None = None
    points: list[Point] = field(default_factory=list)
    trajectory: list[Point] = field(default_factory=list)
    stability_limits: list[float] | None = None
    notes: list[str] = field(default_factory=list)
    others: list[Objective] = field(default_factory=list)
    journal: AnyJournal = field(default_factory=dict)
    progress: Progress = silent
    # What an analysis that measures for itself may take.
    max_threads: int = 1
    # The same data with the model of other arguments, initialised by another seed.
    variant: Callable[[int, dict[str, Any]], Objective] | None = None


def measure(
    kind: str,
    addresses: tuple[str, ...],
    settings: Settings,
    analyse: Callable[[Work], Result],
    *,
    resumable: bool = True,
    l2: float = 0.0,
    num_subsets: int = 1,
    aligns: bool = False,
) -> None:
    """One analysis at points of run files, published beside the first of them unless ``-o`` says where.

    With ``aligns`` the result is itself a run file of the last point's model, and stands beside that.
    """
    opened_runs = {
        path: Run(path, trust=settings.trust) for path in {parse_address(t).path for t in addresses}
    }
    runs = [opened_runs[parse_address(text).path] for text in addresses]
    labels = [run.label(parse_address(text).name) for run, text in zip(runs, addresses, strict=True)]
    inputs = [
        {"path": str(run.path), "sha256": provenance.sha256(run.path), "point": label}
        for run, label in zip(runs, labels, strict=True)
    ]
    dtype = settings.dtype or runs[0].dtype
    config = {
        "kind": kind,
        "inputs": [{"sha256": one["sha256"], "point": one["point"]} for one in inputs],
        "dtype": dtype,
        "device": device(settings).partition(":")[0],
        "seed": settings.seed,
        "subset": settings.subset,
        "options": {
            name: value
            for name, value in chosen(click.get_current_context()).items()
            if name not in ("point", "points", "first", "second", "third")
        },
    }

    if aligns:
        config["recipe"] = asdict(runs[-1].recipe)

    def prepare() -> Work:
        opened, *others = (
            runs[0].objectives(
                dtype=dtype,
                device=device(settings),
                chunk_size=settings.chunk_size,
                subset=settings.subset,
                seed=settings.seed + number,
                data_dir=settings.data_dir,
                l2=l2,
            )
            for number in range(num_subsets if settings.subset else 1)
        )
        points = [_point(runs[0], run, opened.train, label) for run, label in zip(runs, labels, strict=True)]
        trajectory = runs[0].trajectory(opened.train)
        limits = None
        if len(set(runs)) == 1 and len(runs) > 1:
            limits = stability_limits(runs[0].options, map(runs[0].step_size_at, labels))
        elsewhere = [one.train for one in others]
        return Work(opened.train, opened.test, points, trajectory, limits, opened.notes, elsewhere)

    default = default_output(kind, [run.path for run in runs])
    if aligns:
        default = runs[-1].path.with_name(f"{runs[-1].path.stem}-aligned.h5")
    output = settings.output or default
    publish(output, config, inputs, dtype, settings, prepare, analyse, resumable=resumable)


def points_of(address: str, at: str) -> tuple[str, ...]:
    """``a.h5`` and ``all`` or ``init,final`` as addresses of points."""
    path = parse_address(address).path
    labels = store.point_labels(path) if at == "all" else [part.strip() for part in at.split(",")]
    return tuple(f"{path}@{label}" for label in labels)


def create(
    kind: str,
    settings: Settings,
    analyse: Callable[[Work], Result],
    *,
    checkpoint: Path | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> None:
    """A file from the command's own ``--model``, ``--data`` and ``--loss``: trained, imported, or many of them.

    ``arguments`` join those of the model: the first ones where the analysis asks for variants.
    """
    given = dict(chosen(click.get_current_context()))
    twice = sorted(set(arguments or {}) & set(parse_arguments(given["model_arg"])))
    if twice:
        raise BadInput(
            f"--model-arg {twice[0]}, which --{twice[0]}s sets",
            "each argument once",
            "leave --model-arg's away",
        )
    if settings.output is None:
        raise BadInput("no output", "the name of the run file", "give -o a.h5")
    recipe = Recipe(
        model=given.pop("model"),
        model_arguments={**parse_arguments(given.pop("model_arg")), **(arguments or {})},
        data=given.pop("data"),
        data_arguments=parse_arguments(given.pop("data_arg")),
        loss=given.pop("loss"),
        seed=settings.seed,
        subset=settings.subset,
    )
    given.pop("checkpoint", None)
    tensors = checkpoints.read(checkpoint) if checkpoint else None
    inputs = [{"path": str(checkpoint), "sha256": provenance.sha256(checkpoint)}] if checkpoint else []
    data = recipe.data_set(settings.data_dir)
    recipe = recipe.completed(data)
    dtype = settings.dtype or "float32"
    config = {
        "kind": kind,
        "inputs": [{"sha256": one["sha256"]} for one in inputs],
        "dtype": dtype,
        "device": device(settings).partition(":")[0],
        "seed": settings.seed,
        "recipe": asdict(recipe),
        "options": given,
    }

    def prepare() -> Work:
        module = recipe.module()
        if tensors is not None:
            module = checkpoints.loaded(module, tensors, str(checkpoint))
        objectives = recipe.objectives(
            module, data, dtype=DTYPES[dtype], device=device(settings), chunk_size=settings.chunk_size
        )
        start = objectives.train.present_point(str(checkpoint or "init"))
        return Work(objectives.train, objectives.test, [start], variant=variant)

    def variant(seed: int, arguments: dict[str, Any]) -> Objective:
        other = replace(recipe, seed=seed, model_arguments={**recipe.model_arguments, **arguments})
        return other.objectives(
            other.module(), data, dtype=DTYPES[dtype], device=device(settings), chunk_size=settings.chunk_size
        ).train

    publish(settings.output, config, inputs, dtype, settings, prepare, analyse, resumable=checkpoint is None)


def publish(
    output: Path,
    config: dict[str, Any],
    inputs: list[dict[str, str]],
    dtype: str,
    settings: Settings,
    prepare: Callable[[], Work],
    analyse: Callable[[Work], Result],
    *,
    resumable: bool = True,
) -> None:
    """Compute a result and write it to ``output``, unless it stands there already.

    Finished pieces are kept in ``<output>.part`` until the result is published, so the same command
    goes on after a kill. Raises BadInput for an output that other options made.
    """
    screen = Screen(settings)
    _check_folder(output)
    if output.exists() and not settings.overwrite and not _is_interrupted(output, config):
        _check_same(output, config)
        _report(store.load(output), output, settings, screen, "already there")
        return
    part = output.with_name(output.name + ".part")
    with _processes(settings):
        work = prepare()
        work.max_threads = settings.threads or torch.get_num_threads()
        threads = settings.threads or best_number(work.objective)
        alone = distributed.num_processes() == 1
        if part.exists() and settings.overwrite and not _is_of(part, config):
            shutil.rmtree(part)
        with using(threads), _journal(part, config, threads, settings, resumable and alone) as journal:
            if journal is not None:
                work.journal = journal
                if settings.threads is None:
                    torch.set_num_threads(journal.header.get("threads", threads))
                if len(journal):
                    screen.say(f"going on from {part}: {len(journal)} finished pieces")
            with screen.progress(is_shown=distributed.rank() == 0) as work.progress:
                result = analyse(work)
            result.notes = [*work.notes, *result.notes]
            result.config = config
            result.provenance = provenance.record(
                command=settings.command,
                seed=settings.seed,
                dtype=dtype,
                device=str(work.objective.device),
                inputs=inputs,
                num_processes=distributed.num_processes(),
            )
            if distributed.rank() == 0:
                store.save(result, output)
        is_first = distributed.rank() == 0
    if is_first:
        _report(result, output, settings, screen)


def device(settings: Settings) -> str:
    """The device by name. Raises BadInput for one that is not there."""
    name = settings.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = name.partition(":")
    if kind == "cuda" and distributed.is_launched() and not number:
        number = os.environ.get("LOCAL_RANK", "0")
        name = f"cuda:{number}"
    there = {
        "cpu": lambda: True,
        "cuda": lambda: torch.cuda.is_available() and int(number or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available,
    }
    if kind not in there or (number and not number.isdigit()):
        raise BadInput(f"device {name!r}", "auto, cpu, cuda, cuda:1 or mps")
    if not there[kind]():
        raise BadInput(f"device {name!r} is not on this machine", "a device that is", "take --device cpu")
    if kind == "mps" and settings.dtype == "float64":
        raise BadInput("float64 on mps", "float32 there", "take --device cpu for float64")
    return name


def default_output(kind: str, paths: list[Path]) -> Path:
    """``a.h5, b.h5`` and ``connect`` as ``a-b.connect.h5``, beside the first."""
    stems = "-".join(dict.fromkeys(path.stem for path in paths))
    return paths[0].with_name(f"{stems}.{kind}.h5")


def _check_folder(output: Path) -> None:
    folder = output.parent
    if output.is_dir():
        raise BadInput(f"{output} is a folder", "the name of a file to write", "give -o FILE.h5")
    if not folder.is_dir():
        raise BadInput(f"there is no folder {folder}", "an existing folder for the output", "make it first")
    trial = output.with_name(output.name + ".tmp")
    try:
        # Tried, not asked: root may write where a file system may not be written.
        with open(trial, "ab"):
            pass
        # Of several processes another may have been faster.
        trial.unlink(missing_ok=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise BadInput(
            f"{folder} cannot be written ({error.strerror})", "a folder you may write to", "give another -o"
        ) from None


def _point(first: Run, run: Run, objective: Objective, label: str) -> Point:
    try:
        return run.point(objective, label)
    except BadInput as error:
        raise BadInput(
            error.seen,
            error.wanted,
            f"{first.path.name} is {first.recipe.described()}, {run.path.name} is {run.recipe.described()}",
        ) from None


def _is_interrupted(output: Path, config: dict[str, Any]) -> bool:
    """Whether the same command was stopped before: what it had is there, the rest is still to do."""
    header = store.header(output)
    return header["outcome"] == "interrupted" and header["config-sha256"] == config_hash(config)


def _check_same(output: Path, config: dict[str, Any]) -> None:
    header = store.header(output)
    if header.get("config-sha256") == config_hash(config):
        return
    theirs = json.loads(header.get("config", "{}"))
    if header["kind"] != config["kind"]:
        seen = f"holds the result of {header['kind']}"
    else:
        mine = dict(config)
        moved = "made from other points" if mine.pop("inputs") != theirs.pop("inputs", None) else ""
        difference = ", ".join(part for part in (moved, config_difference(mine, theirs)) if part)
        seen = f"was made by another configuration ({difference})"
    raise BadInput(
        f"{output} exists and {seen}",
        "the same configuration, or a new name",
        "give another -o, or --overwrite",
    )


def _is_of(part: Path, config: dict[str, Any]) -> bool:
    try:
        Journal(part, config).close()
    except BadInput:
        return False
    return True


@contextmanager
def _processes(settings: Settings) -> Iterator[None]:
    if not distributed.is_launched():
        yield
        return
    name = device(settings)
    if name.startswith("cuda"):
        torch.cuda.set_device(name)
    distributed.start(name.partition(":")[0])
    try:
        yield
    finally:
        distributed.stop()


@contextmanager
def _journal(
    part: Path, config: dict[str, Any], threads: int, settings: Settings, wanted: bool
) -> Iterator[Journal | None]:
    """A journal that goes when all is published, and stays, if there is anything in it, when not."""
    if not wanted:
        yield None
        return
    journal = Journal(part, config, about={"threads": threads})
    try:
        yield journal
    except BaseException as error:
        if not len(journal):
            journal.remove()
        else:
            journal.close()
        if isinstance(error, KeyboardInterrupt):
            kept = f"{len(journal)} finished pieces are kept in {part}" if len(journal) else "nothing to keep"
            print(f"Interrupted; {kept}. Go on with: {settings.command}", file=sys.stderr)
            raise click.exceptions.Exit(INTERRUPTED) from None
        raise
    journal.remove()


def _report(result: Result, output: Path, settings: Settings, screen: Screen, remark: str = "") -> None:
    screen.summary(result, output, remark)
    if result.outcome == "interrupted":
        raise click.exceptions.Exit(INTERRUPTED)
    if settings.strict and result.status != "complete":
        raise click.exceptions.Exit(STRICT)
