"""``landscape compare`` end to end: what it prints, what it says of few points, and what it refuses by name."""

import json
import re

import numpy as np
import pytest

import landscape

FEW = ["--draws", 2, "--num-points", 5, "--noise-draws", 2, "--ascent-steps", 2, "--line-points", 5]


def test_points_of_several_runs_are_told_apart_by_letters_and_files(command, folder):
    done = command("compare", "a.h5", "b.h5", "a.h5@init", *FEW, "--json")
    assert done.code == 0, done.err
    assert done.json["output"] == "a-b.compare.h5"
    assert done.json["status"] == "complete"
    found = landscape.load(folder / "a-b.compare.h5")
    assert found.point.tolist() == ["A", "B", "C"]
    assert found.label.tolist() == ["a.h5@final", "b.h5@final", "a.h5@init"]
    assert [f"{one['path']}@{one['point']}" for one in json.loads(found.provenance["inputs"])] == [
        "a.h5@final",
        "b.h5@final",
        "a.h5@init",
    ]
    assert any("3 points are too few" in note for note in found.notes)
    # The checks of all three, by letter.
    assert {"loss at A", "loss at B", "loss at C"} <= {one.name for one in found.checks}
    shown = command("show", "a-b.compare.h5").out
    assert [line.split()[:2] for line in shown.splitlines() if line.startswith("flattest")] == [
        ["flattest", found.flattest]
    ]
    table, _, ranks = shown.partition("\ncheck ")[0].partition("\nranks")
    table = table.partition("\nvalues (≈: not told apart from another)")[2]
    (row,) = [line.split() for line in ranks.splitlines() if line.split()[:1] == ["trace"]]
    assert [float(one) for one in row[1:]] == found.ranks[3].tolist()
    # With its errors a table may be too broad for one.
    row = " ".join(line for line in table.splitlines() if line.split()[:1] == ["trace"])
    cells = re.findall(r"(≈?)(\S+)(?: ± (\S+))?", row.replace("trace", ""))
    assert [float(value) for _, value, _ in cells] == pytest.approx(found.values[3], rel=0.2)
    for (*_, told), error, value in zip(cells, found.errors[3], found.values[3], strict=True):
        assert float(told) == pytest.approx(error, rel=0.5) if told else error < 1e-3 * abs(value)
    assert [mark == "" for mark, *_ in cells] == found.told_apart[3].tolist()
    assert "…" not in table


def test_the_loss_of_a_point_is_that_of_its_run(command, folder):
    command("compare", "a.h5", "b.h5", *FEW)
    found = landscape.load(folder / "a-b.compare.h5")
    losses = found.values[found.measure.tolist().index("loss")]
    for name, loss in zip("ab", losses, strict=True):
        alone = landscape.measure(f"{name}.h5", "slice1d", num_points=3)
        assert loss == pytest.approx(alone.centre_loss, rel=1e-6)
    assert np.isfinite(found.values).all()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a.h5"], "1 point for compare"),
        (["a.h5", "b.h5", "--num-points", 4], "4 points"),
        (["a.h5", "b.h5", "--rise", 0], "rise"),
        (["a.h5", "other.h5"], "its model is"),
    ],
)
def test_what_is_refused(command, folder, words, said):
    if "other.h5" in words:
        train = "train --model mlp --model-arg widths=3 --data moons --epochs 1 -o other.h5"
        assert command(*train.split()).code == 0
    done = command("compare", *words)
    assert done.code == 2
    assert said in done.err, done.err
    assert "Traceback" not in done.err
