"""Starting a command, training and journals beside what everybody would write, as ratios measured in one run.

The default run leaves this folder out: ``pytest -o addopts= tests/benchmarks -s``. One thread. Times are those of the
processor, so that a busy machine does not decide.
"""

import copy
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

import pytest
import torch
from torch import nn
from torch.nn import functional

from landscape import Objective, train
from landscape.inputs.data import load_data
from landscape.inputs.models.cnn import cnn
from landscape.inputs.models.mlp import mlp
from landscape.runs.journal import Journal

NET = """
import torch
from torch import nn


def build():
    return nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2))


def data():
    x = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    return x, (x[:, 0] > 0).long()
"""


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def seconds(function: Callable[[], object], who: int) -> float:
    before = resource.getrusage(who)
    function()
    after = resource.getrusage(who)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def ratio(ours: Callable[[], object], theirs: Callable[[], object], rounds: int, who: int) -> float:
    """Median over the rounds of the time of ``ours`` over that of ``theirs`` right after it; one more warms up."""
    found = [seconds(ours, who) / seconds(theirs, who) for _ in range(rounds + 1)]
    print(f"{median(found[1:]):.3f}")
    return median(found[1:])


@pytest.mark.parametrize(
    "command", ["hessian a.h5 --top-k 1", "interpolate a.h5 b.h5"], ids=["hessian", "interpolate"]
)
def test_a_command_takes_little_longer_than_the_import_of_torch(tmp_path, command):
    (tmp_path / "net.py").write_text(NET)
    # Compiled once, as an installation is.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPYCACHEPREFIX": str(tmp_path / "compiled")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def run(*arguments: str) -> None:
        whole = [sys.executable, *arguments]
        subprocess.run(whole, check=True, capture_output=True, cwd=tmp_path, env=environment)

    own = ["--model", "net.py:build", "--data", "net.py:data", "--loss", "cross_entropy", "--epochs", "1"]
    for name, seed in (("a.h5", "0"), ("b.h5", "1")):
        run("-m", "landscape", "train", *own, "--seed", seed, "-o", name)
    ours = ["-m", "landscape", *command.split(), "-o", "c.h5", "--overwrite"]
    found = ratio(lambda: run(*ours), lambda: run("-c", "import torch"), 5, resource.RUSAGE_CHILDREN)
    assert found <= 1.4


def plain(module: nn.Module, x: torch.Tensor, y: torch.Tensor, epochs: int, size: int) -> None:
    module = copy.deepcopy(module).train()
    optimiser = torch.optim.SGD(module.parameters(), 0.05, momentum=0.9)
    for _ in range(epochs):
        for batch in torch.randperm(len(y)).split(size):
            optimiser.zero_grad()
            functional.cross_entropy(module(x[batch]), y[batch]).backward()
            optimiser.step()


# The proofs of a run are a few passes over the data, which eight passes of a net that is all arithmetic do not hide.
@pytest.mark.parametrize(
    ("net", "size", "epochs", "bound"),
    [("mlp", 64, 20, 1.25), ("mlp", 1, 1, 1.2), ("cnn", 64, 8, 1.35), ("cnn", 64, 60, 1.15)],
)
def test_training_is_about_as_fast_as_the_plain_loop(net, size, epochs, bound):
    data = load_data("digits", {"image": net == "cnn"}, None)
    (x,), y = data.inputs if isinstance(data.inputs, tuple) else (data.inputs,), data.targets
    module = cnn((1, 8, 8), 10) if net == "cnn" else mlp((64,), 10, widths=(100, 100))
    objective = Objective(module, "cross_entropy", (x, y))
    options = {"epochs": epochs, "batch_size": size, "lr": 0.05, "momentum": 0.9}
    found = ratio(
        lambda: train(objective, **options),
        lambda: plain(module, x, y, epochs, size),
        3 if epochs > 20 else 7,
        resource.RUSAGE_SELF,
    )
    assert found <= bound


def test_a_journal_and_progress_take_less_than_a_hundredth(tmp_path):
    """Of a run of some seconds: what the journal and the line of progress take, counted inside it."""
    data = load_data("digits", {}, None)
    objective = Objective(mlp((64,), 10, widths=(100, 100)), "cross_entropy", (data.inputs, data.targets))
    spent = [0.0]

    class Timed(Journal):
        def __setitem__(self, key, piece):
            start = time.process_time()
            super().__setitem__(key, piece)
            spent[0] += time.process_time() - start

    def progress(done: int, total: int, what: str) -> None:
        print(f"\r{done}/{total} {what}", end="") if done % 100 == 0 else None

    journal = Timed(tmp_path / "run.part", {"kind": "train"})
    start = time.process_time()
    train(
        objective, epochs=300, batch_size=64, lr=0.05, checkpoint_every=50, journal=journal, progress=progress
    )
    whole = time.process_time() - start
    journal.remove()
    print(f"{spent[0] / whole:.4f}")
    assert spent[0] <= 0.01 * whole
