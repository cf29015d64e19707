"""How close does B come to A when its hidden units may be permuted, and how high is the barrier then?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from landscape.analyses.declare import analysis
from landscape.analyses.options import Option
from landscape.analyses.shared import Statistics
from landscape.choices import Match, Symmetries
from landscape.progress import Journal, Progress, silent
from landscape.result import Result, array, scalar

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from landscape.objective import checks
    from landscape.objective.objective import Objective
    from landscape.objective.parameters import Point
    from landscape.objective.sweep import Sweep
    from landscape.symmetry.alignment import Aligned


# Of a line between ends that maps have moved: below both, over their loss, and longer than before, where it is said.
LOWER, FARTHER = 0.01, 1.1


@dataclass(kw_only=True, eq=False)
class Align(Result):
    """B with its units permuted, as the point ``final``, and the straight line from A before and after.

    New unit i of a group is old unit ``permutation[i]``, ``sign`` and all; a group nested in another one
    (the channels of a head) has one permutation for every unit of the outer group, in B's old order.
    """

    kind: ClassVar[str] = "align"
    alpha: np.ndarray = array("alpha", long_name="position α on the line (0 = A, 1 = B)")
    loss_before: np.ndarray = array("alpha", long_name="training loss on the line to B")
    loss_after: np.ndarray = array("alpha", long_name="training loss on the line to B aligned")
    barrier_before: float = scalar("barrier over the chord before: max F − [(1−t)F(A) + tF(B)]")
    barrier_after: float = scalar("barrier over the chord after")
    barrier_before_error: float | None = scalar(
        "standard error of barrier_before from the data", optional=True
    )
    barrier_after_error: float | None = scalar("standard error of barrier_after from the data", optional=True)
    distance_before: float = scalar("distance ‖B − A‖ before")
    distance_after: float = scalar("distance ‖B − A‖ after")
    function_difference: float = scalar("outputs of B before and after, float64: max |Δh| / max |h|")
    planted_recovered: bool = scalar("whether A moved at random was brought back to A")
    planted_distance: float | None = scalar("what was left of its distance", optional=True)
    used: np.ndarray | None = array("used", long_name="units of a symmetry that was used", optional=True)
    used_kind: np.ndarray | None = array("used", printed=True, long_name="what moves them", optional=True)
    used_group: np.ndarray | None = array("used", printed=True, long_name="its group", optional=True)
    used_dimension: np.ndarray | None = array(
        "used", printed=True, long_name="dimension beyond those above", optional=True
    )
    used_log10_order: np.ndarray | None = array(
        "used", printed=True, long_name="decimal logarithm of its order; NaN where infinite", optional=True
    )
    num_parameters: int = scalar("parameters, tied ones once")
    num_movable: int = scalar("of these, moved by some group")
    num_rescaled: int = scalar("units that may have been rescaled")
    movable: np.ndarray = array("movable", long_name="parameter that some group moves")
    blocked: np.ndarray = array("blocked", long_name="parameter that nothing moves")
    blocked_reason: np.ndarray = array("blocked", long_name="what blocks it")
    group: np.ndarray = array("group", long_name="group of units, by the first axis it is on")
    group_size: np.ndarray = array("group", long_name="units in the group")
    group_outer: np.ndarray = array("group", long_name="the group it is nested in")
    group_moved: np.ndarray = array("group", long_name="units that changed their place")
    slot: np.ndarray = array("slot", long_name="parameter or buffer that a group moves")
    slot_group: np.ndarray = array("slot", long_name="the group, by number")
    unit_group: np.ndarray = array("unit", long_name="the group, by number")
    permutation: np.ndarray = array("unit", long_name="which old unit of B stands here")
    sign: np.ndarray | None = array("unit", long_name="sign given to this old unit of B", optional=True)

    @property
    def headline(self) -> str:
        """What was found, in a few words."""
        from landscape.paths.heights import in_words

        before = in_words(self.barrier_before, self.barrier_before_error)
        return f"barrier over chord {before} → {in_words(self.barrier_after, self.barrier_after_error)}"


def _widened(objective: Objective, module: Any, label: str) -> Point:
    """The point at which the wider of two models is the narrower one."""
    from landscape.symmetry.embedding import embedded

    return embedded(objective, module, label)


@analysis(
    points=2,
    needs="the outputs on samples, which must stay as they are",
    paper="Ainsworth et al. 2023; Entezari et al. 2022",
    examples=(
        "a.h5 b.h5",
        "a.h5 b.h5 --match activations --symmetry all",
        "a.h5 b.h5 c.h5 --to merged.h5",
    ),
    widened=_widened,
    makes_run=True,
)
def align(
    objective: Objective,
    a: Tensor | Point,
    b: Tensor | Point,
    *,
    match: Annotated[
        Match, "What is brought together: weights, or activations on the data (Ainsworth et al. 2023)."
    ] = "weights",
    restarts: Annotated[
        int, Option("Starts of the coordinate descent; the best is kept.", least=1, is_how=True)
    ] = 2,
    symmetry: Annotated[
        Symmetries,
        "What moves B beside permutations: scalings of units, turns of a residual stream too, or all maps.",
    ] = "permutation",
    refine: Annotated[
        int,
        Option(
            "Steps that lower the loss between A and B: a straight-through estimator half way, and the slope of maps.",
            least=0,
            metavar="STEPS",
        ),
    ] = 0,
    num_points: Annotated[int, Option("Points on the line, for the barriers.", least=3, is_how=True)] = 61,
    batchnorm: Statistics = "frozen",
    seed: int = 0,
    journal: Journal | None = None,
    progress: Progress = silent,
) -> Align:
    """B's hidden units permuted to lie closest to A; straight-line barriers at ``num_points`` before and after.
    Three or more are brought together, and averaged, by ``merge``.

    ``match``, ``restarts``, ``symmetry``, ``refine``: see :func:`landscape.symmetry.alignment.aligned`, whose errors it
    raises; ``batchnorm`` and the errors of barriers as in :func:`landscape.interpolate`. Raises BadInput for fewer than
    3 points.
    """
    import numpy as np

    from landscape.numerics.curves.barriers import barrier_errors
    from landscape.numerics.curves.grids import grid
    from landscape.numerics.vectors import one_point
    from landscape.objective import checks
    from landscape.objective.scatter import without_errors
    from landscape.objective.sweep import COLUMNS, Sweep
    from landscape.paths.line_proofs import errors_check
    from landscape.symmetry.alignment import aligned
    from landscape.symmetry.proofs import other_loss

    first, second = objective.as_point(a), objective.as_point(b)
    alpha = grid(0.0, 1.0, num_points)
    proofs: list[checks.Check] = []
    with checks.untouched(objective, proofs):
        found = aligned(
            objective,
            first,
            second,
            match=match,
            restarts=restarts,
            symmetry=symmetry,
            refine=refine,
            seed=seed,
            progress=progress,
        )
        sweep = Sweep(objective, None, batchnorm, journal, progress)
        lines = [
            sweep.line(name, first, end, alpha) for name, end in (("before", second), ("after", found.point))
        ]
        before, after = (table[:, 0] for table in lines)
        ends = [sweep.reference(point) for point in (first, second, found.point)]
    losses = (before[0], before[-1], after[-1])
    for name, point, value in zip(("first end", "second end", "aligned end"), ends, losses, strict=True):
        meaning = "end of the line against the model itself"
        proofs.append(checks.agreement(name, objective, float(value), point, meaning))
    means, said = checks.meaning(objective, ends[0]), []
    if not refine:
        means, said = checks.of_values(means)
    proofs += [*means, checks.finite(np.concatenate([before, after]))]
    distance = [_distance(first, point) for point in (second, found.point)]
    proofs += _checks(
        found, distance, checks.rounding(objective), is_nearest=match == "weights" and not refine
    )
    notes = [*said, found.coverage, *found.notes, *sweep.notes(first, second), *without_errors(objective, 0)]
    notes += one_point(first.theta, second.theta)
    notes += _lengthened(after, distance) if refine else []
    notes += other_loss("B", losses[1], losses[2], 10 * checks.rounding(objective))
    errors = [barrier_errors(alpha, table[:, COLUMNS:], seed=seed).chord for table in lines]
    result = _result(objective, found, alpha, before, after, errors, distance, notes, proofs)
    is_nearest = match == "weights" and not refine
    result.checks += _stated_checks(sweep, (first, second), found, result, seed, is_nearest=is_nearest)
    stated = (result.barrier_before_error, result.barrier_after_error)
    drawn = [(table[:, COLUMNS:], {"chord": one}) for table, one in zip(lines, stated, strict=True)]
    result.checks += errors_check(objective, alpha, drawn, seed)
    return result


def _stated_checks(
    sweep: Sweep, ends: tuple[Point, Point], found: Aligned, result: Align, seed: int, *, is_nearest: bool
) -> list[checks.Check]:
    """``is_nearest``: nothing came after the weights of B were brought as near as can be."""
    from landscape.paths.line_proofs import barrier_check, distance_check, line_checks
    from landscape.symmetry import proofs as roads

    objective, state = sweep.objective, result.states["final"]
    proofs = [
        roads.groups_check(found, result),
        roads.moved_by_hand(objective, ends[1], found, result),
        roads.matching_check(objective, ends[0], found, state) if is_nearest else None,
        roads.rescaling_check(objective, ends[0], found) if is_nearest else None,
        roads.families_check(objective, ends[0], found, state) if is_nearest else None,
    ]
    lines = (
        ("before", ends, result.loss_before, result.barrier_before, result.distance_before),
        ("after", (ends[0], found.point), result.loss_after, result.barrier_after, result.distance_after),
    )
    for name, points, loss, height, distance in lines:
        proofs += line_checks(sweep, points, result.alpha, (loss,), seed=seed, name=name)
        proofs.append(barrier_check(result.alpha, loss, {"chord": height}, f"barrier {name}"))
        proofs.append(distance_check(points, distance, f"distance {name}"))
    return [one for one in proofs if one is not None]


def _checks(
    found: Aligned, distance: list[float], rounding: float, *, is_nearest: bool
) -> list[checks.Check]:
    """``is_nearest``: B was moved to be as near as can be, so it may not end farther."""
    from landscape.objective import checks

    proofs = [found.check]
    if found.families:
        meaning = "the same of the point as it is stored, its rescaled weights rounded"
        # No closer than the maps themselves, whose products cancel.
        bound = max(rounding, found.check.bound)
        proofs.append(checks.Check("as stored", found.stored_difference, bound, meaning))
    if is_nearest:
        meaning = "how much farther B aligned is from A than B, relative"
        growth = max(0.0, distance[1] - distance[0]) / max(distance[0], 1e-300)
        proofs.append(checks.Check("no farther", growth, rounding, meaning))
    return proofs


def _result(
    objective: Objective,
    found: Aligned,
    alpha: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    errors: list[float],
    distance: list[float],
    notes: list[str],
    proofs: list[checks.Check],
) -> Align:
    import numpy as np

    from landscape.numerics.arrays import array_of
    from landscape.numerics.curves.barriers import barriers, or_none
    from landscape.objective.parameters import split
    from landscape.paths.heights import below_their_errors

    tensors = {**split(found.point.theta, objective.pieces), **found.point.fixed}
    symmetry, heights = found.symmetry, [barriers(alpha, losses).chord for losses in (before, after)]
    named = zip(
        ("the straight line to B", "that to B aligned"), zip(heights, errors, strict=True), strict=True
    )
    return Align(
        alpha=alpha,
        loss_before=before,
        loss_after=after,
        barrier_before=heights[0],
        barrier_after=heights[1],
        barrier_before_error=or_none(errors[0]),
        barrier_after_error=or_none(errors[1]),
        distance_before=distance[0],
        distance_after=distance[1],
        function_difference=found.function_difference,
        planted_recovered=found.planted_recovered,
        planted_distance=found.planted_distance,
        **_used(found),
        num_parameters=len(symmetry.names),
        num_movable=len(symmetry.movable),
        num_rescaled=found.num_rescaled,
        movable=np.array(symmetry.movable, dtype=str),
        blocked=np.array(list(symmetry.blocked), dtype=str),
        blocked_reason=np.array(list(symmetry.blocked.values()), dtype=str),
        **_groups(found),
        notes=notes + below_their_errors(dict(named)),
        checks=proofs,
        parameters=objective.pieces,
        states={"final": {name: array_of(tensor) for name, tensor in tensors.items()}},
    )


def _lengthened(after: np.ndarray, distance: list[float]) -> list[str]:
    """What maps that are learned on the loss can do beside bringing units together, said where it is seen."""
    lower = min(after[0], after[-1])
    if after.min() >= lower - LOWER * abs(lower) or distance[1] <= FARTHER * distance[0]:
        return []
    return [
        f"B was moved to {distance[1] / distance[0]:.2g} times its distance, and in between the loss is below that of "
        "both ends: weights so unlike can make outputs larger there, which lowers the loss of what is fitted alone; "
        "the loss of other samples on the line to what is stored here tells (`interpolate`)"
    ]


def _distance(a: Point, b: Point) -> float:
    import torch

    return float(torch.linalg.vector_norm((b.theta - a.theta).double()))


def _used(found: Aligned) -> dict[str, Any]:
    """Every group that was used, with its order or dimension: permutations first."""
    import numpy as np

    rows = []
    for group in (found.symmetry.groups[i] for i in found.symmetry.free):
        copies = 1 if group.outer is None else found.symmetry.groups[group.outer].size
        letters = f"S({group.size})" + (f"^{copies}" if copies > 1 else "")
        order = copies * math.lgamma(group.size + 1) / math.log(10)
        rows.append((group.name, "permutation", letters, 0, order))
    for one, dimension in zip(found.families, found.dimensions, strict=True):
        order = one.size * one.copies * math.log10(2) if one.kind == "sign" else math.nan
        rows.append((one.name, one.kind, one.text, dimension, order))
    names, kinds, letters, dimensions, orders = zip(*rows, strict=True)
    return {
        "used": np.array(names, dtype=str),
        "used_kind": np.array(kinds, dtype=str),
        "used_group": np.array(letters, dtype=str),
        "used_dimension": np.array(dimensions),
        "used_log10_order": np.array(orders),
    }


def _groups(found: Aligned) -> dict[str, Any]:
    """The permutations and signs of the free groups, one unit after the other."""
    import numpy as np

    symmetry = found.symmetry
    free = [(symmetry.groups[i], found.permutations[i], i) for i in symmetry.free]
    at_rest = symmetry.identity()
    parts = [order.flatten().numpy() for _, order, _ in free]
    signs = [
        found.signs[i].numpy() if i in found.signs else np.ones(part.size)
        for (_, _, i), part in zip(free, parts, strict=True)
    ]
    outers = ["" if one.outer is None else symmetry.groups[one.outer].name for one, _, _ in free]
    slots = [
        (name, number)
        for number, (_, _, i) in enumerate(free)
        for name in dict.fromkeys(block.tensor for block in symmetry.of(i))
    ]
    return {
        "group": np.array([one.name for one, _, _ in free], dtype=str),
        "group_size": np.array([one.size for one, _, _ in free]),
        "group_outer": np.array(outers, dtype=str),
        "slot": np.array([name for name, _ in slots], dtype=str),
        "slot_group": np.array([number for _, number in slots]),
        "group_moved": np.array([int((order != at_rest[i]).sum()) for _, order, i in free]),
        "unit_group": np.repeat(np.arange(len(free)), [part.size for part in parts]),
        "permutation": np.concatenate(parts),
        "sign": np.concatenate(signs) if found.signs else None,
    }
