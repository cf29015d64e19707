"""``landscape noise`` from a run file and by its preset."""

import os

import pytest

from landscape.runs import store


def test_names_in_json(command, folder):
    values = command("noise", "a.h5", "--steps", 20, "--seeds", 3, "--json").json["values"]
    assert len(values["mean_squared_gradient_norm"]) == len(values["bound"]) == 7
    assert len(values["mean_squared_gradient_norm"][0]) == 3
    low, high = values["slope_step_interval"]
    assert low < values["slope_step"] < high
    assert values["slope_batch_interval"][0] < values["slope_batch"]


def test_measuring_at_every_step(command, folder):
    done = command("noise", "a.h5", "--steps", 5, "--seeds", 2, "--measure-every", 1, "--json")
    assert done.json["values"]["measure_every"] == 1


def test_steps_that_fall_are_judged_in_the_file_the_table_and_show(command, folder):
    line = [
        "noise",
        "a.h5",
        "--schedule",
        "polynomial",
        "--schedule-arg",
        "gamma=1",
        "--step-sizes",
        "0.1,0.2",
    ]
    done = command(*line, "--batch-sizes", 1, "--steps", 4, "--seeds", 2, "-o", "n.h5", "--json")
    assert done.code == 0, done.err
    values = done.json["values"]
    assert values["robbins_monro"] == "holds"
    # 1 + 1/2 + 1/3 + 1/4, and its squares.
    assert values["run_step_sum"] == pytest.approx([0.1 * 25 / 12, 0.2 * 25 / 12])
    assert values["run_step_square_sum"] == pytest.approx([0.01 * 205 / 144, 0.04 * 205 / 144])
    assert store.load(folder / "n.h5").step_square_sum == pytest.approx(0.04 * 1.6449340668)
    shown = command("show", "n.h5").out
    for words in ("robbins_monro", "holds", "step_square_sum", "0.0657974", "run step sum", "0.4167"):
        assert words in shown


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["a.h5", "--schedule", "plateau"], "'plateau' is not one of"),
        (["a.h5", "--schedule", "polynomial", "--schedule-arg", "rate=1"], "no 'rate'"),
        ([], "neither a point nor a preset"),
        (["a.h5", "--preset", "thesis-5.3"], "both a point and a preset"),
        (["a.h5", "--step-sizes", "0.1,b"], "numbers with commas"),
        (["a.h5", "--batch-sizes", "1.5"], "numbers with commas"),
        (["a.h5", "--seeds", 0], "--seeds 0; expected a whole number of at least 1"),
        (["a.h5", "--batch-sizes", 100], "48 samples"),
    ],
)
def test_bad_lines_are_refused_in_a_sentence(command, folder, line, words):
    done = command("noise", *line)
    assert done.code == 2
    assert words in done.err


@pytest.mark.skipif("LANDSCAPE_DATA" not in os.environ, reason="LANDSCAPE_DATA names no folder with MNIST")
@pytest.mark.parametrize(("preset", "largest"), [("thesis-5.3", 0.001), ("thesis-5.3-printed", 0.01)])
def test_the_preset_says_in_the_file_what_it_is(command, folder, preset, largest):
    line = [
        "noise",
        "--preset",
        preset,
        "--steps",
        2,
        "--seeds",
        1,
        "--descent-steps",
        2,
        "--probes",
        0,
    ]
    done = command(*line, "-o", "n.h5", "--json")
    assert done.code == 0, done.err
    steps = done.json["values"]["step_size"]
    assert (len(steps), min(steps), max(steps)) == (19, largest / 10, largest)
    assert store.load(folder / "n.h5").config["recipe"]["model_arguments"]["init"] == "glorot"
