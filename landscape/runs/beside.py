"""Runs beside one another: opened once each, called apart, seen from the first where all are of one function."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from landscape.errors import BadInput
from landscape.inputs.models import by_name, with_defaults
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.trajectory import Trajectory
from landscape.runs import provenance, store
from landscape.runs.address import parse_address
from landscape.runs.run import Run
from landscape.runs.settings import Settings

# Settings of models by name that differ, of which so many are told.
MOST_SETTINGS = 3


class Places:
    """Addresses, opened: the run and the label of each, first those named, then those marked; every file once."""

    def __init__(self, named: Sequence[str], marked: Sequence[str], settings: Settings):
        addresses = [parse_address(text) for text in (*named, *marked)]
        opened = {
            path: Run(path, trust=settings.trust, verify=settings.verify)
            for path in dict.fromkeys(one.path for one in addresses)
        }
        self.count = len(named)
        self.every_run = [opened[one.path] for one in addresses]
        self.every_label = [run.label(one.name) for run, one in zip(self.every_run, addresses, strict=True)]
        self.runs, self.labels = self.every_run[: self.count], self.every_label[: self.count]

    @cached_property
    def inputs(self) -> list[dict[str, str]]:
        """Path, sha256 and point of each, as a result says what it is made from."""
        return [
            {"path": str(run.path), "sha256": provenance.sha256(run.path), "point": label}
            for run, label in zip(self.every_run, self.every_label, strict=True)
        ]

    @property
    def marked(self) -> list[str]:
        """Those marked, as ``b.h5@final``."""
        names = told_apart([run.path for run in self.every_run])
        return [f"{name}@{label}" for name, label in zip(names, self.every_label, strict=True)][self.count :]

    def seen(self, points: Sequence[Point]) -> list[Point]:
        """Of the points of all those marked, under these names."""
        marked = zip(points[self.count :], self.marked, strict=True)
        return [replace(point, label=name) for point, name in marked]

    @property
    def notes(self) -> list[str]:
        """What has changed since the runs behind the first were made."""
        return [
            note
            for run in dict.fromkeys(self.every_run)
            if run is not self.runs[0]
            for note in run.sources.notes
        ]


class Trajectories:
    """Runs with all their points, those not ``known`` read when first asked for; ``read`` is empty before."""

    def __init__(self, runs: Sequence[Run], objective: Objective, known: Mapping[Run, Sequence[Point]]):
        self.runs, self.objective, self.known = list(dict.fromkeys(runs)), objective, known
        self.read: list[Trajectory] = []

    def __call__(self) -> list[Trajectory]:
        if not self.read:
            self.read = [
                Trajectory(
                    self.known.get(run) or run.trajectory(self.objective),
                    name,
                    np.array([run.epoch_at(one) for one in run.labels]),
                )
                for run, name in zip(self.runs, told_apart([run.path for run in self.runs]), strict=True)
            ]
        return self.read

    @property
    def seen(self) -> dict[Run, Sequence[Point]]:
        """The points that were read, by run."""
        return {**self.known} | {run: one.points for run, one in zip(self.runs, self.read, strict=False)}


def told_apart(paths: Sequence[Path]) -> list[str]:
    """Each by its name, and by as many folders before it as tell it from the others.

    >>> told_apart([Path("x/1/a.h5"), Path("x/2/a.h5"), Path("x/b.h5")])
    ['1/a.h5', '2/a.h5', 'b.h5']
    """
    found = []
    for path in paths:
        others = [one.absolute().parts for one in paths if one != path]
        parts = path.absolute().parts
        length = next(
            (n for n in range(1, len(parts)) if all(one[-n:] != parts[-n:] for one in others)), len(parts)
        )
        found.append("/".join(parts[-length:]))
    return found


def widest(runs: Sequence[Run], labels: Sequence[str]) -> Run:
    """The run whose point has most numbers, the first of several: that of which narrower models may be points."""
    sizes = [sum(map(math.prod, shapes_at(*one).values())) for one in zip(runs, labels, strict=True)]
    return runs[sizes.index(max(sizes))]


def shapes_at(run: Run, label: str) -> dict[str, tuple[int, ...]]:
    """The shapes of a point's tensors, by name."""
    return {name: one.shape for name, one in store.read_state(run.path, label, verify=False).items()}


def require_same(first: Run, others: Sequence[Run], *, but_for_width: bool = False) -> None:
    """Raises BadInput, by name, for a run of another model, other data or another loss than the first.

    How they were trained may differ, and ``but_for_width`` the shapes of their tensors. Code is what its files hold,
    wherever they stand; the data are their numbers, and models by name their settings, whatever their weights.
    """
    for other in others:
        different = [
            f"its {what} is {theirs}, that of {first.path.name} {ours}"
            for what, theirs, ours in _differences(first, other, but_for_width)
        ]
        if different:
            raise BadInput(
                f"{other.path} beside {first.path}: {' and '.join(different)}",
                "runs of one model, data and loss, however they were trained",
                "what is seen side by side has one loss: leave it away, or train or import it as the first was",
            )


def _differences(first: Run, other: Run, but_for_width: bool) -> list[tuple[str, str, str]]:
    """(what, as the other has it, as the first has it), in words."""
    ours, theirs = first.recipe, other.recipe
    found = []
    models, said = [_model(first), _model(other)], [ours.described(), theirs.described()]
    if models[0][:2] != models[1][:2]:
        models, apart = _by_settings(first, other, models)
        said = [" ".join([one, *more]) for one, more in zip(said, apart, strict=True)]
    if but_for_width and shapes_at(first, first.labels[-1]) != shapes_at(other, other.labels[-1]):
        models = [(spec, *others) for spec, _, *others in models]
    if models[0] != models[1]:
        found.append(("model", said[1], said[0]))
    if ours.data_sha256 != theirs.data_sha256:
        found.append(("data", _data(other), _data(first)))
    if _code(first, ours.loss) != _code(other, theirs.loss):
        found.append(("loss", theirs.loss, ours.loss))
    if first.training != other.training:
        modes = {True: "training", False: "evaluation"}
        found.append(("mode", modes[other.training], modes[first.training]))
    # Two texts that are the same are told apart by what they lead to.
    return [
        (what, one if one != two else f"another {one} (its file or its numbers differ)", two)
        for what, one, two in found
    ]


def _model(run: Run) -> tuple[Any, ...]:
    recipe = run.recipe
    with run.sources.opened():
        arguments = with_defaults(run.sources.recipe.model, recipe.model_arguments)
    return (
        _code(run, recipe.model),
        _plain(arguments),
        recipe.modify,
        _plain(recipe.modify_arguments),
        tuple(recipe.input_shape),
        recipe.num_outputs,
        # What a modification draws, it draws by the seed.
        recipe.seed if recipe.modify else None,
    )


def _by_settings(
    first: Run, other: Run, models: list[tuple[Any, ...]]
) -> tuple[list[tuple[Any, ...]], list[list[str]]]:
    """The models with class and settings in the place of spec and arguments where both are by name, as siblings in
    folders of their own; and some of the settings that differ."""
    known = [by_name.settings(one.sources.recipe.model, one.recipe.model_arguments) for one in (first, other)]
    if not all(known):
        return models, [[], []]
    classes, (ours, theirs) = zip(*known, strict=True)
    apart = [key for key in ours if ours[key] != theirs.get(key)][:MOST_SETTINGS]
    texts = [[f"{key}={one.get(key)}" for key in apart] for one in (ours, theirs)]
    if len(set(classes)) > 1:
        texts = [[f"({one})"] for one in classes]
    return [(*one, *rest) for one, (_, _, *rest) in zip(known, models, strict=True)], texts


def _plain(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: repr(list(one) if isinstance(one, tuple) else one) for name, one in values.items()}


def _code(run: Run, spec: str) -> str:
    """What a spec leads to: a name of ours, or the content of a file and the name in it."""
    path = run.sources.files.get(spec)
    return spec if path is None else f"{provenance.sha256(path)}:{spec.rpartition(':')[2]}"


def _data(run: Run) -> str:
    recipe = run.recipe
    arguments = [f"{name}={value}" for name, value in recipe.data_arguments.items()]
    part = [f"{recipe.subset} samples drawn by seed {recipe.seed}"] if recipe.subset is not None else []
    return " ".join([recipe.data, *arguments, *part])
