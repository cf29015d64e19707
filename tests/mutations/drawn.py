"""Faults drawn at random: small changes of lines that the small analyses run, and what these then say.

``PYTHONPATH=tests:. python -m mutations.drawn [--seed N] [--count N] [DIR …]``, from the root of the tree, on a system
that forks, prints every fault that moves a number of an analysis whose checks all pass. About half of these are other
right answers, of another seed or another way to the same end; the rest want a check.
"""

import argparse
import importlib.abc
import importlib.util
import os
import pickle
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, NamedTuple

# What analyses load of others, once for all processes.
import h5py  # noqa: F401
import numpy as np
import scipy.optimize
import scipy.stats  # noqa: F401
import sklearn.datasets  # noqa: F401
import torch
import torch.export
from mutations.edits import Edit, edits
from mutations.harness import ROOT

LIBRARY = ROOT / "landscape"
# Analyses tried for each fault, the quick ones first as a rule, and the seconds that they may take.
TRIED, SECONDS = 4, 90
# What a search took, or how well it ended, which another way to the same end moves.
OF_THE_WAY = {
    "num_products",
    "residuals",
    "estimated_residuals",
    "product_rounding",
    "num_restarts",
    "num_chunks",
}
# A number that moved by less, over the largest beside it, has been rounded otherwise.
MOVED = 1e-6


@dataclass(frozen=True)
class Said:
    """What an analysis says: the checks that failed, or the refusal; its status, and numbers as arrays or text."""

    failed: Sequence[str]
    status: str
    numbers: dict[str, Any]

    def moved(self, usual: "Said") -> list[str]:
        """The numbers that are not the ``usual`` ones."""
        own, names = self.numbers, usual.numbers
        return [name for name in names if name not in OF_THE_WAY and _differ(own.get(name), names[name])]


def said(name: str) -> Said:
    """What the analysis of this name says, here and now."""
    from mutations.scenarios import SCENARIOS

    try:
        result = SCENARIOS[name]()
    except Exception as error:  # a fault may break anything, and that is seen
        return Said([repr(error)], "refused", {})
    numbers = dict(result.scalars().items())
    numbers |= {one.name: one.values for one in result.arrays()}
    for label, state in result.states.items():
        numbers |= {f"{label} {one}": value for one, value in state.items()}
    failed = [check.name for check in result.checks if not check.passed]
    return Said(failed, result.status, {key: _kept(value) for key, value in numbers.items()})


def _kept(value: Any) -> Any:
    array = np.asarray(value)
    return array.astype(float) if array.dtype.kind in "fiub" else str(array.tolist())


def _differ(one: Any, usual: Any) -> bool:
    if not (isinstance(one, np.ndarray) and isinstance(usual, np.ndarray)):
        return one is None or type(one) is not type(usual) or one != usual
    if one.shape != usual.shape:
        return True
    if np.array_equal(one, usual, equal_nan=True):
        return False
    size = np.abs(usual[np.isfinite(usual)]).max(initial=1e-300)
    with np.errstate(invalid="ignore"):
        apart = np.where((one == usual) | (np.isnan(one) & np.isnan(usual)), 0.0, np.abs(one - usual))
    return not apart.max() <= MOVED * size


def run_by(name: str) -> tuple[Said, set[tuple[str, int]], float]:
    """What an analysis says, (file in landscape/, line) of what it runs, and its seconds."""
    lines: set[tuple[str, int]] = set()

    def within(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            lines.add((frame.f_code.co_filename, frame.f_lineno))
        return within

    def entered(frame: FrameType, event: str, value: Any) -> Any:
        ours = frame.f_code.co_filename.startswith(str(LIBRARY))
        return within(frame, "line", value) if ours and event == "call" else None

    begun = time.perf_counter()
    sys.settrace(entered)
    try:
        found = said(name)
    finally:
        sys.settrace(None)
    ours = {(str(Path(file).relative_to(LIBRARY)), line) for file, line in lines}
    return found, ours, time.perf_counter() - begun


def with_fault(file: str, edit: Edit, names: Collection[str]) -> dict[str, Said] | None:
    """What the analyses ``names`` say where ``file`` is edited; None where that ends or stands still."""

    def tried() -> dict[str, Said]:
        for module in [one for one in sys.modules if one.startswith(("landscape", "mutations.scenarios"))]:
            del sys.modules[module]
        sys.meta_path.insert(0, _Edited(file, edit.applied((LIBRARY / file).read_text())))
        return {name: said(name) for name in names}

    return apart(tried, SECONDS * len(names))


def apart(work: Callable[[], Any], seconds: int) -> Any:
    """What ``work`` gives in a silent process of its own; None where that ends otherwise, or stands still."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        signal.alarm(seconds)
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        try:
            found = pickle.dumps(work())
        except BaseException:
            os._exit(1)
        with os.fdopen(writing, "wb") as out:
            out.write(found)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as back:
        found = back.read()
    os.waitpid(child, 0)
    return pickle.loads(found) if found else None


class _Edited(importlib.abc.Loader):
    """Finds the module of ``file`` with another ``source``."""

    def __init__(self, file: str, source: str):
        self.path, self.source = LIBRARY / file, source
        self.name = ".".join(["landscape", *Path(file).with_suffix("").parts]).removesuffix(".__init__")

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != self.name:
            return None
        folder = [str(self.path.parent)] if self.path.name == "__init__.py" else None
        return importlib.util.spec_from_file_location(
            name, self.path, loader=self, submodule_search_locations=folder
        )

    def create_module(self, spec: Any) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.source, str(self.path), "exec"), module.__dict__)


class Usual(NamedTuple):
    """Of the library as it is: analyses that run a line, their seconds, what they say, and what they never repeat."""

    by_line: dict[tuple[str, int], list[str]]
    seconds: dict[str, float]
    said: dict[str, Said]
    unsteady: dict[str, set[str]]


def usual() -> Usual:
    """Everything once with its lines and once without."""
    names = apart(_names, SECONDS)
    first = apart(lambda: {name: run_by(name) for name in names}, SECONDS * len(names))
    again = apart(lambda: {name: said(name) for name in names}, SECONDS * len(names))
    by_line: dict[tuple[str, int], list[str]] = {}
    for name, (_, lines, _) in first.items():
        for line in lines:
            by_line.setdefault(line, []).append(name)
    unsteady = {name: set(first[name][0].moved(again[name])) for name in names}
    return Usual(by_line, {name: first[name][2] for name in names}, again, unsteady)


def _names() -> list[str]:
    from mutations.scenarios import SCENARIOS

    return list(SCENARIOS)


def report(folders: Sequence[str], seed: int, count: int) -> Counter[str]:
    """Draws and tries ``count`` faults in ``folders``; prints what passed in silence, and counts the others."""
    known, rng, counts = usual(), random.Random(seed), Counter[str]()
    files = sorted({file for file, _ in known.by_line if file.startswith(tuple(folders))})
    every = [(file, one) for file in files for one in edits((LIBRARY / file).read_text())]
    faults = [(file, one) for file, one in every if (file, one.line) in known.by_line]
    for file, edit in rng.sample(faults, min(count, len(faults))):
        names = known.by_line[file, edit.line]
        names = sorted(names, key=lambda name: known.seconds[name] * (0.5 + rng.random()))[:TRIED]
        found = with_fault(file, edit, names)
        if found is None:
            counts["ended"] += 1
            continue
        seen = {name for name, one in found.items() if one.failed or one.status != known.said[name].status}
        moved = {name: found[name].moved(known.said[name]) for name in names if name not in seen}
        quiet = {
            name: [one for one in ones if one not in known.unsteady[name]] for name, ones in moved.items()
        }
        is_quiet = any(quiet.values())
        counts["in silence" if is_quiet else "seen" if seen else "without effect"] += 1
        if is_quiet:
            _show(file, edit, quiet)
    print(f"{len(faults)} to draw from; of {counts.total()}: {dict(counts)}")
    return counts


def _show(file: str, edit: Edit, quiet: Mapping[str, Sequence[str]]) -> None:
    source = (LIBRARY / file).read_text()
    print(f"{file}:{edit.line} {source[edit.start : edit.stop]!r} → {edit.new!r}")
    print(f"    {source.splitlines()[edit.line - 1].strip()}")
    for name, moved in quiet.items():
        if moved:
            print(f"    {name}: {', '.join(moved[:6])}{' …' if len(moved) > 6 else ''}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="*", default=[""], help="of landscape/, all by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=50)
    given = parser.parse_args()
    torch.set_num_threads(1)
    report(given.folders, given.seed, given.count)
