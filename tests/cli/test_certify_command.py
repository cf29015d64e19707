"""``landscape certify`` end to end: at a point, along a run, by its preset; what it prints, draws and refuses."""

import json

import h5py
import numpy as np
import pytest

import landscape

TRAIN = ["--model", "mlp", "--model-arg", "widths=6", "--data", "moons", "--data-arg", "num_samples=16"]


@pytest.fixture
def run(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = command("train", *TRAIN, "--loss", "mse", "--epochs", 4, "--checkpoint-every", 2, "-o", "a.h5")
    assert done.code == 0, done.err
    return tmp_path


def test_it_says_what_it_writes(run, command):
    summary = command("certify", "a.h5", "--last-layer", "--json").json
    assert (summary["kind"], summary["status"]) == ("certify", "complete")
    values = summary["values"]
    names = {"ntk_rank", "ntk_smallest", "ntk_largest", "loss_bound", "num_dead", "verdict"}
    assert names | {"feature_rank", "feature_smallest", "state", "assumption", "conclusion"} <= values.keys()
    assert len(values["feature_rank"]) == len(values["layer"]) == 2
    assert set(values["state"]) <= {"holds", "fails", "cannot be known"}
    with h5py.File(run / "a.certify.h5") as file:
        assert {"path_loss", "control_points", "ntk_spectrum"} <= set(file)
    shown = command("show", "a.certify.h5").out
    assert "what is certain of the point" in shown
    assert "assumed by" in shown
    assert command("plot", "a.certify.h5", "-o", "a.png").code == 0


def test_what_takes_a_point_takes_the_ends_of_the_path(run, command):
    # Fewer samples than units, so that the path ends at F = 0.
    command(
        "train",
        *TRAIN[:4],
        "--data",
        "moons",
        "--data-arg",
        "num_samples=6",
        "--loss",
        "mse",
        "--dtype",
        "float64",
        "-o",
        "b.h5",
    )
    found = command("certify", "b.h5", "--last-layer", "--json").json["values"]
    line = command("interpolate", "b.h5", "b.certify.h5", "--json").json
    assert line["status"] == "complete"
    t, loss = (np.array(line["values"][name]) for name in ("alpha", "loss"))
    law = found["path_floor"] + (1 - t) ** 2 * (found["loss"] - found["path_floor"])
    np.testing.assert_allclose(loss, law, rtol=1e-9, atol=1e-13)
    for words in (
        ["slice2d", "b.certify.h5@init", "b.h5@init", "b.certify.h5", "--num-points", "3"],
        ["connect", "b.certify.h5@init", "b.certify.h5@final", "--epochs", "1"],
    ):
        done = command(*words)
        assert done.code == 0, done.err
    # Without a path the file holds no points.
    command("certify", "b.h5", "-o", "c.h5")
    refused = command("interpolate", "b.h5", "c.h5")
    assert "holds no points" in refused.err


def test_along_a_run_and_on_a_part_of_the_samples(run, command):
    summary = command("certify", "a.h5", "--at", "all", "--subset", 5, "--json").json
    values = summary["values"]
    assert values["point"] == ["init", "epoch=2", "final"]
    assert values["num_outputs"] == 10
    assert values["kernel_change"][0] == values["weight_change"][0] == 0
    assert values["linear_loss"][0] == pytest.approx(values["loss"][0])
    assert summary["status"] == "complete"
    assert command("plot", "a.certify.h5", "-o", "a.png").code == 0


def test_a_run_of_gradient_descent_falls_as_fast_as_its_kernel_says(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["--model", "mlp", "--model-arg", "widths=40", "--data", "moons", "--data-arg", "num_samples=12"]
    words += ["--loss", "mse", "--epochs", 30, "--checkpoint-every", 10]
    command("train", *words, "--method", "gd", "--lr", 0.05, "-o", "a.h5")
    summary = command("certify", "a.h5", "--at", "all", "--json").json
    assert summary["status"] == "complete"
    values = summary["values"]
    t = 0.05 * np.array([0, 10, 20, 30])
    law = values["loss"][0] * np.exp(-4 * min(values["ntk_smallest"]) * t / values["num_outputs"])
    np.testing.assert_allclose(values["decay_bound"], law, rtol=1e-12)
    assert (np.array(values["loss"]) <= law * (1 + 1e-6)).all()
    assert any("kept at every one" in note for note in summary["notes"])
    assert command("plot", "a.certify.h5", "-o", "a.png").code == 0
    part = command("certify", "a.h5", "--at", "all", "--subset", 5, "-o", "p.h5", "--json").json
    assert "decay_bound" not in part["values"]
    assert any("not the F of its training" in note for note in part["notes"])
    # Steps of mini-batches are no descent on F.
    command("train", *words, "--batch-size", 4, "-o", "b.h5")
    assert "decay_bound" not in command("certify", "b.h5", "--at", "all", "--json").json["values"]


@pytest.mark.parametrize(
    "schedule",
    [
        ("piecewise", "gamma=0.5", "every=7"),
        ("polynomial", "gamma=1", "beta=0.1"),
        ("exponential", "rate=0.1", "every=2"),
        ("plateau", "threshold=0.01", "patience=1"),
    ],
    ids=lambda words: words[0],
)
def test_steps_that_change_have_a_bound_too(command, tmp_path, monkeypatch, schedule):
    """t is the sum of the steps: of the logged ones, where every one is logged."""
    monkeypatch.chdir(tmp_path)
    words = ["--model", "mlp", "--model-arg", "widths=40", "--data", "moons", "--data-arg", "num_samples=12"]
    words += ["--loss", "mse", "--epochs", 30, "--checkpoint-every", 10, "--method", "gd", "--lr", 0.05]
    words += ["--schedule", schedule[0], "--schedule-arg", schedule[1], "--schedule-arg", schedule[2]]
    command("train", *words, "--measure-every", 1, "-o", "a.h5")
    sizes = landscape.load("a.h5").step_size
    assert len(set(sizes.round(9))) > 1
    values = command("certify", "a.h5", "--at", "all", "--json").json["values"]
    t = np.array([0, *np.cumsum(sizes[1:])[[9, 19, 29]]])
    law = values["loss"][0] * np.exp(-4 * min(values["ntk_smallest"]) * t / values["num_outputs"])
    np.testing.assert_allclose(values["decay_bound"], law, rtol=1e-9)
    # Steps between are known by a formula, but where they follow the loss.
    command("train", *words, "--measure-every", 10, "-o", "b.h5")
    seldom = command("certify", "b.h5", "--at", "all", "--json").json
    if schedule[0] == "plateau":
        assert "decay_bound" not in seldom["values"]
        assert any("not every one was logged" in note for note in seldom["notes"])
    else:
        np.testing.assert_allclose(seldom["values"]["decay_bound"], law, rtol=1e-6)


def test_the_preset_measures_the_limit(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = command(
        "certify", "--preset", "ntk-width", "--widths", "20,80", "--draws", 3, "-o", "w.h5", "--json"
    )
    assert done.code == 0, done.err
    assert len(done.json["values"]["kernel_error"]) == 2
    config = json.loads(h5py.File("w.h5").attrs["config"])
    assert config["options"]["preset"] == "ntk-width"
    result = landscape.load("w.h5")
    assert result.headline.startswith("K − K∞ ∝ width^")
    assert command("plot", "w.h5", "-o", "w.png").code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "neither a point nor a preset"),
        (["a.h5", "--preset", "ntk-width"], "both a point and a preset"),
        (["a.h5", "--widths", "3,4"], "--widths at a point"),
        (["a.h5", "--kernel", "sparse"], "--kernel"),
        (["a.h5", "--tol", "0"], "--tol"),
    ],
)
def test_what_is_refused_is_one_sentence(run, command, words, said):
    done = command("certify", *words)
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert said in done.err


def test_a_kernel_too_large_is_refused_and_a_part_of_it_offered(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command("train", "--model", "mlp", "--model-arg", "widths=4", "--epochs", 1, "-o", "a.h5")
    done = command("certify", "a.h5")
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "--subset" in done.err
    assert "k = 10 outputs" in done.err
