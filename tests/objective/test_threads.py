"""Threads: one for small objectives without measuring, the faster number for large ones."""

import pytest
import torch
from torch import nn

from landscape.objective import threads
from landscape.objective.objective import Objective

pytestmark = pytest.mark.cpu("counts its threads")


@pytest.fixture
def objective() -> Objective:
    return Objective(nn.Linear(4, 1), "mse", (torch.ones(8, 4), torch.zeros(8, 1)))


def test_a_small_objective_is_not_measured(objective, monkeypatch):
    monkeypatch.setattr(Objective, "value_and_gradient", lambda *_: pytest.fail("measured"))
    assert threads.best_number(objective) == 1


@pytest.mark.parametrize(
    ("cost", "best"), [({1: 1.0, 4: 2.0}, 1), ({1: 1.0, 4: 0.9}, 1), ({1: 1.0, 4: 0.5}, 4)]
)
def test_more_threads_must_earn_their_cores(objective, monkeypatch, cost, best):
    clock, number = [0.0], [4]
    monkeypatch.setattr(threads, "SMALL_ACTIVATIONS", 0)
    monkeypatch.setattr(threads.torch, "get_num_threads", lambda: number[0])
    monkeypatch.setattr(threads.torch, "set_num_threads", lambda n: number.__setitem__(0, n))
    monkeypatch.setattr(threads.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(
        Objective, "value_and_gradient", lambda *_: clock.__setitem__(0, clock[0] + cost[number[0]])
    )
    assert threads.best_number(objective) == best
    assert number == [4]


@pytest.mark.parametrize(("size", "cost", "best"), [(8, 0.1, 1), (2**20, 0.9, 1), (2**20, 0.5, 4)])
def test_a_stack_is_measured_by_its_own_steps(objective, monkeypatch, size, cost, best):
    clock, number = [0.0], [1]
    monkeypatch.setattr(threads.torch, "get_num_threads", lambda: number[0])
    monkeypatch.setattr(threads.torch, "set_num_threads", lambda n: number.__setitem__(0, n))
    monkeypatch.setattr(threads.time, "perf_counter", lambda: clock[0])

    def step():
        clock[0] += cost if number[0] == 4 else 1.0

    assert threads.for_stack(objective, size // 8, step, 4) == best
    assert number == [1]
    assert (clock == [0.0]) == (size < threads.SMALL_STACK)


def test_the_number_is_restored_after_an_error():
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), threads.using(before + 1):
        1 / 0  # noqa: B018
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(("rows", "cost", "best"), [(8, 0.1, 1), (2**20, 0.9, 1), (2**20, 0.5, 4)])
def test_batches_are_measured_by_a_sample_each(monkeypatch, rows, cost, best):
    clock, number, seen = [0.0], [4], []
    monkeypatch.setattr(threads.torch, "get_num_threads", lambda: number[0])
    monkeypatch.setattr(threads.torch, "set_num_threads", lambda n: number.__setitem__(0, n))
    monkeypatch.setattr(threads.time, "perf_counter", lambda: clock[0])

    def gradients(thetas, indices):
        seen.append(tuple(indices.shape))
        clock[0] += cost if number[0] == 4 else 1.0

    assert threads.for_batches(gradients, torch.zeros(rows, 1)) == best
    assert number == [4]
    assert set(seen) == ({(rows, 1)} if rows > 8 else set())
