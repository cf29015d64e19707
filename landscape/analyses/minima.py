"""How good are the minima that gradient descent finds, against the width and depth of a module?"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from landscape import distributed
from landscape.descent import input_plane
from landscape.descent.critical import examined, perfected
from landscape.descent.replay import STEPS, replayed
from landscape.descent.starts import OWN_INIT, Family, bounds_of, descended, starts
from landscape.errors import BadInput
from landscape.numerics.distinct import num_distinct_rows, num_distinct_values
from landscape.numerics.spectra.inertia import STATIONARY
from landscape.numerics.steps.polish import KINK
from landscape.numerics.steps.replicas import Plan
from landscape.numerics.steps.sampling import isolated_rng
from landscape.objective import checks
from landscape.objective.objective import Objective
from landscape.objective.precision import in_float64
from landscape.progress import Journal, Progress, silent
from landscape.result import Result, array, scalar

POLISHED = 1e-9
MEMORY_LIMIT = 2.0**31
QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
SAME_COST = 1e-6
SAME_OUTPUT = 1e-3
PLATEAU = {"factor": 0.5, "threshold": 1e-4, "patience": 40, "cooldown": 10, "floor": 1e-7}
END = ("depth", "width", "restart")


@dataclass(kw_only=True, eq=False)
class Minima(Result):
    """Where many descents ended, by depth, width and restart; what is not ``done`` is NaN."""

    kind: ClassVar[str] = "minima"
    depth: np.ndarray = array("depth", long_name="hidden layers")
    width: np.ndarray = array("width", long_name="width")
    restart: np.ndarray = array("restart", long_name="restart")
    done: np.ndarray = array(*END, long_name="asked for, and computed")
    quantile: np.ndarray = array("quantile", long_name="quantile over the restarts")
    cost_quantiles: np.ndarray = array(
        "depth", "width", "quantile", long_name="quantiles of the cost", printed=True
    )
    cost: np.ndarray = array(*END, long_name="cost at the end of the descent")
    gradient_norm: np.ndarray = array(*END, long_name="‖∇F‖ at the end of the descent")
    num_steps: np.ndarray = array(*END, long_name="steps taken")
    num_threads: np.ndarray = array(*END, long_name="threads of its stack")
    end_status: np.ndarray = array(
        *END, long_name="kind of end, where there is one of the polished end", name="status"
    )
    index: np.ndarray = array(
        *END, long_name="negative eigenvalues of the Hessian, where there is one at the polished end"
    )
    is_exact: np.ndarray = array(*END, long_name="no negative eigenvalue can have been missed")
    smallest_eigenvalue: np.ndarray = array(*END, long_name="smallest eigenvalue of that Hessian")
    largest_eigenvalue: np.ndarray = array(*END, long_name="largest eigenvalue of that Hessian")
    polished_cost_quantiles: np.ndarray | None = array(
        "depth", "width", "quantile", long_name="quantiles of the polished cost", printed=True, optional=True
    )
    polished_cost: np.ndarray | None = array(*END, long_name="cost after polishing", optional=True)
    polished_gradient_norm: np.ndarray | None = array(*END, long_name="‖∇F‖ after polishing", optional=True)
    polish_reason: np.ndarray | None = array(
        *END, long_name="why polishing ended above its tolerance", optional=True
    )
    num_distinct: np.ndarray = array(
        "depth", "width", long_name="ends that differ as functions on the data", printed=True
    )
    num_distinct_costs: np.ndarray = array("depth", "width", long_name="ends that differ in their cost")
    num_parameters: np.ndarray = array("depth", "width", long_name="parameters d")
    is_wide: np.ndarray = array("width", long_name="n ≤ d₀d₁")
    y: np.ndarray | None = array("y", long_name="second input", optional=True)
    x: np.ndarray | None = array("x", long_name="first input", optional=True)
    prediction: np.ndarray | None = array(
        "depth", "width", "y", "x", long_name="output of the best end", optional=True
    )
    sample: np.ndarray | None = array("sample", long_name="sample", optional=True)
    sample_x: np.ndarray | None = array("sample", long_name="first input of a sample", optional=True)
    sample_y: np.ndarray | None = array("sample", long_name="second input of a sample", optional=True)
    sample_target: np.ndarray | None = array("sample", long_name="target of a sample", optional=True)
    num_samples: int = scalar("samples n")
    num_inputs: int = scalar("inputs d₀")


def minima(
    family: Family,
    *,
    widths: Sequence[int],
    depths: Sequence[int] = (1,),
    restarts: Sequence[int] = (50,),
    init: Sequence[str] = (OWN_INIT,),
    lr: Sequence[float] = (0.1,),
    steps: int = 40000,
    max_steps: int = 120000,
    plateau: Mapping[str, float] = PLATEAU,
    stop_after: int = 10000,
    stop_below: float = 1e-7,
    polish: bool = False,
    seed: int = 0,
    memory_limit: float = MEMORY_LIMIT,
    max_threads: int | None = None,
    journal: Journal | None = None,
    progress: Progress = silent,
) -> Minima:
    """Gradient descent from many starts for every width and depth, and what kind of point each ended at.

    ``family(width, depth, seed)`` gives the objective. ``restarts``, ``init`` and ``lr`` are one for all depths
    or one for each. ``init`` is ``own`` (the module's, seeds ``seed``, ``seed + 1``, …) or ``uniform:a,b`` for
    every parameter. All samples are taken at each of ``steps`` steps of size ``lr``; then, up to
    ``max_steps``, ``plateau`` halves the step, and a descent ends when ``stop_after`` steps bring less than
    ``stop_below``. Costs, gradients and Hessians of the ends are float64.

    ``polish`` goes on to ‖∇F‖ ≤ 1e-9 by L-BFGS and Newton's method in a trust region; eigenvalues, index and
    status are then those of the polished point. A piecewise linear module may end at a ``kink``, where F falls
    no further and its gradient jumps without ever vanishing.

    The restarts of a cell train as one computation, in several where they would take more than ``memory_limit``
    bytes, on one thread, or on ``max_threads`` (default: torch's number) where these are measured to be faster.
    Question and setting are those of Soudry and Carmon 2016. Raises BadInput for options out of range, for
    several processes, and what ``family`` raises.
    """
    distributed.require_one_process("replicas")
    _check(widths, depths, restarts, steps, max_steps, stop_after)
    settings = list(
        zip(
            *(
                _for_each(depths, name, one)
                for name, one in (("restarts", restarts), ("init", init), ("lr", lr))
            ),
            strict=True,
        )
    )
    bounds = [bounds_of(one) for _, one, _ in settings]
    journal = {} if journal is None else journal
    most_threads = max_threads or torch.get_num_threads()
    proofs: list[checks.Check] = []
    notes: list[str] = []
    cells: dict[tuple[int, int], _Cell] = {}
    draws = False
    first = family(widths[0], depths[0], seed)
    axes = input_plane.axes(first)
    with isolated_rng(seed, first.device), checks.untouched(first, proofs):
        for (depth, (count, _, rate), ends), width in product(
            zip(depths, settings, bounds, strict=True), widths
        ):
            plan = Plan(
                step_size=rate,
                num_steps=max_steps,
                schedule="plateau",
                arguments=plateau,
                begin=steps,
                patience=stop_after,
                threshold=stop_below,
            )
            name, objective = f"depth {depth}, width {width}", family(width, depth, seed)
            begin = partial(starts, family, objective, width, depth, count, ends, seed)
            descent = descended(
                objective,
                begin,
                plan,
                count,
                name,
                memory_limit,
                most_threads,
                seed,
                journal,
                progress,
                notes,
            )
            wide = in_float64(objective)
            cells[depth, width] = _cell(wide, descent, polish, name, axes, journal, progress)
            proofs += cells[depth, width].checks
            check = replayed(
                wide, begin()[:2].double(), lambda _, rate=rate: Plan(step_size=rate, num_steps=STEPS)
            )
            proofs += [replace(check, name=f"stack at {name}")] if check else []
            draws = draws or check is None
    num_samples, num_inputs = first.num_samples, math.prod(first.samples[0][0].shape[1:])
    most = max(count for count, _, _ in settings)

    def table(values: Callable[[_Cell], Any]) -> np.ndarray:
        found = np.array([[values(cells[depth, width]) for width in widths] for depth in depths])
        # Words as wide as the longest, which is how they come back from a file.
        return np.array(found.tolist()) if found.dtype.kind == "U" else found

    names = cells[depths[0], widths[0]].rows
    rows: dict[str, Any] = {one: table(lambda cell, one=one: _padded(cell.rows[one], most)) for one in names}
    quantiles = {
        f"{one}_quantiles": _quantiles(rows[one]) for one in ("cost", "polished_cost") if one in rows
    }
    result = Minima(
        quantile=np.array(QUANTILES),
        **quantiles,
        depth=np.array(depths),
        width=np.array(widths),
        restart=np.arange(most),
        **rows,
        num_distinct=table(lambda cell: cell.num_distinct),
        num_distinct_costs=table(lambda cell: cell.num_distinct_costs),
        num_parameters=table(lambda cell: cell.num_parameters),
        is_wide=num_samples <= num_inputs * np.array(widths),
        x=axes[0] if axes else None,
        y=axes[1] if axes else None,
        prediction=table(lambda cell: cell.prediction) if axes else None,
        **(input_plane.samples(first) if axes else {}),
        num_samples=num_samples,
        num_inputs=num_inputs,
        checks=proofs,
        notes=notes,
    )
    _conclude(result, polish)
    if draws:
        result.notes.append(
            "the module draws random numbers in training, so its descent is not that of F, nor replayed"
        )
    return result


@dataclass(frozen=True)
class _Cell:
    """One width and depth: ``rows`` by field and restart, and what is counted over them."""

    rows: dict[str, np.ndarray]
    num_distinct: int
    num_distinct_costs: int
    num_parameters: int
    prediction: np.ndarray | None
    checks: list[checks.Check]


def _cell(
    wide: Objective,
    descent: dict[str, np.ndarray],
    polish: bool,
    name: str,
    axes: tuple[np.ndarray, np.ndarray] | None,
    journal: Journal,
    progress: Progress,
) -> _Cell:
    """Every end of a cell examined, for an objective in float64."""
    count = len(descent["steps"])
    numbers = ["cost", "gradient_norm", "index", "smallest_eigenvalue", "largest_eigenvalue"]
    numbers += ["polished_cost", "polished_gradient_norm"] if polish else []
    rows = {one: np.full(count, math.nan) for one in numbers}
    rows |= {"done": np.ones(count, dtype=bool), "is_exact": np.zeros(count, dtype=bool)}
    rows |= {"num_steps": descent["steps"], "num_threads": descent["threads"]}
    rows |= {"end_status": np.full(count, "diverged", dtype="U32")}
    rows |= {"polish_reason": np.full(count, "", dtype="U64")} if polish else {}
    kept = np.flatnonzero(~descent["diverged"])
    thetas = torch.from_numpy(descent["thetas"]).to(wide.device, torch.float64)
    for k in kept:
        key = f"end of {name}, restart {k}"
        if key not in journal:
            journal[key] = _end(wide, thetas[k], polish, progress, f"products at the {key}")
        for one, value in journal[key].items():
            if one == "theta":
                thetas[k] = torch.from_numpy(value).to(wide.device)
            else:
                rows[one][k] = value
        progress(int(k) + 1, count, f"ends of {name}")
    costs = rows["polished_cost" if polish else "cost"][kept]
    prediction = np.full((input_plane.GRID, input_plane.GRID), math.nan) if axes else None
    proofs = []
    if len(kept):
        best = thetas[kept[np.argmin(costs)]]
        meaning = "cost of the best end against a plain loop over model.eval()"
        proofs.append(
            checks.agreement(f"cost at {name}", wide, float(costs.min()), wide.as_point(best), meaning)
        )
        prediction = input_plane.outputs(wide, best, axes) if axes else None
    return _Cell(
        rows=rows,
        num_distinct=num_distinct_rows(_outputs(wide, thetas[kept]), SAME_OUTPUT),
        num_distinct_costs=num_distinct_values(costs, SAME_COST),
        num_parameters=wide.num_parameters,
        prediction=prediction,
        checks=proofs,
    )


def _end(wide: Objective, theta: Tensor, polish: bool, progress: Progress, what: str) -> dict[str, Any]:
    """What there is to say of one end, by field, and ``theta``: the point its Hessian was taken at."""
    end = examined(wide, theta, progress=progress, what=what)
    found: dict[str, Any] = {"cost": end.cost, "gradient_norm": end.gradient_norm}
    if polish:
        better = perfected(wide, theta, tolerance=POLISHED)
        theta = better.theta
        end = examined(wide, theta, progress=progress, what=what)
        found |= {"polished_cost": end.cost, "polished_gradient_norm": end.gradient_norm}
        found |= {"polish_reason": better.reason}
    about = {
        one: getattr(end, one) for one in ("index", "is_exact", "smallest_eigenvalue", "largest_eigenvalue")
    }
    is_kink = polish and found["polish_reason"] == KINK
    status = "kink" if is_kink and end.status == "cut short" else end.status
    return {**found, **about, "end_status": status, "theta": theta.cpu().numpy().copy()}


def _padded(values: np.ndarray, count: int) -> np.ndarray:
    """``values`` (k,) with what was not asked for: NaN, no, or no word."""
    empty = {"f": math.nan, "i": 0, "b": False, "U": ""}[values.dtype.kind]
    return np.concatenate([values, np.full(count - len(values), empty, dtype=values.dtype)])


def _quantiles(cost: np.ndarray) -> np.ndarray:
    """Over the restarts that did not diverge, in front of (depth, width, restart); NaN where all did."""
    found = np.full((*cost.shape[:2], len(QUANTILES)), math.nan)
    for cell in np.ndindex(*cost.shape[:2]):
        seen = cost[cell][np.isfinite(cost[cell])]
        if len(seen):
            found[cell] = np.quantile(seen, QUANTILES)
    return found


def _check(
    widths: Sequence[int],
    depths: Sequence[int],
    restarts: Sequence[int],
    steps: int,
    max_steps: int,
    stop_after: int,
) -> None:
    for name, values in (("widths", widths), ("depths", depths), ("restarts", restarts)):
        if not values or min(values) < 1:
            raise BadInput(f"{name} {', '.join(map(str, values)) or '(none)'}", "at least 1 each")
        if name != "restarts" and len(set(values)) < len(values):
            raise BadInput(f"{name} {', '.join(map(str, values))}", "each once")
    if not 0 <= steps <= max_steps or max_steps < 1:
        raise BadInput(
            f"{steps} steps of at most {max_steps}", "no more steps than the most, and at least 1 of those"
        )
    if stop_after < 1:
        raise BadInput(f"a stop after {stop_after} steps without progress", "at least 1")


def _for_each(depths: Sequence[int], name: str, values: Sequence[Any]) -> list[Any]:
    if len(values) not in (1, len(depths)):
        raise BadInput(
            f"{len(values)} values of {name} for {len(depths)} depths", "one for all, or one for each"
        )
    return list(values) * (len(depths) // len(values))


def _outputs(objective: Objective, thetas: Tensor) -> np.ndarray:
    """The module's outputs on the data at every point, (k, n·m)."""
    fixed, inputs = objective.present_point().fixed, objective.samples[0]
    with torch.no_grad():
        rows = [objective.outputs(theta, fixed, inputs).flatten().cpu().numpy() for theta in thetas]
    return np.array(rows).reshape(len(thetas), -1) if rows else np.empty((0, 0))


def _conclude(result: Minima, polish: bool) -> None:
    """Outcome and notes."""
    status, done = result.end_status, result.done
    num_diverged = int((status == "diverged").sum())
    if num_diverged:
        result.notes.append(f"{num_diverged} of {int(done.sum())} replicas diverged: a smaller `lr` may help")
        result.outcome = "diverged"
    tally = [
        f"{int((status == name).sum())} {name}"
        for name in ("minimum", "degenerate", "saddle", "kink", "cut short", "diverged")
    ]
    result.notes.append(f"ends by kind (cut short: ‖∇F‖ above {STATIONARY:g}): {', '.join(tally)}")
    num_unsure = int((done & ~result.is_exact & (status != "diverged")).sum())
    if num_unsure:
        result.notes.append(
            f"{num_unsure} indices are lower bounds: Lanczos found no end of the negative eigenvalues"
        )
    if polish and result.polish_reason is not None:
        reasons, counts = np.unique(result.polish_reason[done & (status != "diverged")], return_counts=True)
        listed = [f"{count} {reason or 'reached'}" for reason, count in zip(reasons, counts, strict=True)]
        result.notes.append(f"polishing to ‖∇F‖ ≤ {POLISHED:g}: {'; '.join(listed)}")
    n, d0 = result.num_samples, result.num_inputs
    wide = result.width[result.is_wide]
    if len(wide):
        result.notes.append(
            f"n = {n} ≤ d₀d₁ from width {int(wide.min())} on (d₀ = {d0}): there Theorem 3.6 (Soudry and Carmon 2016) "
            "says of one hidden layer of leaky ReLUs and one output that, for almost all data, ∂ℓ/∂h is 0 at every "
            "sample of a differentiable local minimum: with square loss its cost is 0; with log loss, where ∂ℓ/∂h "
            "never vanishes, there is none, and the cost can only fall towards 0"
        )
    else:
        result.notes.append(
            f"n = {n} > d₀d₁ at every width (d₀ = {d0}): Theorem 3.6 (Soudry and Carmon 2016) says nothing here"
        )
