"""Descents from many starts as one computation: where they begin, and how they are remembered."""

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.descent.gradients import stacked_gradients
from landscape.errors import BadInput
from landscape.numerics.steps.replicas import Plan, Replicas, stacks
from landscape.numerics.steps.sampling import isolated_rng, kept_rng, restore_kept_rng
from landscape.objective.objective import Objective
from landscape.objective.threads import for_stack, using
from landscape.progress import Journal, Progress

# (width, depth, seed) ↦ the objective of a module that the seed initialises.
Family = Callable[[int, int, int], Objective]
OWN_INIT = "own"
BLOCK_STEPS = 200
SAVE_SECONDS = 5.0


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
) -> dict[str, np.ndarray]:
    """Where the restarts of one cell ended: ``thetas`` (count, d), ``steps``, ``diverged`` and ``threads`` (count,)."""
    bytes_each = objective.dtype.itemsize * 6 * (objective.num_parameters + objective.activations)
    parts = stacks(count, bytes_each, memory_limit)
    if len(parts) > 1 and not notes:
        notes.append(
            f"{count} replicas of d = {objective.num_parameters} would take "
            f"{count * bytes_each / 2**30:.2g} GiB: trained in {len(parts)} stacks, as other cells of that size"
        )
    gradients = None
    found = []
    for number, part in enumerate(parts):
        key = f"ends of {cell}, stack {number}"
        if key not in journal:
            gradients = gradients or stacked_gradients(objective)
            thetas, size = first()[part], part.stop - part.start
            state: dict[str, Any] = journal.get("state") or {}
            if state.get("stack") == key:
                threads = state["threads"]
            else:
                state, threads = {}, for_stack(objective, size, partial(gradients, thetas, None), max_threads)
            replicas = Replicas(gradients, thetas, [plan] * size)
            # Dropout draws from the global generators: for each stack from the seed, whatever went before.
            with using(threads), isolated_rng(seed + number, objective.device):
                report = lambda done, total: progress(done, total, f"steps at most of {cell}")  # noqa: E731
                about = {"stack": key, "threads": threads}
                _run(replicas, about, state, objective.device, journal, report)
            journal[key] = {
                "thetas": replicas.thetas.cpu().numpy().copy(),
                "steps": replicas.steps.copy(),
                "diverged": replicas.diverged.copy(),
                "threads": np.full(size, threads),
            }
        found.append(journal[key])
    return {name: np.concatenate([one[name] for one in found]) for name in found[0]}


def _run(
    replicas: Replicas,
    about: dict[str, Any],
    state: dict[str, Any],
    device: torch.device,
    journal: Journal,
    progress: Callable[[int, int], None],
) -> None:
    """Every step, from ``state`` on; what is under way is kept in ``journal``."""
    if state:
        replicas.restore(state)
        restore_kept_rng(state, device)
    last_save, most = time.monotonic(), replicas.plans[0].num_steps
    while replicas.num_active:
        replicas.advance(BLOCK_STEPS)
        progress(min(replicas.step, most), most)
        if time.monotonic() - last_save > SAVE_SECONDS:
            journal["state"] = {**about, **kept_rng(device), **replicas.state()}
            last_save = time.monotonic()
