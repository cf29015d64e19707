"""Training on samples that are read anew at every pass: the steps of a loop over the loader, a batch in memory."""

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import landscape
from landscape import Objective, Stream
from landscape.cli import main
from landscape.errors import BadInput

N = 301
GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(N, 3, generator=GENERATOR, dtype=torch.float64)
Y = torch.randint(0, 3, (N,), generator=GENERATOR)


def net() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Dropout(0.2), nn.Linear(4, 3)
    return nn.Sequential(*layers).double()


def loader(size: int = 70) -> DataLoader:
    return DataLoader(TensorDataset(X, Y), size)


def streamed(module: nn.Module, size: int = 70) -> Objective:
    return Objective(module, "cross_entropy", Stream(loader(size)), chunk_size=64)


def trained(objective: Objective, **options):
    return landscape.train(objective, **{"batch_size": 32, "sampling": "ordered", "lr": 0.1, **options})


def assert_same(one, other):
    assert list(one.states) == list(other.states)
    for label, state in one.states.items():
        for name, value in state.items():
            np.testing.assert_array_equal(value, other.states[label][name], err_msg=f"{label} {name}")
    np.testing.assert_array_equal(one.loss, other.loss)


@pytest.mark.parametrize("size", [32, 45, 300])
def test_steps_are_those_of_the_users_own_loop_over_the_loader(size):
    module = net()
    result = trained(streamed(module, size), epochs=3, momentum=0.9, seed=4)
    own = copy.deepcopy(module).train()
    optimiser = torch.optim.SGD(own.parameters(), 0.1, momentum=0.9)
    batches = list(loader(32))  # a loader draws a seed, beside what dropout draws
    with torch.random.fork_rng():
        torch.manual_seed(4)
        for _ in range(3):
            for x, y in batches:
                optimiser.zero_grad()
                functional.cross_entropy(own(x), y).backward()
                optimiser.step()
    for name, value in own.state_dict().items():
        found = torch.from_numpy(np.asarray(result.states["final"][name]))
        assert torch.allclose(found, value, rtol=1e-9, atol=1e-12), name
    assert result.status == "complete", result.failed
    assert result.num_observations == 3 * N
    with torch.no_grad():
        expected = functional.cross_entropy(own.eval()(X), Y)
    assert result.final_loss == pytest.approx(float(expected), rel=1e-9)
    steps = next(check for check in result.checks if check.name == "steps")
    assert steps.value < 1e-9


def test_it_is_bit_for_bit_what_it_is_in_memory():
    module = net()
    held = Objective(module, "cross_entropy", (X, Y), chunk_size=64)
    assert_same(*(trained(one, epochs=2, checkpoint_every=1) for one in (streamed(module), held)))


@pytest.mark.parametrize("stop", [1, 7, 10, 13])
def test_a_run_that_was_stopped_ends_bit_for_bit_the_same(stop):
    module, journal = net(), {}
    whole = trained(streamed(module), epochs=2, measure_every=1)

    class Stopped(Exception):
        pass

    def stopping(step, total, unit):
        if step == stop:
            raise Stopped

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("landscape.progress.SAVE_SECONDS", -1.0)
        with pytest.raises(Stopped):
            trained(streamed(module), epochs=2, measure_every=1, journal=journal, progress=stopping)
    assert_same(trained(streamed(module), epochs=2, measure_every=1, journal=journal), whole)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"sampling": "reshuffle"}, r"`sampling` reshuffle of data that are read anew.*`sampling` = ordered"),
        ({"sampling": "uniform"}, r"`sampling` uniform of data"),
        ({"method": "gd", "batch_size": 128}, r"`method` gd of data.*`method` = minibatch"),
    ],
)
def test_another_order_is_refused(options, match):
    with pytest.raises(BadInput, match=match):
        trained(streamed(net()), epochs=1, **options)


def test_batches_of_two_shapes_are_no_batch_but_those_of_one_are():
    class Lengths(IterableDataset):
        def __iter__(self):
            for start in range(0, 40, 8):
                width = 3 + start % 16 // 8
                yield X[start : start + 8, [0, 1, 2, 0][:width]], Y[start : start + 8]

    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.linspace(-1, 1, 3, dtype=torch.float64))

        def forward(self, x):
            return x.mean(1, keepdim=True) * self.weight

    def objective():
        return Objective(Mean(), "cross_entropy", Stream(DataLoader(Lengths(), batch_size=None)))

    result = trained(objective(), batch_size=8, epochs=2)
    assert result.status == "complete", result.failed
    weight = nn.Parameter(torch.linspace(-1, 1, 3, dtype=torch.float64))
    optimiser = torch.optim.SGD([weight], 0.1)
    for _ in range(2):
        for x, y in Lengths():
            optimiser.zero_grad()
            functional.cross_entropy(x.mean(1, keepdim=True) * weight, y).backward()
            optimiser.step()
    assert np.allclose(result.states["final"]["weight"], weight.detach(), rtol=1e-12)
    with pytest.raises(
        BadInput, match=r"samples 0 to 9 of the data have different shapes.*`batch_size` 8, that of"
    ):
        trained(objective(), batch_size=10, epochs=1)


def test_data_that_change_while_it_trains_are_noticed():
    passes = []

    def rows():
        passes.append(1)
        for start in range(0, N, 50):
            yield X[start : start + 50] + (len(passes) > 4) * (start == 250), Y[start : start + 50]

    with pytest.raises(BadInput, match="batch 6, from sample 250 on, is not what it was"):
        trained(Objective(net(), "cross_entropy", Stream(rows)), epochs=20, batch_size=25)


def test_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "import torch, landscape\n"
        "def net(): return torch.nn.Linear(3, 1)\n"
        "def rows():\n"
        "    generator = torch.Generator().manual_seed(0)\n"
        "    for _ in range(6):\n"
        "        x = torch.randn(16, 3, generator=generator)\n"
        "        yield x, x.sum(1, keepdim=True)\n"
        "def stream(): return landscape.Stream(rows)\n"
    )
    source = ["train", "--model", "mine.py:net", "--data", "mine.py:stream", "--loss", "mse"]
    words = [*source, "--epochs", "4", "--batch-size", "8", "-o", "a.h5"]
    assert main(words) == 2
    assert "--sampling ordered" in capsys.readouterr().err
    assert main([*words, "--sampling", "ordered"]) == 0
    result = landscape.load("a.h5")
    assert result.status == "complete"
    assert result.num_steps == 48
    assert result.final_loss < result.loss[0]


MEMORY = """
import resource, torch
from torch.utils.data import DataLoader, IterableDataset
import landscape

torch.set_num_threads(1)
BATCH, WIDTH = 2048, 1024  # 8 MB a batch

class Rows(IterableDataset):
    def __init__(self, times):
        self.times = times
    def __iter__(self):
        generator = torch.Generator().manual_seed(0)
        for _ in range(BATCH * self.times // 256):
            x = torch.randn(256, WIDTH, generator=generator)
            yield x, x[:, :1]

def trained(times):
    stream = landscape.Stream(DataLoader(Rows(times), batch_size=None))
    objective = landscape.Objective(module, "mse", stream, chunk_size=BATCH)
    return landscape.train(objective, batch_size=BATCH, sampling="ordered", epochs=2, lr=0.1)

module = torch.nn.Linear(WIDTH, 1)
trained(2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
result = trained(20)
assert result.num_steps == 40 and result.status == "complete", result.failed
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / (BATCH * WIDTH * 4))
"""


@pytest.mark.slow
@pytest.mark.cpu("its memory")
def test_twenty_batches_take_the_memory_of_two():
    run = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    # Of 18 batches more, none stays.
    assert float(run.stdout) < 3
