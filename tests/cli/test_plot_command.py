"""``landscape plot``: its options reach the picture."""

import numpy as np
import pytest
from matplotlib.image import imread
from pictured import plane, with_run

from landscape.runs import store


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, result in (("a", with_run()), ("b", plane(10 * plane().loss))):
        store.save(result, tmp_path / f"{name}.slice2d.h5")
    return tmp_path


def test_options_of_the_look(command, files):
    line = [
        "plot",
        "a.slice2d.h5",
        "--width",
        5,
        "--dpi",
        60,
        "--title",
        "T",
        "--no-caption",
        "--style",
        "ggplot",
    ]
    done = command(*line, "--panel", "loss", "--spacing", "quantile", "-o", "x.png")
    assert done.code == 0, done.err
    assert imread(files / "x.png").shape[1] == 300


def test_several_files_make_one_picture(command, files):
    done = command("plot", "a.slice2d.h5", "b.slice2d.h5", "--width", 6, "--dpi", 50)
    assert done.code == 0, done.err
    assert imread(files / "a.slice2d+b.slice2d.png").shape[1] == 300


@pytest.mark.parametrize("ending", ["vts", "vtp", "csv"])
def test_other_programs_get_their_files(command, files, ending):
    assert command("plot", "a.slice2d.h5", "-o", f"x.{ending}").code == 0
    assert "5.5" in (files / f"x.{ending}").read_text() or ending == "vtp"


def test_a_view(command, files):
    good = command("plot", "a.slice2d.h5", "--kind", "surface", "--view", "20,-30", "-o", "x.png")
    assert good.code == 0, good.err
    bad = command("plot", "a.slice2d.h5", "--kind", "surface", "--view", "high")
    assert bad.code == 2
    assert "two angles" in bad.err
    assert np.isfinite(imread(files / "x.png")).all()
