"""The scripts in ``examples``: their lines run, and their pictures are there, small and shown."""

import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from surfaces import ONE

import landscape
from landscape import Objective
from landscape.cli import main
from landscape.runs import store

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPTS = [one for topic in ("thesis", "survey") for one in sorted((EXAMPLES / topic).glob("figure-*.sh"))]
WHOLE = [*SCRIPTS, EXAMPLES / "smoothing" / "smoothing.sh"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A root with the examples in it."""
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("pictures"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(script, capsys, **sizes):
    """The lines of a script without loops, with other ``sizes`` of some commands; how many there were."""
    text = (EXAMPLES / script).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.startswith("landscape ")]
    Path(Path(script).parent).mkdir(exist_ok=True)
    for line in lines:
        words = shlex.split(line)[1:]
        assert main([*words, *sizes.get(words[0], [])]) == 0, capsys.readouterr().err
    return len(lines)


def test_the_zigzag_runs_as_written_and_crosses_the_valley_at_every_step(folder, capsys):
    assert run("thesis/figure-4.2.sh", capsys) == 3
    assert (folder / "thesis" / "4.2-zigzag.png").stat().st_size > 10_000
    result = store.load(Path("thesis/zigzag.slice2d.h5"))
    path = np.stack([result.trajectory_alpha, result.trajectory_beta], axis=1)
    # Across the valley is nearly along (1, 1).
    across = path[:15].sum(axis=1)
    assert (across[1:] * across[:-1] < 0).all()


def test_the_dead_unit_is_flat_and_in_one_basin_with_the_bottom(folder, capsys):
    small = ["--num-points", "21"]
    assert run("survey/figure-3.sh", capsys, slice2d=small, basins=small) == 6
    assert {one.name for one in (folder / "survey").glob("*.png")} == {"3-surface.png", "3-basins.png"}
    dead = store.load(Path("survey/dead.hessian.h5"))
    assert "local minimum, flat along 2 directions" in dead.verdict
    basins = store.load(Path("survey/3.h5"))
    assert (basins.num_basins, basins.in_plane_barrier) == (1, 0)


def test_the_ripple_fades_as_its_closed_form_says():
    model = runpy.run_path(str(EXAMPLES / "smoothing" / "ripple.py"))["model"]
    found, wanted = (
        landscape.slice2d(one, one.theta, directions="axes", num_points=5, **given)
        for one, given in (
            (Objective(model(), "output", (ONE, ONE)), {"smooth": 0.26, "smooth_draws": 400}),
            (Objective(model(sigma=0.26), "output", (ONE, ONE)), {}),
        )
    )
    assert (np.abs(found.smooth_loss - wanted.loss) / found.smooth_loss_error).max() < 5


@pytest.mark.slow
@pytest.mark.parametrize("script", WHOLE, ids=lambda one: f"{one.parent.name}-{one.stem}")
def test_a_script_runs_as_written(script, folder):
    shim = folder / "bin" / "landscape"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m landscape "$@"\n')
    shim.chmod(0o755)
    path = os.pathsep.join([str(shim.parent), os.environ["PATH"]])
    home = os.pathsep.join([str(EXAMPLES.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": home}
    done = subprocess.run(["sh", str(script)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    topic = script.parent.name
    made = {f"{topic}-{one.name}" for one in (folder / topic).glob("*.png")}
    assert made
    assert made <= {one.name for one in (EXAMPLES / "pictures").glob("*.png")}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda one: f"{one.parent.name}-{one.stem}")
def test_every_figure_has_its_small_picture_in_the_readme(script):
    topic = script.parent.name
    text, readme = script.read_text(), (script.parent / "README.md").read_text()
    number = script.stem.removeprefix("figure-")
    pictures = sorted((EXAMPLES / "pictures").glob(f"{topic}-{number}-*.png"))
    assert f"### {number} " in readme
    assert len(pictures) >= len(re.findall(r"landscape plot", text)) >= 1
    for picture in pictures:
        assert picture.stat().st_size <= 80_000
        assert f"../pictures/{picture.name}" in readme


def test_the_gallery_shows_every_picture_with_a_command_of_its_script():
    script = "".join(re.split(r"\\\n *", (EXAMPLES / "gallery.sh").read_text()))
    rows = re.findall(
        r'<img src="(pictures/gallery-.*?)".*`(landscape .*)` \|', (EXAMPLES / "README.md").read_text()
    )
    assert {EXAMPLES / picture for picture, _ in rows} == set((EXAMPLES / "pictures").glob("gallery-*.png"))
    for picture, command in rows:
        # The script trains its nets in a loop over seeds.
        written = command.replace("-o gallery/net-0.h5", '--seed "$seed" -o "gallery/net-$seed.h5"')
        assert written in script
        assert (EXAMPLES / picture).stat().st_size <= 120_000


# --- the notebook --------------------------------------------------------------------------------

NOTEBOOK = EXAMPLES / "notebook.ipynb"
MAKER = runpy.run_path(str(EXAMPLES / "notebook.py"))


def code_cells():
    made = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return [cell for cell in made["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_is_small_whole_and_of_the_cells_of_its_script():
    text = NOTEBOOK.read_text(encoding="utf-8")
    made = json.loads(text)
    assert text == MAKER["written"](made)
    assert (made["nbformat"], made["nbformat_minor"]) == (4, 5)
    assert len(text) < 150_000
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in made["cells"]]
    assert cells == list(MAKER["CELLS"])
    assert len({cell["id"] for cell in made["cells"]}) == len(cells)
    counts = [cell["execution_count"] for cell in code_cells()]
    assert counts == list(range(1, len(counts) + 1))
    outputs = [one for cell in code_cells() for one in cell["outputs"]]
    plain = [one.get("text") or one["data"]["text/plain"] for one in outputs]
    assert all(len(lines) <= 10 and len("".join(lines)) <= 1000 for lines in plain)
    assert not any(
        "error" in one["output_type"] or " at 0x" in "".join(plain[i]) for i, one in enumerate(outputs)
    )
    pages = ["".join(one["data"]["text/html"]) for one in outputs if "text/html" in one.get("data", {})]
    assert [re.findall(r'img alt="(.*?)"', page) for page in pages] == [["train"], ["slice2d"]]


@pytest.mark.slow
def test_the_notebook_is_what_its_script_makes(tmp_path):
    path = tmp_path / "made.ipynb"
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
    line = [sys.executable, str(EXAMPLES / "notebook.py"), str(path)]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made, kept = (json.loads(one.read_text(encoding="utf-8")) for one in (path, NOTEBOOK))
    # The bytes of a picture are those of one version of matplotlib, on one machine.
    assert without_pictures(made) == without_pictures(kept)


def without_pictures(text):
    return re.sub(r"base64,[A-Za-z0-9+/=]+", "base64", json.dumps(text))


@pytest.mark.slow
def test_the_cells_of_the_notebook_run_one_after_the_other_in_one_process(tmp_path):
    """Plainly, by nothing of the script that made it, and with nothing said on the way."""
    cells = ["".join(cell["source"]) for cell in code_cells()]
    code = "import json, sys\nscope = {}\nfor cell in json.loads(sys.argv[1]):\n    exec(cell, scope)"
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
    line = [sys.executable, "-W", "error", "-c", code, json.dumps(cells)]
    done = subprocess.run(line, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    printed = ["".join(one["text"]) for cell in code_cells() for one in cell["outputs"] if "text" in one]
    assert done.stdout == "".join(printed)
    assert {"run.h5", "plane.slice2d.h5", "report.html", "surface.h5"} <= {
        one.name for one in tmp_path.iterdir()
    }
