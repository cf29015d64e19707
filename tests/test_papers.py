"""The papers of ``examples/papers``: one rule for the verdict, rows made from the results' own numbers."""

import ast
import importlib
import json
import math
import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest

PAPERS = Path(__file__).parent.parent / "examples" / "papers"
NAMES = sorted(one.stem for one in PAPERS.glob("*_[12][0-9][0-9][0-9].py"))


@pytest.fixture
def paper(monkeypatch):
    monkeypatch.syspath_prepend(str(PAPERS))
    monkeypatch.delitem(sys.modules, "paper", raising=False)
    return importlib.import_module("paper")


def read(file, name):
    with h5py.File(file) as opened:
        return opened[name][()] if name in opened else opened.attrs[name]


# The first number of a row once more, by plain HDF5 and other formulas.
FIRST = {
    "cohen_2021": lambda at, seed: np.median(
        [value * 0.5 / 2 for value in read(at / f"0.5-{seed}.hessian.h5", "eigenvalues")[:, 0]][-3:]
    ),
    "baldi_hornik_1989": lambda at, seed: np.count_nonzero(read(at / f"{seed}.h5", "known_count")) / 7,
    "frankle_2020": lambda at, seed: chord(at / f"{seed}-apart.h5"),
    "garipov_2018": lambda at, seed: (
        chord(at / f"{seed}-bezier.h5", "t") / chord(at / f"{seed}-bezier.h5", "t", "loss_straight")
    ),
    "goodfellow_2015": lambda at, seed: float(falls(read(at / f"{seed}.interpolate.h5", "loss"))),
    "gur_ari_2018": lambda at, seed: read(at / f"{seed}-10.h5", "gradient_in_span")[2:].sum() / 3,
    "granziol_2026": lambda at, seed: (
        1
        - max(np.ravel(read(at / f"decoder-{seed}.layers.h5", "eigenvalues")))
        / read(at / f"decoder-{seed}.hessian.h5", "eigenvalues")[0]
    ),
    "li_2018": lambda at, seed: bent(at / f"false-{seed}.plane.h5") - bent(at / f"true-{seed}.plane.h5"),
    "papyan_2019": lambda at, seed: widest(read(at / f"5-16-{seed}.hessian.h5", "eigenvalues")) - 5,
    "ainsworth_2023": lambda at, seed: (
        read(at / f"16-{seed}.align.h5", "value:barrier_after")
        / read(at / f"16-{seed}.align.h5", "value:barrier_before")
    ),
    "cohen_2022": lambda at, seed: np.median(
        [value * 0.003 / 38 for value in read(at / f"0.003-{seed}.hessian.h5", "eigenvalues")[:, 0]][-2:]
    ),
    "ding_2022": lambda at, seed: read(at / f"{seed + 1}.h5", "loss")[0],
}


def chord(file, along="alpha", over="loss"):
    alpha, loss = read(file, along), read(file, over)
    return max(loss - (1 - alpha) * loss[0] - alpha * loss[-1])


def bent(file):
    """The share of cells where |λ_min| is more than a tenth of |λ_max|, by loops."""
    cells = zip(read(file, "lambda_min").ravel(), read(file, "lambda_max").ravel(), strict=True)
    flags = [abs(low) > 0.1 * abs(high) for low, high in cells]
    return sum(flags) / len(flags)


def widest(values):
    logs = sorted(np.log10([one for one in values if one > 0]))[::-1]
    steps = [a - b for a, b in pairwise(logs)]
    return 1 + steps.index(max(steps))


def falls(loss):
    return bool((np.diff(loss) <= 0).all())


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_row_is_made_from_the_numbers_of_its_results(name, tmp_path):
    """At a tiny size, on the digits; typed again nothing is computed, and the row is the same."""
    home = os.pathsep.join([str(PAPERS.parent.parent), os.environ.get("PYTHONPATH", "")])
    environment = {key: one for key, one in os.environ.items() if key != "LANDSCAPE_DATA"} | {
        "PYTHONPATH": home
    }
    line = [sys.executable, str(PAPERS / "paper.py"), name, "--size", "tiny"]

    def run():
        done = subprocess.run(
            line, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    row, folder = run(), tmp_path / "papers" / f"{name}-tiny"
    before = {one: one.stat().st_mtime_ns for one in folder.glob("*.h5")}
    assert row == run()
    assert before == {one: one.stat().st_mtime_ns for one in folder.glob("*.h5")}
    assert (folder / "picture.png").stat().st_size > 5000
    if name in FIRST:
        values = [FIRST[name](folder, seed) for seed in range(3)]
        assert f": {np.mean(values):.3g} ± {np.std(values, ddof=1) / 3**0.5:.1g} (" in row


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((0.9, 0.9, 0.9), "agrees"),
        ((0.4, 0.4, 0.4), "does not"),
        # Each within the range, and their mean not surely so: t = 4.3 for three seeds.
        ((0.51, 0.6, 0.9), "too small to tell"),
        ((0.9, 0.9, math.nan), "too small to tell"),
    ],
)
def test_the_verdict_is_that_of_the_interval_of_the_mean(paper, values, verdict):
    assert paper.Finding("share", values, 0.5, 1.0).verdict == verdict


def test_the_interval_is_that_of_student(paper):
    # Mean 2, standard deviation 1: half width 4.302653 / √3 = 2.484138.
    for room, verdict in ((2.4842, "agrees"), (2.4841, "too small to tell")):
        assert paper.Finding("x", (1.0, 2.0, 3.0), 2 - room, 2 + room).verdict == verdict


def test_a_paper_is_no_better_than_its_worst_number(paper):
    good, bad = (paper.Finding(what, (one,) * 3, 0.5) for what, one in (("a", 0.9), ("b", 0.1)))
    assert "| **does not** |" in paper.row("cohen_2021", [good, bad])
    assert "| **agrees** |" in paper.row("cohen_2021", [good, good])


def test_what_was_changed_is_told_whatever_the_verdict_a_reason_where_it_is_not_met(paper):
    module = importlib.import_module("li_2018")
    for value, has_reason in ((0.9, False), (0.1, True)):
        line = paper.row("li_2018", [paper.Finding("a", (value,) * 3, 0.5)])
        assert module.CHANGED in line
        assert (module.WHY in line) == has_reason


def test_the_page_is_the_table_of_the_numbers_that_are_kept(paper):
    rows = json.loads((PAPERS / "rows.json").read_text(encoding="utf-8"))
    assert set(rows) <= set(NAMES)
    assert paper.table(rows) in (PAPERS / "README.md").read_text(encoding="utf-8")
    for name in rows:
        assert (PAPERS / "pictures" / f"{name}.png").stat().st_size <= 100_000
        assert f"(pictures/{name}.png)" in (PAPERS / "README.md").read_text(encoding="utf-8")


def test_a_new_number_changes_its_row_alone(paper, tmp_path, monkeypatch):
    for one in ("rows.json", "README.md"):
        shutil.copy(PAPERS / one, tmp_path)
    monkeypatch.setattr(paper, "ROWS", tmp_path / "rows.json")
    monkeypatch.setattr(paper, "README", tmp_path / "README.md")
    paper.write("cohen_2021", [paper.Finding("λ", (1.0, 2.0, math.nan), low=0.25)])
    old, new = ((at / "README.md").read_text(encoding="utf-8").splitlines() for at in (PAPERS, tmp_path))
    changed = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
    assert len(changed) == 1
    assert "λ: undefined at some seed (claim ≥ 0.25): too small to tell" in changed[0][1]


@pytest.mark.parametrize("name", NAMES)
def test_a_paper_runs_commands_of_the_toolkit_alone(name, paper):
    """Nothing of its own beyond reading files: no torch, no numbers but those of results; at least three seeds."""
    module = importlib.import_module(name)
    known = {"collections", "math", "pathlib", "numpy", "scipy", "paper", "landscape"}
    tree = ast.parse((PAPERS / f"{name}.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        found = [one.name for one in node.names] if isinstance(node, ast.Import) else []
        found += [node.module] if isinstance(node, ast.ImportFrom) else []
        assert {one.split(".")[0] for one in found} <= known
    from landscape.cli import commands

    for size in module.SIZES.values():
        lines = list(module.commands(Path("x"), size))
        assert {line.split()[0] for line in lines} <= set(commands())
        assert lines[-1].startswith("plot ")
        assert lines[-1].endswith(" -o x/picture.png")
    assert max(module.SIZES["laptop"].get(what, 0) for what in ("seeds", "pairs")) >= 3 or hasattr(
        module, "OVER"
    )
