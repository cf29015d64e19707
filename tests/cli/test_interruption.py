"""Killed, or stopped by Ctrl-C, and started again: the end is that of an undisturbed run, bit for bit."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

RUN = ["train", "--model", "resnet", "--model-arg", "depth=8", "--data", "digits", "--data-arg", "image=true"]
RUN += [
    "--subset",
    "60",
    "--batch-size",
    "10",
    "--momentum",
    "0.9",
    "--checkpoint-every",
    "4",
    "--epochs",
    "24",
]
CONNECT = [
    "connect",
    "a.h5",
    "a.h5@init",
    "--epochs",
    "3",
    "--batch-size",
    "10",
    "--num-points",
    "5",
    "--plane",
]
CONNECT += ["--plane-points", "5", "--restarts", "8"]
SLICE = ["slice2d", "a.h5", "--num-points", "11", "--dtype", "float64", "--chunk-size", "40"]
MINIMA = ["minima", "--data", "circles", "--data-arg", "num_samples=60", "--widths", "3,6", "--restarts", "6"]
MINIMA += ["--lr", "0.5", "--steps", "8000", "--max-steps", "16000", "--polish"]
EFFICIENCY = ["efficiency", "--model", "mlp", "--model-arg", "widths=16", "--data", "digits", "--seeds", "3"]
EFFICIENCY += ["--sizes", "100,300", "--step-sizes", "0.5,0.1", "--observations-per-sample", "200"]
NOISE = [
    "noise",
    "a.h5",
    "--step-sizes",
    "0.001,0.002",
    "--batch-sizes",
    "1,2",
    "--steps",
    "600",
    "--seeds",
    "3",
]
# One stack of searches with dense eigenvalues, which is saved under way; and searches by products, one start a piece.
CRITICAL = ["critical", "--model", "mlp", "--data", "moons", "--loss", "bce", "--seed", "3", "--save-points"]
CRITICAL += ["--model-arg", "activation=tanh"]
DENSE = ["--model-arg", "widths=16", "--data-arg", "num_samples=100", "--starts", "60", "--max-steps", "150"]
PRODUCTS = [
    "--model-arg",
    "widths=50,40",
    "--data-arg",
    "num_samples=60",
    "--starts",
    "9",
    "--max-steps",
    "4",
]
# Runs the command with the state of work under way saved many times a second.
SAVING_OFTEN = """
import sys
from landscape import progress
from landscape.cli import main
progress.SAVE_SECONDS = 0.05
sys.exit(main(sys.argv[1:]))
"""


def start(line: list[str], folder: Path, *how: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *(how or ("-m", "landscape")), *line],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_pieces(process: subprocess.Popen, part: Path, lines: int) -> None:
    """Until the journal holds a few pieces; fails if the command ends before."""
    deadline = time.monotonic() + 120
    journal = part / "rank-0.jsonl"
    while not journal.exists() or journal.read_bytes().count(b"\n") < lines:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def finish(process: subprocess.Popen) -> str:
    """What a command that ends well said on standard error."""
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return errors


def contents(path: Path) -> dict[str, np.ndarray]:
    """Every array and every scalar of a file."""
    found: dict[str, np.ndarray] = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
        )
        found |= {name: np.asarray(v) for name, v in file.attrs.items() if name.startswith("value:")}
        found["config"] = np.asarray(file.attrs["config-sha256"])
    return found


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    """One for work that is left alone, one for work that is stopped."""
    found = tmp_path / "whole", tmp_path / "broken"
    for folder in found:
        folder.mkdir()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("what", ["train", "slice2d", "connect"])
def test_resumed_work_ends_like_undisturbed_work(folders, what, how):
    whole, broken = folders
    line, name = {
        "train": (RUN, "a.h5"),
        "slice2d": (SLICE, "a.slice2d.h5"),
        "connect": (CONNECT, "a.connect.h5"),
    }[what]
    if what == "train":
        line = [*line, "-o", name]
    else:
        finish(start([*RUN[:-1], "1", "-o", "a.h5"], whole))
        (broken / "a.h5").write_bytes((whole / "a.h5").read_bytes())
    _killed_and_resumed(line, name, whole, broken, how)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("what", ["minima", "efficiency", "noise"])
def test_stopped_replicas_end_like_undisturbed_ones(folders, what, how):
    whole, broken = folders
    line = {"minima": MINIMA, "efficiency": EFFICIENCY, "noise": NOISE}[what]
    if what == "noise":
        finish(
            start(
                [
                    "train",
                    "--model",
                    "mlp",
                    "--model-arg",
                    "widths=8",
                    "--data",
                    "digits",
                    "--epochs",
                    "1",
                    "-o",
                    "a.h5",
                ],
                whole,
            )
        )
        (broken / "a.h5").write_bytes((whole / "a.h5").read_bytes())
    _killed_and_resumed([*line, "-o", "r.h5"], "r.h5", whole, broken, how, "-c", SAVING_OFTEN)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("options", [DENSE, PRODUCTS], ids=["dense", "products"])
def test_stopped_searches_end_like_undisturbed_ones(folders, options, how):
    _killed_and_resumed([*CRITICAL, *options, "-o", "c.h5"], "c.h5", *folders, how, "-c", SAVING_OFTEN)


def _killed_and_resumed(
    line: list[str], name: str, whole: Path, broken: Path, how: signal.Signals, *saving: str
) -> None:
    """Run ``line`` in ``whole``; stop it twice in ``broken`` and go on: the files must hold the same."""
    finish(start(line, whole))
    part = broken / f"{name}.part"
    for pieces in (3, 6):
        process = start(line, broken, *saving)
        wait_for_pieces(process, part, pieces)
        process.send_signal(how)
        _, errors = process.communicate()
        if how == signal.SIGINT:
            assert process.returncode == 130
            assert "Go on with: landscape" in errors
            assert "Traceback" not in errors
        assert part.exists()
        assert not (broken / name).exists()
    assert "going on from" in finish(start(line, broken))
    assert not part.exists()
    mine, theirs = contents(broken / name), contents(whole / name)
    assert mine.keys() == theirs.keys()
    for key in mine:
        np.testing.assert_array_equal(mine[key], theirs[key], err_msg=key)


def test_ctrl_c_keeps_the_part_and_prints_how_to_go_on(command, folder, monkeypatch):
    from landscape.objective.objective import Objective

    measurements, calls = Objective.measurements, []

    def interrupted(self, *arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return measurements(self, *arguments)

    monkeypatch.setattr("landscape.objective.sweep.BLOCK_POINTS", 4)
    line = ["slice2d", "a.h5", "--num-points", 7]
    with monkeypatch.context() as patch:
        patch.setattr(Objective, "measurements", interrupted)
        stopped = command(*line)
    assert stopped.code == 130
    assert "Go on with: landscape slice2d a.h5 --num-points 7" in stopped.err
    assert (folder / "a.slice2d.h5.part").is_dir()
    resumed = command(*line)
    assert resumed.code == 0
    assert "going on from a.slice2d.h5.part" in resumed.err
    assert command("slice2d", "a.h5", "--num-points", 7, "-o", "whole.h5").code == 0
    mine, theirs = contents(folder / "a.slice2d.h5"), contents(folder / "whole.h5")
    assert all(np.array_equal(mine[key], theirs[key]) for key in mine)


def test_ctrl_c_before_anything_is_finished_leaves_nothing(command, folder, monkeypatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("landscape.objective.Objective.measurements", interrupted)
    stopped = command("slice2d", "a.h5", "--num-points", 7)
    assert stopped.code == 130
    assert not list(folder.glob("*.part"))


def test_ctrl_c_within_an_exec_ends_with_the_code_of_the_others(tmp_path):
    """As where a dataclass is made at its import; Python would kill itself by the signal instead."""
    (tmp_path / "mine.py").write_text('def net():\n    exec("raise KeyboardInterrupt")\n')
    line = [
        sys.executable,
        "-m",
        "landscape",
        "train",
        "--model",
        "mine.py:net",
        "--data",
        "moons",
        "-o",
        "a.h5",
    ]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stderr
    assert done.stderr.strip() == "Error: interrupted."


@pytest.mark.parametrize(
    "where", ["landscape.runs.trailer.sync_folder", "landscape.cli.screen.Screen.summary"]
)
def test_ctrl_c_after_publication_leaves_the_whole_file(command, folder, monkeypatch, where):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    line = ["slice2d", "a.h5", "--num-points", 7]
    with monkeypatch.context() as patch:
        patch.setattr(where, interrupted)
        stopped = command(*line)
    assert stopped.code == 130
    assert "Traceback" not in stopped.err
    assert contents(folder / "a.slice2d.h5")["done"].all()
    again = command(*line)
    assert again.code == 0
    assert "already there" in again.out
    assert not list(folder.glob("*.part"))


@pytest.mark.parametrize("line", [["show", "a.h5"], ["show", "nothing.h5"]], ids=["done", "refused"])
def test_ctrl_c_after_the_last_word_changes_nothing(folder, line):
    """The signal comes when the code is known, and the process still has to end."""
    late = "import os, signal, sys\nfrom landscape.cli import main\ncode = main()\n"
    late += "os.kill(os.getpid(), signal.SIGINT)\nsys.exit(code)"
    ended = subprocess.run([sys.executable, "-c", late, *line], capture_output=True, text=True)
    assert "Traceback" not in ended.stderr
    assert ended.returncode == (0 if line[1] == "a.h5" else 2)
