"""``landscape efficiency`` end to end: what it writes, prints, draws and refuses."""

import h5py
import numpy as np
import pytest

from landscape.runs import store

TINY = ["--model", "mlp", "--model-arg", "widths=3", "--data", "moons", "--data-arg", "num_samples=50"]
GRID = ["--sizes", "10,30", "--step-sizes", "0.5,0.1", "--batch-size", 5, "--observations-per-sample", 4]
LINE = ["efficiency", *TINY, *GRID, "--seeds", 2, "-o", "e.h5"]


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_it_is_written_with_its_names_and_checks(command, tmp_path):
    done = command(*LINE, "--json")
    assert done.code == 0, done.err
    summary = done.json
    assert summary["kind"] == "efficiency"
    assert summary["status"] == "complete", summary["checks"]
    values = summary["values"]
    assert values["size"] == [10, 30]
    assert values["method"] == ["gd", "minibatch", "sgd"]
    assert np.shape(values["cost"]) == (2, 3, 2)
    assert np.shape(values["best_step"]) == (2, 3)
    assert np.shape(values["observations"]) == np.shape(values["cost_curve"]) == (2, 3, 21)
    assert "zero_predictor" not in values, "no square loss"
    with h5py.File("e.h5") as file:
        assert file["cost"].dims[2].keys() == ["step"]
        assert file["replica_cost"].shape == (2, 3, 2, 2, 21)
    assert not list(tmp_path.glob("*.part"))
    notes = " ".join(summary["notes"])
    assert "n = 30, lowest cost first (± standard error over seeds): " in notes
    assert "an end of the grid" in notes


def test_the_same_again_is_there_another_is_refused_and_it_has_a_picture(command, tmp_path):
    command(*LINE)
    assert "already there" in command(*LINE).out
    other = command(*LINE, "--batch-size", 6)
    assert other.code == 2
    assert "batch_size is 5 there, 6 here" in other.err
    assert command("plot", "e.h5", "-o", "e.png").code == 0
    assert (tmp_path / "e.png").stat().st_size > 1000


def test_a_preset_fills_in_what_is_not_given(command, tmp_path):
    """The thesis' grid on data that are always here."""
    small = ["--data", "moons", "--data-arg", "num_samples=50", "--loss", "bce", "--sizes", "20"]
    line = ["efficiency", "--preset", "thesis-5.2", *small, "--seeds", 1, "--observations-per-sample", 1]
    done = command(*line, "-o", "p.h5")
    assert done.code == 0, done.err
    config = store.load(tmp_path / "p.h5").config
    assert config["options"]["step_sizes"] == "1,0.5,0.1,0.05,0.01,0.005,0.001,0.0005,0.0001,5e-05"
    assert config["options"]["draw_seed"] == 42
    assert config["options"]["sizes"] == "20"
    assert config["recipe"]["model_arguments"] == {
        "widths": [12, 12, 12, 12, 12],
        "activation": "relu",
        "init": "glorot",
    }
    assert config["recipe"]["data"] == "moons"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--seeds", 0], "--seeds 0; expected a whole number of at least 1"),
        (["--sizes", "10,many"], "--sizes '10,many'"),
        (["--sizes", "1000"], "size 1000; expected between 1 and the 40 samples"),
        (["--methods", "gd,adam"], "--methods 'gd', 'adam'; expected some of gd, minibatch, sgd"),
        (["--model-arg", "batchnorm=true"], "batch norm"),
        (["--model-arg", "init=he"], "init='he'"),
    ],
)
def test_bad_input_is_one_sentence(command, words, sentence):
    done = command(*LINE, *words)
    assert done.code == 2
    assert sentence in done.err
    assert done.err.count("\n") == 1


def test_a_grid_where_every_step_diverges(command, tmp_path):
    (tmp_path / "steep.py").write_text(
        "import torch\ndef build():\n    x = torch.arange(40.0)[:, None]\n    return x, 3 * x\n"
    )
    steep = ["--data", "steep.py:build", "--step-sizes", "1e30,1e20"]
    words = ["efficiency", "--model", "linear", *steep, "--seeds", 1, "-o", "s.h5"]
    done = command(*words)
    assert done.code == 1
    assert "training diverges at every step size, down to 1e+20" in done.err
    assert command(*words[:-4], "--step-sizes", "1e-6", *words[-4:]).code == 0, "nothing is in the way"
