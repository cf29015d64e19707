"""Command lines run in this process, on a net and data so small that each takes milliseconds."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from landscape.cli import main

TINY = ["--model", "mlp", "--model-arg", "widths=6", "--data", "moons", "--data-arg", "num_samples=60"]


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.out)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs ``landscape …`` and hands back its exit code and both streams."""

    def run(*words: object) -> Outcome:
        capsys.readouterr()
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return Outcome(code, out, err)

    return run


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two trained runs of one architecture, a.h5 and b.h5, and a wider one, wide.h5."""
    folder = tmp_path_factory.mktemp("runs")
    for name, seed in (("a", 0), ("b", 1)):
        line = [
            *TINY,
            "--epochs",
            4,
            "--checkpoint-every",
            1,
            "--seed",
            seed,
            "-q",
            "-o",
            folder / f"{name}.h5",
        ]
        assert main(["train", *map(str, line)]) == 0
    wide = [
        "--model-arg",
        "widths=7",
        *TINY[:2],
        *TINY[4:],
        "--epochs",
        "1",
        "-q",
        "-o",
        str(folder / "wide.h5"),
    ]
    assert main(["train", *wide]) == 0
    return folder


@pytest.fixture
def folder(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh copy of the runs, as the current folder."""
    for file in runs.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path
