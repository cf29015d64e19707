"""A result computed once and written whole: remembered while it grows, published when done, told when it is there."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from landscape import distributed
from landscape.errors import BadInput, Interrupted
from landscape.objective import Objective, plain
from landscape.objective.identity import own_code, parts_of
from landscape.objective.parameters import Point
from landscape.objective.sharded import InParts
from landscape.objective.threads import best_number, using
from landscape.objective.trajectory import Trajectory
from landscape.progress import Journal as Remembered
from landscape.progress import Progress, silent
from landscape.result import Check, Result
from landscape.runs import provenance, store
from landscape.runs.config import config_difference, config_hash, is_same
from landscape.runs.dealt import answered_by_first, to_all
from landscape.runs.journal import Journal, require_own
from landscape.runs.places import require_place
from landscape.runs.settings import Settings
from landscape.runs.workers import Again, hired, parsed

Say = Callable[[str], None]


@dataclass
class Work:
    """What an analysis is given by the session."""

    objective: Objective
    test: Objective | None = None
    points: list[Point] = field(default_factory=list)
    trajectory: list[Point] = field(default_factory=list)
    # What the function takes from the run that the points are of, by name.
    of_run: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    others: list[Objective] = field(default_factory=list)
    journal: Remembered = field(default_factory=dict)
    # Whether the answer is all that was asked for.
    is_whole: bool = True
    progress: Progress = silent
    seed: int = 0
    # What computes independent tasks.
    executor: Executor | None = None
    # What an analysis that measures for itself may take.
    max_threads: int = 1
    # The same data with the model of other arguments, initialised by another seed.
    variant: Callable[[int, dict[str, Any]], Objective] | None = None
    # Every run named, with its points; points of others, shown beside; the module's tensors as another seed makes them.
    trajectories: Callable[[], list[Trajectory]] | None = None
    marks: list[Point] = field(default_factory=list)
    fresh: Callable[[int], Mapping[str, Tensor]] | None = None
    # What proves where the points come from.
    proofs: Callable[[], list[Check]] = list
    # What was taken for granted, in a line.
    assumed: str = ""


class Answer(NamedTuple):
    """A result, where it stands (None: nowhere), and whether it stood there before.

    With several processes only the first one writes: ``is_mine`` says whether it was this one.
    """

    result: Result
    output: Path | None
    was_there: bool = False
    is_mine: bool = True


class Order(NamedTuple):
    """One computation: its configuration, what it is made from, and how to prepare and make it."""

    config: dict[str, Any]
    inputs: list[dict[str, str]]
    dtype: str
    prepare: Callable[[], Work]
    analyse: Callable[[Work], Result]
    is_resumable: bool
    # The user's own files it is made from, relative to the output.
    sources: list[dict[str, str]] | None = None
    # The same order, made in another process from the same files; None where it is not made from files.
    again: "Callable[[], Order] | None" = None
    # Whether several processes have all samples each, and are dealt its tasks.
    deals: bool = False
    # Whether they share the samples nevertheless where each of them has a part of the module.
    takes_parts: bool = False

    def files(self, output: Path | None) -> list[Path]:
        """Those it is made from; the user's own are named as seen from ``output``."""
        own = [(output or Path()).resolve().parent / one["path"] for one in self.sources or ()]
        return [*(Path(one["path"]) for one in self.inputs), *own]


def unheard(text: str) -> None:
    """Nobody listens."""


def publish(
    order: Order, output: Path | None, settings: Settings, progress: Progress = silent, say: Say = unheard
) -> Answer:
    """Compute a result and write it to ``output``, unless it stands there already.

    Finished pieces are kept in ``<output>.part`` until the result is published, so the same call goes on after a kill.
    Raises BadInput for an output that other options made, and Interrupted for Ctrl-C. Without ``output`` nothing is
    written, nor kept.
    """
    distributed.require_same(_parts_of(order, settings))
    is_mine = distributed.rank() == 0
    # Of several processes one reads and writes beside the output, which the others may not even see.
    there = distributed.from_first(
        lambda: standing_there(output, order.config, settings, order.files(output))
    )
    if output is not None and there is not None:
        if others := provenance.other_makers(there):
            say(f"{output} was made by {others}")
        return Answer(store.load(output, verify=False), output, was_there=True, is_mine=is_mine)
    if order.deals and distributed.num_processes() > 1:
        try:
            return _dealt(order, output, settings, progress, say)._replace(is_mine=is_mine)
        except InParts:
            if not order.takes_parts:
                raise
    return _published(order, output, settings, progress, say)


def _dealt(order: Order, output: Path | None, settings: Settings, progress: Progress, say: Say) -> Answer:
    """The first process asks and publishes; the tasks are computed by all, which have made the same."""
    if settings.workers is not None:
        distributed.require_one_process(f"`workers` {settings.workers}")
    with distributed.alone():
        work = order.prepare()
        parts, named = _made_parts(order, work, settings), _named(work)
    distributed.require_same(parts)
    made = order._replace(prepare=lambda: work)
    return answered_by_first(named, lambda: _published(made, output, settings, progress, say))


def _published(order: Order, output: Path | None, settings: Settings, progress: Progress, say: Say) -> Answer:
    is_mine = distributed.rank() == 0
    asked = distributed.from_first(lambda: settings.threads)
    work = order.prepare()
    if work.objective.num_processes != distributed.num_processes():
        raise BadInput(
            f"an objective made before {distributed.num_processes()} processes shared the samples",
            "one made where they do",
            "call landscape.distributed.start first",
        )
    work.seed, work.progress = settings.seed, progress
    # Each of several workers has a core.
    is_dealt = distributed.num_launched() > distributed.num_processes()
    asked = asked or (1 if settings.workers or is_dealt else None)
    work.max_threads = asked or torch.get_num_threads()
    threads = asked or best_number(work.objective)
    with using(threads), _journal(order, output, work, threads, settings) as kept:
        if kept is not None:
            work.journal = kept.pieces
            if settings.threads is None:
                torch.set_num_threads(kept.threads)
            for one in kept.dropped:
                say(f"{one}; computed again")
            if len(kept.pieces):
                say(f"going on from {kept.folder}: {len(kept.pieces)} finished pieces")
        with plain.counted() as proofs, _workers(order, work, settings, say) as work.executor:
            result = order.analyse(work)
            work.is_whole = result.outcome != "interrupted"
            result.checks += work.proofs()
        result.notes = list(dict.fromkeys([*work.notes, *result.notes]))
        result.config = order.config
        result.provenance = provenance.record(
            command=settings.command,
            seed=settings.seed,
            dtype=order.dtype,
            device=str(work.objective.device),
            inputs=order.inputs,
            sources=order.sources,
            num_processes=distributed.num_launched(),
            proofs=proofs,
            assumed=work.assumed,
            config_file=settings.config_file,
        )
        distributed.require_same_steps()
        if is_mine and output is not None:
            store.save(result, output)
    return Answer(result, output, is_mine=is_mine)


def _workers(
    order: Order, work: Work, settings: Settings, say: Say
) -> AbstractContextManager[Executor | None]:
    """What computes independent tasks, None where nobody else does."""
    workers = parsed(settings.workers)
    if distributed.num_launched() > distributed.num_processes():
        return to_all(_named(work))
    if workers is None:
        return nullcontext()
    again = None
    if order.again is not None:
        made, contents = partial(_made, order.again, settings), order.config.get("sources", {})
        again = Again(made, Path.cwd(), contents, _made_parts(order, work, settings))
    return hired(workers, _named(work), again, say)


def _made(order: Callable[[], Order], settings: Settings) -> tuple[dict[str, Any], dict[str, str]]:
    """What a worker has by name, and what must be the same there as here."""
    made = order()
    work = made.prepare()
    return _named(work), _made_parts(made, work, settings)


def _named(work: Work) -> dict[str, Any]:
    """What tasks name: the work itself, and of it what is large."""
    found = {"work": work, "objective": work.objective, "samples": work.objective.samples, "test": work.test}
    return {name: one for name, one in {**found, "variant": work.variant}.items() if one is not None}


def _made_parts(order: Order, work: Work, settings: Settings) -> dict[str, str]:
    objective = work.objective
    parts = parts_of(objective.module, objective.loss, objective.samples)
    about = {"weights": parts["point"], "samples": parts["data"], "module": parts["code"]}
    return {**_parts_of(order, settings), **about, "versions": config_hash(_made_from(work))}


def _parts_of(order: Order, settings: Settings) -> dict[str, str]:
    """What must be the same in every process, before any of them computes."""
    config = order.config
    recipe = config.get("recipe", {})
    return {
        "kind": config["kind"],
        "seed": str(settings.seed),
        "data": str(config.get("data", recipe.get("data_sha256", ""))),
        "point": ", ".join(one["sha256"] for one in order.inputs),
        "code": config_hash({"sources": config.get("sources", {}), "own": own_code()}),
        "configuration": config_hash(config),
    }


def standing_there(
    output: Path | None, config: dict[str, Any], settings: Settings, made_of: Sequence[Path]
) -> dict[str, Any] | None:
    """The header of a result that is there. Raises BadInput for an output that cannot be, is read, or is another's."""
    if output is None:
        return None
    # os.path knows that what has too long a name is not there.
    if os.path.exists(output) and any(one.exists() and output.samefile(one) for one in made_of):
        raise BadInput(f"{output} is what the result is made from", "another name", "give another `output`")
    require_place(output)
    if not output.exists() or settings.overwrite:
        return None
    before = _standing(output, settings.verify)
    _check_same(output, before, config)
    if before["outcome"] == "interrupted":
        return None
    _clear_up(output, config)
    return before


def _standing(output: Path, verify: bool) -> dict[str, Any]:
    """What the file says that stands where the result would. Raises BadInput for one that is damaged, or not ours."""
    try:
        return store.header(output, verify=verify)
    except BadInput as error:
        raise BadInput(error.seen, error.wanted, "give another `output`, or `overwrite`") from None


def _check_same(output: Path, before: dict[str, Any], config: dict[str, Any]) -> None:
    theirs = json.loads(before["config"])
    if before["config-sha256"] == config_hash(config) or is_same(config, theirs):
        return
    if before["kind"] != config["kind"]:
        seen = f"holds the result of {before['kind']}"
    else:
        mine = dict(config)
        moved = "made from other points" if mine.pop("inputs") != theirs.pop("inputs", None) else ""
        difference = ", ".join(part for part in (moved, config_difference(mine, theirs)) if part)
        seen = f"was made by another configuration ({difference})"
    raise BadInput(
        f"{output} exists and {seen}",
        "the same configuration, or a new name",
        "give another `output`, or `overwrite`",
    )


def _clear_up(output: Path, config: dict[str, Any]) -> None:
    """Remove the pieces of a published result, where it was stopped just before it could."""
    part = output.with_name(output.name + ".part")
    if part.exists() and _is_of(part, config):
        shutil.rmtree(part, ignore_errors=True)


def _is_of(part: Path, config: dict[str, Any], made_from: dict[str, Any] | None = None) -> bool:
    try:
        Journal(part, config, made_from=made_from).close()
    except BadInput:
        return False
    return True


class _Kept(NamedTuple):
    """What is remembered of a computation, where, and by how many threads it was made."""

    pieces: Remembered
    threads: int
    folder: Path
    dropped: list[str]


@contextmanager
def _journal(
    order: Order, output: Path | None, work: Work, threads: int, settings: Settings
) -> Iterator[_Kept | None]:
    """A journal that goes when all is published, and stays, if there is anything in it, when not all is.

    Of several processes the first has it. The others begin with its pieces, so that all compute the same ones. Of a
    module in parts each has one, of its parts.
    """
    if output is None or not order.is_resumable:
        yield None
        return
    part, journals = output.with_name(output.name + ".part"), list[Journal]()
    made_from = _made_from(work)

    def cleared() -> None:
        if part.exists() and settings.overwrite and not _is_of(part, order.config, made_from):
            require_own(part)
            shutil.rmtree(part)

    def opened(**how: Any) -> _Kept:
        journal = Journal(part, order.config, about={"threads": threads}, made_from=made_from, **how)
        journals.append(journal)
        pieces = journal if distributed.num_processes() == 1 or how else dict(journal)
        return _Kept(pieces, journal.header.get("threads", threads), part, journal.dropped)

    distributed.from_first(cleared)
    if work.objective.is_sharded:
        kept = opened(rank=distributed.rank(), everyones=distributed.everyones)
    else:
        kept = distributed.from_first(opened)
    if not journals:
        yield kept
        return
    journal = journals[0]
    try:
        yield kept._replace(pieces=journal)
    except BaseException as error:
        if not len(journal):
            journal.remove()
        else:
            journal.close()
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted(len(journal), str(part)) from None
        raise
    if work.is_whole:
        if journal.keeps_parts:
            # The first has published by now.
            distributed.everyones(None)
        journal.remove()
    else:
        journal.close()


def _made_from(work: Work) -> dict[str, Any]:
    """What finished pieces depend on besides the configuration, which knows files but not what came out of them."""
    return {
        **provenance.makers(),
        "data": work.objective.samples.sha256,
        "test": work.test.samples.sha256 if work.test else "",
        "points": [point.sha256 for point in work.points],
        **({"processes": distributed.num_processes()} if work.objective.is_sharded else {}),
    }
