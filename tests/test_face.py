"""The face of the package: what ``import landscape`` shows, and nothing else."""

import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

import landscape
from landscape.analyses import FUNCTIONS

ROOT = Path(__file__).parent.parent
NAMES = {
    *(
        "BadInput",
        "Check",
        "LandscapeError",
        "Objective",
        "Point",
        "Result",
        "Run",
        "Stream",
        "export_surface",
        "import_surface",
        "load",
        "measure",
        "plot",
        "record",
        "report",
        "save",
        "send",
    ),
    *(
        "align",
        "basins",
        "certify",
        "compare",
        "connect",
        "critical",
        "efficiency",
        "escape",
        "hessian",
        "import_point",
    ),
    *("interpolate", "minima", "modes", "noise", "sharpness", "slice1d", "slice2d", "train"),
}


def test_the_public_names_are_these():
    assert set(landscape.__all__) == NAMES
    assert set(FUNCTIONS.values()) <= NAMES


def test_dir_holds_the_public_names_alone():
    # In a process of its own and after imports, which leave rooms and helpers in the package's globals.
    code = "import landscape.plots, landscape.runs.run; print(*dir(landscape))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    shown = set(run.stdout.split())
    assert {name for name in shown if not name.startswith("__")} == NAMES
    assert {"__version__", "__doc__", "__all__"} <= shown


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_public_name_is_there(name):
    found = getattr(landscape, name)
    assert callable(found)
    assert found.__name__ == name
    assert found.__module__.startswith("landscape.")


def test_other_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        landscape.nothing  # noqa: B018


def test_star_gives_the_public_names():
    found: dict[str, object] = {}
    exec("from landscape import *", found)
    assert set(found) - {"__builtins__"} == NAMES


def test_the_package_says_that_it_is_typed_and_brings_the_mark_along():
    assert files("landscape").joinpath("py.typed").is_file()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "py.typed" in project["tool"]["setuptools"]["package-data"]["landscape"]
