"""Replicas in several stacks: the same ones as in one, whatever was there before, and with threads chosen once."""

from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from landscape import Objective
from landscape.descent.stacked import Stack, in_stacks
from landscape.numerics.steps.replicas import Plan

COUNT, STEPS = 5, 20


def problem(dropout: float) -> Objective:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(30, 3, dtype=torch.float64, generator=generator)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(2)
        module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Dropout(dropout), nn.Linear(4, 1)).double()
    return Objective(module, "mse", (x, x[:, :1].sin()), dtype=torch.float64)


def trained(objective: Objective, memory_limit: float, journal: dict, threads=None) -> tuple[np.ndarray, int]:
    """Where the replicas end, and in how many stacks."""
    starts = objective.theta + 0.1 * torch.arange(COUNT)[:, None]

    def run(stack: Stack) -> dict:
        stack.restored()
        while stack.replicas.num_active:
            stack.replicas.advance(1)
            stack.offer()
        return {"thetas": stack.replicas.thetas.numpy().copy()}

    found = in_stacks(
        objective,
        COUNT,
        lambda rows: (starts[rows], [Plan(step_size=0.1, num_steps=STEPS)] * (rows.stop - rows.start)),
        run,
        name="replicas",
        bytes_each=1.0,
        memory_limit=memory_limit,
        seed=7,
        journal=journal,
        threads=threads,
    )
    return np.concatenate([one["thetas"] for one in found]), len(found)


@cache
def undisturbed(dropout: float) -> np.ndarray:
    """Where the replicas end that nothing stops, in three stacks."""
    return trained(problem(dropout), 2.0, {})[0]


def test_cut_to_memory_they_are_the_same_replicas():
    whole, one = trained(problem(0.0), COUNT, {})
    parts, several = trained(problem(0.0), 2.0, {})
    assert (one, several) == (1, 3)
    np.testing.assert_allclose(parts, whole, rtol=1e-12)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("after", [1, 9, 30, 55])
def test_stopped_anywhere_they_go_on_bit_for_bit(monkeypatch, dropout, after):
    monkeypatch.setattr("landscape.progress.SAVE_SECONDS", -1.0)

    class Stopping(dict):
        """Stops after so many savings."""

        left = after

        def __setitem__(self, key, value):
            super().__setitem__(key, value)
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt

    journal = Stopping()
    with pytest.raises(KeyboardInterrupt):
        trained(problem(dropout), 2.0, journal)
    torch.rand(3)  # another process has another global generator
    again, _ = trained(problem(dropout), 2.0, dict(journal))
    np.testing.assert_array_equal(again, undisturbed(dropout))


def test_a_stack_draws_the_same_whatever_went_before():
    """The third stack alone, the first two being there: its dropout is that of a run through all of them."""
    journal: dict = {}
    whole, _ = trained(problem(0.5), 2.0, journal)
    del journal["replicas, stack 2"]
    journal.pop("state", None)
    np.testing.assert_array_equal(trained(problem(0.5), 2.0, journal)[0], whole)
    assert not np.array_equal(undisturbed(0.0), whole)


def test_threads_are_measured_once_and_remembered_and_draw_nothing_of_the_replicas():
    asked = []

    def threads(gradients, thetas):
        asked.append(len(thetas))
        gradients(thetas, None)
        torch.rand(5)
        return 1

    journal: dict = {}
    torch.default_generator.manual_seed(0)
    before = torch.get_rng_state()
    measured, _ = trained(problem(0.5), 2.0, journal, threads)
    assert torch.equal(torch.get_rng_state(), before)
    assert asked == [2, 2, 1]
    for number in range(3):
        del journal[f"replicas, stack {number}"]
    journal.pop("state", None)
    np.testing.assert_array_equal(trained(problem(0.5), 2.0, journal, threads)[0], measured)
    assert asked == [2, 2, 1]
