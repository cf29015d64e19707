"""What is the mean of several solutions worth once their hidden units are arranged alike?"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from landscape.analyses.declare import analysis
from landscape.analyses.options import Option
from landscape.analyses.shared import Statistics
from landscape.choices import Symmetries
from landscape.errors import BadInput
from landscape.progress import Journal, Progress, silent
from landscape.result import Check, Result, array, scalar

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from landscape.objective.objective import Objective
    from landscape.objective.parameters import Point
    from landscape.objective.sweep import Sweep
    from landscape.symmetry.merging import Merged

MERGED, SOUP = "merged", "mean without alignment"


@dataclass(kw_only=True, eq=False)
class Merge(Result):
    """K models in one arrangement of their units, and their mean, which is the point ``final`` of the file.

    ``of`` names what a row is of: the models in the order given, then ``merged`` and the mean as they were. The points
    ``model-1`` … are the models permuted. A barrier is F at a mean less the mean of F at the models.
    """

    kind: ClassVar[str] = "merge"
    of: np.ndarray = array("of", long_name="model or mean of models")
    loss: np.ndarray = array("of", printed=True, long_name="training loss")
    loss_error: np.ndarray | None = array(
        "of", long_name="standard error of loss from the data", optional=True
    )
    accuracy: np.ndarray | None = array("of", printed=True, long_name="training accuracy", optional=True)
    test_loss: np.ndarray | None = array("of", printed=True, long_name="test loss", optional=True)
    test_loss_error: np.ndarray | None = array(
        "of", long_name="standard error of test_loss from the data", optional=True
    )
    test_accuracy: np.ndarray | None = array("of", printed=True, long_name="test accuracy", optional=True)
    test_accuracy_error: np.ndarray | None = array(
        "of", long_name="standard error of test_accuracy from the data", optional=True
    )
    model: np.ndarray = array("model", long_name="model")
    distance_before: np.ndarray = array("model", long_name="distance to the mean as they were")
    distance_after: np.ndarray = array("model", long_name="distance to the mean, aligned")
    spread: np.ndarray = array("start", long_name="Σ ‖θ − mean‖² over the models, aligned from this start")
    barrier: float = scalar("F(merged) less the mean F of the models")
    barrier_error: float | None = scalar("standard error of barrier from the data", optional=True)
    barrier_soup: float = scalar("F of the mean without alignment less the mean F of the models")
    barrier_soup_error: float | None = scalar("standard error of barrier_soup from the data", optional=True)
    function_difference: float = scalar("outputs of a model before and after, float64: max |Δh| / max |h|")
    num_parameters: int = scalar("parameters, tied ones once")
    num_movable: int = scalar("of these, moved by some group")

    @property
    def headline(self) -> str:
        """What was found, in a few words."""
        from landscape.paths.heights import in_words

        merged = in_words(self.barrier, self.barrier_error)
        soup = in_words(self.barrier_soup, self.barrier_soup_error)
        return f"mean of {len(self.model)}: {merged} over their mean loss, {soup} without alignment"


def _widened(objective: Objective, module: Any, label: str) -> Point:
    """The point at which the widest model is a narrower one."""
    from landscape.symmetry.embedding import embedded

    return embedded(objective, module, label)


@analysis(
    points=range(2, sys.maxsize),
    metavar="A B [C ...]",
    needs="the outputs on samples, which must stay as they are",
    paper="Ainsworth et al. 2023; Crisostomi et al. 2024",
    examples=("a.h5 b.h5 c.h5 -o merged.h5", "a.h5 b.h5 c.h5 --symmetry all"),
    compared=lambda options: True,
    widened=_widened,
    makes_run=True,
)
def merge(
    objective: Objective,
    points: Sequence[Tensor | Point],
    *,
    test: Objective | None = None,
    symmetry: Annotated[
        Symmetries,
        "What moves the models beside permutations: scalings of units, turns of a residual stream too, or all maps.",
    ] = "permutation",
    restarts: Annotated[
        int, Option("Starts, each from another of the models; the best is kept.", least=1, is_how=True)
    ] = 3,
    batchnorm: Statistics = "recalibrate",
    seed: int = 0,
    journal: Journal | None = None,
    progress: Progress = silent,
) -> Merge:
    """The mean of two or more models whose hidden units were permuted to lie closest together, beside the plain mean.
    ``symmetry`` brings them together by more than permutations.

    The arrangement is one of all models at once (:func:`landscape.symmetry.merging.merged`, whose errors this raises),
    and does not depend on the order in which they are given. ``batchnorm`` ``recalibrate`` takes the statistics of
    every model and mean anew from the training data, which mends the spread that averaging takes from every layer
    (Jordan et al. 2023). Fine-tuned siblings of one ancestor are merged alike; their plain mean is a "model soup"
    (Wortsman et al. 2022). Raises BadInput for fewer than two points.
    """

    from landscape.objective import checks
    from landscape.objective.scatter import without_errors
    from landscape.objective.sweep import Sweep
    from landscape.symmetry.merging import mean_of, merged
    from landscape.symmetry.merging_proofs import kept_check

    if len(points) < 2:
        raise BadInput(f"{len(points)} points", "at least two")
    given = [objective.as_point(point) for point in points]
    proofs: list[Check] = []
    with checks.untouched(objective, proofs):
        found = merged(objective, given, symmetry=symmetry, restarts=restarts, seed=seed, progress=progress)
        soup = mean_of(given, SOUP)
        places = [*given, found.mean, soup]
        sweep = Sweep(objective, test, batchnorm, journal, progress)
        table = _measured(sweep, places)
        final = sweep.reference(found.mean)
        result = _result(sweep, given, found, soup, final, table)
        stated = _stated_checks(sweep, places, found, result, table)
        models = [result.states[f"model-{i + 1}"] for i in range(len(given))]
        kept, moved = kept_check(
            objective, given, models, result.model.tolist(), by_maps=found.held is not None
        )
        stated += [kept] if kept else []
    meaning = "outputs of every model on the data before and after, in float64: max |Δh| / max |h|"
    proofs.append(Check("function preserved", result.function_difference, found.preserved, meaning))
    means, said = checks.of_values(checks.meaning(objective, final))
    proofs += [*means, checks.finite(result.loss)]
    result.checks = proofs + stated
    result.notes = [
        found.symmetry.coverage,
        *said,
        *_used(found, symmetry),
        *moved,
        *_same(given),
        *sweep.notes(*places),
        *without_errors(objective, 0),
    ]
    return result


def _measured(sweep: Sweep, places: Sequence[Point]) -> np.ndarray:
    """The rows of :meth:`Sweep.measure` with every sample's loss."""

    def fill(block: range, thetas: Tensor) -> None:
        for row, i in enumerate(block):
            thetas[row] = places[i].theta

    def alone(i: int) -> list[float]:
        return [float(i == k) for k in range(len(places))]

    return sweep.measure("merge", len(places), fill, places, alone, each=True)


def _result(
    sweep: Sweep, given: Sequence[Point], found: Merged, soup: Point, final: Point, table: np.ndarray
) -> Merge:
    import numpy as np

    from landscape.numerics.arrays import array_of
    from landscape.numerics.curves.barriers import or_none
    from landscape.objective.parameters import split
    from landscape.objective.sweep import COLUMNS, known

    objective, count = sweep.objective, len(given)
    names = [point.label or f"model {i + 1}" for i, point in enumerate(given)]
    names = names if len(set(names)) == count else [f"model {i + 1}" for i in range(count)]
    each, loss = table[:, COLUMNS:], table[:, 0]
    num = each.shape[1]
    barriers, errors = [], []
    for row in (count, count + 1):
        barriers.append(float(loss[row] - loss[:count].mean()))
        gaps = each[row] - each[:count].mean(axis=0) if num > 1 else np.full(2, np.nan)
        errors.append(or_none(float(gaps.std(ddof=1) / len(gaps) ** 0.5)))
    states = {"final": final} | {f"model-{i + 1}": one for i, one in enumerate(found.points)}
    return Merge(
        of=np.array([*names, MERGED, SOUP]),
        loss=loss,
        loss_error=each.std(axis=1, ddof=1) / num**0.5 if num > 1 else None,
        accuracy=known(table[:, 1]),
        test_loss=known(table[:, 2]),
        test_accuracy=known(table[:, 3]),
        test_loss_error=known(table[:, 4]),
        test_accuracy_error=known(table[:, 5]),
        model=np.array(names),
        distance_before=_distances(given, soup),
        distance_after=_distances(found.points, found.mean),
        spread=np.array(found.spreads),
        barrier=barriers[0],
        barrier_error=errors[0],
        barrier_soup=barriers[1],
        barrier_soup_error=errors[1],
        function_difference=found.function_difference,
        num_parameters=len(found.symmetry.names),
        num_movable=len(found.symmetry.movable),
        parameters=objective.pieces,
        states={
            label: {
                name: array_of(tensor)
                for name, tensor in {**split(point.theta, objective.pieces), **point.fixed}.items()
            }
            for label, point in states.items()
        },
    )


def _stated_checks(
    sweep: Sweep, places: Sequence[Point], found: Merged, result: Merge, table: np.ndarray
) -> list[Check]:
    """Every row by a plain loop; the mean, the models and their best match from what the file holds."""
    import numpy as np

    from landscape.objective.row_proofs import rows_of
    from landscape.objective.sweep import COLUMNS
    from landscape.paths.line_proofs import loss_errors_check, numbers_check
    from landscape.symmetry import merging_proofs as roads

    objective = sweep.objective
    models = [result.states[f"model-{i + 1}"] for i in range(len(found.points))]
    proofs: list[Check | None] = [*roads.rows_checks(sweep, places, rows_of(result))]
    final, mean = result.states["final"], float(np.mean(result.loss[:-2]))
    wanted = {"merged": result.loss[-2] - mean, "soup": result.loss[-1] - mean, "scale": result.loss.max()}
    barriers = {"merged": result.barrier, "soup": result.barrier_soup}
    meaning = "F at a mean less the mean F of the models, from the stated losses, relative"
    proofs.append(numbers_check("barriers of means", barriers, wanted, meaning))
    proofs.append(roads.final_check(sweep, final, float(result.loss[-2])))
    proofs.append(roads.mean_check(sweep, places[:-2], places[-1], models, final))
    stated = result.distance_before, result.distance_after, result.spread
    proofs.append(roads.distances_check(objective, places[:-2], places[-1], models, final, stated))
    each = table[:, COLUMNS:]
    proofs.append(roads.errors_check(each, (result.barrier_error, result.barrier_soup_error)))
    proofs.append(None if result.loss_error is None else loss_errors_check(each, result.loss_error))
    proofs.append(roads.counts_check(found, result))
    if found.held is None:
        proofs.append(roads.rearranged(objective, places, models))
        proofs.append(roads.together(objective, found.symmetry, models))
    else:
        proofs.append(roads.nearest_maps(objective, found.families, models, found.held))
    return [one for one in proofs if one is not None]


def _distances(points: Sequence[Point], mean: Point) -> np.ndarray:
    import numpy as np
    import torch

    return np.array([float(torch.linalg.vector_norm((one.theta - mean.theta).double())) for one in points])


def _used(found: Merged, symmetry: str) -> list[str]:
    """What moved the models beside permutations, and what could not."""
    notes = [f"refused: {one}" for one in found.refused]
    if found.held is not None:
        letters = [f"{one.text} of {one.name}" for one in found.families]
        notes.append(f"all but model {found.held + 1} were moved by {', '.join(letters)}, too")
    elif symmetry != "permutation":
        notes.append("nothing but permutations: no other map of units leaves the function as it is")
    return notes


def _same(given: Sequence[Point]) -> list[str]:
    digests = [one.sha256 for one in given]
    pairs = [(i, digests.index(one)) for i, one in enumerate(digests) if digests.index(one) < i]
    return [f"model {i + 1} is model {k + 1} again, and counts twice" for i, k in pairs]
