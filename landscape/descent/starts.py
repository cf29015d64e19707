"""Descents from many starts as one computation: where they begin, and how they are remembered."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.descent.stacked import Stack, in_stacks
from landscape.errors import BadInput
from landscape.numerics.arrays import array_of
from landscape.numerics.steps.replicas import Plan
from landscape.objective.objective import Objective
from landscape.objective.threads import for_stack
from landscape.progress import Journal, Progress

# (width, depth, seed) ↦ the objective of a module that the seed initialises.
Family = Callable[[int, int, int], Objective]
OWN_INIT = "own"
BLOCK_STEPS = 200


def cut(family: Family, count: int, seed: int) -> Family:
    """The family on the first ``count`` samples, in an order that ``seed`` draws. Raises BadInput for too many."""

    def fewer(width: int, depth: int, own: int) -> Objective:
        whole = family(width, depth, own)
        if count > whole.num_samples:
            raise BadInput(f"{count} `samples`", f"at most the {whole.num_samples} there are")
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randperm(whole.num_samples, generator=generator)[:count].sort().values
        return whole.varied(data=whole.samples.select(rows.to(whole.device)))

    return fewer


def bounds_of(init: str) -> tuple[float, float] | None:
    """The ends of ``uniform:a,b``; None for the module's own initialisation."""
    if init == OWN_INIT:
        return None
    kind, _, ends = init.partition(":")
    try:
        low, high = (float(part) for part in ends.split(","))
    except ValueError:
        low = high = math.nan
    if kind != "uniform" or not low < high:
        raise BadInput(f"init {init!r}", "own, or uniform:a,b with a < b")
    return low, high


def starts(
    family: Family,
    objective: Objective,
    width: int,
    depth: int,
    count: int,
    bounds: tuple[float, float] | None,
    seed: int,
) -> Tensor:
    """The initial points (count, d): restart r depends on ``seed`` + r alone."""
    if bounds is None:
        return torch.stack([family(width, depth, seed + r).theta for r in range(count)])
    rows = []
    for r in range(count):
        generator = torch.Generator().manual_seed(seed + r)
        rows.append(torch.rand(objective.num_parameters, generator=generator, dtype=torch.float64))
    low, high = bounds
    return (low + (high - low) * torch.stack(rows)).to(objective.device, objective.dtype)


def bytes_of(objective: Objective) -> float:
    """What one replica takes, about."""
    return objective.dtype.itemsize * 6 * (objective.num_parameters + objective.activations)


def stack_name(cell: str) -> str:
    """What the stacks of a cell are called in the journal."""
    return f"ends of {cell}"


def descended(
    objective: Objective,
    first: Callable[[], Tensor],
    plan: Plan,
    count: int,
    cell: str,
    memory_limit: float,
    max_threads: int,
    seed: int,
    journal: Journal,
    progress: Progress,
    notes: list[str],
    only: int | None = None,
) -> dict[str, np.ndarray]:
    """Where the restarts of one cell ended, and after how many steps.

    ``thetas`` (count, d), ``steps``, ``diverged``, ``evaluated`` and ``threads`` (count,).

    ``only``: those of the stack of that number.
    """
    bytes_each = bytes_of(objective)

    def begin(rows: slice) -> tuple[Tensor, list[Plan]]:
        return first()[rows], [plan] * (rows.stop - rows.start)

    def run(stack: Stack) -> dict[str, Any]:
        replicas = stack.replicas
        stack.restored()
        while replicas.num_active:
            stack.advance(BLOCK_STEPS)
            progress(min(replicas.step, plan.num_steps), plan.num_steps, f"steps at most of {cell}")
            stack.offer()
        return {
            "thetas": array_of(replicas.thetas),
            "steps": replicas.steps.copy(),
            "diverged": replicas.diverged.copy(),
            "evaluated": replicas.evaluated.copy(),
            "threads": np.full(len(replicas.steps), torch.get_num_threads()),
        }

    found = in_stacks(
        objective,
        count,
        begin,
        run,
        name=stack_name(cell),
        bytes_each=bytes_each,
        memory_limit=memory_limit,
        seed=seed,
        journal=journal,
        threads=lambda gradients, thetas: for_stack(
            objective, len(thetas), lambda: gradients(thetas, None), max_threads
        ),
        only=only,
    )
    if len(found) > 1 and not notes:
        notes.append(
            f"{count} replicas of d = {objective.num_parameters} would take "
            f"{count * bytes_each / 2**30:.2g} GiB: trained in {len(found)} stacks, as other cells of that size"
        )
    return {name: np.concatenate([one[name] for one in found]) for name in found[0]}
