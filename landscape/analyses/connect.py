"""Are two solutions joined by a curve of low loss?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from landscape.analyses.declare import analysis
from landscape.analyses.options import Option, Parameter
from landscape.analyses.shared import (
    AlignBy,
    AlignFirst,
    Bends,
    CurveBatch,
    CurveEpochs,
    CurveFall,
    CurveFallArguments,
    CurveMomentum,
    CurveRestarts,
    CurveSteps,
    CurveStepSize,
    LineStatistics,
    ProfilePoints,
    ProfileTolerance,
)
from landscape.choices import PathMethod
from landscape.errors import BadInput
from landscape.progress import Journal, Progress, silent
from landscape.result import Check, Result, Variable, array, scalar

if TYPE_CHECKING:
    from concurrent.futures import Executor

    import numpy as np
    from torch import Tensor

    from landscape.objective.objective import Objective
    from landscape.objective.parameters import Point
    from landscape.paths.connection import Connection, Connector
    from landscape.paths.planes import Plane


@dataclass(kw_only=True, eq=False)
class Connect(Result):
    """The loss along a trained curve from A to B, beside the straight line; all losses without the penalty.

    What the curve shows is an upper bound of the barrier between A and B, for its budget of training.
    """

    kind: ClassVar[str] = "connect"
    t: np.ndarray = array("t", long_name="position t on the curve (0 = first point, 1 = second)")
    loss: np.ndarray = array("t", long_name="training loss on the curve")
    loss_straight: np.ndarray = array("t", long_name="training loss on the straight line")
    loss_error: np.ndarray | None = array("t", long_name="standard error of the training loss", optional=True)
    accuracy: np.ndarray | None = array("t", long_name="training accuracy on the curve", optional=True)
    test_loss: np.ndarray | None = array("t", long_name="test loss on the curve", optional=True)
    test_loss_straight: np.ndarray | None = array(
        "t", long_name="test loss on the straight line", optional=True
    )
    test_loss_error: np.ndarray | None = array(
        "t", long_name="standard error of the test loss on the curve over the test samples", optional=True
    )
    test_loss_straight_error: np.ndarray | None = array(
        "t", long_name="standard error of the test loss on the straight line", optional=True
    )
    test_accuracy: np.ndarray | None = array("t", long_name="test accuracy on the curve", optional=True)
    test_accuracy_error: np.ndarray | None = array(
        "t", long_name="standard error of the test accuracy on the curve over the test samples", optional=True
    )
    penalty: np.ndarray | None = array("t", long_name="penalty (l2/2)‖θ(t)‖² on the curve", optional=True)
    epoch: np.ndarray = array("epoch", long_name="pass over the data")
    epoch_loss: np.ndarray = array("epoch", long_name="mean batch loss along the curve in that pass")
    training_epoch: np.ndarray = array("training_epoch", long_name="passes over the data done")
    training_barrier: np.ndarray = array(
        "training_epoch",
        long_name="barrier over the chord then, on a few t: an upper bound that may yet fall",
    )
    control_points: np.ndarray | None = array(
        "bend", "parameter", long_name="free control points", optional=True
    )
    control_t: np.ndarray = array("bend", long_name="t of a control point, or of its place on the chord")
    barrier_chord: float = scalar(
        "barrier over the chord, an upper bound for this training: max F − [(1−t)F(A) + tF(B)]"
    )
    barrier_ends: float = scalar("barrier over the worse end: max F − max(F(A), F(B))")
    barrier_mean: float = scalar("barrier over the mean of the ends: max F − (F(A) + F(B))/2")
    max_loss: float = scalar("largest training loss on the curve")
    mean_loss_t: float = scalar("mean training loss over t")
    mean_loss_arc: float = scalar("mean training loss over arc length")
    barrier_chord_error: float | None = scalar("standard error of barrier_chord from the data", optional=True)
    barrier_ends_error: float | None = scalar("standard error of barrier_ends from the data", optional=True)
    barrier_mean_error: float | None = scalar("standard error of barrier_mean from the data", optional=True)
    max_loss_error: float | None = scalar("standard error of max_loss from the data", optional=True)
    mean_loss_t_error: float | None = scalar("standard error of mean_loss_t from the data", optional=True)
    mean_loss_arc_error: float | None = scalar("standard error of mean_loss_arc from the data", optional=True)
    barrier_chord_straight: float = scalar("barrier of the straight line over the chord")
    barrier_ends_straight: float = scalar("barrier of the straight line over the worse end")
    barrier_mean_straight: float | None = scalar(
        "barrier of the straight line over the mean of the ends", optional=True
    )
    barrier_chord_straight_error: float | None = scalar(
        "standard error of barrier_chord_straight from the data", optional=True
    )
    length: float = scalar("length of the curve over that of the chord")
    barrier_chord_unaligned: float | None = scalar(
        "barrier over the chord of the straight line to B as it was before it was aligned", optional=True
    )
    first_gradient_norm: float | None = scalar("‖∇F‖ at the first end", optional=True)
    second_gradient_norm: float | None = scalar("‖∇F‖ at the second end", optional=True)
    restart_barrier: np.ndarray | None = array(
        "restart",
        long_name="barrier over the chord of each restart, the lowest of which is shown",
        optional=True,
    )
    plane_alpha: np.ndarray | None = array(
        "plane_alpha", long_name="α, distance from A along the chord", optional=True
    )
    plane_beta: np.ndarray | None = array("plane_beta", long_name="β, distance off the chord", optional=True)
    plane_loss: np.ndarray | None = array(
        "plane_beta", "plane_alpha", long_name="training loss on the plane", optional=True
    )
    plane_directions: np.ndarray | None = array(
        "plane_direction", "parameter", long_name="orthonormal directions of the plane, from A", optional=True
    )
    curve_alpha: np.ndarray | None = array("t", long_name="α of the curve", optional=True)
    curve_beta: np.ndarray | None = array("t", long_name="β of the curve", optional=True)
    curve_residual: np.ndarray | None = array(
        "t", long_name="distance of the curve from the plane", optional=True
    )
    control_alpha: np.ndarray | None = array("bend", long_name="α of a control point", optional=True)
    control_beta: np.ndarray | None = array("bend", long_name="β of a control point", optional=True)
    control_residual: np.ndarray | None = array(
        "bend", long_name="distance of a control point from the plane", optional=True
    )
    plane_residual: float | None = scalar(
        "largest distance of the curve from the plane, over ‖B − A‖", optional=True
    )

    @property
    def headline(self) -> str:
        """What was found, in a few words."""
        from landscape.paths.heights import in_words

        curve = in_words(self.barrier_chord, self.barrier_chord_error)
        straight = in_words(self.barrier_chord_straight, self.barrier_chord_straight_error)
        return f"over chord {curve}; straight {straight}"


@analysis(
    points=2,
    metavar="A B [C ...]",
    paper="Garipov et al. 2018; Draxler et al. 2018; Kuditipudi et al. 2019; Jordan et al. 2023",
    examples=(
        "a.h5 b.h5 --epochs 180",
        "a.h5 b.h5 --method chain --bends 3 --plane",
        "a.h5 b.h5 --align",
        "a.h5 b.h5 c.h5 d.h5",
    ),
    opens=(Parameter("l2", float, 0.0, Option("Train with (l2/2)‖θ(t)‖² on the curve; given apart.")),),
)
def connect(
    objective: Objective,
    a: Tensor | Point,
    b: Tensor | Point,
    *,
    test: Objective | None = None,
    method: Annotated[
        PathMethod,
        "Bézier curve or polygonal chain of low mean loss, minimum-energy band, a Bézier curve of low (smooth) "
        "maximum, or, untrained, the path through idle units.",
    ] = "bezier",
    bends: Bends = 1,
    epochs: CurveEpochs = None,
    steps: CurveSteps = None,
    lr: CurveStepSize = 0.1,
    momentum: CurveMomentum = 0.9,
    batch_size: CurveBatch = 128,
    schedule: CurveFall = "garipov",
    schedule_arguments: CurveFallArguments = None,
    restarts: CurveRestarts = 1,
    num_points: ProfilePoints = 61,
    tolerance: ProfileTolerance = 1e-4,
    batchnorm: LineStatistics = "recalibrate",
    align: AlignFirst = False,
    symmetry: AlignBy = "permutation",
    plane: Annotated[bool, "The plane through A, B and the middle control point."] = False,
    plane_points: Annotated[int, Option("Points per axis of the plane.", least=3, is_how=True)] = 31,
    seed: int = 0,
    journal: Journal | None = None,
    executor: Executor | None = None,
    progress: Progress = silent,
) -> Connect:
    """Train a curve with fixed ends and measure the loss along it and along the straight line.

    ``method``, over ``bends`` free control points that start on the chord: ``bezier`` (any degree) and
    ``chain`` lower the mean loss over t (Garipov et al. 2018, section 3), ``minmax`` a smooth maximum over
    t on a Bézier curve, ``neb`` is a minimum-energy band that begins with ``bends`` pivots and grows where it
    must; an epoch of it visits the data once for every pivot. ``idle`` is not trained: each net of one hidden layer
    is brought to half of its units, and B's go to A's idle ones (after Kuditipudi et al. 2019). ``epochs``
    (default 60) or ``steps``, ``lr`` and ``schedule`` are those of
    :class:`~landscape.paths.curve_training.Training`. ``restarts`` train with seeds seed, seed + 1, …, and the
    lowest barrier wins.

    An l2 penalty of ``objective`` acts on θ(t), not on control points, and is given apart in ``penalty``.
    The profile has ``num_points`` points, both ends and the corners of a chain exactly, and more
    wherever a barrier may be higher by more than ``tolerance``. Standard errors are those of the data (a
    bootstrap over samples), the ends being given. ``batchnorm`` ``repair`` is for the straight line, where
    the curve is recalibrated. ``align`` first permutes B's units to lie closest to A, its function unchanged
    (:func:`landscape.align`, by ``symmetry`` and ``seed``); the straight line is then that to B aligned. ``plane``
    adds the plane through A, B and the middle control point.

    Resumable through ``journal``. A NaN or infinite loss in training ends it with outcome ``diverged`` and the
    best curve so far. Raises BadInput for options out of range.
    """
    from landscape.objective import checks
    from landscape.objective.scatter import without_errors
    from landscape.objective.tasks import computed_by
    from landscape.paths.connection import Connector, notes_on_ends
    from landscape.paths.curve_training import Training
    from landscape.paths.path import Path
    from landscape.paths.planes import plane_of, seen_from
    from landscape.valleys.idle import idle_path

    if symmetry != "permutation" and not align:
        raise BadInput(f"`symmetry` {symmetry} without `align`", "`align` too")
    if plane_points != 31 and not plane:
        raise BadInput(f"`plane_points` {plane_points} without `plane`", "`plane` too")
    is_idle = method == "idle"
    training = Training(
        method="chain" if is_idle else method,
        bends=bends,
        epochs=60 if epochs is None and steps is None else epochs,
        steps=steps,
        lr=lr,
        momentum=momentum,
        batch_size=batch_size,
        schedule=schedule,
        schedule_arguments=schedule_arguments or {},
    )
    if is_idle:
        training.require_none(restarts)
    connector = Connector(
        objective,
        training,
        test=test,
        batchnorm=batchnorm,
        num_points=num_points,
        tolerance=tolerance,
        restarts=restarts,
        seed=seed,
        journal=journal,
        progress=progress,
        given=(lambda chord: idle_path(objective, chord, remarks)) if is_idle else None,
    )
    chord = Path.chord(objective.as_point(a), objective.as_point(b))
    about: dict[str, Any] = {}
    proofs: list[Check] = []
    remarks: list[str] = []
    unaligned = None
    with computed_by(executor), checks.untouched(objective, proofs):
        if align:
            from landscape.symmetry.alignment import aligned

            moved = aligned(objective, *chord.ends, symmetry=symmetry, seed=seed, progress=progress)
            proofs.append(moved.check)
            remarks.append(f"B was aligned first: {moved.coverage}")
            unaligned = connector.straight_line("unaligned", chord)
            about["barrier_chord_unaligned"] = unaligned.height.chord
            chord = chord.to(moved.point)
        found = connector.connected(chord, unaligned=unaligned)
        remarks += found.notes + notes_on_ends(found)
        remarks += without_errors(objective, 0) or (without_errors(test, 0, "test samples") if test else [])
        drawn = plane_of(found, plane_points) if plane else None
        if plane:
            about |= seen_from(drawn, float(found.line.lengths.sum()), remarks)
        result = _result(found, connector, about, remarks)
        stated = _stated_checks(found, connector, result, drawn, unaligned)
    result.checks = proofs + found.checks() + stated
    return result


def _stated_checks(
    found: Connection, connector: Connector, result: Connect, drawn: Plane | None, unaligned: Any
) -> list[Check]:
    from landscape.paths import connect_proofs as roads

    free = found.trained.path.control[1:-1] if result.control_points is None else result.control_points
    seed, columns = connector.seed, {name: one.values for name, one in _over_t(result).items()}
    said = {
        "chord": result.barrier_chord,
        "ends": result.barrier_ends,
        "mean": result.barrier_mean,
        "top": result.max_loss,
        "mean_t": result.mean_loss_t,
        "mean_arc": result.mean_loss_arc,
        "chord_error": result.barrier_chord_error,
        "ends_error": result.barrier_ends_error,
        "mean_error": result.barrier_mean_error,
        "top_error": result.max_loss_error,
        "mean_t_error": result.mean_loss_t_error,
        "mean_arc_error": result.mean_loss_arc_error,
    }
    straight = {
        "chord": result.barrier_chord_straight,
        "ends": result.barrier_ends_straight,
        "mean": result.barrier_mean_straight,
        "chord_error": result.barrier_chord_straight_error,
    }
    proofs = [
        *roads.curve_checks(found, connector, result.t, columns, free),
        *roads.summary_checks(found.path, said, seed),
        *roads.summary_checks(found.line, straight, seed, "straight "),
        *roads.length_check(found, result.t, free, result.length),
        roads.gradient_check(found, (result.first_gradient_norm, result.second_gradient_norm)),
        *roads.control_check(found, result.control_t, result.training_barrier),
    ]
    if unaligned:
        proofs += roads.unaligned_checks(unaligned, connector, {"chord": result.barrier_chord_unaligned})
    if connector.restarts > 1:
        proofs.append(roads.restart_check(found, connector))
    if result.plane_loss is not None:
        assert drawn is not None
        directions = drawn.directions if result.plane_directions is None else result.plane_directions
        proofs += roads.plane_checks(found, result, free, directions, seed)
    return proofs


def _over_t(result: Connect) -> dict[str, Variable]:
    return {one.name: one for one in result.arrays() if one.dims == ("t",)}


def _result(
    found: Connection,
    connector: Connector,
    about: dict[str, Any],
    notes: list[str],
) -> Connect:
    import numpy as np

    from landscape.numerics.arrays import array_or_note
    from landscape.numerics.curves.barriers import or_none
    from landscape.objective.sweep import known
    from landscape.paths.heights import below_their_errors, tested_in_words

    path, line, trained, objective = found.path, found.line, found.trained, connector.objective
    shown, straight = path.summary(connector.seed), line.summary(connector.seed)
    notes += below_their_errors(
        {"the curve": (shown.height.chord, shown.height_error.chord)}
        | {"the straight line": (straight.height.chord, straight.height_error.chord)}
    )
    notes += tested_in_words(path.table, {"A": 0, "the top of the curve": int(np.argmax(path.loss)), "B": -1})
    has_test = path.sweep.test is not None
    return Connect(
        t=path.t,
        loss=path.loss,
        loss_straight=line.loss,
        loss_error=path.loss_error,
        accuracy=known(path.accuracy),
        test_loss=path.test_loss if has_test else None,
        test_loss_straight=line.test_loss if has_test else None,
        test_loss_error=known(path.test_loss_error),
        test_loss_straight_error=known(line.test_loss_error),
        test_accuracy=known(path.test_accuracy),
        test_accuracy_error=known(path.test_accuracy_error),
        penalty=path.penalty(objective.l2) if objective.l2 else None,
        epoch=np.arange(1, len(trained.losses) + 1),
        epoch_loss=np.array(trained.losses),
        training_epoch=np.array([passes for passes, _ in trained.watched], dtype=int),
        training_barrier=np.array([barrier for _, barrier in trained.watched], dtype=float),
        control_points=array_or_note(trained.path.control[1:-1], "control points", notes),
        control_t=trained.path.curve.start[1:-1].numpy(),
        barrier_chord=shown.height.chord,
        barrier_ends=shown.height.ends,
        barrier_mean=shown.height.mean,
        max_loss=shown.height.top,
        mean_loss_t=shown.mean_t,
        mean_loss_arc=shown.mean_arc,
        barrier_chord_error=or_none(shown.height_error.chord),
        barrier_ends_error=or_none(shown.height_error.ends),
        barrier_mean_error=or_none(shown.height_error.mean),
        max_loss_error=or_none(shown.height_error.top),
        mean_loss_t_error=or_none(shown.mean_t_error),
        mean_loss_arc_error=or_none(shown.mean_arc_error),
        barrier_chord_straight=straight.height.chord,
        barrier_ends_straight=straight.height.ends,
        barrier_mean_straight=straight.height.mean,
        barrier_chord_straight_error=or_none(straight.height_error.chord),
        length=float(path.lengths.sum() / line.lengths.sum()) if line.lengths.any() else math.nan,
        first_gradient_norm=found.slopes[0],
        second_gradient_norm=found.slopes[1],
        restart_barrier=np.array(found.restart_barriers) if connector.restarts > 1 else None,
        **about,
        notes=notes,
        parameters=objective.pieces,
        outcome="diverged" if trained.diverged else "complete",
    )
