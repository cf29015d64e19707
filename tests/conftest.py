"""What every test shares: one thread, small problems with known answers, command lines run in this process."""

import functools
import gc
import json
import os
import random
import traceback
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import devices
import hypothesis
import lengths
import numpy as np
import pytest
import torch
from torch import nn
from torch._export import utils as export_utils
from torch._subclasses import fake_tensor

from landscape import Objective
from landscape.cli import main

# A net and data so small that each command takes milliseconds.
TINY = ["--model", "mlp", "--model-arg", "widths=6", "--data", "moons", "--data-arg", "num_samples=60"]

torch.set_num_threads(1)
# Nor in what tests start: threads that wait for one another on a busy machine take a hundred times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What files of tests draw as they are imported is the same on every run.
torch.manual_seed(0)
# The same examples on every run, and no deadline: the first call of an operation in a process is slow.
hypothesis.settings.register_profile("landscape", deadline=None, derandomize=True, max_examples=40)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=400)
hypothesis.settings.load_profile("landscape")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device", default="cpu", help="where objectives compute: cpu, cuda or pretend (tests/pretend.py)"
    )


def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("--device").startswith("cuda"):
        # ``auto`` is to mean the CPU in what the tests start as well.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if config.getoption("numprocesses") and config.option.dist == "load":
        # What the tests of a file share is computed once.
        config.option.dist = "loadfile"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    long = lengths.listed()
    for item in items:
        if item.nodeid in long:
            item.add_marker("long")


def pytest_collection_finish() -> None:
    """What is imported by now stays: looking through it for cycles, again and again, took a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 100)


def pytest_runtest_setup(item: pytest.Item) -> None:
    device = item.config.getoption("--device")
    if device == "cpu":
        return
    if device != "pretend" and not torch.cuda.is_available():
        pytest.skip(f"this machine has no {device} device")
    for mark in item.iter_markers("cpu"):
        pytest.skip(f"about the CPU: {mark.args[0]}")


@pytest.fixture(scope="session", autouse=True)
def computing(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every objective on the device asked for."""
    device = request.config.getoption("--device")
    if device == "cpu" or (device != "pretend" and not torch.cuda.is_available()):
        yield
        return
    with devices.computing_on(device):
        yield


@pytest.fixture(scope="session", autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder of the tests' own, so that no test trusts code in the name of the user."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("state")
        patch.setenv("LANDSCAPE_STATE", str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def disks() -> Iterator[None]:
    """No waiting for disks: no test cuts the power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def operations() -> Iterator[None]:
    """``torch.export`` lists the operations of torch anew for every graph, in half of its time: here once.

    Nor is the stack written down at every node of a graph, which is deep in a test.
    """
    listing = "_materialize_cpp_cia_ops"
    silent = types.SimpleNamespace(**{**vars(traceback), "extract_stack": list})
    with pytest.MonkeyPatch.context() as patch:
        if hasattr(fake_tensor, "traceback"):
            patch.setattr(fake_tensor, "traceback", silent)
        if hasattr(export_utils, listing):
            patch.setattr(export_utils, listing, functools.cache(getattr(export_utils, listing)))
        yield


@pytest.fixture(autouse=True)
def seeded() -> None:
    """What a test draws without a seed of its own does not depend on the tests before it."""
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def regression() -> Objective:
    """Linear regression without bias in float64: 40 samples, 5 inputs, 3 outputs."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(40, 5, generator=generator, dtype=torch.float64)
    y = torch.randn(40, 3, generator=generator, dtype=torch.float64)
    module = nn.Linear(5, 3, bias=False, dtype=torch.float64)
    with torch.no_grad():
        module.weight.copy_(torch.randn(3, 5, generator=generator, dtype=torch.float64))
    return Objective(module, "mse", (x, y))


@pytest.fixture
def classifier() -> Objective:
    """A small net with batch norm and dropout on 30 samples of 3 classes, float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        module = nn.Sequential(
            nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.5), nn.Linear(6, 3)
        ).double()
        x, y = torch.randn(30, 4, dtype=torch.float64), torch.randint(3, (30,))
        module(x)  # moves the running statistics away from their defaults
    return Objective(module, "cross_entropy", (x, y))


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.out)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs ``landscape …`` and hands back its exit code and both streams."""

    def run(*words: object) -> Outcome:
        capsys.readouterr()
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return Outcome(code, out, err)

    return run


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two trained runs of one architecture, a.h5 and b.h5, and a wider one, wide.h5."""
    folder = tmp_path_factory.mktemp("runs")
    for name, seed in (("a", 0), ("b", 1)):
        line = [
            *TINY,
            "--epochs",
            4,
            "--checkpoint-every",
            1,
            "--seed",
            seed,
            "-q",
            "-o",
            folder / f"{name}.h5",
        ]
        assert main(["train", *map(str, line)]) == 0
    wide = [
        "--model-arg",
        "widths=7",
        *TINY[:2],
        *TINY[4:],
        "--epochs",
        "1",
        "-q",
        "-o",
        str(folder / "wide.h5"),
    ]
    assert main(["train", *wide]) == 0
    return folder


@pytest.fixture
def folder(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh copy of the runs, as the current folder."""
    for file in runs.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path
