"""A run file opened again gives back the module, the data and the points it was made with."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import landscape
from landscape.cli import main
from landscape.errors import BadInput
from landscape.runs.recipe import Recipe, fingerprint
from landscape.runs.run import Run

TRAIN = [
    "train",
    "--model",
    "resnet",
    "--model-arg",
    "depth=8",
    "--data",
    "digits",
    "--data-arg",
    "image=true",
]
TRAIN += [
    "--subset",
    "40",
    "--batch-size",
    "20",
    "--epochs",
    "2",
    "--checkpoint-every",
    "1",
    "--measure-every",
    "1",
    "--seed",
    "3",
    "-q",
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("run") / "a.h5"
    assert main([*TRAIN, "-o", str(file)]) == 0
    return file


def test_the_objective_and_its_points_are_those_of_training(path):
    run = Run(path)
    objective = run.objectives().train
    logs = landscape.load(path)
    assert objective.num_samples == 40
    for label, loss in zip(("init", "epoch=1", "final"), logs.loss, strict=True):  # pyright: ignore
        point = run.point(objective, label)
        # Batch norm's buffers belong to the point, so this is right only if they came along.
        np.testing.assert_allclose(objective.value(point.theta, point.fixed), loss, rtol=1e-6)
    assert [point.label for point in run.trajectory(objective)] == [f"a.h5@{label}" for label in run.labels]


def test_the_step_size_at_a_point_is_the_one_logged_there(tmp_path):
    file = tmp_path / "toy.h5"
    line = "train --model toy-product --data point --method gd --steps 30 --lr 0.05 --checkpoint-every 10 -q"
    line += " --schedule exponential --schedule-arg rate=0.1 every=1 --measure-every 5"
    assert main([*line.split(), "-o", str(file)]) == 0
    run, logs = Run(file), landscape.load(file)
    logged = dict(zip(logs.step.tolist(), logs.step_size.tolist(), strict=True))  # pyright: ignore
    assert len(set(logged.values())) > 3
    assert run.options["optimizer"] == "sgd"
    for label, step in (("init", 0), ("step=10", 10), ("step=20", 20), ("final", 30)):
        assert run.step_size_at(label) == logged[step]


def test_the_step_size_between_two_logged_ones_is_that_of_the_schedule(tmp_path):
    file = tmp_path / "toy.h5"
    line = "train --model toy-product --data point --method gd --steps 30 --lr 0.05 --checkpoint-every 10 -q"
    line += " --schedule exponential --schedule-arg rate=0.1 every=1 --measure-every 7"
    assert main([*line.split(), "-o", str(file)]) == 0
    run = Run(file)
    assert 10 not in landscape.load(file).step  # pyright: ignore
    assert run.step_size_at("step=10") == run.scheduled_at("step=10") == pytest.approx(0.05 * math.exp(-0.9))
    assert run.step_size_at("final") == run.scheduled_at("final") == pytest.approx(0.05 * math.exp(-2.9))


def test_the_module_at_a_point_needs_no_data(path, monkeypatch):
    run = Run(path)
    objective = run.objectives().train
    point = run.point(objective)
    monkeypatch.setattr("landscape.runs.recipe.load_data", lambda *_: pytest.fail("the data were read"))
    module = run.module()
    assert torch.equal(torch.cat([p.detach().flatten() for p in module.parameters()]), point.theta)
    names = dict(module.named_buffers())
    assert all(torch.equal(names[name], tensor) for name, tensor in point.fixed.items())


def test_a_subset_is_the_same_again_and_fingerprints_tell_data_apart():
    recipe = Recipe(subset=50, seed=1)
    first, again, other = recipe.data_set(), recipe.data_set(), Recipe(subset=50, seed=2).data_set()
    assert fingerprint(first) == fingerprint(again) != fingerprint(other)


def test_a_file_without_points_is_refused(path, tmp_path):
    run = Run(path)
    objective = run.objectives().train
    landscape.save(landscape.slice1d(objective, run.point(objective), num_points=3), tmp_path / "s.h5")
    with pytest.raises(BadInput, match="holds no points"):
        Run(tmp_path / "s.h5")


def test_unknown_points_are_listed(path):
    with pytest.raises(BadInput, match="one of init, epoch=1, final"):
        Run(path).label("epoch=3")


def test_the_last_point_has_its_number_too(path):
    run = Run(path)
    # Two passes over 40 samples by 20.
    assert run.labels == ["init", "epoch=1", "final"]
    assert run.label("epoch=2") == run.label("step=4") == "final"
    assert run.label("epoch=0") == run.label("step=0") == "init"
    assert run.label("epoch=1") == "epoch=1"


@pytest.mark.parametrize("spec", ["os:system", "subprocess:run", f"{os.path.__file__}:join"])
def test_code_outside_the_folder_is_foreign(spec):
    assert Recipe(model=spec).foreign_specs() == [spec]


def test_code_in_the_folder_is_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_net.py").touch()
    assert Recipe(model="own_net.py:net", data="own_net:data", loss="own_net.py:loss").foreign_specs() == []


def test_a_run_says_in_ten_lines_what_it_holds(path):
    run = Run(path)
    assert repr(run) == f"Run {path}: train, resnet on digits, float32\n  points: init, epoch=1, final"
    run.labels = [f"epoch={i}" for i in range(5000)]
    lines = repr(run).splitlines()
    assert len(lines) <= 10
    shown = repr(run).count("epoch=")
    assert shown > 50
    assert lines[-1].endswith(f"and {5000 - shown} more")
