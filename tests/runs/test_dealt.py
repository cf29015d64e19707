"""Under torchrun what has independent tasks has them computed by all processes, bit for bit as one computes them."""

import textwrap

import numpy as np
import pytest
from launching import SEVERAL, launched

import landscape
from landscape.cli import main

pytest.importorskip("cloudpickle")
pytestmark = SEVERAL
# Each process says which tasks it computes; one may be lost in its second, while the first one takes its time.
COMMAND = """
    import os, signal, sys, time
    from pathlib import Path

    from landscape.cli import main
    from landscape.objective import tasks

    rank, computed, seen = os.environ["RANK"], tasks._computed, []

    def told(*given):
        seen.append(1)
        if rank == os.environ["LOST"] and len(seen) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        if os.environ["LOST"] and rank == "0":
            time.sleep(1)
        with open(f"tasks-{rank}", "a") as file:
            file.write("task\\n")
        return computed(*given)

    told.__module__, told.__qualname__ = tasks.__name__, "_computed"
    tasks._computed = told
    sys.exit(main())
"""
MINIMA = [
    *("minima", "--data", "circles", "--data-arg", "num_samples=40", "--samples", "10,20", "--widths", "1,2"),
    *("--restarts", "3", "--steps", "20", "--max-steps", "30", "--threads", "1"),
]


def same(name, expected):
    found, wanted = (
        {one.name: one.values for one in landscape.load(file).arrays()} for file in (name, expected)
    )
    assert found.keys() == wanted.keys()
    for one, values in wanted.items():
        np.testing.assert_array_equal(found[one], values, err_msg=one)


def test_a_command_goes_on_without_the_process_that_was_lost_and_ends_as_one_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "work.py").write_text(textwrap.dedent(COMMAND))
    assert main([*MINIMA, "-q", "-o", "one.h5"]) == 0
    lost = launched(2, "work.py", *MINIMA, "-o", "all.h5", LOST="1")
    assert lost.errors[0].startswith("Error: process 1 of 2 is gone; go on with: torchrun"), lost.err
    ended = launched(2, "work.py", *MINIMA, "-o", "all.h5", LOST="")
    assert ended.code == 0, ended.err
    assert ended.out.count("→ all.h5") == 1
    assert not list(tmp_path.glob("all.h5?*"))
    assert {one.name for one in tmp_path.glob("tasks-*")} == {"tasks-0", "tasks-1"}
    same("all.h5", "one.h5")


@pytest.mark.slow
def test_ends_and_paths_of_basins_are_dealt(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [
        "basins",
        "--model",
        "mlp",
        "--data",
        "circles",
        "--data-arg",
        "num_samples=10",
        "--widths",
        "1,2",
    ]
    words += ["--restarts", "2", "--steps", "20", "--curve-steps", "3", "--threads", "1", "-q"]
    assert main([*words, "-o", "1.h5"]) == 0
    ended = launched(2, "-m", "landscape", *words, "-o", "2.h5")
    assert ended.code == 0, ended.err
    same("2.h5", "1.h5")


@pytest.mark.slow
def test_certificates_and_nets_of_widths_are_dealt(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = ["--data", "circles", "--data-arg", "num_samples=12", "-q"]
    assert main(["train", "--model", "mlp", *data, "--epochs", "3", "-o", "a.h5"]) == 0
    widths = ["--preset", "ntk-width", "--widths", "3,9", "--draws", "3", "--seed", "2", "-q"]
    for name, words in (("points", ["a.h5", "--at", "all"]), ("nets", widths)):
        assert main(["certify", *words, "--threads", "1", "-o", f"{name}1.h5"]) == 0
        ended = launched(2, "-m", "landscape", "certify", *words, "-o", f"{name}2.h5")
        assert ended.code == 0, ended.err
        same(f"{name}2.h5", f"{name}1.h5")


@pytest.mark.slow
def test_sizes_are_dealt(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["efficiency", "--model", "mlp", "--data", "circles", "--data-arg", "num_samples=15", "-q"]
    words += ["--sizes", "3,10,7", "--seeds", "2", "--step-sizes", "0.5,0.1", "--records", "3"]
    assert main([*words, "--threads", "1", "-o", "1.h5"]) == 0
    ended = launched(2, "-m", "landscape", *words, "-o", "2.h5")
    assert ended.code == 0, ended.err
    same("2.h5", "1.h5")


@pytest.mark.slow
def test_what_is_refused_is_said_once_and_workers_beside_torchrun_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words, said in (
        (["--preset", "baldi-hornik", "--workers", "2"], "--workers 2 in 2 processes"),
        (["--model", "mlp", "--data", "nowhere.csv"], "nowhere.csv"),
    ):
        ended = launched(2, "-m", "landscape", "critical", *words, "-o", "c.h5")
        (error,) = ended.errors
        assert said in error
        assert not (tmp_path / "c.h5").exists()


# A module that each of several processes has a part of, beside one that each of them has.
OWN = """
    import os
    import torch
    from torch import nn


    def whole():
        return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()


    def drawn():
        torch.manual_seed(os.getpid())
        return whole()


    def parts():
        module = whole()
        if "RANK" in os.environ:
            torch.distributed.fsdp.fully_shard(module)
        return module


    def data():
        draws = torch.Generator().manual_seed(1)
        return torch.randn(24, 5, generator=draws, dtype=torch.float64), torch.arange(24) % 3
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "own.py").write_text("import torch.distributed.fsdp\n" + textwrap.dedent(OWN))
    return folder


CONNECT = ["--steps", "5", "--num-points", "5", "--batchnorm", "frozen", "--tolerance", "0.5", "-q"]


@pytest.mark.slow
def test_pairs_are_dealt_and_of_a_module_in_parts_the_samples_are_shared(folder, monkeypatch):
    monkeypatch.chdir(folder)
    places = {model: [f"{model}{seed}.h5" for seed in range(3)] for model in ("whole", "parts")}
    for model, files in places.items():
        for seed, place in enumerate(files):
            words = ["train", "--model", f"own.py:{model}", "--data", "own.py:data", "--dtype", "float64"]
            words += ["--epochs", "60", "--lr", "0.5", "--batch-size", "8"]
            assert main([*words, "--seed", str(seed), "-q", "-o", place]) == 0
    assert main(["connect", *places["whole"], *CONNECT, "--threads", "1", "-o", "1.h5"]) == 0
    ended = launched(2, "-m", "landscape", "connect", *places["whole"], *CONNECT, "-o", "2.h5")
    assert ended.code == 0, ended.err
    same("2.h5", "1.h5")
    ended = launched(2, "-m", "landscape", "connect", *places["parts"], *CONNECT, "-o", "p.h5")
    assert ended.code == 0, ended.err
    found, wanted = (
        {one.name: one.values for one in landscape.load(name).arrays()} for name in ("p.h5", "1.h5")
    )
    assert found.keys() == wanted.keys()
    assert found["barrier_curved"].max() > 0.1
    for name in ("distance", "barrier_straight", "barrier_curved", "barrier_curved_error"):
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-6, atol=1e-9, err_msg=name)
    (error,) = launched(2, "-m", "landscape", "certify", places["parts"][0], "--at", "all").errors
    assert "a module sharded over 2 processes, each of which computes tasks of its own" in error


def test_a_factory_that_draws_otherwise_in_every_process_is_told(folder, monkeypatch):
    monkeypatch.chdir(folder)
    words = ["train", "--model", "own.py:drawn", "--data", "own.py:data", "--epochs", "1", "-o", "d.h5"]
    (error,) = launched(2, "-m", "landscape", *words).errors
    assert "of 2 differs from the others in its point (" in error
    assert "draw weights from one seed" in error
    assert not (folder / "d.h5").exists()
