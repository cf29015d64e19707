"""The scripts in ``examples``: their lines run, and their pictures are there, small and shown."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from landscape.cli import main
from landscape.runs import store

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPTS = sorted((EXAMPLES / "thesis").glob("figure-*.sh"))


def test_the_zigzag_runs_as_written_and_crosses_the_valley_at_every_step(tmp_path, monkeypatch, capsys):
    shutil.copytree(EXAMPLES / "thesis", tmp_path / "examples" / "thesis")
    (tmp_path / "thesis").mkdir()
    monkeypatch.chdir(tmp_path)
    text = (EXAMPLES / "thesis" / "figure-4.2.sh").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.startswith("landscape ")]
    assert len(lines) == 3
    for line in lines:
        assert main(shlex.split(line)[1:]) == 0, capsys.readouterr().err
    assert (tmp_path / "thesis" / "4.2-zigzag.png").stat().st_size > 10_000
    result = store.load(Path("thesis/zigzag.slice2d.h5"))
    path = np.stack([result.trajectory_alpha, result.trajectory_beta], axis=1)
    # Across the valley is nearly along (1, 1).
    across = path[:15].sum(axis=1)
    assert (across[1:] * across[:-1] < 0).all()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_every_figure_has_its_small_picture_in_the_readme(script):
    text, readme = script.read_text(), (EXAMPLES / "thesis" / "README.md").read_text()
    number = script.stem.removeprefix("figure-")
    pictures = sorted((EXAMPLES / "pictures").glob(f"thesis-{number}-*.png"))
    assert f"### {number} " in readme
    assert len(pictures) >= len(re.findall(r"landscape plot", text)) == 1
    for picture in pictures:
        assert picture.stat().st_size <= 60_000
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
