"""Many replicas trained on one data set, each within a budget of observations, their costs recorded on the way."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape.descent.stacked import Stack, in_stacks
from landscape.descent.witness import Seen, seen_of
from landscape.errors import BadInput
from landscape.numerics.arrays import array_of
from landscape.numerics.steps.replicas import Plan
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.threads import for_batches
from landscape.progress import Journal, Progress

BLOCK_STEPS = 64
# Of each parameter and activation: values, derivatives and what the arithmetic needs on the way.
NUMBERS_KEPT = 6
# What is kept holds the order of the samples of every replica.
SAVE_WEIGHT = 3.0


@dataclass(frozen=True, kw_only=True)
class Budget:
    """So many observations of each of n samples, in batches, and when the cost is recorded on the way.

    Raises BadInput for less than one observation of each sample, and for no record.

    >>> Budget(num_samples=10, batch_size=4, observations_per_sample=2, num_records=2).observations.tolist()
    [0, 8, 20]
    """

    num_samples: int
    batch_size: int
    sampling: str = "uniform"
    observations_per_sample: float = 20.0
    num_records: int = 20

    def __post_init__(self) -> None:
        if not 1 <= self.observations_per_sample < np.inf:
            raise BadInput(f"{self.observations_per_sample:g} observations per sample", "at least 1")
        if self.num_records < 1:
            raise BadInput(f"{self.num_records} records", "at least one")

    @property
    def total(self) -> int:
        """The observations that may be used."""
        return round(self.observations_per_sample * self.num_samples)

    @property
    def num_steps(self) -> int:
        """The steps that use them."""
        return int(self.steps[-1])

    @cached_property
    def steps(self) -> np.ndarray:
        """The steps at which the cost is recorded, (records + 1,): the last ones within an even division."""
        marks = self.total * np.arange(self.num_records + 1) // self.num_records
        passes, rest = divmod(marks, self._per_round)
        return passes * self._steps_per_round + rest // self.batch_size

    @property
    def observations(self) -> np.ndarray:
        """The observations used by then, (records + 1,)."""
        passes, rest = divmod(self.steps, self._steps_per_round)
        return passes * self._per_round + rest * self.batch_size

    # The last batch of a pass may be short; with replacement none is, and a round is one batch.

    @property
    def _per_round(self) -> int:
        return self.batch_size if self.sampling == "uniform" else self.num_samples

    @property
    def _steps_per_round(self) -> int:
        return -(-self._per_round // self.batch_size)


class Recorded(NamedTuple):
    """Costs (R, records), NaN from where a replica diverged on, and the end of lowest cost (None if all did).

    ``steps`` (R,) were taken by each; ``seen`` are points on the way.
    """

    costs: np.ndarray
    best: Point | None
    steps: np.ndarray
    seen: Seen


def bytes_of(objective: Objective, plans: Sequence[Plan]) -> float:
    """What each of the replicas takes."""
    n = objective.num_samples
    batches = [plan.sampler.batch_size if plan.sampler else n for plan in plans]
    numbers = objective.num_parameters + objective.activations * float(np.mean(batches)) / n
    return objective.dtype.itemsize * NUMBERS_KEPT * numbers


def recorded(
    objective: Objective,
    thetas: Tensor,
    plans: Sequence[Plan],
    due: np.ndarray,
    *,
    name: str,
    seed: int,
    memory_limit: float,
    journal: Journal,
    progress: Progress,
    notes: list[str],
    only: int | None = None,
) -> Recorded:
    """Replicas from ``thetas`` (R, d) by ``plans``, each with F at the steps in its row of ``due`` (R, records).

    One stack, or as many as ``memory_limit`` bytes ask for, which ``notes`` then says. Stacks already in
    ``journal`` are taken from there, one under way goes on from its last state. ``only``: the stack of that number.
    """
    bytes_each = bytes_of(objective, plans)

    def run(stack: Stack) -> dict[str, Any]:
        found = _run(objective, stack, due[stack.rows], progress)
        final = np.where(np.isfinite(found[:, -1]), found[:, -1], np.inf)
        end = array_of(stack.replicas.thetas[int(final.argmin())])
        return {"costs": found, "end": end, "steps": stack.replicas.steps.copy()}

    found = in_stacks(
        objective,
        len(plans),
        lambda rows: (thetas[rows], plans[rows]),
        run,
        name=name,
        bytes_each=bytes_each,
        memory_limit=memory_limit,
        seed=seed,
        journal=journal,
        threads=for_batches,
        watched=lambda i: due[i],
        weight=SAVE_WEIGHT,
        only=only,
    )
    if len(found) > 1:
        notes.append(
            f"{name}: {len(plans)} replicas would take {len(plans) * bytes_each / 2**30:.2g} GiB and were trained in "
            f"{len(found)} stacks"
        )
    costs = [one["costs"] for one in found]
    lowest = [float(np.nanmin([*one[:, -1], np.inf])) for one in costs]
    best = int(np.argmin(lowest))
    end = objective.as_point(torch.from_numpy(found[best]["end"])) if lowest[best] < np.inf else None
    steps = np.concatenate([one["steps"] for one in found])
    return Recorded(np.concatenate(costs), end, steps, seen_of(found))


def _run(objective: Objective, stack: Stack, due: np.ndarray, progress: Progress) -> np.ndarray:
    costs, replicas = np.full(due.shape, np.nan), stack.replicas
    state = stack.restored()
    if state is not None:
        costs = np.array(state["costs"])
    last = int(due.max())
    for event in np.unique(due[due >= replicas.step]):
        while replicas.step < event and replicas.num_active:
            stack.advance(min(BLOCK_STEPS, int(event) - replicas.step))
            progress(replicas.step, last, f"steps of {stack.name}")
            stack.offer(lambda: {"costs": costs.copy()})
        is_due = due == event
        rows = np.flatnonzero(is_due.any(1) & ~replicas.diverged)
        values = objective.values(replicas.thetas[torch.from_numpy(rows).to(objective.device)]).numpy()
        values = np.where(np.isfinite(values), values, np.nan)
        costs[rows] = np.where(is_due[rows], values[:, None], costs[rows])
    return costs
