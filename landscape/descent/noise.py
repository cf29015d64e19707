"""Many runs of SGD as one stack, with the full gradient measured on the way."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape.descent.gradients import perceptron_layers
from landscape.descent.known_sizes import FIXED, KnownSizes
from landscape.descent.stacked import Stack, in_stacks
from landscape.descent.witness import Seen, seen_of
from landscape.errors import NotFinite
from landscape.numerics.arrays import array_of
from landscape.numerics.steps.replicas import Gradients, Plan
from landscape.numerics.steps.sampling import Sampler
from landscape.numerics.steps.stationarity import random_steps
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.threads import for_batches
from landscape.progress import Journal, Progress

# Activations of the full gradients that are taken together, and bytes of the replicas in one stack.
MEASURED_ACTIVATIONS = 2**20
STACK_BYTES = 2.0**31
SAVE_WEIGHT = 6.0
# By default one step in so many is measured, and in short runs no fewer than these.
ONE_IN, AT_LEAST = 100, 30
# Steps of gradient descent between two reports.
DESCENT_STEPS = 100


class Setting(NamedTuple):
    """One step size α and one batch size B."""

    step_size: float
    batch_size: int


class NoisyRuns(NamedTuple):
    """Means of ‖∇F(θ_k)‖² over each run (setting, seed), weighted by step sizes, which diverged, their ends (…, d).

    ``seen`` are points on the way, before measured steps; ``values`` (w, measurements) all ‖∇F(θ_k)‖² of the runs
    ``watched`` (w,).
    """

    means: np.ndarray
    diverged: np.ndarray
    ends: Tensor
    seen: Seen
    watched: np.ndarray
    values: np.ndarray

    @property
    def lost(self) -> np.ndarray:
        """Runs whose mean is no number: they diverged, or a gradient on their way was not finite."""
        return self.diverged | ~np.isfinite(self.means)


def noisy_runs(
    objective: Objective,
    gradients: Gradients,
    start: Tensor,
    settings: Sequence[Setting],
    *,
    num_seeds: int,
    num_steps: int,
    measure_every: int | None,
    seed: int,
    journal: Journal,
    progress: Progress,
    known: KnownSizes = FIXED,
) -> NoisyRuns:
    """``num_steps`` of SGD with replacement from ``start`` (d,), ``num_seeds`` runs for each setting.

    The step size of a setting is the first of a schedule, ``known``.
    ‖∇F‖² is taken at θ before each ``measure_every``-th step, or at random steps of each run. A run that
    diverges has the mean NaN and stays where it was. Every run has generators of its own, for its
    samples and its measurements.
    """
    count = len(settings) * num_seeds
    own = np.random.SeedSequence(seed).generate_state(2 * count, np.uint64).reshape(count, 2) >> 1
    factors = known.factors(num_steps)
    how = {"num_steps": num_steps, "schedule": known.schedule, "arguments": known.arguments}

    def due(which: int) -> np.ndarray:
        return measured_steps(num_steps, measure_every, int(own[which, 1]), factors)

    def begin(rows: slice) -> tuple[Tensor, list[Plan]]:
        plans = []
        for which in range(rows.start, rows.stop):
            alpha, size = settings[which // num_seeds]
            sampler = Sampler("uniform", objective.num_samples, size, int(own[which, 0]))
            plans.append(Plan(step_size=alpha, sampler=sampler, **how))
        return start.repeat(len(plans), 1), plans

    def run(stack: Stack) -> dict[str, Any]:
        measured = [due(which) for which in range(stack.rows.start, stack.rows.stop)]
        weights = [step_weights(steps, measure_every, factors) for steps in measured]
        return _MeasuredStack(objective, stack, gradients, measured, weights).run(progress)

    found = in_stacks(
        objective,
        count,
        begin,
        run,
        name="runs",
        bytes_each=16 * objective.num_parameters * torch.finfo(objective.dtype).bits / 8,
        memory_limit=STACK_BYTES,
        seed=seed,
        journal=journal,
        gradients=gradients,
        threads=for_batches,
        watched=due,
        weight=SAVE_WEIGHT,
    )
    means, diverged, ends = (
        np.concatenate([one[key] for one in found]) for key in ("means", "diverged", "ends")
    )
    shape = (len(settings), num_seeds)
    thetas = torch.from_numpy(ends).to(start).reshape(*shape, -1)
    watched, values = (np.concatenate([one[key] for one in found]) for key in ("watched", "values"))
    return NoisyRuns(means.reshape(shape), diverged.reshape(shape), thetas, seen_of(found), watched, values)


def objective_beside(objective: Objective, theta: Point | Tensor) -> tuple[Objective, Tensor]:
    """θ (d,), and the objective whose module has for its own what stands beside θ at a point.

    The user's own module where it has that already, since a copy may be another function: its ``forward``, or a hook,
    may close over what it was copied from.
    """
    point, present = objective.as_point(theta), objective.present_point().fixed
    if all(torch.equal(tensor, present[name]) for name, tensor in point.fixed.items()):
        return objective, point.theta
    return objective.varied(module=objective.module_at(point)), point.theta


def gradient_descent(
    objective: Objective,
    gradients: Gradients,
    start: Tensor,
    *,
    num_steps: int,
    step_size: float,
    seed: int,
    journal: Journal,
    progress: Progress,
) -> tuple[Tensor, int]:
    """Where ``num_steps`` of gradient descent lead from ``start`` (d,), and how often it took ∇F. Raises NotFinite."""

    def run(stack: Stack) -> dict[str, Any]:
        replica = stack.replicas
        stack.restored()
        while replica.num_active:
            stack.advance(DESCENT_STEPS)
            progress(replica.step, num_steps, "steps of gradient descent")
            stack.offer()
        if replica.diverged[0]:
            raise NotFinite(f"gradient descent diverges at step size {step_size:g}", "", "take a smaller one")
        return {"theta": array_of(replica.thetas[0]), "evaluated": int(replica.evaluated[0])}

    (found,) = in_stacks(
        objective,
        1,
        lambda _: (start[None], [Plan(step_size=step_size, num_steps=num_steps)]),
        run,
        name="descent",
        bytes_each=1.0,
        memory_limit=STACK_BYTES,
        seed=seed,
        journal=journal,
        gradients=gradients,
    )
    return torch.from_numpy(found["theta"]).to(start), int(found["evaluated"])


def measured_steps(
    num_steps: int, measure_every: int | None, seed: int, factors: np.ndarray | None = None
) -> np.ndarray:
    """The steps before which a run is measured, ascending; at random each as often as its ``factors`` (K,) say."""
    if measure_every is not None:
        return np.arange(0, num_steps, measure_every)
    count = max(math.ceil(num_steps / ONE_IN), min(num_steps, AT_LEAST))
    return random_steps(num_steps, count, np.random.default_rng(seed), factors)


def step_weights(steps: np.ndarray, measure_every: int | None, factors: np.ndarray | None) -> np.ndarray:
    """What ‖∇F‖² before each of ``steps`` counts for: its size, where its size has not decided how often it comes."""
    if factors is None or measure_every is None:
        return np.ones(len(steps))
    return factors[steps]


class _MeasuredStack:
    """Replicas and the weighted sums of ‖∇F‖² that each has gathered; points wait until a block of them is full."""

    def __init__(
        self,
        objective: Objective,
        stack: Stack,
        gradients: Gradients,
        measured: Sequence[np.ndarray],
        weights: Sequence[np.ndarray],
    ):
        self._stack, self.replicas = stack, stack.replicas
        self._objective, self._gradients = objective, gradients
        self._is_plain = perceptron_layers(objective) is not None
        self._fixed = objective.present_point().fixed
        self._block = max(1, min(64, MEASURED_ACTIVATIONS // max(1, objective.activations)))
        owners = np.concatenate([np.full(len(steps), i) for i, steps in enumerate(measured)])
        steps = np.concatenate(measured)
        order = np.lexsort((owners, steps))
        self._due_steps, self._due_owners = steps[order], owners[order]
        self._weights, self._totals = weights, np.array([one.sum() for one in weights])
        self._sums = np.zeros(len(measured))
        # What is measured of the runs that are looked at, in order, and how often each run was.
        self._watched = stack.witness.who.copy()
        self._values = np.full((len(self._watched), max(map(len, measured))), np.nan)
        self._measured = np.zeros(len(measured), dtype=np.int64)
        self._waiting: list[tuple[int, Tensor]] = []

    def run(self, progress: Progress) -> dict[str, Any]:
        """Every step, from where the kept state stands: means, who diverged, and the ends (R, d)."""
        state = self._stack.restored()
        if state is not None:
            self._restore(state)
        total = max(plan.num_steps for plan in self.replicas.plans)
        number, count = self._stack.number, self._stack.count
        while self.replicas.num_active:
            step = self.replicas.step
            first, last = np.searchsorted(self._due_steps, [step, step + 1])
            if last > first:
                thetas = self.replicas.thetas
                owners = [int(i) for i in self._due_owners[first:last] if not self.replicas.diverged[i]]
                self._waiting += [(owner, thetas[owner].clone()) for owner in owners]
                self._measure(self._block)
            following = self._due_steps[last] if last < len(self._due_steps) else total
            self._stack.advance(int(following) - step)
            progress(number * total + self.replicas.step, count * total, "steps")
            self._stack.offer(self._state)
        self._measure(1)
        return {
            "means": np.where(self.replicas.diverged, np.nan, self._sums / self._totals),
            "diverged": self.replicas.diverged.copy(),
            "ends": array_of(self.replicas.thetas),
            "watched": self._watched + self._stack.rows.start,
            "values": self._values.copy(),
        }

    def _measure(self, at_least: int) -> None:
        """Take the full gradients of the points that wait, while there are so many."""
        while len(self._waiting) >= at_least:
            block, self._waiting = self._waiting[: self._block], self._waiting[self._block :]
            slopes = self._slopes([theta for _, theta in block])
            squares = slopes.double().square().sum(1).cpu().numpy()
            for (owner, _), square in zip(block, squares, strict=True):
                which = self._measured[owner]
                self._sums[owner] += self._weights[owner][which] * square
                self._values[self._watched == owner, which] = square
                self._measured[owner] += 1

    def _slopes(self, thetas: list[Tensor]) -> Tensor:
        """∇F at each point: of a perceptron together, of others one by one, in eval mode and in chunks."""
        if self._is_plain:
            return self._gradients(torch.stack(thetas), None)[1]
        return torch.stack([self._objective.gradient(theta, self._fixed) for theta in thetas])

    def _state(self) -> dict[str, Any]:
        waiting = [array_of(theta) for _, theta in self._waiting]
        return {
            "sums": self._sums.copy(),
            "values": self._values.copy(),
            "measured": self._measured.copy(),
            "waiting owners": np.array([owner for owner, _ in self._waiting], dtype=np.int64),
            "waiting thetas": np.array(waiting).reshape(len(waiting), self._objective.num_parameters),
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._sums, self._values = np.array(state["sums"]), np.array(state["values"])
        self._measured = np.array(state["measured"])
        thetas = torch.from_numpy(np.array(state["waiting thetas"])).to(self.replicas.thetas)
        self._waiting = list(zip(state["waiting owners"].tolist(), thetas, strict=True))
