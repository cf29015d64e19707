"""What lies on the straight line between two points?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from landscape.analyses.declare import analysis
from landscape.analyses.options import Option
from landscape.analyses.shared import LineStatistics
from landscape.errors import BadInput
from landscape.progress import Journal, Progress, silent
from landscape.result import Check, Result, array, scalar

if TYPE_CHECKING:
    from concurrent.futures import Executor

    import numpy as np
    from torch import Tensor

    from landscape.objective.objective import Objective
    from landscape.objective.parameters import Point
    from landscape.objective.sweep import Sweep


# Of the largest loss: what rises by less is rounding.
ROUNDINGS = 10


@dataclass(kw_only=True, eq=False)
class Interpolate(Result):
    """The loss at (1 − α)A + αB; barriers and bumps are those within [0, 1]."""

    kind: ClassVar[str] = "interpolate"
    alpha: np.ndarray = array("alpha", long_name="position α on the line (0 = first point, 1 = second)")
    loss: np.ndarray = array("alpha", long_name="training loss")
    accuracy: np.ndarray | None = array("alpha", long_name="training accuracy", optional=True)
    test_loss: np.ndarray | None = array("alpha", long_name="test loss", optional=True)
    test_loss_error: np.ndarray | None = array(
        "alpha", long_name="standard error of the test loss over the test samples", optional=True
    )
    test_accuracy: np.ndarray | None = array("alpha", long_name="test accuracy", optional=True)
    test_accuracy_error: np.ndarray | None = array(
        "alpha", long_name="standard error of the test accuracy over the test samples", optional=True
    )
    barrier_chord: float = scalar("barrier over the chord: max F − [(1−t)F(A) + tF(B)]")
    barrier_ends: float = scalar("barrier over the worse end: max F − max(F(A), F(B))")
    barrier_chord_error: float | None = scalar("standard error of barrier_chord from the data", optional=True)
    barrier_ends_error: float | None = scalar("standard error of barrier_ends from the data", optional=True)
    test_barrier_chord: float | None = scalar("barrier of the test loss over the chord", optional=True)
    is_monotone: bool = scalar("no bump from the worse end to the better (Goodfellow et al. 2015)")
    bump_alpha: np.ndarray = array("bump", long_name="top of a bump")
    bump_height: np.ndarray = array("bump", long_name="height of a bump over the minimum before it")
    distance: float = scalar("distance ‖B − A‖")

    @property
    def headline(self) -> str:
        """What was found, in a few words."""
        from landscape.paths.heights import in_words

        height = in_words(self.barrier_chord, self.barrier_chord_error)
        return f"{'monotone' if self.is_monotone else 'barrier'}, over chord {height}"


@analysis(
    points=2,
    paper="Goodfellow et al. 2015; Frankle et al. 2020",
    examples=("a.h5@init a.h5@final", "a.h5 b.h5 --range -0.25 1.25", "a.h5 b.h5 --align"),
)
def interpolate(
    objective: Objective,
    a: Tensor | Point,
    b: Tensor | Point,
    *,
    test: Objective | None = None,
    num_points: Annotated[int, Option("Points on the line.", least=3, is_how=True)] = 51,
    span: Annotated[tuple[float, float], Option("From where to where: 0 is A, 1 is B.", flag="--range")] = (
        0.0,
        1.0,
    ),
    batchnorm: LineStatistics = "frozen",
    align: Annotated[bool, "Permute B's hidden units to lie closest to A first."] = False,
    seed: int = 0,
    journal: Journal | None = None,
    executor: Executor | None = None,
    progress: Progress = silent,
) -> Interpolate:
    """F((1 − α)A + αB) for α over ``span``, with α = 0 and α = 1 exactly on the grid.

    ``batchnorm``: ``frozen`` mixes the two points' buffers in the same proportion (held beyond the
    ends), right only for points close to each other; ``recalibrate`` recomputes them from the training
    data at every α, also at the ends; ``repair`` rescales every layer to the spread interpolated between
    the ends' besides (:mod:`landscape.objective.repair`), within [0, 1]. ``align`` first permutes B's units to lie
    closest to A, its function unchanged (:func:`landscape.align`, whose draws ``seed`` decides). Barriers:
    Frankle et al. (2020), Entezari et al. (2022); their standard errors are those of the data, the ends being given, by
    a bootstrap over samples that ``seed`` draws.
    Raises BadInput for fewer than 3 points or a span that does not hold [0, 1].
    """
    import torch

    from landscape.numerics.curves.grids import grid
    from landscape.numerics.vectors import one_point
    from landscape.objective import checks
    from landscape.objective.scatter import without_errors
    from landscape.objective.sweep import Sweep
    from landscape.objective.tasks import computed_by

    low, high = span
    if not (low <= 0 and high >= 1):
        raise BadInput(f"the range {low:g} to {high:g}", "a range that holds both ends, 0 and 1")
    if batchnorm == "repair" and (low, high) != (0, 1):
        raise BadInput(
            f"repair from {low:g} to {high:g}", "the range 0 to 1, as spreads are not extrapolated"
        )
    first, second = objective.as_point(a), objective.as_point(b)
    alpha = grid(low, high, num_points)
    proofs: list[Check] = []
    notes: list[str] = []
    with computed_by(executor), checks.untouched(objective, proofs):
        if align:
            from landscape.symmetry.alignment import aligned

            moved = aligned(objective, first, second, seed=seed, progress=progress)
            second = moved.point
            proofs.append(moved.check)
            notes.append(f"B was aligned first: {moved.coverage}")
        sweep = Sweep(objective, test, batchnorm, journal, progress, is_line=True)
        table = sweep.line("line", first, second, alpha)
        ends = [sweep.reference(point) for point in (first, second)]
        tested = table[:, 2] if test else None
        distance = float(torch.linalg.vector_norm((second.theta - first.theta).double()))
        result = _result(alpha, table, tested, distance, checks.rounding(objective), seed)
        stated = _stated_checks(sweep, (first, second), result, table, seed)
    for name, point, position in (("first end", ends[0], 0.0), ("second end", ends[1], 1.0)):
        value = float(table[alpha == position, 0][0])
        proofs.append(
            checks.agreement(name, objective, value, point, "end of the path against the model itself")
        )
    means, said = checks.of_values(checks.meaning(objective, ends[0]))
    proofs += [*means, checks.finite(table[:, 0])]
    notes += said + sweep.notes(first, second)
    notes += without_errors(objective, 0) or (without_errors(test, 0, "test samples") if test else [])
    notes += one_point(first.theta, second.theta)
    result.notes, result.checks = notes + result.notes, proofs + stated
    return result


def _stated_checks(
    sweep: Sweep, ends: tuple[Point, Point], result: Interpolate, table: np.ndarray, seed: int
) -> list[Check]:
    from landscape.objective import checks
    from landscape.objective.row_proofs import rows_of
    from landscape.objective.sweep import COLUMNS
    from landscape.paths.bump_proofs import bumps_check
    from landscape.paths.line_proofs import barrier_check, distance_check, errors_check, line_checks

    rise = ROUNDINGS * checks.rounding(sweep.objective) * _size(result.loss)
    bumps = result.bump_alpha, result.bump_height, result.is_monotone
    errors = {"chord": result.barrier_chord_error, "ends": result.barrier_ends_error}
    proofs = [
        *line_checks(sweep, ends, result.alpha, rows_of(result), seed=seed),
        barrier_check(
            result.alpha, result.loss, {"chord": result.barrier_chord, "ends": result.barrier_ends}
        ),
        distance_check(ends, result.distance),
        bumps_check(result.alpha, result.loss, *bumps, rise),
        *errors_check(sweep.objective, result.alpha, [(table[:, COLUMNS:], errors)], seed),
    ]
    if result.test_loss is not None and result.test_barrier_chord is not None:
        height = {"chord": result.test_barrier_chord}
        proofs.append(barrier_check(result.alpha, result.test_loss, height, "test barrier"))
    return proofs


def _result(
    alpha: np.ndarray,
    table: np.ndarray,
    tested: np.ndarray | None,
    distance: float,
    rounding: float,
    seed: int,
) -> Interpolate:
    import numpy as np

    from landscape.numerics.curves.barriers import (
        barrier_errors,
        barriers,
        bumps,
        or_none,
    )
    from landscape.objective.sweep import COLUMNS, known
    from landscape.paths.heights import below_their_errors, tested_in_words

    loss = table[:, 0]
    height = barriers(alpha, loss)
    inside = (alpha >= 0) & (alpha <= 1)
    error = barrier_errors(alpha[inside], table[inside, COLUMNS:], seed=seed)
    notes = below_their_errors({"the straight line": (height.chord, error.chord)})
    notes += tested_in_words(table, {"A": int(np.argmax(alpha == 0)), "B": int(np.argmax(alpha == 1))})
    found = bumps(alpha, loss, ROUNDINGS * rounding * _size(loss))
    return Interpolate(
        alpha=alpha,
        loss=loss,
        accuracy=known(table[:, 1]),
        test_loss=tested,
        test_loss_error=known(table[:, 4]),
        test_accuracy=known(table[:, 3]),
        test_accuracy_error=known(table[:, 5]),
        barrier_chord=height.chord,
        barrier_ends=height.ends,
        barrier_chord_error=or_none(error.chord),
        barrier_ends_error=or_none(error.ends),
        test_barrier_chord=barriers(alpha, tested).chord if tested is not None else None,
        is_monotone=len(found.heights) == 0,
        bump_alpha=found.at,
        bump_height=found.heights,
        distance=distance,
        notes=notes,
    )


def _size(loss: np.ndarray) -> float:
    """The largest |F| that is finite."""
    import numpy as np

    return float(np.abs(loss[np.isfinite(loss)]).max(initial=0.0))
