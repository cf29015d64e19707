"""Light to open: what only reads and draws a result never imports torch."""

import json
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


def test_torch_is_refused():
    """The tests below can fail."""
    run = without_torch("import landscape\nlandscape.Objective")
    assert run.returncode == 1
    assert "torch was asked for" in run.stderr


ROOMS = (
    "landscape",
    "landscape.analyses",
    "landscape.cli.html",
    "landscape.cli.plot",
    "landscape.cli.report",
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


# One process that shows and draws every kind: [kind, what, exit code, output, errors] a line.
EACH = """
import io, json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from landscape.cli import main

files, pictures, *kinds = sys.argv[1:]
for kind in kinds:
    file = f"{files}/v1-{kind}.h5"
    for what, line in {
        "shown": ["show", file],
        "json": ["show", "--json", file],
        "drawn": ["plot", file, "-o", f"{pictures}/{kind}.png"],
    }.items():
        out, errors = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(errors):
            try:
                code = main(line)
            except BaseException as error:
                code = repr(error)
        print(json.dumps([kind, what, code, out.getvalue(), errors.getvalue()]))
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """By kind and what is done with it: exit code, output, errors; and the folder of the pictures."""
    pictures = tmp_path_factory.mktemp("pictures")
    run = without_torch(EACH, str(FILES), str(pictures), *sorted(FUNCTIONS))
    assert run.returncode == 0, run.stderr
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    return {(kind, what): answer for kind, what, *answer in lines}, pictures


@pytest.mark.parametrize("kind", sorted(FUNCTIONS))
class TestEveryKind:
    def test_is_shown_without_torch(self, kind, said):
        code, out, errors = said[0][kind, "shown"]
        assert code == 0, errors
        assert out.startswith(f"{kind} → ")
        assert f"landscape {kind}" in out

    def test_is_shown_as_json_without_torch(self, kind, said):
        code, out, errors = said[0][kind, "json"]
        assert code == 0, errors
        assert f'"kind": "{kind}"' in out

    def test_is_drawn_without_torch(self, kind, said):
        code, _, errors = said[0][kind, "drawn"]
        assert code == 0, errors
        assert (said[1] / f"{kind}.png").stat().st_size > 5_000


# By command: what it is given, and which of the libraries that take long to import its numbers need.
HEAVY = {"matplotlib", "pandas", "scipy", "sklearn", "sympy", "xarray", "torch._dynamo", "torch._inductor"}
NET = """
import torch
from torch import nn


def build(width=3, depth=1):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, 2))


def data():
    x = torch.randn(12, 2, generator=torch.Generator().manual_seed(0))
    return x, (x[:, 0] > 0).long()
"""
OWN = "--model net.py:build --data net.py:data --loss cross_entropy"
# What torch.optim imports with its first optimiser, and vmap with its first call.
OPTIM, VMAP = {"sympy", "torch._dynamo", "torch._inductor"}, {"sympy"}
COMMANDS = {
    "import": (f"w.pt {OWN}", set()),
    "hessian": ("a.train.h5 --top-k 1", set()),
    "interpolate": ("a.train.h5 b.train.h5 --num-points 5", set()),
    "slice1d": ("a.train.h5 --num-points 3", VMAP),
    "slice2d": ("a.train.h5 --num-points 3", VMAP),
    "sharpness": ("a.train.h5", {"scipy", *VMAP}),
    "compare": ("a.train.h5 b.train.h5 --draws 2 --num-points 3 --noise-draws 2", {"scipy", *VMAP}),
    "align": ("a.train.h5 b.train.h5", {"scipy", *OPTIM}),
    "merge": ("a.train.h5 b.train.h5", {"scipy", *OPTIM}),
    "connect": ("a.train.h5 b.train.h5 --epochs 1 --num-points 5", set()),
    "basins": ("a.slice2d.h5", {"scipy"}),
    "critical": ("a.train.h5 --starts 1", {"scipy", *VMAP}),
    "certify": ("a.train.h5", VMAP),
    "escape": ("a.train.h5@init --amplitudes 0.1 --seeds 2 --max-steps 3", VMAP),
    "noise": ("a.train.h5 --step-sizes 0.01 --batch-sizes 2 --steps 20 --seeds 2", {"scipy"}),
    "minima": (f"{OWN} --widths 2 --restarts 2 --steps 3", {"scipy"}),
    "efficiency": (f"{OWN} --sizes 6 --seeds 1", VMAP),
}
# Each in a fork of its own of a process that has torch, as that is what takes long.
FORKED = """
import io, json, os, sys
from contextlib import redirect_stderr, redirect_stdout

import torch

torch.set_num_threads(1)
heavy, commands = json.loads(sys.argv[1])
sys.path.insert(0, os.getcwd())
import net

torch.save(net.build().state_dict(), "w.pt")
before = {name for name in heavy if name in sys.modules}


def tried(line):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        from landscape.cli import main

        said = io.StringIO()
        with redirect_stdout(said), redirect_stderr(said):
            try:
                code = main(line.split())
            except SystemExit as stop:
                code = stop.code
        found = [name for name in heavy if name in sys.modules and name not in before]
        os.write(writing, json.dumps([code, found, said.getvalue()[-2000:]]).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answer = json.loads(pipe.read() or '[1, [], "died"]')
    os.waitpid(child, 0)
    return answer


print(json.dumps({name: tried(line) for name, line in commands.items()}))
"""


@pytest.mark.parametrize(
    "kinds", [("hessian", "interpolate"), pytest.param(tuple(COMMANDS), marks=pytest.mark.slow)], ids=len
)
def test_a_command_imports_what_its_numbers_need(tmp_path, kinds):
    (tmp_path / "net.py").write_text(NET)
    lines = {
        "train": f"train {OWN} --epochs 1 -o a.train.h5",
        "train again": f"train {OWN} --epochs 1 --seed 1 -o b.train.h5",
        "slice": "slice2d a.train.h5 --num-points 3 -o a.slice2d.h5" if "basins" in kinds else "--version",
        **{kind: f"{kind} {COMMANDS[kind][0]} -o {kind}.h5" for kind in kinds},
    }
    asked = json.dumps([sorted(HEAVY), lines])
    run = subprocess.run(
        [sys.executable, "-c", FORKED, asked], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    found.pop("slice")
    assert {kind: said for kind, (code, _, said) in found.items() if code} == {}
    wanted = {kind: COMMANDS[kind][1] if kind in COMMANDS else OPTIM for kind in found}
    assert {kind: set(names) for kind, (_, names, _) in found.items()} == wanted


def test_every_command_is_among_them():
    # A pair of modes has no command of its own.
    assert set(FUNCTIONS) - {"modes", "train"} == set(COMMANDS)
