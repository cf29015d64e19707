"""The face of the package: what ``import landscape`` shows, and nothing else."""

import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from torch import nn

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
    *("interpolate", "merge", "minima", "modes", "noise", "sharpness", "slice1d", "slice2d", "train"),
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


def test_what_a_cell_of_a_notebook_ends_with_is_short():
    """Twenty layers of batch norm, whose buffers would fill pages."""
    layers = [part for _ in range(20) for part in (nn.Linear(50, 50), nn.BatchNorm1d(50))]
    data = torch.randn(60, 50, generator=torch.Generator().manual_seed(0)), torch.zeros(60, 50)
    objective = landscape.Objective(nn.Sequential(*layers), "mse", data)
    run = landscape.train(objective, epochs=1)
    point = objective.present_point()
    for one in (objective, objective.samples, point, run, run.checks[0]):
        text = repr(one)
        assert len(text) <= 1000
        assert len(text.splitlines()) <= 10
    assert repr(objective) == ("Objective of Sequential: 53000 parameters, 60 samples, float32 on cpu")
    assert repr(point) == "Point present: 53000 parameters, float32, and 60 fixed tensors"
    assert repr(objective.samples) == "Samples: 60 samples"
    # The picture that a notebook shows beside it is of so many bytes.
    assert len(run._repr_html_()) <= 4 * 60_000 / 3 + 2000
