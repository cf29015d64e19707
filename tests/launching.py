"""Programs under torchrun, on this machine."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch.distributed

TESTS = Path(__file__).parent
HAS_GLOO = torch.distributed.is_available() and torch.distributed.is_gloo_available()
# What every test of several processes is marked with.
SEVERAL = [
    pytest.mark.processes,
    pytest.mark.skipif(not HAS_GLOO, reason="torch without gloo"),
]


class Ended(NamedTuple):
    """How a program under torchrun ended; ``errors`` are the lines that begin so, whoever wrote them."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("Error: ")]


def launched(num_processes: int, *words: object, timeout: float = 120, **environment: str) -> Ended:
    """``torchrun --nproc-per-node num_processes words``, which may import the tests' own modules.

    Fails where they have not ended after ``timeout`` seconds: they wait for one another for ever.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(num_processes)]
    launcher += ["--master-addr", "127.0.0.1", "--master-port", str(port)]
    own = {"PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}", "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(
        [sys.executable, *launcher, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, **own},
    )
    return Ended(done.returncode, done.stdout, done.stderr)
