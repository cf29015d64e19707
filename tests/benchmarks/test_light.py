"""How long a file takes to open, as a ratio measured in one run; never absolute times.

The default run leaves this folder out: ``pytest -o addopts= tests/benchmarks -s``.
"""

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

FILE = Path(__file__).parents[1] / "files" / "v1-slice2d.h5"
ROUNDS = 5


def seconds(*arguments: str) -> float:
    """Wall time of a Python process of its own."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - start


def test_a_file_is_shown_about_as_fast_as_the_libraries_that_show_it_are_imported():
    ours, theirs = [], []
    for _ in range(ROUNDS + 1):
        ours.append(seconds("-m", "landscape", "show", str(FILE)))
        theirs.append(seconds("-c", "import h5py, numpy, click, rich"))
    # The first round warms up the disk.
    found = median(ours[1:]) / median(theirs[1:])
    print(f"{found:.3f}")
    assert found <= 2
