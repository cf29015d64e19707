"""Where an analysis begins: its points are those of the file, tensor by tensor, and F there is what the run logged."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from landscape.errors import BadInput
from landscape.numerics.vectors import gathered
from landscape.objective import Objective, checks, plain
from landscape.objective.parameters import Point
from landscape.objective.stored import same
from landscape.result import Check
from landscape.runs import store
from landscape.runs.beside import shapes_at
from landscape.runs.recipe import DTYPES, Objectives
from landscape.runs.run import Run


def points_of_runs(
    runs: Sequence[Run],
    labels: Sequence[str],
    objective: Objective,
    *,
    first: Run,
    widened: Callable[[Objective, nn.Module, str], Point] | None = None,
) -> list[Point]:
    """The point of each run under its label, for the objective of ``first``; ``widened``: that of a narrower model.

    Raises BadInput, naming both models, where one is of another model.
    """
    points = []
    for run, label in zip(runs, labels, strict=True):
        try:
            if widened and _is_other(objective, shapes_at(run, label)):
                points.append(widened(objective, run.module(label), f"{run.path.name}@{label}"))
            else:
                points.append(run.point(objective, label))
        except BadInput as error:
            models = f"{first.path.name} is {first.recipe.described()}, {run.path.name} is {run.recipe.described()}"
            said = "; ".join(one for one in (models, error.remedy) if one)
            raise BadInput(error.seen, error.wanted, said) from None
    return points


def begun_checks(
    runs: Sequence[Run],
    labels: Sequence[str],
    opened: Objectives,
    points: Sequence[Point],
    trajectories: Mapping[Run, Sequence[Point]],
    seed: int,
    *,
    first: Run,
) -> list[Check]:
    """That ``points`` are those of ``runs`` under ``labels``, and F at a seeded one is what its run says.

    Of each of the ``trajectories`` by their runs a seeded point is looked at. F is compared where it is the run's:
    all of its data, its loss, its dtype, its kind of device, no penalty. One evaluation. ``first``: the run that the
    objective is of; of a narrower model the numbers are compared that are not 0, and its F before that of the others.
    """
    generator, places = np.random.default_rng(seed), list(zip(runs, labels, points, strict=True))
    for run, trajectory in trajectories.items():
        k = int(generator.integers(len(trajectory)))
        places.append((run, run.labels[k], trajectory[k]))
    wrong, narrow = 0, set[str]()
    for run, label, point in places:
        read = store.read_state(run.path, label, verify=False)
        state = {name: torch.from_numpy(value) for name, value in read.items()}
        wrong += num_wrong(opened.train, state, point)
        if _is_other(opened.train, {name: tuple(one.shape) for name, one in state.items()}):
            narrow.add(f"{run.path.name}@{label}")
    found = [points_check(wrong)]
    said = [
        (loss, f"{run.path.name}@{label}", point)
        for run, label, point in zip(runs, labels, points, strict=True)
        if opened.is_as_made and not opened.train.l2 and _is_same(first, run, opened.train)
        if (loss := run.loss_at(label)) is not None
    ]
    said = [one for one in said if one[1] in narrow] or said
    if said:
        loss, address, point = said[int(generator.integers(len(said)))]
        seen = checks.independent_loss(opened.train, point)
        meaning = f"loss that its run says of {address}, against a plain loop"
        found.append(checks.close("as logged", loss, seen, checks.rounding(opened.train), meaning))
    return found


def points_check(wrong: int) -> Check:
    """From how many tensors of the points an analysis begins with are not those of the file."""
    meaning = "tensors of its points, by name, that are not those of the file (0 = none)"
    return Check("points", float(wrong), 0.0, meaning)


def num_wrong(objective: Objective, state: Mapping[str, Tensor], point: Point) -> int:
    """How many tensors of a point are not those of ``state``, by name, in the dtype of the objective."""
    tensors = plain.by_name(objective, point)
    return sum(
        name in state and not _agree(gathered(tensor), state[name]) for name, tensor in tensors.items()
    )


def _is_other(objective: Objective, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether tensors of these shapes, by name, are those of a model of other widths."""
    tensors = plain.by_name(objective, objective.present_point())
    return any(name in shapes and tuple(one.shape) != shapes[name] for name, one in tensors.items())


def _agree(tensor: Tensor, stored: Tensor) -> bool:
    """Whether two tensors are the same; where one is of a narrower model, the numbers in them that are not 0."""
    if tensor.shape == stored.shape:
        return same(tensor, stored)
    one, other = (part[part != 0].sort().values for part in (tensor, stored.to(tensor)))
    return same(one, other)


def _is_same(first: Run, run: Run, objective: Objective) -> bool:
    """Whether F of ``run``, where it was made, is that of ``first`` here."""
    theirs, ours = run.recipe, first.recipe
    where = str(run.header.get("device", "")).partition(":")[0]
    changes = [(one.modify, dict(one.modify_arguments)) for one in (theirs, ours)]
    return (
        (theirs.data_sha256, theirs.loss) == (ours.data_sha256, ours.loss)
        and changes[0] == changes[1]
        and DTYPES[run.dtype] == objective.dtype
        and where == objective.device.type
    )
