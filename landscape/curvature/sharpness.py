"""The measures of sharpness at one point: curvature, noise, and ascent within a ball; each piece remembered."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape.curvature.further import Further, Wanted, further
from landscape.curvature.rounded import cancelled
from landscape.numerics.arrays import array_here, back
from landscape.numerics.curves.directions import random_direction
from landscape.numerics.spectra.lanczos import top_eigenpairs
from landscape.numerics.spectra.trace import student_factor, trace_estimate
from landscape.numerics.steps.ascent import ball_ascent, filter_lengths
from landscape.numerics.steps.sampling import seed_of_draw
from landscape.objective import checks
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.sweep import Sweep
from landscape.objective.tasks import Task, ahead
from landscape.progress import Journal, Progress, silent

# The trace is estimated on what these eigenvectors leave of it, which takes far fewer products.
NUM_DEFLATED = 10
# What counts as converged by default; rounding of one product in float32 leaves residuals of about 5e-7.
TOLERANCES = {64: 1e-6, 32: 1e-5}


class Asked(NamedTuple):
    """What to measure, the same at every point; ``sigmas`` has shape (num_sigmas,)."""

    sigmas: np.ndarray
    num_draws: int
    rho: float
    ascent_steps: int
    tol: float
    ignore: Collection[str]
    seed: int
    journal: Journal
    wanted: Wanted = Wanted()


class Measured(NamedTuple):
    """Everything at one point: (value, error) by measure, (rises, errors) over σ and ascents by norm.

    And what they came from: the rise of every pair ±σξ (num_draws, num_sigmas) and the worst u (d,) within the ball
    by norm; ``curvature`` with the top eigenvector and zᵀHz of the trace's probes; ``slope`` is ∇F; ``further`` is what
    was asked for by name.
    """

    table: dict[str, tuple[float, float]]
    noise: dict[str, tuple[np.ndarray, np.ndarray]]
    pairs: dict[str, np.ndarray]
    ascents: dict[str, np.ndarray]
    worst: dict[str, np.ndarray]
    curvature: dict[str, Any]
    slope: Tensor
    loss: float
    gradient_norm: float
    overshoot: float
    unconverged: list[str]
    further: Further


def measured(
    objective: Objective,
    point: Point,
    where: str,
    norms: Sequence[str],
    asked: Asked,
    progress: Progress,
) -> Measured:
    """Every measure at ``point``, in absolute terms (norm ``none``) and relative to the filters (``filter``).

    ``where`` names the point among the pieces that are remembered.
    """
    curvature = _remembered(
        asked.journal, f"{where} curvature", lambda: _curvature(objective, point, asked, progress)
    )
    value, slope = objective.value_and_gradient(point.theta, point.fixed)
    trace, trace_error = curvature["trace"], curvature["trace_error"]
    d = objective.num_parameters
    table = {
        "lambda_max": (curvature["lambda_max"], curvature["residual"]),
        "trace": (trace, trace_error),
        "trace_per_parameter": (trace / d, trace_error / d),
    }
    noise: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    pairs: dict[str, np.ndarray] = {}
    ascents: dict[str, np.ndarray] = {}
    worst: dict[str, np.ndarray] = {}
    rounding = checks.rounding(objective)
    overshoot = 0.0
    sweep = Sweep(objective, None, "frozen", asked.journal, progress)
    for norm in norms:
        ending = "" if norm == "none" else "_filter"
        pairs[norm] = _noise(sweep, point, where, norm, asked) - value
        noise[norm] = _mean(pairs[norm])
        middle = len(asked.sigmas) // 2
        table[f"noise_rise{ending}"] = (float(noise[norm][0][middle]), float(noise[norm][1][middle]))
        vector = back(curvature["vector"], point.theta)
        found = _remembered(
            asked.journal,
            f"{where} ball {norm}",
            lambda norm=norm, vector=vector: _ball(objective, point, norm, slope, vector, asked, progress),
        )
        ascents[norm], worst[norm] = np.array(found["rises"]), found["worst"]
        overshoot = max(overshoot, found["radius"] / asked.rho - 1)
        for name, rise in (("ball_rise_at_least", ascents[norm][-1]), ("sam_rise", found["one_step"])):
            # The difference of two losses, each known to rounding alone.
            table[f"{name}{ending}"] = (float(rise), rounding * (2 * abs(value) + abs(float(rise))))
    more = further(
        objective,
        point,
        slope,
        curvature["lambda_max"],
        asked.wanted,
        tolerance=asked.tol,
        seed=asked.seed,
        remembered=lambda name, compute: _remembered(asked.journal, f"{where} {name}", compute),
        progress=progress,
    )
    unconverged = [*curvature["unconverged"], *more.unconverged]
    return Measured(
        {**table, **more.table},
        noise,
        pairs,
        ascents,
        worst,
        curvature,
        slope,
        value,
        float(torch.linalg.vector_norm(slope.double())),
        overshoot,
        [f"{text} ({where})" if where != "here" else text for text in unconverged],
        more,
    )


def measured_ahead(
    objective: Objective,
    places: Mapping[str, Point],
    norms: Sequence[str],
    asked: Asked,
    progress: Progress,
) -> None:
    """Have all that :func:`measured` remembers computed by others, place by place, where there are any to do it."""
    alone = asked._replace(journal={})

    def tasks() -> list[Task]:
        return [
            Task((f"{where} done",), partial(_measure, objective, point, where, norms, alone), (f"{where} ",))
            for where, point in places.items()
        ]

    ahead(asked.journal, tasks, progress, "points measured")


def _measure(
    objective: Objective, point: Point, where: str, norms: Sequence[str], asked: Asked, journal: Journal
) -> None:
    measured(objective, point, where, norms, asked._replace(journal=journal), silent)
    journal[f"{where} done"] = {}


def _curvature(objective: Objective, point: Point, asked: Asked, progress: Progress) -> dict[str, Any]:
    """λ_max with its vector, and the trace, deflated by the top eigenvectors found on the way."""
    generator = torch.Generator().manual_seed(asked.seed)
    d = objective.num_parameters
    operator = objective.hessian_operator(point.theta, point.fixed)
    pairs = top_eigenpairs(
        operator,
        d,
        min(NUM_DEFLATED, d),
        tol=asked.tol,
        search=False,
        product_error=lambda: operator.error,
        generator=generator,
        dtype=objective.dtype,
        device=objective.device,
        like=point.theta,
        progress=lambda done, total: progress(done, total, "products for λ_max at most"),
    )
    lost = cancelled(objective, point, operator, pairs)
    operator.largest_error = max(operator.largest_error, lost.error)
    trace = trace_estimate(
        operator,
        d,
        values=pairs.values,
        vectors=pairs.vectors,
        generator=generator,
        dtype=objective.dtype,
        device=objective.device,
        progress=lambda done, total: progress(done, total, "products for the trace at most"),
    )
    one_rounding = torch.finfo(objective.coarsest).eps * pairs.scale
    product_error = float(trace.product_error(operator.largest_error, one_rounding))
    faults = []
    if not pairs.converged[0]:
        faults.append(
            f"λ_max did not reach the tolerance {asked.tol:g}: a larger `tol`, or float64 where "
            "rounding is the limit"
        )
    if not trace.converged:
        faults.append(
            f"the trace {trace.value:.4g} ± {trace.standard_error:.2g} did not reach a standard error of 1 %"
        )
    return {
        "lambda_max": float(pairs.values[0]),
        "residual": float(pairs.residuals[0]) + lost.error,
        "vector": array_here(pairs.vectors[0]),
        "scale": float(pairs.scale),
        "known": float(pairs.values.sum()),
        "inside": max(abs(float((one.double() * trace.last.double()).sum())) for one in pairs.vectors),
        "last": array_here(trace.last),
        "forms": trace.forms.tolist(),
        "is_sum": trace.is_sum,
        "product_error": product_error,
        "trace": float(trace.value),
        "trace_error": float(np.hypot(trace.standard_error, d**0.5 * product_error)),
        "unconverged": faults,
    }


def _noise(sweep: Sweep, point: Point, where: str, norm: str, asked: Asked) -> np.ndarray:
    """The mean loss of every pair ±σξ, (num_draws, num_sigmas).

    Points run over draws, then σ, then the two signs, so that each ξ is drawn when it is needed.
    """
    per_draw = 2 * len(asked.sigmas)
    kept: dict[int, Tensor] = {}

    def fill(block: range, thetas: Tensor) -> None:
        for row, i in zip(thetas, block, strict=True):
            draw, rest = divmod(i, per_draw)
            if draw not in kept:
                kept.clear()
                kept[draw] = noise_direction(
                    sweep.objective, point, norm, asked.ignore, seed_of_draw(asked.seed, draw)
                )
            step = float(asked.sigmas[rest // 2]) * (1 - 2 * (rest % 2))
            torch.add(point.theta, kept[draw], alpha=step, out=row)

    table = sweep.measure(f"{where} noise {norm}", asked.num_draws * per_draw, fill, [point])
    return table[:, 0].reshape(asked.num_draws, len(asked.sigmas), 2).mean(2)


def _mean(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean rises over the pairs and their standard errors, 1.96 of which are Student's 95 % interval: (num_sigmas,)."""
    count = len(pairs)
    with np.errstate(invalid="ignore"):  # infinite losses are counted by a check
        error = pairs.std(0, ddof=1) / np.sqrt(count)
        return pairs.mean(0), student_factor(count) * error


def noise_direction(
    objective: Objective, point: Point, norm: str, ignore: Collection[str], seed: int
) -> Tensor:
    """ξ (d,): standard normal in every parameter, or with ‖ξ_f‖ = ‖w_f‖ and the ignored roles at rest."""
    generator = torch.Generator().manual_seed(seed)
    ignored = ignore if norm == "filter" else ()
    return random_direction(point.theta, objective.pieces, norm=norm, ignore=ignored, generator=generator)


def _ball(
    objective: Objective,
    point: Point,
    norm: str,
    slope: Tensor,
    vector: Tensor,
    asked: Asked,
    progress: Progress,
) -> dict[str, Any]:
    """The ascent from SAM's step and from both ends of the top eigenvector; SAM's step alone."""
    scales = torch.ones_like(point.theta, dtype=torch.float64)
    if norm == "filter":
        scales = filter_lengths(point.theta, objective.pieces, asked.ignore)
    uphill, top = scales * slope.double(), scales * vector.to(scales)
    has_slope = bool(uphill.any())
    starts = [one for one in (uphill, top, -top) if bool(one.any())] or [scales]
    found = ball_ascent(
        lambda theta: objective.value_and_gradient(theta, point.fixed),
        point.theta,
        radius=asked.rho,
        scales=scales,
        starts=starts,
        num_steps=asked.ascent_steps,
        progress=lambda done, total: progress(done, total, "steps of ascent at most"),
    )
    # Where the gradient vanishes SAM takes no step.
    return {
        "rises": found.rises.tolist(),
        "one_step": float(found.first[0]) if has_slope else 0.0,
        "radius": found.radius,
        "worst": array_here(found.worst),
    }


def _remembered(journal: Journal, key: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A finished piece, or a new one that is one from now on."""
    if key not in journal:
        journal[key] = compute()
    return journal[key]


def searched_steps(here: Measured) -> dict[str, Any]:
    """What was tried along −∇F, by field of the result."""
    fields: dict[str, Any] = {}
    for start in ("", "relative_"):
        found = here.further.found.get(f"{start}critical_sharpness")
        if found and len(found["steps"]):
            fields[f"{start}search_step"] = np.array(found["steps"])
            fields[f"{start}search_rise"] = np.array(found["rises"])
        if found and not found["why"]:
            fields[f"{start}critical_step"] = (found["low"] + found["high"]) / 2
            fields[f"{start}critical_step_error"] = (found["high"] - found["low"]) / 2
    return fields


def part(one: Measured | None, norm: str, index: int) -> np.ndarray | None:
    """Rises (index 0) or their errors (1) by noise of a ``norm``; None where there is none."""
    return None if one is None or norm not in one.noise else one.noise[norm][index]
