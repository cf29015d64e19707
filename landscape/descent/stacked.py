"""Replicas cut into stacks that fit memory, each with threads and random numbers of its own, and remembered."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from landscape.descent.gradients import stacked_gradients
from landscape.descent.witness import Witness
from landscape.numerics.steps.replicas import Gradients, Plan, Replicas, stacks
from landscape.numerics.steps.sampling import isolated_rng, kept_rng, restore_kept_rng
from landscape.objective.objective import Objective
from landscape.objective.threads import using
from landscape.progress import Journal, Saver


@dataclass(frozen=True)
class Stack:
    """Some of the replicas as one computation; ``rows`` says which, ``number`` of ``count`` where it stands."""

    replicas: Replicas
    witness: Witness
    rows: slice
    name: str
    number: int
    count: int
    device: torch.device
    saver: Saver

    def advance(self, num_steps: int) -> None:
        """Up to ``num_steps`` steps of the replicas, before the eyes of the witness."""
        end = self.replicas.step + num_steps
        while self.replicas.num_active and self.replicas.step < end:
            self.witness.look(self.replicas)
            self.replicas.advance(min(end, self.witness.next_look(self.replicas.step)) - self.replicas.step)
        self.witness.look(self.replicas)

    def restored(self) -> Mapping[str, Any] | None:
        """The state kept of this stack, None if there is none: replicas and global generators are set back to it."""
        state = self.saver.restore()
        if state is None or state["stack"] != self.name:
            return None
        self.replicas.restore(state)
        self.witness.restore(state)
        restore_kept_rng(state, self.device)
        return state

    def offer(self, more: Callable[[], dict[str, Any]] = dict) -> None:
        """A state to go on from, ``more()`` beside the replicas', kept when the time has come."""
        self.saver.offer(
            lambda: {
                "stack": self.name,
                **more(),
                **kept_rng(self.device),
                **self.witness.state(),
                **self.replicas.state(),
            }
        )


def in_stacks(
    objective: Objective,
    count: int,
    begin: Callable[[slice], tuple[Tensor, Sequence[Plan]]],
    run: Callable[[Stack], dict[str, Any]],
    *,
    name: str,
    bytes_each: float,
    memory_limit: float,
    seed: int,
    journal: Journal,
    gradients: Gradients | None = None,
    threads: Callable[[Gradients, Tensor], int] | None = None,
    watched: Callable[[int], np.ndarray] | None = None,
    weight: float = 1.0,
    only: int | None = None,
) -> list[dict[str, Any]]:
    """What ``run`` says of each stack of ``count`` replicas, in order: arrays and numbers that are remembered.

    ``begin(rows)`` gives the starts (R, d) of some replicas and their plans. There are as many stacks as
    ``memory_limit`` bytes ask for. ``threads(gradients, starts)`` chooses their number once for a stack, by
    measurement, and is remembered too (default: torch's). A stack in ``journal`` is taken from there, one under
    way goes on from its last state, for which ``run`` calls :meth:`Stack.restored`; ``weight`` is that of
    :class:`~landscape.progress.Saver`. What a :class:`~landscape.descent.witness.Witness` saw, with ``watched`` for
    all replicas, stands beside what ``run`` says. ``only``: the stack of that number alone.
    """
    found = []
    parts = stacks(count, bytes_each, memory_limit)
    for number, rows in enumerate(parts):
        if only is not None and number != only:
            continue
        key = key_of(name, number)
        if key not in journal:
            gradients = gradients or stacked_gradients(objective)
            thetas, plans = begin(rows)
            chosen = threads_of(key)
            if chosen not in journal:
                # What is measured draws as it will, and none of that reaches the replicas.
                with isolated_rng(seed, objective.device):
                    most = torch.get_num_threads()
                    journal[chosen] = {"number": threads(gradients, thetas) if threads else most}
            replicas, saver = Replicas(gradients, thetas, plans), Saver(journal, "state", weight=weight)
            own = watched and partial(_from, watched, rows.start)
            witness = Witness(plans, thetas[0], (seed, crc32(key.encode())), own)
            stack = Stack(replicas, witness, rows, key, number, len(parts), objective.device, saver)
            # Dropout draws from the global generators: for each stack from the seed, whatever went before.
            with using(journal[chosen]["number"]), isolated_rng(seed + number, objective.device):
                journal[key] = {**run(stack), **witness.found(replicas, rows.start)}
        found.append(journal[key])
    return found


def key_of(name: str, number: int) -> str:
    """Where a stack of ``name`` stands in the journal."""
    return f"{name}, stack {number}"


def threads_of(key: str) -> str:
    """Where its number of threads stands."""
    return f"threads of {key}"


def _from(watched: Callable[[int], np.ndarray], begin: int, number: int) -> np.ndarray:
    return watched(begin + number)
