"""What layers free stays in the process, where a launcher has told glibc to give it back as well."""

import os
import platform
import subprocess
import sys

import pytest

# Pages faulted in by a hundred tensors of a megabyte, one after the other, once the first has come and gone.
PROGRAM = """
import resource, torch
from landscape.objective.batching import keep_freed_memory
{call}
torch.ones(2**18)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    torch.ones(2**18)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(call):
    run = [sys.executable, "-c", PROGRAM.format(call=call)]
    # As Dask starts its workers.
    environment = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
    return int(subprocess.run(run, env=environment, capture_output=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_pages_are_faulted_in_once():
    pages = 100 * 2**20 // os.sysconf("SC_PAGE_SIZE")
    assert faults("") > pages / 2
    assert faults("keep_freed_memory()") < pages / 50
