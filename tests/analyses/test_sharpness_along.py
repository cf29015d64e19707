"""Sharpness at several points: each the same as alone, the last one whole; along a run from its file."""

import h5py
import numpy as np
import pytest
import torch
from matplotlib.text import Text
from torch import nn

import landscape
from landscape import Objective
from landscape.cli import main
from landscape.curvature import along_run

HOW: dict = {"sigmas": (0.01, 0.02), "num_draws": 3, "ascent_steps": 2, "critical": True}


@pytest.fixture(scope="module")
def objective():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    return Objective(module, "cross_entropy", (torch.randn(20, 3).double(), torch.arange(20) % 2))


@pytest.fixture(scope="module")
def points(objective):
    return [landscape.Point(scale * objective.theta, {}, f"at {scale}") for scale in (0.5, 1.0, 1.5)]


def test_every_row_is_that_of_the_point_alone_and_all_else_is_the_last(objective, points):
    found = landscape.sharpness(objective, points, **HOW)
    assert found.status == "complete", [one for one in found.checks if not one.passed]
    assert found.point.tolist() == ["at 0.5", "at 1.0", "at 1.5"]
    for row, point in enumerate(points):
        alone = landscape.sharpness(objective, point, rescaling="unit" if row == 2 else "none", **HOW)
        assert found.measure.tolist() == alone.measure.tolist()
        np.testing.assert_array_equal(found.values_along[row], alone.values)
        np.testing.assert_array_equal(found.errors_along[row], alone.errors)
        assert (found.loss_along[row], found.gradient_norm_along[row]) == (alone.loss, alone.gradient_norm)
        own = {one.name for one in alone.checks} - {"as asked"}
        assert {f"{name} at {point.label}" for name in own} <= {one.name for one in found.checks}
    np.testing.assert_array_equal(found.rescaled_values, alone.rescaled_values)
    np.testing.assert_array_equal(found.noise_rise, alone.noise_rise)
    # λ_max by the dense Hessian of the module itself.
    for row, point in enumerate(points):
        value = torch.linalg.eigvalsh(
            torch.stack([objective.hvp(point.theta, one) for one in torch.eye(26).double()])
        )
        assert found.values_along[row, 0] == pytest.approx(float(value[-1]), rel=1e-6)


def test_it_goes_on_from_its_journal_bit_for_bit(objective, points):
    kept: dict = {}
    whole = landscape.sharpness(objective, points, journal=kept, **HOW)
    half = dict(list(kept.items())[: len(kept) // 2])
    again = landscape.sharpness(objective, points, journal=half, **HOW)
    for one in again.arrays():
        np.testing.assert_array_equal(one.values, getattr(whole, one.name))


@pytest.mark.parametrize(
    "name", ["values_along", "errors_along", "loss_along", "gradient_norm_along", "point"]
)
def test_a_row_that_is_another_fails_its_check(objective, points, monkeypatch, name):
    kernel = along_run._in_place

    def turned(result, *about):
        rows = getattr(result, name)
        # That of the last point stands where it is.
        setattr(result, name, np.concatenate([rows[-2::-1], rows[-1:]]))
        return kernel(result, *about)

    monkeypatch.setattr(along_run, "_in_place", turned)
    points = [landscape.Point(0.5 * points[0].theta, points[0].fixed, "before"), *points]
    found = landscape.sharpness(objective, points, **HOW)
    assert {one.name for one in found.checks if not one.passed} == {"last point"}


def test_along_a_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(line):
        return main(line.split())

    model = "--model mlp --model-arg widths=4 --data circles --data-arg num_samples=30"
    assert run(f"train {model} --steps 6 --checkpoint-every 2 -q -o a.h5") == 0
    few = "--sigmas 0.01 --draws 2 --ascent-steps 1 --critical --rescaling none"
    assert run(f"sharpness a.h5 --at all {few}") == 0
    text = capsys.readouterr().out
    assert "lambda_max" in text
    assert "step=2" in text
    with h5py.File("a.sharpness.h5") as file:
        assert file["values_along"].shape == (4, file["measure"].shape[0])
    assert run(f"sharpness a.h5@step=4 {few} -q -o b.h5") == 0
    found, alone = landscape.load("a.sharpness.h5"), landscape.load("b.h5")
    np.testing.assert_allclose(found.values_along[2], alone.values, rtol=1e-12)
    assert run("plot a.sharpness.h5 -q -o p.png") == 0
    assert run("sharpness a.h5 --at nowhere -q -o c.h5") == 2
    assert "nowhere" in capsys.readouterr().err


def test_the_picture_shows_every_point_and_says_along_what(objective, points):
    found = landscape.sharpness(objective, points, **HOW)
    found.provenance["inputs"] = [{"path": "a.h5", "point": name} for name in found.point]
    figure = landscape.plot(found)
    top = figure.axes[0]
    shown = {line.get_label(): line.get_ydata() for line in top.lines}
    np.testing.assert_array_equal(shown["λₘₐₓ"], found.values_along[:, 0])
    assert len(shown) == 3
    assert any("Sharpness along a.h5" in text.get_text() for text in figure.findobj(Text))
