"""What proves measures of sharpness: curvature by products of its own, noise and ball by plain loops at θ + ε."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.curvature import further_proofs, product_proofs
from landscape.curvature.estimate_proofs import Stated, student, trace_checks
from landscape.curvature.pair_proofs import complement, missed_check, residual_checks
from landscape.curvature.sharpness import Asked, Measured, noise_direction
from landscape.curvature.stays import CHANGE
from landscape.numerics.arrays import back
from landscape.numerics.steps.sampling import seed_of_draw
from landscape.numerics.vectors import normal
from landscape.objective import checks, plain
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.row_proofs import by_piece, joined, numbers, stated
from landscape.result import Check, largest_gap

# Products in the complement of the vector of λ_max, which show a larger one if there is.
BESIDE = 6
# (values, errors) of the result by measure, and of the mean rise over σ by norm.
Columns = Mapping[str, tuple[float, float]]
Rises = Mapping[str, tuple[np.ndarray, np.ndarray]]


def seeded(asked: Asked) -> tuple[int, int]:
    """Which draw, never the first, and which σ are measured again."""
    rng = np.random.default_rng(asked.seed)
    return int(rng.integers(1, asked.num_draws)), int(rng.integers(len(asked.sigmas)))


def proven(
    objective: Objective, point: Point, found: Measured, asked: Asked, table: Columns, rises: Rises
) -> tuple[list[Check], list[str]]:
    """Checks and notes of everything at one point, as it stands in the result."""
    with plain.proving():
        slope = float(torch.linalg.vector_norm(found.slope.double()))
        proofs = [product_proofs.gradient_check(objective, point, found.slope, slope)]
        more, notes = _curvature(objective, point, found, asked, table)
        proofs += more
        base = plain.measure(objective, plain.by_name(objective, point)).loss
        for norm in found.noise:
            here = [
                *_noise(objective, point, norm, found.pairs[norm], asked, rises[norm], base),
                *_ball(objective, point, norm, found, asked, table, base),
            ]
            proofs += here
        more, said = further_proofs.proven(
            objective,
            point,
            found.further,
            asked.wanted,
            found.slope,
            table,
            scale=float(found.curvature["scale"]),
            seed=asked.seed,
        )
        proofs += more
        notes += said
    return proofs, notes


def _curvature(
    objective: Objective, point: Point, found: Measured, asked: Asked, table: Columns
) -> tuple[list[Check], list[str]]:
    curvature, precision = found.curvature, checks.rounding(objective)
    vectors = back(curvature["vector"], point.theta)[None].to(point.theta.device, point.theta.dtype)
    value, residual = table["lambda_max"]
    scale = max(float(curvature["scale"]), 1e-300)
    known = max(precision, float(curvature["product_error"]) / scale)
    d = objective.num_parameters
    product = product_proofs.recut(objective, point, "hessian", num_products=1 + BESIDE)
    proofs = residual_checks(
        product,
        np.array([value]),
        np.array([residual]),
        vectors,
        scale=scale,
        precision=known,
        rng=np.random.default_rng(asked.seed),
        singly=False,
    )
    if d > 1:
        beside = complement(product, vectors, BESIDE, torch.Generator().manual_seed(asked.seed + 1))
        bound = max(asked.tol, 10 * known, residual / scale)
        proofs.append(missed_check(beside, np.array([value]), "largest", 1, scale=scale, bound=bound))
    more, notes = product_proofs.product_check(objective, point, "hessian", vectors[0])
    trace, error = table["trace"]
    said = Stated(d, np.array([curvature["known"]]), trace=trace, trace_error=error)
    forms = np.array(curvature["forms"], dtype=float)
    proofs += more
    proofs += trace_checks(said, forms, bool(curvature["is_sum"]), float(curvature["product_error"]), d)
    # What an earlier version kept has no probe.
    if len(forms) and "last" in curvature:
        proofs.append(_probe_check(objective, point, curvature, forms[-1], scale, known))
    of_one, error_of_one = table["trace_per_parameter"]
    off = largest_gap(abs(of_one * d - trace), abs(error_of_one * d - error)) / max(abs(trace), error, 1e-300)
    proofs.append(
        Check("trace per parameter", off, 1e-12, "times d against the trace and its error, relative")
    )
    return proofs, notes


def _probe_check(
    objective: Objective,
    point: Point,
    curvature: Mapping[str, Any],
    form: float,
    scale: float,
    known: float,
) -> Check:
    """The last probe z of the trace: off the vectors that it leaves out, and its zᵀHz by a product of its own."""
    z = back(curvature["last"], point.theta).to(point.theta.device, point.theta.dtype)
    squares = max(float(z.double().square().sum()), 1e-300)
    again = float((product_proofs.recut(objective, point, "hessian")(z).double() * z.double()).sum())
    gap = largest_gap(
        abs(again - float(form)) / (squares * scale), float(curvature["inside"]) / max(1.0, squares) ** 0.5
    )
    meaning = "last z of the trace: what lies in the span of the pairs, and zᵀHz/zᵀz by a product of its own"
    return Check("trace probe", float(np.nan_to_num(gap, nan=np.inf)), 2 * known, meaning)


def _noise(
    objective: Objective,
    point: Point,
    norm: str,
    pairs: np.ndarray,
    asked: Asked,
    said: tuple[np.ndarray, np.ndarray],
    base: float,
) -> list[Check]:
    """One seeded pair ±σξ by plain loops, and mean and standard error from the pairs (num_draws, num_sigmas)."""
    draw, step = seeded(asked)
    generator = torch.Generator().manual_seed(seed_of_draw(asked.seed, draw))
    way = normal(point.theta, generator)
    if norm == "filter":
        way = noise_direction(objective, point, norm, asked.ignore, seed_of_draw(asked.seed, draw))
    sides = []
    for sign in (1, -1):
        moved = numbers(point.theta) + sign * float(asked.sigmas[step]) * numbers(way)
        sides.append(_loss(objective, point, moved))
    rise, count = sum(sides) / 2 - base, len(pairs)
    size = max(abs(base), *map(abs, sides), 1e-3)
    mean = pairs.sum(0) / count
    with np.errstate(invalid="ignore", over="ignore"):
        error = student(count) * (((pairs - mean) ** 2).sum(0) / (count - 1) / count) ** 0.5
        ends = [
            np.abs(mean - said[0]) / np.maximum(np.abs(pairs).max(0), 1e-300),
            np.abs(error - said[1]) / np.maximum(error, 1e-12 * np.abs(pairs).max(0) + 1e-300),
        ]
    there = np.isfinite(pairs).all(0)
    off = max((float(one[there].max(initial=0.0)) for one in ends), default=0.0)
    named = f"noise {norm}"
    gap = abs(rise - float(pairs[draw, step])) / size
    gap = 0.0 if not np.isfinite(pairs[draw, step]) and not np.isfinite(rise) else gap
    return [
        Check(
            named,
            float(np.nan_to_num(gap, nan=np.inf)),
            2 * checks.rounding(objective),
            f"rise of pair {draw + 1} at σ = {asked.sigmas[step]:g} against plain loops at θ ± σξ, over F",
        ),
        Check(
            f"{named} error",
            off,
            1e-8,
            "mean rises and standard errors against the pairs and Student's 95 % interval, relative",
        ),
    ]


def _ball(
    objective: Objective,
    point: Point,
    norm: str,
    found: Measured,
    asked: Asked,
    table: Columns,
    base: float,
) -> list[Check]:
    """The worst ε within the ball: its length over the filters', its rise by a plain loop; and SAM's step anew."""
    ending = "" if norm == "none" else "_filter"
    scales = 1.0
    if norm == "filter":
        scales = _lengths(objective, point.theta, asked.ignore)
    worst = numbers(back(found.worst[norm], point.theta))
    overshoot = largest_gap(0.0, float((worst**2).sum()) ** 0.5 / asked.rho - 1)
    theta = numbers(point.theta)
    rise = _loss(objective, point, theta + scales * worst) - base
    highest = table[f"ball_rise_at_least{ending}"][0]
    uphill = scales * numbers(found.slope)
    length = float((uphill**2).sum()) ** 0.5
    sam, of_sam = table[f"sam_rise{ending}"][0], 0.0
    if 0 < length < np.inf:
        of_sam = _loss(objective, point, theta + asked.rho * scales * uphill / length) - base
    size = max(abs(base), abs(base + rise), 1e-3)
    bound = 2 * checks.rounding(objective)
    return [
        Check(f"ball {norm}", overshoot, 1e-12, "‖T⁻¹ε‖/ρ − 1 of the worst point, by sums of its own"),
        _same(
            f"worst {norm}",
            highest,
            rise,
            size,
            bound,
            "rise at the worst point against a plain loop, over F",
        ),
        _same(f"SAM {norm}", sam, of_sam, size, bound, "rise after ρT²∇F/‖T∇F‖ against a plain loop, over F"),
    ]


def _same(name: str, stated: float, found: float, size: float, bound: float, meaning: str) -> Check:
    if stated == found or (np.isnan(stated) and np.isnan(found)):
        return Check(name, 0.0, bound, meaning)
    return Check(name, float(np.nan_to_num(abs(stated - found) / size, nan=np.inf)), bound, meaning)


def _lengths(objective: Objective, theta: Tensor, ignore: Collection[str]) -> Any:
    """‖w_f‖ for every parameter (d,), by sums over its own axes cut into ``units``; 0 for ignored roles."""

    def of_each() -> Iterator[np.ndarray]:
        for piece, row in by_piece(objective, theta[None]):
            if piece.role in ignore or not piece.size:
                yield np.zeros(piece.shape)
                continue
            squares = row.reshape(piece.shape) ** 2
            for axis, (size, count) in enumerate(zip(piece.shape, piece.units, strict=True)):
                summed = np.add.reduceat(squares, np.arange(count) * (size // count), axis=axis)
                squares = np.repeat(summed, size // count, axis=axis)
            yield np.sqrt(squares)

    return joined(objective, of_each())


def _loss(objective: Objective, point: Point, values: Any) -> float:
    return plain.measure(objective, {**stated(objective, values), **point.fixed}).loss


def prove(
    result: Any,
    objective: Objective,
    asked: Asked,
    places: Sequence[tuple[Point | None, Measured | None]],
    each: Mapping[str, Measured],
) -> None:
    """Adds the proofs of both points, which go by the numbers as they stand in the result; ``each`` is of groups."""
    for before, (point, found) in zip(("", "rescaled_"), places, strict=True):
        if point is None or found is None:
            continue
        values, errors = getattr(result, f"{before}values"), getattr(result, f"{before}errors")
        table = dict(
            zip(result.measure.tolist(), zip(values.tolist(), errors.tolist(), strict=True), strict=True)
        )
        rises = {}
        for norm in found.noise:
            name = f"{before}noise_rise{'' if norm == 'none' else '_filter'}"
            rises[norm] = (getattr(result, name), getattr(result, f"{name}_error"))
        proofs, notes = proven(objective, point, found, asked, table, rises)
        if not before:
            result.checks.append(_stated_check(result, objective, found, table, each))
        ending = " rescaled" if before else ""
        result.checks += [replace(check, name=check.name + ending) for check in proofs]
        result.notes += [note for note in notes if note not in result.notes]


def _stated_check(
    result: Any, objective: Objective, found: Measured, table: Columns, each: Mapping[str, Measured]
) -> Check:
    """What stands twice: the rises at the σ of the table, ‖∇F‖, what changes, and the step that a sharpness is of."""
    gaps = [abs(result.gradient_norm - float(torch.linalg.vector_norm(found.slope.double())))]
    gaps[0] /= max(abs(result.gradient_norm), 1e-300)
    ranked = sorted(result.sigma.tolist())
    at = result.sigma.tolist().index(ranked[len(ranked) // 2])
    gaps.append(abs(result.table_sigma - ranked[len(ranked) // 2]))
    for name in ("noise_rise", "noise_rise_filter"):
        if name in table:
            said = float(getattr(result, name)[at]), float(getattr(result, f"{name}_error")[at])
            gaps += [
                0.0 if a == b or (a != a and b != b) else math.inf
                for a, b in zip(said, table[name], strict=True)
            ]
    gaps += [_ascents(result, table), _groups(result, objective, each)]
    for start in ("", "relative_"):
        step = getattr(result, f"{start}critical_step")
        if step is not None:
            low, high = (step + side * getattr(result, f"{start}critical_step_error") for side in (-1, 1))
            value, error = table[f"{start}critical_sharpness"]
            gaps += [abs(value * step / 2 - 1), abs(error - max(2 / low - value, value - 2 / high)) / value]
    if result.changes_under_rescaling is not None:
        gaps.append(
            _changes(
                result,
                objective,
                result.changes_under_rescaling,
                result.rescaled_values,
                result.rescaled_errors,
            )
        )
    meaning = (
        "rises at the σ of the table and of the ascents, ‖∇F‖, critical steps and what changes, as stated elsewhere, "
        "relative"
    )
    return Check("stated twice", largest_gap(*gaps), 1e-9, meaning)


def _changes(
    result: Any, objective: Objective, said: np.ndarray, values: np.ndarray, errors: np.ndarray
) -> float:
    """0 where each measure is ``said`` to change that differs from that of the point by more than errors; else ∞."""
    gap = 0.0
    rows = zip(result.values, result.errors, values, errors, strict=True)
    for name, is_said, row in zip(result.measure.tolist(), said, rows, strict=True):
        a, error, b, other = map(float, row)
        room = checks.rounding(objective) * (abs(a) + abs(result.loss) * ("rise" in name))
        apart, allowed = abs(a - b), CHANGE * math.hypot(error, other) + room
        is_changed = (a != a) != (b != b) if a != a or b != b else apart > allowed
        gap = largest_gap(gap, math.inf if bool(is_said) != is_changed and apart != allowed else 0.0)
    return gap


def _groups(result: Any, objective: Objective, each: Mapping[str, Measured]) -> float:
    """0 where the rows of groups are those of ``each`` by its name, and what changes is; else ∞."""
    if result.group is None:
        return math.inf if each else 0.0
    rows = zip(result.group.tolist(), result.values_by_group, result.changes_by_group, strict=True)
    names, gap = result.measure.tolist(), 0.0
    for group, values, changes in rows:
        wanted, errors = np.array([each[group].table[name] for name in names]).T
        gap = largest_gap(gap, _changes(result, objective, changes, wanted, errors))
        gap = gap if np.array_equal(values, wanted, equal_nan=True) else math.inf
    return gap


def _ascents(result: Any, table: Columns) -> float:
    """0 where each ascent ends at the rise of the table, and none falls or begins below SAM's step; else ∞."""
    wrong = 0
    for norm in ("", "_filter"):
        rises = getattr(result, f"ascent_rise{norm}")
        if rises is None:
            continue
        sam, highest = (table[f"{name}{norm}"][0] for name in ("sam_rise", "ball_rise_at_least"))
        is_end = np.array_equal(rises[-1], highest, equal_nan=True)
        wrong += not is_end or bool((rises[1:] < rises[:-1]).any()) or rises[0] < max(0.0, sam)
    return math.inf if wrong else 0.0
