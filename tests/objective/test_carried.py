"""What a module carries from call to call in attributes is said: values and steps of a plain loop are others."""

import copy
from collections import deque

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import landscape
from landscape import Objective


class Recurrent(nn.Module):
    """Its state goes on from batch to batch."""

    def __init__(self):
        super().__init__()
        self.cell, self.out = nn.GRUCell(3, 4), nn.Linear(4, 2)
        self.state: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        state = (
            torch.zeros(len(x), 4).to(x) if self.state is None or len(self.state) != len(x) else self.state
        )
        state = self.cell(x, state)
        self.state = state.detach()
        return self.out(state)


class Annealed(nn.Module):
    """Its temperature falls with the calls in training."""

    def __init__(self):
        super().__init__()
        self.out, self.calls = nn.Linear(3, 2), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += self.training
        return self.out(x) * (1 + self.calls)


class Seen(nn.Module):
    """Keeps what it has seen, for nobody."""

    def __init__(self):
        super().__init__()
        self.norm, self.drop, self.out = nn.BatchNorm1d(3), nn.Dropout(0.3), nn.Linear(3, 2)
        self.last: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.last = self.out(self.drop(self.norm(x)))
        return self.last


class Average(nn.Module):
    """What it takes away moves in eval mode as well."""

    def __init__(self, reads):
        super().__init__()
        self.out, self.reads = nn.Linear(3, 2), reads
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
        return self.out(x - self.mean if self.reads else x)


def test_a_buffer_that_moves_in_eval_mode_is_said_where_it_is_read():
    assert not objective(Average(False)).notes
    notes = objective(Average(True)).notes
    assert any(
        one.startswith("a call in the mode of F writes mean, which the next one reads") for one in notes
    ), notes


class Queue(nn.Module):
    """Adds what it has seen before, which lies in a list."""

    def __init__(self, kind=list):
        super().__init__()
        self.out, self.queue = nn.Linear(3, 2), kind()

    def forward(self, x: Tensor) -> Tensor:
        out = self.out(x)
        before = self.queue.values() if isinstance(self.queue, dict) else self.queue
        said = out + sum(before) if self.queue else out
        if isinstance(self.queue, dict):
            self.queue[len(self.queue)] = out.detach().mean(0)
        else:
            self.queue.append(out.detach().mean(0))
        return said


@pytest.mark.parametrize("kind", [list, deque, dict])
def test_what_lies_in_a_list_is_as_before_after_every_call(kind):
    module = Queue(kind).double()
    module(torch.zeros(2, 3, dtype=torch.float64))
    before = list(module.queue)
    one = objective(module)
    assert one.value(one.theta) == one.value(one.theta)
    landscape.hessian(one, one.theta, top_k=1)
    assert len(module.queue) == len(before)
    assert one.notes[0].startswith("a call leaves queue behind")


def objective(module: nn.Module) -> Objective:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 3, generator=generator, dtype=torch.float64)
    return Objective(module.double(), "cross_entropy", (x, torch.arange(40) % 2))


def trained(module: nn.Module, x: Tensor, y: Tensor, names: tuple[str, ...]) -> Tensor:
    """Three passes of a plain loop, ``names`` put back before every batch."""
    start = {name: getattr(module, name) for name in names}
    stepper = torch.optim.SGD(module.parameters(), lr=0.5)
    for at in range(0, 120, 10):
        for name, value in start.items():
            setattr(module, name, value)
        rows = slice(at % 40, at % 40 + 10)
        stepper.zero_grad()
        cross_entropy(module(x[rows]), y[rows]).backward()
        stepper.step()
    return torch.cat([one.detach().flatten() for one in module.parameters()])


@pytest.mark.parametrize(("make", "name"), [(Recurrent, "state"), (Annealed, "calls")])
def test_steps_are_those_of_a_loop_that_puts_it_back_and_that_is_said(make, name):
    module = make()
    twin, own = (copy.deepcopy(module).double().train() for _ in range(2))
    problem = objective(module)
    run = landscape.train(problem, epochs=3, lr=0.5, method="minibatch", batch_size=10, sampling="ordered")
    (x,), y = problem.samples
    found = torch.cat(
        [torch.from_numpy(run.states["final"][key]).flatten() for key, _ in twin.named_parameters()]
    )
    torch.testing.assert_close(found, trained(twin, x, y, (name,)), rtol=1e-12, atol=1e-12)
    assert (found - trained(own, x, y, ())).norm() > 1e-2
    said = [note for note in run.notes if note.startswith(f"a call leaves {name} behind")]
    assert len(said) == 1
    # Evaluations tell of it where they read it as well.
    assert any(note.startswith(f"a call leaves {name} behind") for note in problem.notes) == (
        make is Recurrent
    )
    assert getattr(module, name) == getattr(make(), name)


def test_what_is_left_for_nobody_is_not_said():
    problem = objective(Seen())
    run = landscape.train(problem, epochs=1, lr=0.1, batch_size=10)
    assert not [note for note in [*problem.notes, *run.notes] if "behind" in note]
