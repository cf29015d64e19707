"""How fast gradient descent leaves a point, without noise and with noise of several sizes, all runs as one stack."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape.descent.critical import DENSE_PARAMETERS, MEMORY
from landscape.descent.gradients import stacked_gradients
from landscape.descent.stated_kicks import KICKS
from landscape.errors import BadInput
from landscape.numerics.arrays import array_of
from landscape.numerics.spectra.inertia import STATIONARY, dense_matrix, error_at, stated_error
from landscape.numerics.spectra.lanczos import top_eigenpairs
from landscape.numerics.steps.kicks import Kicks, drawn_rows
from landscape.numerics.steps.leaving import NOT_YET, Leaving
from landscape.numerics.steps.leaving import Noise as Added
from landscape.numerics.steps.replicas import Gradients, stacks
from landscape.numerics.steps.sampling import isolated_rng, kept_rng, restore_kept_rng
from landscape.objective.objective import Objective
from landscape.objective.tasks import Task, ahead
from landscape.objective.threads import for_stack, using
from landscape.objective.zeros import threshold_check, zero_threshold
from landscape.progress import Journal, Progress, Saver, silent
from landscape.result import Check

BLOCK_STEPS = 50
STACK_BYTES = 2.0**31
# Runs one of whose steps is taken again.
WATCHED = 4
# What tells the streams of directions and of samples from that of noise.
DIRECTIONS, SAMPLES = 1, 3
DIRECTIONS_AT_ONCE = 64
# Of F: what rounding makes of it along a direction in which it is constant.
FLAT = 1e-13
# Points whose last digits are others, and digits of F that are lost at the least, in ε.
ROUNDED, DIGITS = 8, 4


@dataclass(frozen=True, kw_only=True)
class Leave:
    """What is asked: see :func:`landscape.analyses.escape.escape`."""

    noise: str
    amplitudes: tuple[float, ...]
    num_seeds: int
    step_size: float
    level: float
    max_steps: int
    further: int
    quiet_above: float | None
    direction: tuple[float, ...] | None
    batch_size: int
    seed: int

    @property
    def count(self) -> int:
        return len(self.amplitudes) * self.num_seeds

    def amplitude_of(self, run: int) -> float:
        """Runs go by amplitude, then by seed."""
        return self.amplitudes[run // self.num_seeds]

    def seed_of(self, run: int) -> tuple[int, int]:
        """The same for every amplitude, so that their differences are not those of draws."""
        return self.seed, run % self.num_seeds

    def start(self, theta: Tensor, run: int) -> Tensor:
        """Where a run begins: at θ (d,), or without noise so far from it."""
        if self.noise != "none":
            return theta.clone()
        if self.direction is not None:
            way = np.array(self.direction, dtype=float)
        else:
            way = Kicks("sphere", len(theta), (*self.seed_of(run), DIRECTIONS)).at(0)
        return theta + self.amplitude_of(run) * torch.from_numpy(way.copy()).to(theta)


class Bottom(NamedTuple):
    """The ends of the spectrum of the Hessian: λ_min with what counts as zero, its vectors (k, d), and the largest |λ|.

    ``steepest`` (d,) is a vector of the latter; ``values`` are all eigenvalues, ascending, or where not ``is_whole``
    those that were looked for; ``checks`` of what counts as zero.
    """

    smallest: float
    threshold: float
    vectors: np.ndarray
    largest: float
    values: np.ndarray
    is_whole: bool
    steepest: np.ndarray
    checks: Sequence[Check] = ()


def level_of(loss: float, drop: float | None, rounding: float) -> float:
    """The loss below which a point is left. Raises BadInput where F(A) does not tell it from rounding."""
    if drop is None and loss == 0:
        raise BadInput("F(A) = 0, of which half is nothing", "how far F must fall", "give `drop`")
    fall = abs(loss) / 2 if drop is None else drop
    if fall <= rounding:
        seen = f"δ = {fall:.3g}, where F(A) = {loss:.3g} is known to {rounding:.1g}"
        raise BadInput(seen, "a fall that is no rounding", "give a larger `drop`")
    return loss - fall


def plain_run(
    objective: Objective, theta: Tensor, asked: Leave, journal: Journal, progress: Progress
) -> dict[str, Any]:
    """Gradient descent from ``theta`` itself, without noise: what is stillest on its way is the saddle, if any is."""
    return _ran(objective, theta[None], asked, None, None, {}, "without noise", 0, journal, progress)


def curvature_at(
    objective: Objective, theta: Tensor, gradient_norm: float, seed: int, progress: Progress
) -> Bottom:
    """Of the Hessian at θ (d,): all of it where d ≤ 2000, beyond the ends of the spectrum by Lanczos."""
    product, d = objective.hessian_operator(theta), objective.num_parameters
    if d <= DENSE_PARAMETERS:
        dense = dense_matrix(
            product, d, device=objective.device, memory_limit=MEMORY, product_error=lambda: product.error
        )
        eigenvalues, columns = torch.linalg.eigh(dense.matrix)
        values = array_of(eigenvalues)
        slope = objective.gradient(theta)
        threshold = zero_threshold(objective, theta, dense, eigenvalues, columns, slope)
        proofs = [threshold_check(dense, values, threshold, threshold - stated_error(dense, values))]
        lowest, rows = values <= values[0] + threshold, array_of(columns.T)
    else:
        pairs = top_eigenpairs(
            product,
            d,
            1,
            bottom=1,
            product_error=lambda: product.error,
            generator=torch.Generator().manual_seed(seed),
            device=objective.device,
            progress=lambda done, total: progress(done, total, "products for the lowest curvature"),
        )
        order = np.argsort(pairs.values)
        values = pairs.values[order]
        threshold = float(pairs.residuals.max()) + 1e-12 * pairs.scale + error_at(gradient_norm)
        rows, lowest, proofs = array_of(pairs.vectors)[order], slice(1), []
    most = int(np.abs(values).argmax())
    ends = (float(values[0]), threshold, rows[lowest], float(np.abs(values[most])))
    return Bottom(*ends, values, len(values) == d, rows[most], proofs)


def escaped(
    objective: Objective, theta: Tensor, asked: Leave, curvature: float, journal: Journal, progress: Progress
) -> dict[str, Any]:
    """Every run of ``asked`` from θ (d,), in stacks that fit memory: arrays with the runs in front."""
    bytes_each = 8.0 * 10 * (objective.num_parameters + objective.activations)
    found = []
    parts = list(enumerate(stacks(asked.count, bytes_each, STACK_BYTES)))

    def ran(number: int, rows: slice, report: Progress) -> Callable[[Journal], dict[str, Any]]:
        starts = torch.stack([asked.start(theta, run) for run in range(rows.start, rows.stop)])
        about = (objective, starts, asked, rows, curvature, _watched(asked, rows), _runs(rows), number)
        return partial(_ran, *about, progress=report)

    def task(number: int, rows: slice) -> Task:
        return Task((f"threads, {_runs(rows)}", _runs(rows)), ran(number, rows, silent))

    if len(parts) > 1:
        ahead(journal, lambda: [task(*one) for one in parts], progress, "stacks of runs")
    for number, rows in parts:
        one = ran(number, rows, progress)(journal)
        found.append({**one, "seen_runs": one["seen_runs"] + rows.start})
    every = max(int(one["every"]) for one in found)
    length = max(len(one["records"]) * int(one["every"]) // every for one in found)
    merged: dict[str, Any] = {"every": every}
    for one in found:
        thin = one.pop("records")[:: every // int(one["every"])]
        padded = np.full((max(length, len(thin)), thin.shape[1]), np.nan)
        padded[: len(thin)] = thin
        one["records"] = padded.T
    for name in found[0]:
        if name != "every":
            merged[name] = np.concatenate([one[name] for one in found])
    return merged


def _runs(rows: slice) -> str:
    """What a stack is called in the journal."""
    return f"runs {rows.start} to {rows.stop - 1}"


def _ran(
    objective: Objective,
    starts: Tensor,
    asked: Leave,
    rows: slice | None,
    curvature: float | None,
    watched: dict[int, int],
    name: str,
    number: int,
    journal: Journal,
    progress: Progress,
) -> dict[str, Any]:
    """One stack, from the journal where it is there; ``rows`` None is the run without noise."""
    if name not in journal:
        gradients = stacked_gradients(objective, training=False)
        noise = None if rows is None else added(objective, asked, rows)
        stack = Leaving(
            gradients,
            starts,
            step_size=asked.step_size,
            level=asked.level,
            max_steps=asked.max_steps,
            further=0 if rows is None else asked.further,
            noise=noise,
            curvature=curvature,
            watched=watched,
        )
        chosen = f"threads, {name}"
        if chosen not in journal:
            with isolated_rng(asked.seed, objective.device):
                most = torch.get_num_threads()
                best = for_stack(objective, len(starts), lambda: gradients(starts, None), most)
            journal[chosen] = {"number": best}
        saver = Saver(journal, "state")
        with using(journal[chosen]["number"]), isolated_rng(asked.seed + number, objective.device):
            state = saver.restore()
            if state is not None and state["of"] == name:
                stack.restore(state)
                restore_kept_rng(state, objective.device)
            while stack.num_active:
                stack.advance(BLOCK_STEPS)
                progress(min(stack.step, asked.max_steps), asked.max_steps, f"steps at most {name}")
                saver.offer(lambda: {"of": name, **kept_rng(objective.device), **stack.state()})
        journal[name] = _said(stack, watched)
    return dict(journal[name])


def _said(stack: Leaving, watched: dict[int, int]) -> dict[str, Any]:
    names = (
        "steps",
        "first",
        "losses",
        "at_exit",
        "sums",
        "lowest_norm",
        "broken",
        "first_broken",
        "diverged",
    )
    found = {name: np.array(getattr(stack, name)) for name in names}
    points = {name: array_of(getattr(stack, name)) for name in ("exits", "entries", "stillest")}
    return {
        **found,
        **points,
        "records": stack.records,
        "every": stack.every,
        "seen": array_of(stack.seen),
        "seen_runs": np.array(list(watched.keys()), dtype=np.int64),
        "seen_steps": np.array(list(watched.values()), dtype=np.int64),
    }


def _watched(asked: Leave, rows: slice) -> dict[int, int]:
    """One step each of a few runs of a stack, by their places in it: one of the first, which all take."""
    generator = np.random.default_rng((asked.seed, rows.start))
    count = rows.stop - rows.start
    who = generator.permutation(count)[:WATCHED].tolist()
    return {run: int(generator.integers(min(asked.max_steps, 4))) for run in who}


def added(objective: Objective, asked: Leave, rows: slice) -> Added | None:
    """What the noise of the runs ``rows`` adds to their gradients; None where there is none."""
    if asked.noise == "none":
        return None
    runs = np.arange(rows.start, rows.stop)
    sizes = np.array([asked.amplitude_of(int(run)) for run in runs])
    seeds = runs % asked.num_seeds
    if asked.noise == "sgd":
        source = _of_samples(stacked_gradients(objective, training=False), objective, asked, runs, seeds)
    else:
        source = _of_a_law(objective, asked, seeds)

    def noise(step: int, thetas: Tensor, slopes: Tensor, active: np.ndarray) -> Tensor:
        size = sizes[active]
        if asked.quiet_above is not None:
            size = size * (slopes.norm(dim=1).cpu().numpy() <= asked.quiet_above)
        return torch.from_numpy(size).to(slopes)[:, None] * source(step, thetas, slopes, active)

    return noise


def _of_a_law(objective: Objective, asked: Leave, seeds: np.ndarray) -> Added:
    own = {
        int(s): Kicks(asked.noise, objective.num_parameters, (asked.seed, int(s), KICKS))
        for s in np.unique(seeds)
    }

    def source(step: int, thetas: Tensor, slopes: Tensor, active: np.ndarray) -> Tensor:
        drawn = {s: own[s].at(step) for s in {int(seeds[i]) for i in active}}
        return torch.from_numpy(np.stack([drawn[int(seeds[i])] for i in active])).to(slopes)

    return source


def _of_samples(
    gradients: Gradients, objective: Objective, asked: Leave, runs: np.ndarray, seeds: np.ndarray
) -> Added:
    """The gradient of a batch, less that of all samples."""

    def source(step: int, thetas: Tensor, slopes: Tensor, active: np.ndarray) -> Tensor:
        rows = {s: _rows(objective, asked, s, step) for s in {int(seeds[i]) for i in active}}
        indices = torch.from_numpy(np.stack([rows[int(seeds[i])] for i in active])).to(thetas.device)
        return gradients(thetas, indices)[1] - slopes

    return source


def _rows(objective: Objective, asked: Leave, seed: int, step: int) -> np.ndarray:
    return drawn_rows(objective.num_samples, asked.batch_size, (asked.seed, seed, SAMPLES), step)


def statuses(found: dict[str, Any]) -> np.ndarray:
    """``left``, ``stayed`` or ``diverged``, by run."""
    words = np.where(found["steps"] != NOT_YET, "left", "stayed")
    # Words as wide as the longest, which is how they come back from a file.
    return np.array(np.where(found["diverged"], "diverged", words).tolist())


def rate_of(bottom: Bottom, gradient_norm: float, step_size: float) -> float | None:
    """ln 10/ln(1 + α|λ_min|): steps for each tenth at a strict saddle; None where that is none."""
    if gradient_norm > STATIONARY or not bottom.smallest < -bottom.threshold:
        return None
    return math.log(10) / math.log1p(step_size * -bottom.smallest)


def cosines(exits: np.ndarray, saddle: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """How much of each way from ``saddle`` (d,) to ``exits`` (R, d) lies along orthonormal ``vectors`` (k, d)."""
    ways = exits - saddle
    lengths = np.linalg.norm(ways, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.linalg.norm(ways @ vectors.T, axis=1) / lengths


def falling_share_of(values: np.ndarray) -> float:
    """P(uᵀHu < 0) of a random direction u, for the eigenvalues (d,) of H, none of them zero.

    Imhof's inversion of the characteristic function of Σ λᵢzᵢ² (Imhof 1961), z standard normal.

    >>> round(falling_share_of(np.array([1.0, 1.0, -1.0])), 6), round(falling_share_of(np.array([4.0, -1.0])), 6)
    (0.292893, 0.295167)
    """
    from scipy.integrate import quad

    if (values > 0).all() or (values < 0).all():
        return float(values[0] < 0)
    scaled = values / np.abs(values).max()

    def part(log_u: float) -> float:
        u = math.exp(log_u)
        angle = 0.5 * float(np.arctan(scaled * u).sum())
        size = 0.25 * float(np.log1p(np.square(scaled * u)).sum())
        return math.sin(angle) * math.exp(-size)

    # In the logarithm of u, whose density du/u is flat; the ends are where sin, or the product, is nothing.
    small = float(np.abs(scaled).min())
    total, _ = quad(part, -40.0, 40.0 - math.log(small), limit=2000, points=[0.0, -math.log(small)])
    return min(1.0, max(0.0, 0.5 - total / math.pi))


def falls(objective: Objective, theta: Tensor, radius: float, count: int, seed: int) -> tuple[int, int]:
    """Along how many of ``count`` random directions F is lower at ``radius`` from θ (d,), and lower or higher.

    Along the others what changes is within the rounding of F: whether it falls there is not seen.
    """
    kicks = Kicks("sphere", len(theta), (seed, DIRECTIONS, KICKS))
    here, lower, seen = objective.value(theta), 0, 0
    for begin in range(0, count, DIRECTIONS_AT_ONCE):
        ways = [kicks.at(k) for k in range(begin, min(begin + DIRECTIONS_AT_ONCE, count))]
        values = objective.values(theta + radius * torch.from_numpy(np.stack(ways)).to(theta))
        change = values.cpu().double() - here
        lower += int((change < -FLAT * abs(here)).sum())
        seen += int((change.abs() > FLAT * abs(here)).sum())
    return lower, seen


def rounding_of(objective: Objective, theta: Tensor) -> float:
    """What F at θ (d,) is not known better than: the most that it changes as the last digits of θ do, of a few."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(ROUNDED, len(theta), generator=generator, dtype=torch.float64).to(theta)
    eps, here = torch.finfo(theta.dtype).eps, objective.value(theta)
    changes = (objective.values(theta * (1 + eps * noise)) - here).abs()
    return max(DIGITS * eps * abs(here), float(changes.nan_to_num(0.0, 0.0).max()))
