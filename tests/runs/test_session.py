"""The Python door: resume, provenance, publication and 'already there' as the command line has them."""

import json
import re

import numpy as np
import pytest
import torch
from torch import nn

import landscape
from landscape import Objective
from landscape.errors import BadInput, Interrupted
from landscape.runs import store
from landscape.runs.address import default_output, points_of
from landscape.runs.recipe import Recipe, fingerprint

OPTIONS = {"num_points": 7}


def same_arrays(one, other) -> bool:
    mine, theirs = ({v.name: v.values for v in result.arrays()} for result in (one, other))
    return mine.keys() == theirs.keys() and all(np.array_equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize(
    ("kind", "places", "options", "line"),
    [
        ("hessian", "a.h5", {"top_k": 2, "memory_limit": 2**30}, "hessian a.h5 --top-k 2 --memory-limit 1"),
        ("slice1d", "a.h5@epoch=2", {"num_points": 5, "ignore": ()},
         "slice1d a.h5@epoch=2 --num-points 5 --ignore none"),
        ("slice2d", ["a.h5"], OPTIONS, "slice2d a.h5 --num-points 7"),
        ("interpolate", ["a.h5", "b.h5"], {"span": (-0.5, 1.0)}, "interpolate a.h5 b.h5 --range -0.5 1"),
        ("sharpness", "a.h5", {"sigmas": [1e-3, 0.1], "num_draws": 2}, "sharpness a.h5 --sigmas 0.001,.1 --draws 2"),
        ("modes", ["a.h5", "b.h5", "a.h5@init"], {"epochs": 1, "num_points": 5},
         "connect a.h5 b.h5 a.h5@init --epochs 1 --num-points 5"),
        ("connect", ["a.h5", "b.h5"], {"steps": 2, "num_points": 5, "schedule": "exponential",
         "schedule_arguments": {"rate": 0.1}},
         "connect a.h5 b.h5 --steps 2 --num-points 5 --schedule exponential --schedule-arg rate=0.1"),
    ],
)  # fmt: skip
def test_what_python_made_is_already_there_for_the_command_line(command, folder, kind, places, options, line):
    result = landscape.measure(places, kind, **options)
    again = command(*line.split(), "--json")
    assert again.code == 0, again.err
    path = folder / again.json["output"]
    assert path.exists()
    assert len(list(folder.glob(f"*.{kind}.h5"))) == 1
    header = store.header(path)
    assert header["command"].startswith("landscape.measure(")
    assert same_arrays(result, landscape.load(path))
    seen = command(*line.split())
    assert "already there" in seen.out


def test_training_from_python_is_training_from_the_command_line(command, folder):
    options = {"model": "mlp", "model_arg": {"widths": 6}, "data": "moons", "data_arg": {"num_samples": 60}}
    run = landscape.measure(None, "train", **options, epochs=4, checkpoint_every=1, output="mine.h5")
    assert same_arrays(run, landscape.load("a.h5"))
    mine, theirs = (store.header(path)["config-sha256"] for path in ("mine.h5", "a.h5"))
    assert mine == theirs


def test_an_objective_in_memory_is_measured_published_and_found_again(tmp_path, regression, monkeypatch):
    monkeypatch.chdir(tmp_path)
    alone = landscape.measure(regression, "hessian", top_k=3)
    assert not list(tmp_path.iterdir())
    (x,), _ = regression.samples
    exact = torch.linalg.eigvalsh(2 / (40 * 3) * x.T @ x).flip(0)[:1]
    np.testing.assert_allclose(alone.eigenvalues[:3], exact.expand(3), rtol=1e-12)  # pyright: ignore
    kept = landscape.measure(regression, "slice2d", num_points=5, output="x.h5")
    calls = []
    again = landscape.measure(
        regression, "slice2d", num_points=5, output="x.h5", progress=lambda *a: calls.append(a)
    )
    assert not calls
    assert same_arrays(kept, again)
    with pytest.raises(BadInput, match="num_points is 5 there, 7 here"):
        landscape.measure(regression, "slice2d", num_points=7, output="x.h5")
    with torch.no_grad():
        regression.module.weight.add_(1)
    with pytest.raises(BadInput, match="made from other points"):
        landscape.measure(regression, "slice2d", num_points=5, output="x.h5")


@pytest.mark.parametrize("what", ["module", "loss"])
def test_another_function_of_the_same_name_is_another_measurement(what, tmp_path):
    def objective(activation: nn.Module, power: int) -> Objective:
        module = nn.Sequential(nn.Linear(2, 3), activation, nn.Linear(3, 2)).double()
        nn.utils.vector_to_parameters(torch.linspace(-1, 1, 17), module.parameters())
        inputs = torch.arange(6.0).reshape(3, 2).double()
        return Objective(
            module, lambda outputs, targets: ((outputs - targets).abs() ** power).mean(), (inputs, inputs)
        )

    output = tmp_path / "x.h5"
    landscape.measure(objective(nn.Tanh(), 2), "hessian", top_k=1, output=output)
    other = objective(nn.Sigmoid(), 2) if what == "module" else objective(nn.Tanh(), 3)
    with pytest.raises(BadInput, match="F is "):
        landscape.measure(other, "hessian", top_k=1, output=output)


def test_points_follow_an_objective(regression):
    there = regression.theta + 1
    line = landscape.measure((regression, regression.theta, there), "interpolate", num_points=3)
    values = [regression.value(theta) for theta in (regression.theta, regression.theta + 0.5, there)]
    np.testing.assert_allclose(line.loss, values, rtol=1e-12)  # pyright: ignore
    with pytest.raises(BadInput, match="1 point for interpolate"):
        landscape.measure(regression, "interpolate")
    for given in ({"subset": 3}, {"device": "cpu"}, {"at": "all"}):
        with pytest.raises(BadInput, match="for an objective"):
            landscape.measure(regression, "hessian", **given)


def test_ctrl_c_keeps_what_is_finished_and_the_same_call_goes_on(folder, monkeypatch):
    monkeypatch.setattr("landscape.objective.sweep.BLOCK_POINTS", 4)

    def stop(done: int, total: int, what: str) -> None:
        if done >= 12:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted) as stopped:
        landscape.measure("a.h5", "slice2d", **OPTIONS, progress=stop)
    assert stopped.value.kept == 3
    assert (folder / "a.slice2d.h5.part").is_dir()
    resumed = landscape.measure("a.h5", "slice2d", **OPTIONS)
    assert same_arrays(resumed, landscape.measure("a.h5", "slice2d", **OPTIONS, output="whole.h5"))


@pytest.mark.parametrize(
    ("places", "kind", "given", "sentence"),
    [
        ("a.h5", "hesian", {}, "no analysis 'hesian'.*did you mean 'hessian'"),
        ("a.h5", "hessian", {"topk": 3}, "hessian has no option 'topk'.*did you mean top_k"),
        ("a.h5", "train", {"output": "x.h5"}, "for train; expected a `model`, `data` and a `loss`"),
        (None, "train", {}, "no output"),
        (None, "noise", {}, "neither a point nor a preset"),
        ("a.h5", "noise", {"preset": "thesis-5.3"}, "both a point and a preset"),
        (None, "minima", {"preset": "thesis-9", "output": "x.h5"}, "unknown preset 'thesis-9'"),
        (["a.h5"], "connect", {}, "1 point for connect"),
        (["a.h5", "b.h5", "a.h5@init"], "connect", {}, "3 points for connect"),
        ("a.h5", "slice1d", {"device": "tpu"}, "device"),
        (
            None,
            "minima",
            {"widths": (2,), "model_arg": {"width": 3}, "output": "x.h5"},
            "width, which `widths` sets",
        ),
    ],
)
def test_bad_calls_get_a_sentence(folder, places, kind, given, sentence):
    with pytest.raises(BadInput, match=sentence):
        landscape.measure(places, kind, **given)


def test_one_configuration_however_it_is_spelled(command, folder):
    first = command("sharpness", "a.h5", "--sigmas", "1e-3,0.10", "--draws", 2)
    assert first.code == 0, first.err
    assert "already there" in command("sharpness", "a.h5", "--sigmas", "0.001,0.1", "--draws", 2).out
    assert json.loads(store.header("a.sharpness.h5")["config"])["options"]["sigmas"] == "0.001,0.1"


def test_names_of_outputs_and_points(folder):
    from landscape import analyses

    assert str(default_output(analyses.declared("connect"), [folder / "a.h5", folder / "b.h5"])).endswith(
        "/a-b.connect.h5"
    )
    assert points_of("a.h5", "all")[-1] == "a.h5@final"
    assert points_of("a.h5", "init, epoch=2") == ["a.h5@init", "a.h5@epoch=2"]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"threads": 0}, "`threads` = 0; expected a whole number of at least 1"),
        ({"chunk_size": 2.5}, "`chunk_size` = 2.5; expected a whole number of at least 1"),
        ({"dtype": "float16"}, "`dtype` = 'float16'; expected one of float32, float64"),
        ({"dtype": torch.float64}, "`dtype` = torch.float64; expected one of float32, float64"),
        ({"seed": "x"}, "`seed` = 'x'; expected a whole number"),
        ({"overwrite": "yes"}, "`overwrite` = 'yes'; expected True or False"),
        ({"output": 3}, "`output` = 3; expected a path"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_even_where_a_result_stands(
    given, sentence, regression, tmp_path
):
    output = tmp_path / "x.h5"
    landscape.measure(regression, "hessian", top_k=1, output=output)
    with pytest.raises(BadInput, match=re.escape(sentence)):
        landscape.measure(regression, "hessian", **{"top_k": 1, "output": output, **given})


def test_a_minimum_in_float64_is_exported_and_imported_in_all_its_digits(command, tmp_path, monkeypatch):
    """A linear net that fits exactly: F and ∇F vanish to rounding of float64, not of float32."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    inputs, weights = generator.normal(size=(30, 4)), generator.normal(size=(4, 2))
    np.savez("d.npz", inputs=inputs, targets=inputs @ weights)
    state = {"0.weight": torch.tensor(weights.T.copy()), "0.bias": torch.zeros(2, dtype=torch.float64)}
    torch.save(state, "w.pt")
    (tmp_path / "own.py").write_text(
        "from torch import nn\ndef net():\n    return nn.Sequential(nn.Linear(4, 2))\n"
    )
    line = ["--model", "own.py:net", "--data", "npz:d.npz", "--dtype", "float64"]
    for weights_file, name in (("w.pt", "a.h5"), ("again.pt", "b.h5")):
        assert command("import", weights_file, *line, "-o", name).code == 0
        found = store.read_state(name, "final")
        assert found["0.weight"].dtype == np.float64
        np.testing.assert_array_equal(found["0.weight"], weights.T)
        hessian = command("hessian", name, "--exact", "--json").json["values"]
        assert hessian["gradient_norm"] < 1e-14
        assert hessian["loss"] < 1e-28
        if name == "a.h5":
            assert command("export", name, "-o", "again.pt").code == 0


def test_data_in_float32_are_those_in_float64_rounded_once(tmp_path):
    for name, arguments in (
        ("breast_cancer", {}),
        ("moons", {}),
        ("point", {"x": (0.1, 0.3), "y": (1.0, 0.7)}),
    ):
        recipe = Recipe(data=name, data_arguments=arguments)
        fine, coarse = recipe.data_set(dtype=torch.float64), recipe.data_set()
        assert (fine.inputs.dtype, coarse.inputs.dtype) == (torch.float64, torch.float32)
        assert not torch.equal(fine.inputs, coarse.inputs.double())
        assert torch.equal(fine.inputs.float(), coarse.inputs)
        assert fingerprint(fine) == fingerprint(coarse)
