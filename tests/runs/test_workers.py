"""Workers that are processes of Dask: the same bits, whoever of caller, worker and scheduler is killed meanwhile."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import landscape
from landscape.errors import BadInput
from landscape.runs.workers import parsed

ROOT = Path(__file__).parents[2]
# A user's own module: one that says who is at work, and takes as long as it is asked to.
NET = """
import os
import time
from pathlib import Path

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, width=400, depth=1):
        super().__init__()
        self.layer = nn.Linear(3000, width)

    def forward(self, x):
        if os.environ.get("SLOW"):
            Path("pids", str(os.getpid())).touch()
            time.sleep(float(os.environ["SLOW"]))
        return self.layer(x)


def data():
    draws = torch.Generator().manual_seed(3)
    return torch.randn(300, 3000, generator=draws), torch.randint(0, 400, (300,), generator=draws)


class Few(nn.Sequential):
    def __init__(self, width=1):
        if os.environ.get("SLOW"):
            Path("pids", str(os.getpid())).touch()
            time.sleep(float(os.environ["SLOW"]))
        super().__init__(nn.Linear(1, width, bias=False), nn.Tanh(), nn.Linear(width, 1, bias=False))


class Steady(Few):
    def forward(self, x):
        time.sleep(float(os.environ.get("SLOW") or 0))
        return super().forward(x)


def three():
    return torch.tensor([[-1.0], [0.5], [2.0]]), torch.tensor([[1.0], [0.0], [0.5]])
"""
# Of twelve points, in a grid of 25.
WORDS = ["slice2d", "a.h5", "--num-points", "5", "-q"]
cluster = [
    pytest.mark.processes,
    pytest.mark.skipif(not __import__("importlib").util.find_spec("distributed"), reason="needs Dask"),
]


def started(folder, *words, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, words)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
    )


def ended(process, code=0):
    out, err = process.communicate(timeout=180)
    assert process.returncode == code, err
    return out + err


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the user's own module, trained, and its slice by one process."""
    folder = tmp_path_factory.mktemp("workers")
    (folder / "net.py").write_text(NET)
    (folder / "pids").mkdir()
    train = ["train", "--model", "net.py:Net", "--data", "net.py:data", "--epochs", "1", "-q", "-o", "a.h5"]
    ended(started(folder, "landscape", *train))
    ended(started(folder, "landscape", *WORDS, "--threads", "1", "-o", "one.h5"))
    return folder


@pytest.fixture(autouse=True)
def nobody(request):
    if "folder" in request.fixturenames:
        for path in (request.getfixturevalue("folder") / "pids").iterdir():
            path.unlink()


def at_work(folder, caller, count=1):
    """The workers that have begun to compute, once there are so many."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        found = [int(one.name) for one in (folder / "pids").iterdir() if int(one.name) != caller.pid]
        if len(found) >= count:
            return found
        assert caller.poll() is None, caller.communicate()
        time.sleep(0.1)
    raise AssertionError("no worker has begun")


def pieces(folder, name):
    """The finished pieces of unfinished work."""
    return len((folder / f"{name}.part" / "rank-0.jsonl").read_text().splitlines()) - 1


def same(folder, name, expected="one.h5"):
    found, expected = landscape.load(folder / name), landscape.load(folder / expected)
    for one, other in zip(found.arrays(), expected.arrays(), strict=True):
        np.testing.assert_array_equal(one.values, other.values, one.name)
    assert found.status == expected.status
    assert [one.value for one in found.checks] == [one.value for one in expected.checks]
    assert not (folder / f"{name}.part").exists()


class Scheduler:
    """One that workers of other processes come to, as on a cluster."""

    def __init__(self, folder, workers_in):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        serve = ["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"]
        self.scheduler = started(folder, *serve)
        work = [
            "distributed.cli.dask_worker",
            self.address,
            "--nthreads",
            "2",
            "--no-dashboard",
            "--no-nanny",
        ]
        self.worker = started(workers_in, *work, SLOW="0.2")

    def stop(self):
        for one in (self.worker, self.scheduler):
            one.kill()
            one.communicate()


@pytest.fixture
def scheduler(folder):
    made = []

    def make(workers_in):
        made.append(Scheduler(folder, workers_in))
        return made[0]

    yield make
    for one in made:
        one.stop()


class TestCluster:
    pytestmark = cluster

    def test_a_worker_is_killed(self, folder):
        caller = started(folder, "landscape", *WORDS, "--workers", "2", "-o", "two.h5", SLOW="0.1")
        os.kill(at_work(folder, caller, 2)[0], signal.SIGKILL)
        assert ended(caller) == ""
        # Another one has come in its place, and the first did not do it all.
        assert len(at_work(folder, caller)) >= 2
        same(folder, "two.h5")

    def test_the_caller_is_killed_and_goes_on_with_one_process(self, folder):
        caller = started(folder, "landscape", *WORDS, "--workers", "2", "-o", "killed.h5", SLOW="0.2")
        begun = at_work(folder, caller)
        journal = folder / "killed.h5.part" / "rank-0.jsonl"
        while len(journal.read_text().splitlines()) < 3:
            assert caller.poll() is None
            time.sleep(0.05)
        caller.kill()
        caller.communicate()
        assert pieces(folder, "killed.h5") >= 2
        said = ended(started(folder, "landscape", *WORDS[:-1], "-o", "killed.h5"))
        assert "going on from" in said
        same(folder, "killed.h5")
        for pid in begun:
            assert is_gone(pid), "a worker outlives its caller"

    @pytest.mark.slow
    def test_a_worker_is_killed_at_ends_of_descents_or_their_paths(self, folder):
        words = ["basins", "--model", "net.py:Few", "--data", "net.py:three", "--loss", "mse", "-q"]
        words += ["--widths", "1,2", "--restarts", "2", "--steps", "20", "--curve-steps", "3"]
        ended(started(folder, "landscape", *words, "--threads", "1", "-o", "b1.h5"))
        caller = started(folder, "landscape", *words, "--workers", "2", "-o", "b2.h5", SLOW="0.5")
        workers = at_work(folder, caller, 2)
        journal = folder / "b2.h5.part" / "rank-0.jsonl"
        while len(journal.read_text().splitlines()) < 6:
            assert caller.poll() is None, caller.communicate()
            time.sleep(0.05)
        os.kill(workers[0], signal.SIGKILL)
        assert ended(caller) == ""
        assert len(at_work(folder, caller)) >= 3
        same(folder, "b2.h5", "b1.h5")

    @pytest.mark.slow
    @pytest.mark.parametrize("kind", ["certify", "efficiency"])
    def test_a_worker_is_killed_at_certificates_or_sizes(self, folder, kind):
        begin = ["--model", "net.py:Steady", "--data", "net.py:three", "--loss", "mse", "-q"]
        if kind == "certify":
            words = ["s.h5", "--at", "all", "--seed", "3", "-q"]
            steps = ["--epochs", "4", "--checkpoint-every", "1", "--batch-size", "2"]
            ended(started(folder, "landscape", "train", *begin, *steps, "-o", "s.h5"))
        else:
            words = [*begin, "--sizes", "3,2,1", "--seeds", "2", "--seed", "3", "--step-sizes", "0.5,0.1"]
            words += ["--observations-per-sample", "40", "--records", "4", "--batch-size", "2"]
        ended(started(folder, "landscape", kind, *words, "--threads", "1", "-o", f"{kind}1.h5"))
        call = [kind, *words, "--workers", "2", "-o", f"{kind}2.h5"]
        caller = started(folder, "landscape", *call, SLOW="0.05")
        workers = at_work(folder, caller, 2)
        journal = folder / f"{kind}2.h5.part" / "rank-0.jsonl"
        while len(journal.read_text().splitlines()) < 2:
            assert caller.poll() is None, caller.communicate()
            time.sleep(0.05)
        os.kill(workers[0], signal.SIGKILL)
        assert ended(caller) == ""
        assert len(at_work(folder, caller)) >= 3
        same(folder, f"{kind}2.h5", f"{kind}1.h5")

    @pytest.mark.slow
    def test_interrupted(self, folder):
        caller = started(folder, "landscape", *WORDS, "--workers", "2", "-o", "stopped.h5", SLOW="0.2")
        at_work(folder, caller)
        journal = folder / "stopped.h5.part" / "rank-0.jsonl"
        while len(journal.read_text().splitlines()) < 3:
            time.sleep(0.05)
        caller.send_signal(signal.SIGINT)
        said = ended(caller, 130)
        assert said.startswith("Interrupted; ")
        assert said.count("\n") == 1
        assert pieces(folder, "stopped.h5") >= 2

    @pytest.mark.slow
    def test_a_scheduler_is_lost_and_the_same_call_goes_on_elsewhere(self, folder, scheduler):
        there = scheduler(folder)
        words = [*WORDS, "-o", "lost.h5"]
        caller = started(folder, "landscape", *words, "--workers", there.address)
        at_work(folder, caller)
        journal = folder / "lost.h5.part" / "rank-0.jsonl"
        while len(journal.read_text().splitlines()) < 3:
            assert caller.poll() is None, caller.communicate()
            time.sleep(0.05)
        there.scheduler.kill()
        said = ended(caller, 1)
        assert said.startswith("Error: the workers are lost (")
        assert said.count("\n") == 1
        assert pieces(folder, "lost.h5") >= 2
        ended(started(folder, "landscape", *words, "--workers", "2"))
        same(folder, "lost.h5")

    def test_a_worker_that_has_another_file_runs_none_of_it(self, folder, scheduler, tmp_path):
        """What differs is told, with where; code of another content is not imported."""
        there = scheduler(tmp_path)
        source = (folder / "net.py").read_text()
        caller = started(folder, "landscape", *WORDS, "-o", "else.h5", "--workers", there.address, SLOW="")
        # Between the caller's reading of the file and the worker's.
        while not (folder / "else.h5.part").exists():
            assert caller.poll() is None, caller.communicate()
            time.sleep(0.01)
        (folder / "net.py").write_text(f"{source}\nPath('imported').touch()\n")
        try:
            said = ended(caller, 2)
        finally:
            (folder / "net.py").write_text(source)
        assert f"on the worker {socket.gethostname()}" in said
        assert "net.py is not what the caller has there" in said
        assert said.count("\n") == 1
        assert not (folder / "imported").exists()

    def test_a_scheduler_that_is_not_there(self, folder):
        said = ended(started(folder, "landscape", *WORDS, "-o", "no.h5", "--workers", "tcp://127.0.0.1:9"), 1)
        assert said.startswith("Error: the scheduler tcp://127.0.0.1:9 cannot be reached (")
        assert "expected the address of one that runs" in said
        assert said.count("\n") == 1
        assert not (folder / "no.h5.part").exists()

    @pytest.mark.slow
    def test_what_begins_from_a_recipe(self, folder):
        words = ["minima", "--data", "circles", "--data-arg", "num_samples=40", "--widths", "1,2", "-q"]
        words += ["--restarts", "3", "--steps", "20", "--max-steps", "30", "--samples", "10,20"]
        ended(started(folder, "landscape", *words, "--threads", "1", "-o", "m1.h5"))
        ended(started(folder, "landscape", *words, "--workers", "2", "-o", "m2.h5"))
        same(folder, "m2.h5", "m1.h5")


def is_gone(pid):
    """Whether a process has ended, if need be within some seconds; one that nobody has asked for has as well."""
    for _ in range(100):
        try:
            text = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return True
        if text.rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("text", ["0", "-2", "many", "tcp:/host", "tcp://", "://8786"])
def test_neither_a_number_nor_an_address(text):
    with pytest.raises(
        BadInput, match="expected how many processes, or a scheduler's address such as tcp://"
    ):
        parsed(text)


def test_a_number_or_an_address():
    assert parsed(None) is None
    assert parsed(3) == parsed("3") == 3
    assert parsed("tls://host:8786") == "tls://host:8786"


def test_dask_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    run = tmp_path / "a.h5"
    landscape.measure(
        None, "train", model="mlp", data="circles", data_arg={"num_samples": 20}, epochs=1, output=run
    )
    with pytest.raises(BadInput, match=r"pip install 'torch-landscape\[cluster\]'"):
        landscape.measure(run, "slice2d", num_points=3, workers=2)
    assert not run.with_name("a.slice2d.h5").exists()


def test_what_looks_at_a_stored_result_takes_no_workers(tmp_path):
    run = tmp_path / "a.h5"
    circles = {"model": "mlp", "data": "circles", "data_arg": {"num_samples": 20}}
    landscape.measure(None, "train", **circles, epochs=1, output=run)
    landscape.measure(run, "slice2d", num_points=3)
    with pytest.raises(
        BadInput, match=r"`workers` with .*a\.slice2d\.h5; expected what computes from a model"
    ):
        landscape.measure(tmp_path / "a.slice2d.h5", "basins", workers=2)
