"""Every command end to end: what it writes, prints and leaves behind."""

import json
import subprocess
import sys
from typing import get_args

import h5py
import numpy as np
import pytest
import torch
from conftest import TINY
from safetensors.torch import load_file

from landscape.cli import commands
from landscape.runs import store
from landscape.runs.run import Run

MEASURES = {
    "hessian": ["hessian", "a.h5", "--top-k", 3],
    "interpolate": ["interpolate", "a.h5@init", "a.h5@final", "--num-points", 7],
    "slice1d": ["slice1d", "a.h5", "--num-points", 5],
    "slice2d": ["slice2d", "a.h5", "--num-points", 5],
    "connect": ["connect", "a.h5", "b.h5", "--epochs", 2, "--num-points", 5, "--plane"],
    "modes": ["connect", "a.h5", "b.h5", "a.h5@init", "--epochs", 2, "--num-points", 5],
    "align": ["align", "a.h5", "b.h5", "--num-points", 5],
    "compare": ["compare", "a.h5", "b.h5", "--draws", 2, "--num-points", 5, "--noise-draws", 2],
    "noise": ["noise", "a.h5", "--steps", 20, "--seeds", 2],
    "escape": ["escape", "a.h5", "--max-steps", 20, "--seeds", 2],
}
OUTPUTS = {kind: f"a.{kind}.h5" for kind in MEASURES}
OUTPUTS |= {
    "connect": "a-b.connect.h5",
    "modes": "a-b.modes.h5",
    "compare": "a-b.compare.h5",
    "align": "b-aligned.h5",
}


@pytest.mark.parametrize("kind", MEASURES)
def test_a_measurement_is_written_beside_its_input_with_its_checks(command, folder, kind):
    done = command(*MEASURES[kind], "--json")
    assert done.code == 0, done.err
    summary = done.json
    assert summary["kind"] == kind
    assert summary["output"] == OUTPUTS[kind]
    assert summary["status"] == "complete"
    assert all(check["passed"] for check in summary["checks"])
    assert len(summary["checks"]) >= 3
    with h5py.File(folder / OUTPUTS[kind]) as file:
        assert file.attrs["format"] == "landscape"
        assert file.attrs["kind"] == kind
        assert json.loads(file.attrs["inputs"])[0]["path"] == "a.h5"
        assert str(file.attrs["command"]).startswith(f"landscape {MEASURES[kind][0]} a.h5")
    assert not list(folder.glob("*.part"))
    assert not list(folder.glob("*.tmp"))


@pytest.mark.parametrize("kind", MEASURES)
def test_the_same_command_again_is_already_there_and_another_is_refused(command, folder, kind):
    command(*MEASURES[kind])
    before = (folder / OUTPUTS[kind]).read_bytes()
    again = command(*MEASURES[kind])
    assert again.code == 0
    assert "already there" in again.out
    other = command(*MEASURES[kind], "--seed", 5)
    assert other.code == 2
    assert "seed is 0 there, 5 here" in other.err
    assert "--overwrite" in other.err
    assert (folder / OUTPUTS[kind]).read_bytes() == before
    assert command(*MEASURES[kind], "--seed", 5, "--overwrite").code == 0
    assert store.header(folder / OUTPUTS[kind])["seed"] == 5


# How a page becomes a vector picture hangs on no kind: one with lines and one with colours stand for all.
VECTORS = [
    pytest.param(kind, ("pdf", "svg"), marks=[] if kind in ("train", "slice2d") else pytest.mark.slow)
    for kind in [*MEASURES, "train"]
]


@pytest.mark.parametrize(
    ("kind", "suffixes"), [*((kind, ("png",)) for kind in [*MEASURES, "train"]), *VECTORS]
)
def test_every_result_has_a_picture(command, folder, kind, suffixes):
    file = "a.h5" if kind == "train" else OUTPUTS[kind]
    if kind != "train":
        command(*MEASURES[kind])
    for suffix in suffixes:
        drawn = command("plot", file, "-o", f"picture.{suffix}")
        assert drawn.code == 0, drawn.err
        assert (folder / f"picture.{suffix}").stat().st_size > 1000


def test_show_says_what_a_file_holds(command, folder):
    shown = command("show", "a.h5")
    assert shown.code == 0
    for text in ("train", "complete", "final_loss", "module untouched", "passed", "points: init, epoch=1"):
        assert text in shown.out
    assert command("show", "a.h5", "--json").json["values"]["num_steps"] == 4


def test_json_holds_small_arrays_and_no_large_ones(command, folder):
    values = command("slice2d", "a.h5", "--num-points", 15, "--json").json["values"]
    assert len(values["alpha"]) == 15
    assert "loss" not in values
    values = command("interpolate", "a.h5", "b.h5", "--num-points", 11, "--json").json["values"]
    assert len(values["loss"]) == 11


def test_quiet_prints_nothing(command, folder):
    done = command("hessian", "a.h5", "--top-k", 1, "-q")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_strict_turns_a_result_that_is_not_converged_into_exit_code_3(command, folder):
    line = ["hessian", "a.h5", "--top-k", 5, "--max-products", 5]
    assert command(*line).code == 0
    assert "not-converged" in command("show", "a.hessian.h5").out
    assert command(*line, "--strict").code == 3


def test_points_are_those_of_the_run(command, folder):
    run = Run(folder / "a.h5")
    assert run.labels == ["init", "epoch=1", "epoch=2", "epoch=3", "final"]
    logs = store.load(folder / "a.h5")
    for label, step in (("init", 0), ("epoch=2", 2), ("final", 4)):
        loss = command("hessian", f"a.h5@{label}", "--top-k", 1, "-o", f"{step}.h5", "--json").json["values"][
            "loss"
        ]
        np.testing.assert_allclose(loss, logs.loss[logs.step == step][0], rtol=1e-6)  # pyright: ignore


def test_several_pairs_may_follow_one_flag(command, folder):
    line = [
        "train",
        "--data",
        "moons",
        "--data-arg",
        "num_samples=40",
        "noise=0.3",
        "--model-arg",
        "widths=3",
    ]
    done = command(*line, "--steps", 1, "-o", "c.h5")
    assert done.code == 0, done.err
    assert Run(folder / "c.h5").recipe.data_arguments == {"num_samples": 40, "noise": 0.3}


def test_export_and_import_are_inverse(command, folder):
    exported = command("export", "a.h5@epoch=2", "-o", "w.safetensors")
    assert exported.code == 0, exported.err
    assert command("export", "a.h5@epoch=2", "-o", "w.pt").code == 0
    state = store.read_state(folder / "a.h5", "epoch=2")
    model = ["--model", "mlp", "--model-arg", "widths=6", "--data", "moons", "--data-arg", "num_samples=60"]
    for file, read in (("w.safetensors", load_file), ("w.pt", lambda p: torch.load(p, weights_only=True))):
        for name, tensor in read(folder / file).items():
            np.testing.assert_array_equal(tensor.numpy(), state[name])
        done = command("import", file, *model, "-o", f"{file}.h5", "--json")
        assert done.code == 0, done.err
        back = store.read_state(folder / f"{file}.h5", "final")
        assert all(np.array_equal(back[name], state[name]) for name in state)


def test_analyses_in_float64_of_a_float32_run(command, folder):
    done = command("slice1d", "a.h5", "--num-points", 3, "--dtype", "float64", "--json").json
    centre = next(check for check in done["checks"] if check["name"] == "centre loss")
    assert centre["value"] <= 1e-12


def test_a_subset_is_named_and_seeded(command, folder):
    line = ["hessian", "a.h5", "--top-k", 2, "--subset", 20, "--subsets", 2, "--json"]
    found = [command(*line, "--seed", s, "-o", f"{i}.h5").json["values"] for i, s in enumerate((1, 1, 2))]
    assert found[0]["loss"] == found[1]["loss"] != found[2]["loss"]
    first, second = (np.array(one["subset_eigenvalues"]) for one in (found[0], found[2]))
    np.testing.assert_allclose(first[0], found[0]["eigenvalues"])
    # The second subset of seed 1 is the first of seed 2.
    np.testing.assert_allclose(first[1], second[0], rtol=1e-5)
    np.testing.assert_allclose(found[0]["subset_spread"], first.std(axis=0, ddof=1))


def test_own_model_data_and_loss(command, folder):
    (folder / "own.py").write_text(
        "import torch\n"
        "def net(width=3):\n"
        "    return torch.nn.Sequential(torch.nn.Linear(2, width), torch.nn.Tanh(), torch.nn.Linear(width, 1))\n"
        "def data():\n"
        "    x = torch.linspace(-1, 1, 20).reshape(10, 2)\n"
        "    return x, x.sum(1, keepdim=True)\n"
        "def absolute(outputs, targets):\n"
        "    return (outputs - targets).abs().mean(1)\n"
    )
    line = [
        "--model",
        "own.py:net",
        "--model-arg",
        "width=4",
        "--data",
        "own.py:data",
        "--loss",
        "own.py:absolute",
    ]
    done = command("train", *line, "--steps", 3, "--lr", 0.01, "-o", "own.h5", "--json")
    assert done.code == 0, done.err
    assert command("slice1d", "own.h5", "--num-points", 3).code == 0


def test_quiet_says_nothing(command, folder):
    for line in (["plot", "a.h5"], ["export", "a.h5", "-o", "w.pt"], ["slice1d", "a.h5", "--num-points", 3]):
        assert command(*line, "-q")[:2] == (0, "")
    assert (folder / "a.png").exists()
    assert (folder / "w.pt").exists()


def test_changed_data_are_said_to_be_changed(command, folder):
    inputs = np.arange(20.0).reshape(10, 2) / 20
    np.savez(folder / "d.npz", inputs=inputs, targets=inputs.sum(1))
    assert command("train", "--data", "npz:d.npz", "--steps", 1, "-o", "d.h5").code == 0
    assert "fingerprints differ" not in command("slice1d", "d.h5", "--num-points", 3).out
    np.savez(folder / "d.npz", inputs=inputs, targets=inputs.sum(1) + 1)
    changed = command("slice1d", "d.h5", "--num-points", 3, "--overwrite")
    assert "fingerprints differ" in " ".join(changed.out.split())


def test_a_diverging_run_is_saved_and_says_so(command, folder):
    line = ["train", "--data", "housing-like.npz"]
    inputs = np.random.default_rng(0).normal(size=(30, 3)) * 100
    np.savez(folder / "d.npz", inputs=inputs, targets=inputs.sum(1))
    line = ["train", "--data", "npz:d.npz", "--lr", 10, "--epochs", 20, "-o", "d.h5"]
    done = command(*line, "--json")
    assert done.code == 0
    assert done.json["status"] == "diverged"
    assert "NaN or infinite" in done.json["notes"][0]
    assert command(*line, "--strict").code == 3


def test_help_lists_every_command_without_importing_torch():
    script = (
        "import sys; from landscape.cli import main; code = main(['--help']);"
        "heavy = {'torch', 'numpy', 'h5py', 'rich', 'matplotlib'} & set(sys.modules);"
        "print(sorted(heavy), code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] 0"
    assert all(f"\n  {name} " in done.stdout for name in commands())
    assert "Exit codes" in done.stdout


@pytest.mark.parametrize("name", commands())
def test_every_command_has_help_with_an_example(command, name):
    done = command(name, "--help")
    assert done.code == 0
    assert name == "tour" or f"landscape {name}" in done.out.replace("Usage: landscape", "", 1)


def test_the_choices_are_what_the_library_has():
    from landscape import choices
    from landscape.curvature import operators
    from landscape.inputs.data import DATA_SETS
    from landscape.inputs.models import MODELS
    from landscape.numerics.steps import schedules
    from landscape.objective.losses import LOSSES
    from landscape.runs.recipe import DTYPES

    for names, known in (
        (choices.Model, MODELS),
        (choices.Data, DATA_SETS),
        (choices.LossName, LOSSES),
        (choices.OperatorName, operators.OPERATORS),
        (choices.Schedule, schedules.PARAMETERS),
    ):
        assert set(get_args(names)) == set(known)
    # What a user's module has of its own is not chosen, but recorded.
    assert {*get_args(choices.Dtype), "mixed"} == set(DTYPES)
    assert set(get_args(choices.CurveSchedule)) == {"garipov", *schedules.PARAMETERS}


def test_help_names_every_model_and_data_set(command):
    from landscape.choices import Data, Model

    # Long lines are broken at hyphens too.
    text = "".join(command("train", "--help").out.split())
    assert all(name in text for name in (*get_args(Model), *get_args(Data)))


def test_classes_per_position_with_a_loss_of_ones_own(command, folder):
    (folder / "own.py").write_text(
        "import torch\n"
        "from torch.nn import functional\n"
        "def net():\n"
        "    return torch.nn.Sequential(torch.nn.Embedding(5, 4), torch.nn.Linear(4, 5))\n"
        "def data():\n"
        "    x = torch.arange(60).reshape(10, 6) % 5\n"
        "    return x, (x + 1) % 5\n"
        "def loss(outputs, targets):\n"
        "    return functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())\n"
    )
    line = ["--model", "own.py:net", "--data", "own.py:data", "--loss", "own.py:loss", "--steps", 2]
    done = command("train", *line, "-o", "lm.h5")
    assert done.code == 0, done.err
    assert command("hessian", "lm.h5", "--top-k", 2).code == 0


def test_hessian_along_a_run(command, folder):
    values = command("hessian", "a.h5", "--at", "init,epoch=2,final", "--top-k", 2, "--json").json["values"]
    assert values["point"] == ["a.h5@init", "a.h5@epoch=2", "a.h5@final"]
    assert np.shape(values["eigenvalues"]) == (3, 2)
    assert values["stability_limit"] == [20.0] * 3
    alone = command("hessian", "a.h5@epoch=2", "--top-k", 2, "-o", "one.h5", "--json").json["values"]
    np.testing.assert_allclose(values["eigenvalues"][1], alone["eigenvalues"], rtol=1e-6)


def test_the_stability_limit_is_that_of_the_step_before_the_point_and_of_the_momentum(command, folder):
    line = ["--epochs", 4, "--momentum", 0.9, "--schedule", "piecewise", "--schedule-arg", "gamma=0.5"]
    line += ["--batch-size", 60, "--checkpoint-every", 1, "-o", "m.h5"]
    assert command("train", *TINY, *line).code == 0
    values = command("hessian", "m.h5", "--at", "init,epoch=1,epoch=3,final", "--json").json["values"]
    # One step a pass: of 0.1, 0.05, 0.025, 0.0125.
    wanted = [2 * 1.9 / size for size in (0.1, 0.1, 0.025, 0.0125)]
    np.testing.assert_allclose(values["stability_limit"], wanted, rtol=1e-12)


def test_another_point_of_the_same_file_is_not_already_there(command, folder):
    assert command("hessian", "a.h5@final", "-o", "h.h5").code == 0
    before = (folder / "h.h5").read_bytes()
    refused = command("hessian", "a.h5@init", "-o", "h.h5")
    assert (refused.code, refused.out) == (2, "")
    assert "h.h5 exists and was made by another configuration (made from other points)" in refused.err
    assert (folder / "h.h5").read_bytes() == before


def test_everything_hessian_can_say(command, folder):
    line = ["hessian", "a.h5", "--top-k", 2, "--bottom-k", 1, "--trace", "--density", "--steps", 5, "--exact"]
    values = command(*line, "--split", "--json").json["values"]
    spectrum = np.sort(values["spectrum"])[::-1]
    np.testing.assert_allclose(values["eigenvalues"], [*spectrum[:2], spectrum[-1]], atol=1e-6 * spectrum[0])
    np.testing.assert_allclose(values["trace"], spectrum.sum(), atol=4 * values["trace_error"] + 1e-6)
    parts = np.add(values["gauss_newton_part"], values["remainder_part"])
    np.testing.assert_allclose(parts, values["eigenvalues"], atol=1e-5 * spectrum[0])
    assert values["verdict"].startswith("not stationary")
    assert values["index"] + values["nullity"] <= len(spectrum)
    assert command("plot", "a.hessian.h5").code == 0
    assert command("hessian", "a.h5", "--basis", "cpu", "-o", "on-cpu.h5").code == 0


def test_the_names_of_connect_in_json(command, folder):
    line = [
        "connect",
        "a.h5",
        "b.h5",
        "--epochs",
        3,
        "--method",
        "chain",
        "--bends",
        2,
        "--l2",
        0.01,
        "--json",
    ]
    values = command(*line, "--num-points", 9, "--restarts", 2).json["values"]
    assert set(values) >= {
        *(
            "t",
            "loss",
            "loss_straight",
            "test_loss",
            "barrier_chord",
            "barrier_ends",
            "barrier_mean",
            "max_loss",
        ),
        *("mean_loss_t", "mean_loss_arc", "control_points", "training_barrier", "penalty", "restart_barrier"),
        *("barrier_chord_error", "barrier_chord_straight", "first_gradient_norm", "second_gradient_norm"),
    }
    assert np.shape(values["control_points"]) == (2, 25)
    assert values["control_t"] == [1 / 3, 2 / 3]
    assert set(values["control_t"]) <= set(values["t"])


def test_several_points_are_many_modes(command, folder):
    done = command("connect", "a.h5", "b.h5", "a.h5@init", "--epochs", 2, "--num-points", 5, "--json").json
    assert (done["kind"], done["output"]) == ("modes", "a-b.modes.h5")
    assert done["values"]["mode"] == ["a.h5@final", "b.h5@final", "a.h5@init"]
    assert np.shape(done["values"]["barrier_curved"]) == (3, 3)
