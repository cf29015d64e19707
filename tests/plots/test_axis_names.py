"""Every axis is named by what stands along it."""

from pathlib import Path

import pytest

import landscape

FILES = Path(__file__).parents[1] / "files"
NAMES = {
    "align": [("position α on the line (0 = A, 1 = B)", "training loss")],
    "basins": [("", "loss"), ("width", "share that need not rise")],
    "connect": [
        ("position t on the curve", "training loss"),
        ("pass over the data", "loss, barrier in training"),
    ],
    "critical": [("loss where the search ended", "index over d = 2")],
    "efficiency": [("", "cost, n = 4"), ("observations used", "cost, n = 8")],
    "escape": [("size of the noise", "steps until F < 0.5"), ("step", "loss")],
    "hessian": [("rank of the eigenvalue", "eigenvalue λ")],
    "merge": [("", "loss"), ("", "accuracy")],
    "minima": [("width", "cost"), ("width", "cost"), ("cost", "index")],
    "noise": [("step size α, at B = 1", "mean ‖∇F‖²")],
    "train": [("", "training loss"), ("passes over the data", "‖∇F‖")],
}


@pytest.mark.parametrize("kind", NAMES)
def test_axes_are_named(kind: str):
    figure = landscape.plot(landscape.load(FILES / f"v1-{kind}.h5"))
    found = [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes]
    assert [tuple(" ".join(one.split()) for one in names) for names in found] == NAMES[kind]
