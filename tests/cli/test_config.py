"""Options from a file are those of the line; what it may not say is refused with its key; init writes one that runs."""

import json
import re
import tomllib

import pytest

import landscape
from landscape.cli import commands, config, init
from landscape.cli import landscape as group
from landscape.runs import store

TRAIN = """
[train]
model = "mlp"
model-arg = {widths = [3, 3], activation = "tanh"}
data = "moons"
data_arg.num_samples = 40
epochs = 2
[[run]]
command = "train"
seed = 1
output = "one.h5"
[[run]]
command = "train"
seed = 2
lr = 0.01
nesterov = true
momentum = 0.5
output = "two.h5"
[[run]]
command = "interpolate"
points = ["one.h5@init", "one.h5"]
range = [-0.5, 1]
num-points = 5
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "all.toml").write_text(TRAIN)
    return tmp_path


def test_several_runs_of_a_file_are_those_of_as_many_lines(command, place):
    done = command("train", "--config", "all.toml", "--json")
    assert done.code == 0, done.err
    assert [json.loads(line)["output"] for line in done.out.splitlines()] == ["one.h5", "two.h5"]
    common = ["--model", "mlp", "--model-arg", "widths=3,3", "activation=tanh", "--data", "moons"]
    common += ["--data-arg", "num_samples=40", "--epochs", 2]
    typed = ["--seed", 2, "--lr", 0.01, "--nesterov", "--momentum", 0.5]
    assert command("train", *common, *typed, "-o", "typed.h5").code == 0
    mine, theirs = (store.header(name)["config-sha256"] for name in ("two.h5", "typed.h5"))
    assert mine == theirs
    said = json.loads(store.header("two.h5")["config-file"])
    assert (said["run"], said["runs"], said["path"]) == (2, 2, "all.toml")
    assert said["text"] == TRAIN
    assert store.header("two.h5")["command"] == "landscape train --config all.toml --json"
    assert "config-file" not in store.header("typed.h5")
    assert "already there" in command("train", "--config", "all.toml").out
    assert command("interpolate", "--config", "all.toml").code == 0
    assert landscape.load("one.interpolate.h5").alpha.tolist()[0] == -0.5


def test_the_line_goes_first_and_says_so(command, place):
    done = command(
        "train", "--config", "all.toml", "--epochs", 1, "--seed", 3, "-o", "c.h5", "--model-arg", "widths=2"
    )
    assert done.code == 2
    assert "both write c.h5" in done.err
    (place / "all.toml").write_text(TRAIN.partition("[[run]]")[0])
    done = command("train", "--config", "all.toml", "--epochs", 1, "-o", "c.h5", "--model-arg", "widths=2")
    assert done.code == 0, done.err
    assert "--epochs on the line overrides epochs = 2 of [train] of all.toml, line 7" in done.err
    assert "--model-arg on the line overrides model-arg = " in done.err
    kept = landscape.load("c.h5").config
    assert kept["options"]["epochs"] == 1
    assert kept["recipe"]["model_arguments"] == {"widths": 2}


WRONG = [
    (
        "epochs = 2",
        "epochz = 2",
        "train has no option 'epochz' ([train] of all.toml, line 7)",
        "did you mean epochs?",
    ),
    ("epochs = 2", 'epochs = "2"', 'epochs = "2" ([train] of all.toml, line 7); expected a number'),
    ("lr = 0.01", "lr = true", "lr = true ([[run]] 2 of all.toml, line 15); expected a number"),
    ("seed = 2", "seed = 2.5", "seed = 2.5 ([[run]] 2 of all.toml, line 14); expected a whole number"),
    ("nesterov = true", "nesterov = 1", "nesterov = 1", "expected true or false"),
    (
        "nesterov = true",
        'method = "mini"',
        "expected one of 'gd', 'minibatch', 'sgd'",
        "did you mean minibatch?",
    ),
    ('data = "moons"', "data = 3", "data = 3", "expected a text, in quotes"),
    ('data = "moons"', "data = ", "all.toml is no TOML: Invalid value (at line 5"),
    ("[3, 3]", "1979-05-27", "expected texts, numbers"),
    (
        "[train]",
        "[[run]]\ncommand = 'trian'\n[train]",
        "command = 'trian' in [[run]] 1",
        "did you mean train?",
    ),
    ("[train]", "top-k = 3\n[train]", "train has no option 'top-k' (all.toml, line 2)"),
    ("epochs = 2", "learning-rate = 2", "landscape init train writes them all"),
    ("lr = 0.01", "l_r = 1\nl-r = 2", "l-r stands twice in [[run]] 2"),
]


@pytest.mark.parametrize("case", WRONG, ids=[one[1].replace("\n", " ") for one in WRONG])
def test_what_a_file_may_not_say_is_refused_before_anything_runs(command, place, case):
    old, new, *parts = case
    (place / "all.toml").write_text(TRAIN.replace(old, new, 1))
    done = command("train", "--config", "all.toml")
    assert done.code == 2, done.err
    assert done.err.count("\n") == 1
    for part in parts:
        assert part in done.err
    assert not list(place.glob("*.h5"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["train", "--config", "none.toml"], "none.toml cannot be read (No such file"),
        (["slice2d", "--config", "all.toml"], "no [[run]] in all.toml is of slice2d"),
        (["interpolate", "--config", "all.toml", "x.h5"], "takes 2 values, A B"),
    ],
)
def test_files_without_what_is_asked_for(command, place, line, said):
    done = command(*line)
    assert done.code == 2
    assert said in done.err


def test_shared_settings_at_the_top_serve_every_command(command, folder):
    (folder / "top.toml").write_text(
        'seed = 3\nno-verify = false\n[hessian]\npoints = "a.h5"\ntop_k = 1\n[plot]\nfiles = ["a.h5"]\n'
    )
    assert command("hessian", "--config", "top.toml").code == 0
    assert landscape.load("a.hessian.h5").provenance["seed"] == 3
    assert command("plot", "--config", "top.toml").code == 0
    assert (folder / "a.png").exists()


@pytest.mark.parametrize("name", [one for one in commands() if one != "init"])
def test_init_writes_every_option_of_a_command_as_it_is_by_default(command, place, name):
    assert command("init", name).code == 0
    path = place / f"{name}.toml"
    text = path.read_text()
    file = config.ConfigFile.read(path)
    made = group.get_command(None, name)
    needed = init.NEEDED.get(name, init.OTHERS)
    assert file.values == needed
    lines, _ = config.lines_of(file, made, name, commands(), {})
    made.make_context(name, list(lines[0]))
    # Every line is an option when its # is taken away.
    bare = "\n".join(re.sub(r"^# (?=[a-z0-9-]+ = )", "", line) for line in text.splitlines())
    whole = config.ConfigFile(path, bare, tomllib.loads(bare))
    spelled = config.Spelled(made, name)
    assert whole.values.keys() == spelled.known.keys()
    spelled.checked(
        whole, {key: value for key, value in whole.runs(name, commands())[0].items() if value.value != []}
    )


def test_init_of_all_serves_every_command_and_overwrites_nothing(command, place):
    assert command("init").code == 0
    text = (place / "landscape.toml").read_text()
    file = config.ConfigFile.read(place / "landscape.toml")
    assert set(file.values) == set(commands()) - {"init"}
    for name in file.values:
        made = group.get_command(None, name)
        lines, _ = config.lines_of(file, made, name, commands(), {})
        made.make_context(name, list(lines[0]))
    done = command("init")
    assert (done.code, done.err) == (
        2,
        "Error: landscape.toml exists; expected a new file; give -o another.toml.\n",
    )
    assert (place / "landscape.toml").read_text() == text
    assert "did you mean hessian?" in command("init", "hesian").err


def test_what_init_writes_runs_when_typed(command, folder):
    for name in ("hessian", "export"):
        assert command("init", name).code == 0
        done = command(name, "--config", f"{name}.toml")
        assert done.code == 0, done.err
    assert (folder / "a.safetensors").exists()


def test_a_run_within_the_table_of_a_command_is_told_how_it_is_written(command, place):
    (place / "within.toml").write_text("[[train.run]]\nepochs = 1\n")
    done = command("train", "--config", "within.toml")
    assert done.code == 2
    assert "train has no option 'run'" in done.err
    assert 'write [[run]] with command = "train" in it' in done.err
    (place / "whole.toml").write_text(
        TRAIN.partition("[[run]]")[0] + '[[run]]\ncommand = "train"\nepochs = 1\n'
    )
    assert command("train", "--config", "whole.toml", "-o", "w.h5").code == 0
