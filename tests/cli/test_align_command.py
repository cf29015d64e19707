"""``landscape align`` from the command line: a run file that every other command takes."""

import numpy as np
import pytest
import torch

from landscape.runs import store
from landscape.runs.run import Run

TINY = ["--model-arg", "widths=6", "--data", "moons", "--data-arg", "num_samples=60", "--epochs", 1]


def test_the_aligned_point_can_be_used_everywhere(command, folder):
    done = command("align", "a.h5", "b.h5", "--num-points", 5, "--json")
    assert done.code == 0, done.err
    values = done.json["values"]
    names = ("barrier_before", "barrier_after", "distance_before", "distance_after", "function_difference")
    assert {*names, "movable", "blocked", "blocked_reason", "permutation"} <= set(values)
    assert values["function_difference"] <= 1e-9
    assert sorted(values["permutation"]) == list(range(6))
    assert values["group"] == ["hidden1.weight[0]"]
    line = command("interpolate", "a.h5", "b-aligned.h5@final", "--num-points", 5, "--json").json["values"]
    np.testing.assert_allclose(line["barrier_chord"], values["barrier_after"], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(line["distance"], values["distance_after"], rtol=1e-6)
    assert command("hessian", "b-aligned.h5", "--top-k", 1).code == 0
    assert command("export", "b-aligned.h5", "-o", "b.safetensors").code == 0
    assert command("align", "a.h5", "b-aligned.h5", "-o", "again.h5", "-q").code == 0
    assert Run(folder / "b-aligned.h5").labels == ["final"]
    before, after = (store.read_state(folder / name, "final") for name in ("b.h5", "b-aligned.h5"))
    order = values["permutation"]
    np.testing.assert_array_equal(before["hidden1.weight"][order], after["hidden1.weight"])
    np.testing.assert_array_equal(before["output.weight"][:, order], after["output.weight"])


def test_interpolate_aligns_first_when_asked(command, folder):
    aligned = command("align", "a.h5", "b.h5", "--json").json["values"]
    values = command("interpolate", "a.h5", "b.h5", "--align", "--json").json
    np.testing.assert_allclose(values["values"]["distance"], aligned["distance_after"], rtol=1e-6)
    assert any("B was aligned first" in note for note in values["notes"])
    assert any(check["name"] == "function preserved" for check in values["checks"])


def test_show_lists_what_is_blocked_and_why(command, folder):
    command("align", "a.h5", "b.h5", "--match", "activations", "--restarts", 1)
    shown = command("show", "b-aligned.h5")
    assert shown.code == 0
    for text in ("3 of 4 parameters movable", "blocked_reason", "output.bias", "points: final"):
        assert text in " ".join(shown.out.split())


def test_a_narrower_model_is_a_point_of_the_wider(command, folder):
    done = command("align", "a.h5", "wide.h5", "--json")
    assert done.code == 0, done.err
    assert "a.h5 is mlp widths=6, a point of mlp widths=7 with 0 for what it lacks" in str(done.json["notes"])


def test_other_architectures_are_refused_with_their_names_and_shapes(command, folder):
    line = "train --model mlp --model-arg widths=6,6 --data moons --epochs 1 -q -o deep.h5"
    assert command(*line.split()).code == 0
    done = command("align", "a.h5", "deep.h5")
    assert done.code == 2
    assert "a.h5@final does not fit this architecture: hidden2.weight missing" in done.err
    assert "deep.h5 is mlp widths=[6, 6], a.h5 is mlp widths=6" in done.err
    assert not (folder / "deep-aligned.h5").exists()


def test_modules_that_cannot_be_aligned_get_a_sentence(command, folder):
    (folder / "own.py").write_text(
        "import torch\n"
        "class Branch(torch.nn.Linear):\n"
        "    def forward(self, x):\n"
        "        y = super().forward(x)\n"
        "        return y if bool(y.sum() > -1e9) else -y\n"
        "def branch(): return Branch(2, 1)\n"
        "def flat(): return torch.nn.Linear(2, 1)\n"
    )
    for name, text in (("branch", "cannot be traced"), ("flat", "no unit of Linear can be permuted")):
        for seed in (0, 1):
            line = ["--model", f"own.py:{name}", *TINY[2:], "--seed", seed, "-o", f"{name}{seed}.h5", "-q"]
            assert command("train", *line).code == 0
        done = command("align", f"{name}0.h5", f"{name}1.h5")
        assert done.code == 2
        assert text in done.err
        assert done.err.count("\n") == 1


def test_of_three_models_the_command_that_takes_them_is_named(command, folder):
    done = command("align", "a.h5", "b.h5", "c.h5")
    assert done.code == 2
    assert "Three or more are brought together by 'landscape merge'." in done.err


def test_aligned_to_a_file_they_are_merged(command, folder):
    for number, to in enumerate((["--to", "m0.h5"], ["--to=m1.h5"])):
        done = command("align", "a.h5", "b.h5", *to, "--json")
        assert done.code == 0, done.err
        assert done.json["kind"] == "merge"
        assert "final" in Run(folder / f"m{number}.h5").labels


def test_an_alignment_that_changes_the_function_has_exit_code_3(command, folder, monkeypatch):
    from landscape.symmetry import alignment

    monkeypatch.setattr(alignment, "function_difference", lambda *_: 0.5)
    done = command("align", "a.h5", "b.h5")
    assert done.code == 3
    assert "would change the outputs of Sequential by 0.5" in done.err
    assert "hidden1.weight[0]" in done.err
    assert not (folder / "b-aligned.h5").exists()


@pytest.mark.filterwarnings("ignore")
def test_siblings_in_folders_of_their_own_are_one_model(command, tmp_path, monkeypatch):
    """As ``save_pretrained`` leaves them: their settings are one model, and those that differ are said."""
    transformers = pytest.importorskip("transformers", reason="models by name need the extra [hf]")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(
        "import torch\n"
        "def data():\n"
        "    x = torch.arange(24).reshape(4, 6) % 11\n"
        "    return {'input_ids': x, 'labels': x}\n"
    )
    sizes = {"vocab_size": 11, "hidden_size": 8, "intermediate_size": 6, "num_attention_heads": 2}
    for number, (name, changed) in enumerate(
        {"a": {}, "b": {}, "c": {}, "deep": {"num_hidden_layers": 9}, "other": {"rms_norm_eps": 0.1}}.items()
    ):
        torch.manual_seed(number)
        config = transformers.LlamaConfig(**{**sizes, "num_hidden_layers": 1, **changed})
        transformers.LlamaForCausalLM(config).save_pretrained(name)
        done = command("import", f"./{name}", "--data", "own.py:data", "-o", f"{name}.h5", "-q")
        assert done.code == 0, done.err
    done = command("merge", "a.h5", "b.h5", "c.h5", "--restarts", 1, "-o", "merged.h5", "--json")
    assert done.code == 0, done.err
    assert done.json["values"]["model"] == ["a.h5@final", "b.h5@final", "c.h5@final"]
    for name, said in (
        ("other", "rms_norm_eps=0.1, that of a.h5 hf:./a rms_norm_eps=1e-06"),
        ("deep", "and 68 more"),
    ):
        done = command("merge", "a.h5", "b.h5", f"{name}.h5")
        assert done.code == 2
        assert said in done.err
        assert done.err.count("\n") == 1
