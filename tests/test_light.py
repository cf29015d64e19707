"""Light to open: what only reads and draws a result never imports torch."""

import subprocess
import sys
from pathlib import Path

import pytest

from landscape.analyses import FUNCTIONS

FILES = Path(__file__).parent / "files"
# Run before anything else in a process of its own: whoever imports torch there gets an error.
REFUSE = """
import importlib.abc
import sys


class Refusing(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] == "torch":
            raise ImportError("torch was asked for")
        return None


sys.meta_path.insert(0, Refusing())
"""


def without_torch(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What a process without torch does with ``code`` and its arguments."""
    command = [sys.executable, "-c", REFUSE + code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def landscape_without_torch(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What the command line does where torch cannot be imported."""
    return without_torch("from landscape.cli import main\nsys.exit(main())", *arguments)


def test_torch_is_refused():
    """The tests below can fail."""
    run = without_torch("import landscape\nlandscape.Objective")
    assert run.returncode == 1
    assert "torch was asked for" in run.stderr


ROOMS = (
    "landscape",
    "landscape.analyses",
    "landscape.cli.plot",
    "landscape.cli.screen",
    "landscape.cli.show",
    "landscape.numerics.curves.barriers",
    "landscape.numerics.pieces",
    "landscape.plots",
    "landscape.progress",
    "landscape.result",
    "landscape.runs.config",
    "landscape.runs.store",
    *(f"landscape.plots.kinds.{'import_' if kind == 'import' else kind}" for kind in FUNCTIONS),
)


def test_rooms_that_read_and_draw_are_imported_without_torch():
    run = without_torch(
        "import importlib\nfor name in sys.argv[1:]:\n    importlib.import_module(name)", *ROOMS
    )
    assert run.returncode == 0, run.stderr


def test_a_kind_of_ones_own_is_saved_shown_and_drawn_without_torch(tmp_path):
    code = """
from dataclasses import dataclass

import numpy as np

import landscape
from landscape.result import Result, array


@dataclass(kw_only=True, eq=False)
class Toy(Result):
    kind = "toy"
    x: np.ndarray = array("x", long_name="place")
    y: np.ndarray = array("x", long_name="value")


Toy(x=np.arange(3.0), y=np.ones(3)).save(sys.argv[1])
again = landscape.load(sys.argv[1])
again.plot(sys.argv[2])
print(again)
from landscape.cli import main
sys.exit(main(["show", sys.argv[1]]))
"""
    run = without_torch(code, str(tmp_path / "a.toy.h5"), str(tmp_path / "a.png"))
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("Toy: complete\n  arrays: x (x 3), y (x 3)\n")
    assert (tmp_path / "a.png").stat().st_size > 5_000


@pytest.mark.parametrize("kind", sorted(FUNCTIONS))
class TestEveryKind:
    def test_is_shown_without_torch(self, kind):
        run = landscape_without_torch("show", str(FILES / f"v1-{kind}.h5"))
        assert run.returncode == 0, run.stderr
        assert run.stdout.startswith(f"{kind} → ")
        assert f"landscape {kind}" in run.stdout

    def test_is_shown_as_json_without_torch(self, kind):
        run = landscape_without_torch("show", "--json", str(FILES / f"v1-{kind}.h5"))
        assert run.returncode == 0, run.stderr
        assert f'"kind": "{kind}"' in run.stdout

    def test_is_drawn_without_torch(self, kind, tmp_path):
        path = tmp_path / "a.png"
        run = landscape_without_torch("plot", str(FILES / f"v1-{kind}.h5"), "-o", str(path))
        assert run.returncode == 0, run.stderr
        assert path.stat().st_size > 5_000
