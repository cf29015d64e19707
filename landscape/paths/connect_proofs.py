"""The proofs of a trained curve from what its result states: a point inside it, its means, errors, lengths, plane."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from landscape.objective import checks, plain
from landscape.objective.row_proofs import Row, length, numbers, place, row_checks, stacked, wide
from landscape.objective.sweep import Sweep
from landscape.paths.connection import Connection, Connector
from landscape.paths.line_proofs import (
    SUMS,
    barrier_check,
    error_check,
    heights,
    inner,
    line_checks,
    loss_errors_check,
    mean_check,
    numbers_check,
    refinement_check,
)
from landscape.paths.profile import PathLoss
from landscape.paths.step_proofs import steps_check
from landscape.result import Check, largest_gap

Columns = Mapping[str, np.ndarray | None]
# Points of the curve whose places in the plane are found again.
COORDINATES = 4


def on_curve(t: float, control: Any, knots: np.ndarray | None) -> Any:
    """θ(t) (d,) by de Casteljau's corner cutting, or between the two pivots that ``knots`` (m,) has around t."""
    if knots is not None:
        right = min(int(np.searchsorted(knots, t, side="left")), len(knots) - 1) or 1
        share = (t - knots[right - 1]) / (knots[right] - knots[right - 1])
        return (1 - share) * control[right - 1] + share * control[right]
    rows = control
    while len(rows) > 1:
        rows = (1 - t) * rows[:-1] + t * rows[1:]
    return rows[0]


def curve_checks(
    found: Connection, connector: Connector, t: np.ndarray, columns: Columns, control_points: Any
) -> list[Check]:
    """One point inside the curve and one inside the straight line, and the first steps of the training.

    ``columns``: fields of a result over t.
    """
    ends, sweep = found.path.path.ends, _bare(found.path.sweep, connector)
    control = stacked([numbers(ends[0].theta), *wide(control_points), numbers(ends[1].theta)])
    knots = found.trained.path.curve.vertices if len(found.trained.path.curve.vertices) else None
    i = inner(t, connector.seed, sweep.block_size)
    if i is None:
        return []
    given, training = connector.given, connector.training
    steps = None if given else steps_check(connector.objective, found.line.path, training, connector.seed)
    row = Row.of([columns.get(name) for name in Row._fields], i)
    said = columns.get("loss_error")
    off = [] if said is None else [loss_errors_check(found.path.samples, said)]
    values = on_curve(float(t[i]), control, knots)
    curve, more = place(sweep, row, values, ends, [1 - t[i], t[i]])
    proofs = [*row_checks(sweep, [curve], "a point inside the curve", "curve"), *more]
    begun = np.union1d(connector.t, found.trained.path.curve.vertices), connector.t
    proofs.append(refinement_check((found.path, found.line), begun, connector.tolerance))
    proofs += [*([] if steps is None else [steps]), *off]
    if found.trained.diverged and len(found.trained.losses) > 1:
        chord = found.line.path.along(found.trained.path.curve).control
        stayed = float(torch.equal(chord, found.trained.path.control))
        meaning = "whether a training that ended in NaN gives back the chord, and not its best curve (0 = no)"
        proofs.append(Check("best kept", stayed, 0.0, meaning))
    straight = (
        columns.get("loss_straight"),
        None,
        columns.get("test_loss_straight"),
        None,
        columns.get("test_loss_straight_error"),
    )
    line_ends = found.line.path.ends
    proofs += line_checks(
        _bare(found.line.sweep, connector),
        line_ends,
        t,
        straight,
        seed=connector.seed + 1,
        name="straight line",
    )
    if (penalty := columns.get("penalty")) is not None:
        wanted = 0.5 * connector.objective.l2 * float((values**2).sum())
        gap = abs(float(penalty[i]) - wanted) / max(wanted, 1e-300)
        proofs.append(
            Check("penalty", gap, 100 * SUMS, "(l2/2)‖θ‖² inside the curve against numpy's, relative")
        )
    return proofs


def _bare(sweep: Sweep, connector: Connector) -> Sweep:
    """The same of F as it was given, without its penalty, which a result gives apart."""
    twin = copy.copy(sweep)
    twin.objective = connector.objective.varied(l2=0.0)
    return twin


def length_check(found: Connection, t: np.ndarray, control_points: Any, stated: float) -> list[Check]:
    """The polygon through the points of the curve, by numpy, over ‖B − A‖."""
    first, last = map(numbers, (one.theta for one in found.path.path.ends))
    if not np.isfinite(stated):
        return []
    control = stacked([first, *wide(control_points), last]) - first
    knots = found.trained.path.curve.vertices if len(found.trained.path.curve.vertices) else None
    total, before = 0.0, control[0]
    for at in t[1:].tolist():
        now = on_curve(at, control, knots)
        total, before = total + length(now - before), now
    wanted = total / length(last - first)
    meaning = "polygon through the points of the curve over ‖B − A‖, by numpy, relative"
    # Products of the control points lose half of the digits where neighbours are close.
    return [Check("length", abs(stated - wanted) / wanted, 1e-7, meaning)]


def summary_checks(
    path: PathLoss, stated: Mapping[str, float | None], seed: int, name: str = ""
) -> list[Check]:
    """Heights, means and errors as they are stated (by the names of :class:`Summary`), the losses given."""
    said = {key: float("nan") if one is None else one for key, one in stated.items()}
    tall = {key: said[key] for key in ("chord", "ends", "mean", "top") if key in said}
    proofs = [barrier_check(path.t, path.loss, tall, f"{name}barrier")]
    if "mean_t" in said:
        means = {"t": said["mean_t"], "arc": said["mean_arc"]}
        proofs.append(mean_check(path.t, path.loss, path.lengths, means, f"{name}mean loss"))
        proofs += _mean_errors(path, said, f"{name}mean errors")
    wrong = {key.removesuffix("_error"): one for key, one in said.items() if key.endswith("_error")}
    wrong = {key: one for key, one in wrong.items() if key in ("chord", "ends", "mean", "top")}
    about = {"name": f"{name}barrier errors", "objective": path.sweep.objective}
    proof = error_check(path.t, path.samples, wrong, seed, **about) if wrong else None
    if proof is not None:
        proofs.append(proof)
    return proofs


def unaligned_checks(
    line: PathLoss, connector: Connector, stated: Mapping[str, float | None], name: str = "unaligned "
) -> list[Check]:
    """The straight line to a point as it was before it was aligned: a place inside, where it was looked at, heights."""
    return [
        *line_checks(
            _bare(line.sweep, connector),
            line.path.ends,
            line.t,
            (line.loss, None, None),
            seed=connector.seed + 2,
            name=f"{name}line",
        ),
        refinement_check([line], [connector.t], connector.tolerance, f"{name}refinement"),
        *summary_checks(line, stated, connector.seed, name),
    ]


def _mean_errors(path: PathLoss, said: Mapping[str, float], name: str) -> list[Check]:
    """The means are means over samples: their errors are √(Σ(v − v̄)²/(n(n − 1))); so is that of F at one t."""
    count = path.samples.shape[1]
    if count < 2 or not np.isfinite(path.samples).all():
        return []
    wanted = {}
    for key, widths in (("mean_t", np.diff(path.t)), ("mean_arc", path.lengths)):
        if not widths.sum() > 0:
            continue
        v = widths @ (path.samples[:-1] + path.samples[1:]) / 2 / widths.sum()
        wanted[key] = float(np.sqrt(((v - v.mean()) ** 2).sum() / (count * (count - 1))))
    stated = {key: said[f"{key}_error"] for key in wanted}
    wanted["scale"] = float(np.abs(path.samples).max(initial=0))
    off = np.abs(path.samples.mean(1) - path.loss).max() / max(float(np.abs(path.loss).max()), 1e-300)
    found = numbers_check(
        name, stated, wanted, "standard errors of the means, written out, over the largest loss"
    )
    samples = "mean of the losses of the samples against the loss, worst t, relative"
    return [
        Check(found.name, found.value, 100 * SUMS, found.meaning),
        Check("losses of samples", float(off), 1e-6, samples),
    ]


def gradient_check(found: Connection, stated: Sequence[float | None]) -> Check:
    """‖∇F‖ as it is ``stated`` at both ends, by autograd on the module's own parameters. Two gradients."""
    objective = found.path.sweep.objective
    bound = 10 * checks.rounding(objective)
    meaning = "‖∇F‖ at an end against a plain loop with autograd"
    proofs = []
    for point, said in zip(found.ends, stated, strict=True):
        slope = plain.gradient(objective, plain.by_name(objective, point))
        said = float("nan") if said is None else said
        proofs.append(checks.close("gradient norm", said, float(slope.norm()), bound, meaning))
    return max(proofs, key=lambda one: largest_gap(one.value))


def control_check(found: Connection, stated: np.ndarray, watched: np.ndarray) -> list[Check]:
    """Where the control points lie on the chord, and the barrier that was watched last, from losses of the curve."""
    knots = found.trained.path.curve.vertices
    count = len(found.trained.path.control) - 1
    wanted = knots if len(knots) else np.arange(count + 1) / count
    gap = float(np.abs(stated - wanted[1:-1]).max(initial=0.0)) if len(stated) == len(wanted) - 2 else np.inf
    meaning = "where control points lie on the chord: at even gaps, or where the chain passes through them"
    proofs = [Check("control points", gap, SUMS, meaning)]
    path, places = found.path, np.array([0.0, 0.25, 0.5, 0.75, 1.0])
    is_last = found.trained.watched and found.trained.watched[-1][0] == len(found.trained.losses)
    if is_last and not found.trained.diverged and np.isin(places, path.t).all():
        losses = path.loss[np.searchsorted(path.t, places)]
        scale = max(float(np.abs(losses).max()), 1e-300)
        said, wanted = float(watched[-1]), heights(places, losses)["chord"]
        # Of losses that are not finite there is no barrier, or an infinite one.
        is_none = not np.isfinite(losses).all() and not np.isfinite(said)
        off = 0.0 if is_none else abs(said - wanted) / scale
        meaning = "barrier that was watched last against the losses of the curve there, over the largest"
        bound = 10 * checks.rounding(path.sweep.objective)
        proofs.append(Check("watched barrier", float(np.nan_to_num(off, nan=np.inf)), bound, meaning))
    return proofs


def restart_check(found: Connection, connector: Connector) -> Check:
    """The curve that is shown is the one of the lowest barrier among the restarts, as it was before refinement."""
    t = np.union1d(connector.t, found.trained.path.curve.vertices)
    height = heights(t, found.path.loss[np.isin(found.path.t, t)])["chord"]
    lowest = np.nanmin(found.restart_barriers) if not np.isnan(found.restart_barriers).all() else np.nan
    scale = float(np.abs(found.path.loss).max())
    gap = 0.0 if np.isnan([height, lowest]).all() else abs(height - lowest) / scale
    meaning = "barrier of the curve shown, before refinement, over the lowest of the restarts, relative"
    return Check("lowest restart", float(np.nan_to_num(gap, nan=np.inf)), SUMS, meaning)


def residual_check(found: Connection, stated: float, residual: np.ndarray) -> Check:
    """The largest of the distances from the plane, (t,), over ‖B − A‖."""
    first, last = (numbers(end.theta) for end in found.path.path.ends)
    wanted = max(residual.tolist()) / length(last - first)
    gap = largest_gap(abs(stated - wanted)) / max(wanted, 1e-300) if stated != wanted else 0.0
    meaning = "the largest stated distance from the plane over ‖B − A‖, relative"
    return Check("plane residual", gap, 1e-9, meaning)


def plane_checks(
    found: Connection, result: Any, control_points: Any, directions: Any, seed: int
) -> list[Check]:
    """Of the plane in a result: a cell off both axes' zeros, by A + α d₁ + β d₂, and where curve and control lie."""
    first, last = found.path.path.ends
    alpha, beta = result.plane_alpha, result.plane_beta
    i, j = (
        int(np.random.default_rng(seed + k).choice(np.flatnonzero(x))) for k, x in enumerate((alpha, beta))
    )
    origin, along = numbers(first.theta), wide(directions)
    share = float(np.clip(alpha[i] / float((numbers(last.theta) - origin) @ along[0]), 0, 1))
    values = origin + alpha[i] * along[0] + beta[j] * along[1]
    weights = [1 - share, share]
    row = Row(float(result.plane_loss[j, i]))
    seen, more = place(found.path.sweep, row, values, (first, last), weights)
    return [
        *row_checks(found.path.sweep, [seen], "a cell of the plane", "plane"),
        *more,
        residual_check(found, result.plane_residual, result.curve_residual),
        _coordinates_check(found, result, wide(control_points), along, seed),
    ]


def _coordinates_check(found: Connection, result: Any, control_points: Any, along: Any, seed: int) -> Check:
    """α, β and what the plane leaves of every control point and of some points of the curve, by inner products."""
    path, objective = found.trained.path, found.path.sweep.objective
    first, last = (numbers(end.theta) for end in found.path.path.ends)
    control = stacked([first, *control_points, last])
    knots = path.curve.vertices if len(path.curve.vertices) else None
    chosen = np.random.default_rng(seed).permutation(len(result.t))[:COORDINATES].tolist()
    gaps, least = [], length(first) + length(last - first)
    for name, at, points in (
        ("curve", chosen, (on_curve(float(result.t[i]), control, knots) for i in chosen)),
        ("control", range(len(control_points)), control_points),
    ):
        stated = (getattr(result, f"{name}_{one}")[list(at)] for one in ("alpha", "beta", "residual"))
        for theta, *said in zip(points, *stated, strict=True):
            way = theta - first
            x, y = (float(way @ one) for one in along)
            left = length(way - x * along[0] - y * along[1])
            # A curve that runs away lies far out, and is rounded there.
            size = least + length(way)
            gaps += [abs(float(one) - wanted) / size for one, wanted in zip(said, (x, y, left), strict=True)]
    for axis in ("alpha", "beta"):
        grid = getattr(result, f"plane_{axis}")
        seen = np.concatenate([[0.0], *(getattr(result, f"{name}_{axis}") for name in ("curve", "control"))])
        is_inside = 0 in grid and ((grid[0] <= seen) & (seen <= grid[-1])).all()
        gaps.append(0.0 if is_inside or not np.isfinite(seen).all() else np.inf)
    meaning = (
        "places of control points and of some of the curve, in the plane and off it, by inner products; infinite where "
        "the grid leaves any out"
    )
    return Check("plane coordinates", largest_gap(*gaps), checks.rounding(objective), meaning)


def tree_check(height: np.ndarray, edges: np.ndarray, over: np.ndarray, largest: float) -> Check:
    """The edges join all points with the least sum of heights, by Prim's rule; theirs are ``over``, and none is higher.

    Without pairs as high as the ``largest`` the points are not joined.
    """

    def is_joined(pairs: np.ndarray) -> bool:
        reached = {0}
        for _ in range(len(height)):
            reached |= {b for a, b in (*pairs.tolist(), *pairs[:, ::-1].tolist()) if a in reached}
        return len(reached) == len(height)

    high = np.where(np.isnan(height), np.inf, height)
    low = np.argwhere(high < np.nan_to_num(largest, nan=np.inf))
    stated = np.array([high[i, j] for i, j in edges.tolist()])
    near, left = {0}, {*range(1, len(high))}
    least = []
    while left:
        rise, nearest = min((float(high[i, j]), j) for i in near for j in left)
        least.append(rise)
        near, left = near | {nearest}, left - {nearest}
    is_top = max(stated) == np.nan_to_num(largest, nan=np.inf)
    is_least = is_joined(edges) and not is_joined(low) and sorted(stated.tolist()) == sorted(least)
    is_same = np.array_equal(np.nan_to_num(over, nan=np.inf), stated)
    meaning = "the tree joins all points by the least edges, with the heights stated, and no lower pairs do (0 = so)"
    return Check("spanning tree", 0.0 if is_top and is_least and is_same else 1.0, 0.0, meaning)
