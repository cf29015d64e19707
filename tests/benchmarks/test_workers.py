"""Two workers beside one process: a slice of the digits, in CPU seconds, which others on the machine stretch less."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("distributed")
ROOT = Path(__file__).parents[2]
TICK = os.sysconf("SC_CLK_TCK")
# Points per axis of a slice that is mostly its start, and of one that is not.
FEW, MANY = 25, 75


def cpu(pid):
    """(the parent, CPU seconds) of a process that is there."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None, 0.0
    return int(fields[1]), (int(fields[11]) + int(fields[12])) / TICK


def seconds(folder, *words):
    """CPU seconds of a command and, of the processes that it has started, of the busiest."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    run = [sys.executable, "-m", "landscape", *map(str, words)]
    process = subprocess.Popen(run, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    found: dict[int, float] = {}
    while process.poll() is None:
        there = {int(name): cpu(name) for name in os.listdir("/proc") if name.isdigit()}
        ours = {process.pid}
        for pid in sorted(there):
            if there[pid][0] in ours:
                ours.add(pid)
        found |= {pid: max(found.get(pid, 0.0), there[pid][1]) for pid in ours if pid in there}
        time.sleep(0.05)
    assert process.returncode == 0
    return found.pop(process.pid), max(found.values(), default=0.0)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_what_a_slice_takes_beyond_its_start_is_halved(tmp_path):
    seconds(tmp_path, "train", "--model", "mlp", "--data", "digits", "--epochs", "1", "-q", "-o", "a.h5")
    alone, shared = {}, {}
    for count in (FEW, MANY):
        words = ["slice2d", "a.h5", "--num-points", count, "-q", "-o"]
        alone[count], _ = seconds(tmp_path, *words, f"one-{count}.h5", "--threads", "1")
        shared[count] = seconds(tmp_path, *words, f"two-{count}.h5", "--workers", "2")
        print(f"\n{count} × {count}: one {alone[count]:.1f} s, two {shared[count]} (caller, busiest worker)")
    # The caller waits while they work, and they while it begins: what is shared is what grows.
    grown = alone[MANY] - alone[FEW]
    ratio = grown / sum(many - few for many, few in zip(shared[MANY], shared[FEW], strict=True))
    print(f"beyond the start: {ratio:.2f} × one process")
    assert ratio >= 1.6
