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
from landscape.runs import session, store
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

    for kind, name in (("connect", "a-b.connect"), ("merge", "a-b.merge"), ("align", "b-aligned")):
        output = default_output(analyses.declared(kind), [folder / "a.h5", folder / "b.h5"])
        assert output == folder / f"{name}.h5"
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


# --- what is there already, and what was begun, is compared whole ------------------------------


def stopped(line: list[object], folder, monkeypatch, command) -> None:
    """The command ``slice2d``, stopped by Ctrl-C with pieces in its journal."""
    with monkeypatch.context() as patch:
        replaced = session._analyse

        def analyse(declared, options, say):
            whole = replaced(declared, options, say)

            def interrupted(work):
                def stop(done, total, what):
                    if done >= 12:
                        raise KeyboardInterrupt

                work.progress = stop
                return whole(work)

            return interrupted

        patch.setattr(session, "_analyse", analyse)
        assert command(*line).code == 130


@pytest.fixture
def own(folder, command, monkeypatch):
    """A run of the user's own module on the user's own data, and a line that measures it in many pieces."""
    monkeypatch.setattr("landscape.objective.sweep.BLOCK_POINTS", 4)
    write_net(folder, 1.0)
    write_data(folder, 0)
    line = ["--model", "net.py:net", "--data", "npz:d.npz", "--loss", "mse", "--steps", 2, "--lr", 0.01]
    assert command("train", *line, "-o", "n.h5").code == 0
    return ["slice2d", "n.h5", "--num-points", 7, "--threads", 1]


def write_net(folder, scale: float) -> None:
    (folder / "net.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Linear):\n"
        f"    def forward(self, x):\n        return {scale} * super().forward(x)\n"
        "def net():\n    return Net(2, 1)\n"
    )


def write_data(folder, seed: int) -> None:
    inputs = np.random.default_rng(seed).normal(size=(20, 2))
    np.savez(folder / "d.npz", inputs=inputs, targets=inputs.sum(1))


def change_the_net(folder) -> list[str]:
    write_net(folder, 2.0)
    return ["--trust"]


def change_the_data(folder) -> list[str]:
    write_data(folder, 1)
    return []


def change_the_seed(folder) -> list[str]:
    return ["--seed", "3"]


def change_torch(folder) -> list[str]:
    torch.__version__ = "99.0"  # pyright: ignore
    return []


CHANGES = [
    (change_the_net, "net.py has another content now"),
    (change_the_data, "d.npz has another content now"),
    (change_the_seed, "seed is 0 there, 3 here"),
]


@pytest.mark.parametrize(("change", "sentence"), CHANGES, ids=lambda one: getattr(one, "__name__", ""))
def test_a_result_from_something_else_is_not_already_there(own, folder, command, change, sentence):
    assert command(*own).code == 0
    assert "already there" in command(*own).out
    before = (folder / "n.slice2d.h5").read_bytes()
    line = [*own, *change(folder)]
    refused = command(*line)
    assert (refused.code, refused.out) == (2, "")
    assert f"n.slice2d.h5 exists and was made by another configuration ({sentence})" in refused.err
    assert (folder / "n.slice2d.h5").read_bytes() == before
    assert command(*line, "-o", "other.h5").code == 0
    assert command(*line, "--overwrite").code == 0
    assert "already there" in command(*line).out


@pytest.mark.parametrize(
    ("change", "sentence"),
    [*CHANGES, (change_torch, "torch is '")],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_work_begun_with_something_else_is_not_gone_on_with(
    own, folder, command, monkeypatch, change, sentence
):
    monkeypatch.setattr(torch, "__version__", str(torch.__version__))
    stopped(own, folder, monkeypatch, command)
    journal = folder / "n.slice2d.h5.part" / "rank-0.jsonl"
    before = journal.read_bytes()
    line = [*own, *change(folder)]
    refused = command(*line)
    assert (refused.code, refused.out) == (2, "")
    assert "n.slice2d.h5.part holds unfinished work" in refused.err
    assert sentence in refused.err
    assert journal.read_bytes() == before
    assert command(*line, "-o", "other.h5").code == 0
    done = command(*line, "--overwrite")
    assert done.code == 0
    assert "going on" not in done.err
    assert not journal.exists()
    assert same_arrays(landscape.load("n.slice2d.h5"), landscape.load("other.h5"))


def test_the_same_work_is_gone_on_with(own, folder, command, monkeypatch):
    stopped(own, folder, monkeypatch, command)
    done = command(*own)
    assert done.code == 0, done.err
    assert "3 finished pieces" in done.err
    assert command(*own, "-o", "whole.h5").code == 0
    assert same_arrays(landscape.load("n.slice2d.h5"), landscape.load("whole.h5"))


def test_data_that_a_factory_takes_from_elsewhere_are_compared_by_their_numbers(folder, command, monkeypatch):
    """No file that a spec names has changed, and the pieces would be of two data sets."""
    monkeypatch.setattr("landscape.objective.sweep.BLOCK_POINTS", 4)
    write_net(folder, 1.0)
    write_data(folder, 0)
    (folder / "own.py").write_text(
        "import numpy as np\nimport torch\n"
        "def data():\n"
        "    with np.load('d.npz') as stored:\n"
        "        return tuple(torch.from_numpy(stored[n]).float() for n in ('inputs', 'targets'))\n"
    )
    line = ["--model", "net.py:net", "--data", "own.py:data", "--loss", "mse", "--steps", 2, "--lr", 0.01]
    assert command("train", *line, "-o", "n.h5").code == 0
    measured = ["slice2d", "n.h5", "--num-points", 7]
    stopped(measured, folder, monkeypatch, command)
    write_data(folder, 1)
    refused = command(*measured)
    assert refused.code == 2
    assert "made from something else (the data are not the same numbers)" in refused.err
    # Training knows its data before it looks at what is there.
    again = command("train", *line, "-o", "n.h5")
    assert again.code == 2
    assert (
        "n.h5 exists and was made by another configuration (the data are not the same numbers)" in again.err
    )


def test_damaged_pieces_are_named_and_computed_again(own, folder, command, monkeypatch):
    assert command(*own, "-o", "whole.h5").code == 0
    stopped(own, folder, monkeypatch, command)
    journal = folder / "n.slice2d.h5.part" / "rank-0.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"0.", b"1.", 1)
    journal.write_bytes(b"".join(lines))
    done = command(*own)
    said = " ".join(done.err.split())
    assert (
        "rank-0.jsonl, line 3 of 4: not what was written there, so it and what follows; computed again"
        in said
    )
    assert "1 finished pieces" in said
    assert same_arrays(landscape.load("n.slice2d.h5"), landscape.load("whole.h5"))


def test_a_damaged_output_is_not_already_there(own, folder, command):
    assert command(*own).code == 0
    data = bytearray((folder / "n.slice2d.h5").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "n.slice2d.h5").write_bytes(data)
    refused = command(*own)
    assert refused.code == 2
    assert "n.slice2d.h5 is damaged" in refused.err
    assert "give another -o, or --overwrite" in refused.err
    assert command(*own, "--overwrite").code == 0


def test_interrupted_work_of_old_is_not_already_there(own, folder, command):
    """Made before the user's files were recorded: the same configuration, spelled otherwise."""
    assert command(*own).code == 0
    result = landscape.load("n.slice2d.h5")
    result.outcome = "interrupted"
    result.notes = ["as far as it went"]
    del result.config["sources"]
    landscape.save(result, folder / "n.slice2d.h5")
    done = command(*own)
    assert done.code == 0
    assert "already there" not in done.out
    assert landscape.load("n.slice2d.h5").status == "complete"
    assert "already there" in command(*own).out
    refused = command(*own, "--seed", 3)
    assert refused.code == 2
    landscape.save(result, folder / "n.slice2d.h5")
    refused = command(*own, "--seed", 3)
    assert "seed is 0 there, 3 here" in refused.err


def test_a_result_of_another_torch_is_there_and_said_to_be(own, folder, command, monkeypatch):
    assert command(*own).code == 0
    here = str(torch.__version__)
    monkeypatch.setattr(torch, "__version__", "99.0")
    again = command(*own)
    assert "already there" in again.out
    assert f"n.slice2d.h5 was made by torch {here}, here is 99.0" in " ".join(again.err.split())
