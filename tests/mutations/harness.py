"""One fault at a time in a copy of the library: what the results' own checks say, and what a test says.

The copy is a temporary folder with the whole tree, and what runs there is a process of its own, so that
faults may be tried side by side.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mutations.generic import name_of

ROOT = Path(__file__).parents[2]
COPIED = ("landscape", "tests", "pyproject.toml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md")
SECONDS = 300


@dataclass(frozen=True)
class Fault:
    """``old`` text of ``file`` (in landscape/), there once, in whose place stands ``new``.

    ``tests``: those of which one must fail, below tests/. ``scenarios``: the analyses whose numbers it moves, or
    whose checks it spoils. Both are separated by blanks.
    """

    name: str
    file: str
    old: str
    new: str
    tests: str
    scenarios: str


class Seen(dict[str, Any]):
    """By scenario, what it said with the fault in; see :func:`mutations.scenarios.__main__.said`."""

    @property
    def failed(self) -> list[str]:
        """Every check that failed, refusal or error, as ``scenario: check``."""
        found = [f"{name}: {check}" for name, one in self.items() for check in one["failed"]]
        return found + [f"{name}: {one['status']}" for name, one in self.items() if one["refused"]]

    def moved(self) -> list[str]:
        """Every number that is not what it is without the fault, as ``scenario: number``."""
        found = []
        for name, one in self.items():
            usual = without_fault()[name]["numbers"]
            found += [f"{name}: {key}" for key in usual if one["numbers"].get(key) != usual[key]]
        return found

    @property
    def names(self) -> list[str]:
        """The checks that failed, without where, and ``refused`` where an analysis ended otherwise."""
        found = {name_of(check) for one in self.values() for check in one["failed"]}
        return sorted(found | {"refused" for one in self.values() if one["refused"]})

    def sees(self, check: str) -> bool:
        """Whether a check of this name failed, or the analysis refused."""
        return not {check, "refused"}.isdisjoint(self.names)


@contextmanager
def seeded(fault: Fault | None) -> Iterator[Path]:
    """A folder with the tree, and the fault in it."""
    with tempfile.TemporaryDirectory(prefix="fault-") as name:
        folder = Path(name)
        for part in COPIED:
            if (ROOT / part).is_dir():
                shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
            elif (ROOT / part).exists():
                shutil.copy(ROOT / part, folder / part)
        if fault:
            path = folder / "landscape" / fault.file
            text = path.read_text()
            count = text.count(fault.old)
            assert count == 1, f"{fault.name}: {fault.old!r} stands {count} times in {fault.file}"
            path.write_text(text.replace(fault.old, fault.new))
        yield folder


def check_side(fault: Fault | None, scenarios: str) -> Seen:
    """What ``scenarios`` say with the fault in; all of them where none is named."""
    with seeded(fault) as folder:
        done = _python(folder, "-m", "mutations.scenarios", *scenarios.split())
    if done.returncode:
        raise RuntimeError(f"{fault and fault.name}: {done.stderr[-2000:]}")
    return Seen(json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{"))))


def test_side(fault: Fault | None, tests: str) -> tuple[bool, str]:
    """Whether one of ``tests`` fails with the fault in, and the last lines of pytest."""
    with seeded(fault) as folder:
        nodes = [f"tests/{one}" for one in tests.split()]
        done = _python(folder, "-m", "pytest", "-m", "", "-x", "-q", "--no-header", "--tb=line", *nodes)
    said = done.stdout.strip()[-1500:]
    # 1: tests failed. Anything else but 0 is a wrong name, or a tree that cannot be collected.
    if done.returncode not in (0, 1):
        raise RuntimeError(
            f"{fault and fault.name}: pytest ended with {done.returncode}: {said} {done.stderr}"
        )
    return done.returncode == 1, said


test_side.__test__ = False  # type: ignore[attr-defined]


@cache
def without_fault() -> Seen:
    """What every scenario says of the library as it is."""
    return check_side(None, "")


def _python(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder), str(folder / "tests")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
