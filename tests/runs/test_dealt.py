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
    found, wanted = (
        {one.name: one.values for one in landscape.load(f"{name}.h5").arrays()} for name in ("all", "one")
    )
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


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
