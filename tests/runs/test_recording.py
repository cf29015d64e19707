"""A run file from a loop of the user's own: the points are the module's, and nothing in the loop is changed by it."""

import copy
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import nn

import landscape
from landscape import BadInput, Run
from landscape.runs import recorded, recording, store
from landscape.runs.journal import Journal

MINE = """
import torch
def net():
    layers = torch.nn.BatchNorm1d(4), torch.nn.Dropout(), torch.nn.Linear(4, 3)
    return torch.nn.Sequential(torch.nn.Linear(2, 4), *layers)
def data():
    torch.randn(5)
    g = torch.Generator().manual_seed(3)
    x = torch.randn(20, 2, generator=g)
    return x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
"""
ABOUT = {"model": "mine.py:net", "data": "mine.py:data", "loss": "cross_entropy"}


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 3))


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(MINE)
    yield
    for one in list(recording._open.values()):
        one.close()


class Loop:
    """A loop with momentum and dropout whose every state follows from the seed."""

    def __init__(self, seed: int = 0):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        self.module = net()
        self.optimizer = torch.optim.SGD(self.module.parameters(), 0.1, momentum=0.9)
        self.states: list[dict[str, torch.Tensor]] = []

    def epoch(self) -> None:
        x = torch.randn(10, 2) + random.random() + np.random.rand()
        self.optimizer.zero_grad()
        self.module(x.float()).square().mean().backward()
        self.optimizer.step()
        self.states.append(copy.deepcopy(self.module.state_dict()))


def assert_holds(path: str, states: dict[str, dict[str, torch.Tensor]]) -> None:
    assert store.point_labels(path) == list(states)
    for label, state in states.items():
        stored = store.read_state(path, label)
        for name, value in stored.items():
            np.testing.assert_array_equal(value, state[name].numpy(), err_msg=f"{label} {name}")
        assert stored.keys() == state.keys()


@pytest.mark.parametrize("about", [{}, ABOUT], ids=["bare", "with its model"])
def test_the_points_are_the_modules_and_the_loop_goes_as_without(about):
    plain, watched = Loop(), None
    for _ in range(6):
        plain.epoch()
    wanted = (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist())
    watched = Loop()
    modes, hooks = [one.training for one in watched.module.modules()], watched.module[0]._forward_hooks
    for _ in range(6):
        watched.epoch()
        gradients = [one.grad.clone() for one in watched.module.parameters()]
        landscape.record("run.h5", watched.module, **about)
        assert all(
            torch.equal(a, b.grad) for a, b in zip(gradients, watched.module.parameters(), strict=True)
        )
        assert [one.training for one in watched.module.modules()] == modes
    assert not hooks
    assert torch.equal(torch.get_rng_state(), wanted[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == wanted[1:]
    for one, other in zip(plain.states, watched.states, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    # Read while the loop still runs the file is whole, and once it is closed complete.
    assert landscape.load("run.h5").status == "complete"
    recording.close("run.h5")
    assert not Path("run.h5.part").exists()
    assert_holds("run.h5", {f"epoch={k}": one for k, one in enumerate(plain.states)})
    result = landscape.load("run.h5")
    assert (result.status, result.num_points, result.epoch.tolist()) == ("complete", 6, list(range(6)))
    assert result.final_loss is None


def test_later_commands_know_the_objective(command):
    loop = Loop()
    for epoch in range(3):
        loop.epoch()
        with landscape.record("run.h5", loop.module, epoch=5 * epoch, **ABOUT):
            pass
    done = command("slice2d", "run.h5", "--directions", "pca", "--trajectory", "--num-points", 3, "--json")
    assert done.code == 0, done.err
    sys.path.insert(0, ".")
    loss = landscape.load("run.slice2d.h5").trajectory_loss
    import mine

    x, y = mine.data()
    for state, one in zip(loop.states, loss, strict=True):
        module = net()
        module.load_state_dict(state)
        wanted = nn.functional.cross_entropy(module.eval()(x).double(), y).item()
        assert one == pytest.approx(wanted, rel=1e-6)
    assert Run("run.h5").label("5") == "epoch=5"
    assert json.loads(store.header("run.h5")["config"])["recipe"]["loss"] == "cross_entropy"


def test_a_bare_recording_becomes_a_run_with_all_its_points(command):
    loop = Loop()
    for _ in range(3):
        loop.epoch()
        landscape.record("run.h5", loop.module)
    recording.close("run.h5")
    refused = command("hessian", "run.h5")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "import this file with its --model, --data and --loss" in refused.err
    line = ["--model", "mine.py:net", "--data", "mine.py:data", "--loss", "cross_entropy"]
    assert command("import", "run.h5", *line, "-o", "all.h5").code == 0
    assert Run("all.h5").labels == ["epoch=0", "epoch=1", "epoch=2"]


KILLED = """
    import os, signal, sys
    import torch, landscape
    torch.manual_seed(0)
    module = torch.nn.Linear(2, 2)
    for epoch in range(int(sys.argv[1]), 100):
        with torch.no_grad():
            module.weight.fill_(epoch)
        landscape.record("run.h5", module, epoch=epoch)
        if epoch == int(sys.argv[2]):
            os.kill(os.getpid(), getattr(signal, sys.argv[3]))
"""


def weights() -> dict[str, float]:
    return {
        one: float(store.read_state("run.h5", one)["weight"][0, 0]) for one in store.point_labels("run.h5")
    }


def loop_of_its_own(first: int, last: int, signal_name: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(landscape.__file__).parent.parent)}
    words = [sys.executable, "-c", textwrap.dedent(KILLED), str(first), str(last), signal_name]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -getattr(signal, signal_name), done.stderr


def test_a_killed_loop_leaves_all_its_points_and_another_goes_on():
    loop_of_its_own(0, 20, "SIGKILL")
    # Whole for every reader, half of the points at least.
    with h5py.File("run.h5") as file:
        assert len(json.loads(str(file["points"].attrs["order"]))) >= 10
    assert weights() == {f"epoch={k}": k for k in range(21)}
    assert not Path("run.h5.part").exists()
    # From a checkpoint of its own that was older.
    loop_of_its_own(15, 23, "SIGTERM")
    assert weights() == {f"epoch={k}": k for k in range(24)}
    assert "went back to epoch=15" in " ".join(landscape.load("run.h5").notes)
    assert landscape.load("run.h5").status == "complete"


def test_going_back_replaces_what_came_after():
    module = nn.Linear(1, 1)
    for number, value in ((0, 0.0), (1, 1.0), (2, 2.0), (3, 3.0), (2, 7.0)):
        with torch.no_grad():
            module.weight.fill_(value)
        landscape.record("run.h5", module, step=number)
    recording.close("run.h5")
    assert weights() == {"step=0": 0, "step=1": 1, "step=2": 7}


def test_a_point_that_is_not_the_modules_fails_its_check(monkeypatch):
    module = nn.Linear(1, 1)
    landscape.record("run.h5", module)
    monkeypatch.setattr(recording.Recording, "_is_due", lambda self: False)
    landscape.record("run.h5", module)
    read = recorded.read_arrays
    monkeypatch.setattr(recorded, "read_arrays", lambda *about: {k: v + 1 for k, v in read(*about).items()})
    recording.close("run.h5")
    assert landscape.load("run.h5").status == "failed-checks"


def test_what_cannot_be_is_one_sentence_and_changes_nothing(command, folder):
    Path("mine.py").write_text(MINE)
    module = nn.Linear(2, 2)
    for epoch in range(3):
        landscape.record("run.h5", module, epoch=epoch)
    cases = (
        (nn.Linear(2, 2), {}, "of another module"),
        (nn.Linear(2, 2), {"epoch": 0}, "of an earlier loop, and this one begins with epoch=0"),
        (module, {"step": 7}, "numbered by epoch"),
        (module, {"step": 7, "epoch": 1}, "both `epoch` and `step`"),
        (module, {"epoch": -1}, "a whole number"),
        (module, {"epoch": 1.5}, "a whole number"),
        ("net", {"epoch": 9}, "a str to record"),
    )
    for given, about, words in cases:
        with pytest.raises(BadInput, match=words):
            landscape.record("run.h5", given, **about)
    recording.close("run.h5")
    assert store.point_labels("run.h5") == ["epoch=0", "epoch=1", "epoch=2"]
    for path, given, about, words in (
        ("run.h5", module, {}, "of an earlier loop"),
        ("run.h5", nn.Linear(2, 3), {"epoch": 5}, "of another module: weight is"),
        ("a.h5", module, {}, "is no recording"),
        ("new.h5", module, {"model": "mine.py:net"}, "without `data`"),
        ("new.h5", module, {"loss": "mse"}, "alone"),
        ("new.h5", module, ABOUT, "does not fit Sequential"),
        ("none/new.h5", module, {}, "no folder none"),
    ):
        with pytest.raises(BadInput, match=words):
            landscape.record(path, given, **about)
        assert not Path("new.h5").exists()
    landscape.record("run.h5", nn.Linear(2, 3), overwrite=True)
    recording.close("run.h5")
    assert store.point_labels("run.h5") == ["epoch=0"]
    assert Run("a.h5").labels


def test_a_module_that_is_wrapped_goes_by_its_own_names():
    module = nn.Linear(1, 1)
    landscape.record("run.h5", nn.DataParallel(module))
    landscape.record("run.h5", module)
    compiled = torch.compile(module, backend="eager")
    landscape.record("run.h5", compiled)
    recording.close("run.h5")
    assert store.point_labels("run.h5") == ["epoch=0", "epoch=1", "epoch=2"]
    assert list(store.read_state("run.h5", "epoch=2")) == ["weight", "bias"]


def test_a_journal_of_other_work_beside_a_recording_stays():
    landscape.record("run.h5", nn.Linear(1, 1))
    recording.close("run.h5")
    journal = Journal(Path("run.h5.part"), {"kind": "train"})
    journal.close()
    assert store.point_labels("run.h5") == ["epoch=0"]
    assert Path("run.h5.part").exists()


def test_a_loop_in_the_file_of_its_model_is_refused_and_not_run_again():
    Path("loop.py").write_text(
        MINE + "import landscape\n"
        "landscape.record('run.h5', net(), model='loop.py:net', data='loop.py:data', loss='cross_entropy')\n"
    )
    with pytest.raises(BadInput, match="put the loop under if __name__ == '__main__':"):
        landscape.record("run.h5", net(), model="loop.py:net", data="loop.py:data", loss="cross_entropy")
    assert not Path("run.h5").exists()


@pytest.mark.parametrize("about", [{}, ABOUT])
def test_the_seed_is_the_same_wherever_it_stands(about):
    """Without a recipe there is none, which provenance says by -1."""
    landscape.record("r.h5", net(), epoch=0, **about)
    recording.close("r.h5")
    header = store.header("r.h5")
    assert int(header["seed"]) == json.loads(header["config"]).get("seed", -1)
    assert ("seed" in json.loads(header["config"])) == bool(about)


def test_the_example_runs_from_any_folder(tmp_path):
    example = Path(landscape.__file__).parent.parent / "examples" / "sources" / "record" / "train.py"
    done = subprocess.run(
        [sys.executable, example], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert landscape.load("run.h5").epoch.tolist() == list(range(12))
