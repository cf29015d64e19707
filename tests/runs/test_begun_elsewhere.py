"""A training that begins at a point of another run: its weights, its model, its data, bit for bit."""

from typing import Any

import numpy as np
import pytest
import torch

import landscape
from landscape import Run
from landscape.errors import BadInput

LINE = (
    "train --model mlp --model-arg widths=8 --data moons --seed 3 --epochs 4 --checkpoint-every 2 -q -o a.h5"
)


@pytest.fixture
def ancestor(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = command(*LINE.split())
    assert done.code == 0, done.err
    return landscape.load("a.h5")


def same(one, other) -> bool:
    return all(np.array_equal(values, other[name]) for name, values in one.items())


def test_it_begins_there_with_the_model_and_the_data_of_that_run(ancestor):
    made: Any = landscape.measure(None, "train", init="a.h5@epoch=2", epochs=2, seed=1, output="b.h5")
    assert same(made.states["init"], ancestor.states["epoch=2"])
    assert not same(made.states["final"], made.states["init"])
    assert made.loss[0] == ancestor.loss[ancestor.epoch == 2][0]
    assert not [one.name for one in made.checks if not one.passed]
    assert "begins at a.h5@epoch=2" in made.notes
    assert Run("b.h5").recipe == Run("a.h5").recipe


def test_siblings_of_other_seeds_differ_and_one_of_the_same_seed_is_the_same(ancestor, command):
    for name, seed in (("b", 1), ("c", 2), ("again", 1)):
        assert command(*f"train --init a.h5 --epochs 1 --seed {seed} -q -o {name}.h5".split()).code == 0
    first, second, again = (landscape.load(f"{name}.h5").states["final"] for name in ("b", "c", "again"))
    assert same(first, again)
    assert not same(first, second)
    merged = command(*["merge", "b.h5", "c.h5", "--json"])
    assert merged.code == 0, merged.err


def test_its_steps_are_those_of_torch_from_these_weights(ancestor):
    made = landscape.measure(
        None, "train", init="a.h5", method="gd", epochs=3, lr=0.2, momentum=0.9, output="b.h5"
    )
    run = Run("a.h5")
    module, data = run.module(), run.recipe.data_set()
    assert data is not None
    stepper = torch.optim.SGD(module.parameters(), lr=0.2, momentum=0.9)
    for _ in range(3):
        stepper.zero_grad()
        outputs, targets = module(data.inputs).flatten(), data.targets.flatten().to(torch.float32)
        torch.nn.functional.binary_cross_entropy_with_logits(outputs, targets).backward()
        stepper.step()
    for name, tensor in module.state_dict().items():
        np.testing.assert_allclose(made.states["final"][name], tensor.numpy(), atol=1e-6)


def test_other_data_are_said_and_a_cut_is_drawn_by_the_seed_given(ancestor):
    made: list[Any] = [
        landscape.measure(None, "train", init="a.h5", epochs=1, subset=20, seed=seed, output=f"{seed}.h5")
        for seed in (1, 2)
    ]
    for one in made:
        assert "the data are not those a.h5 was made with; F is on these" in one.notes
        assert same(one.states["init"], ancestor.states["final"])
    assert made[0].loss[0] != made[1].loss[0]
    assert [(one.subset, one.seed) for one in (Run("1.h5").recipe, Run("2.h5").recipe)] == [(20, 1), (20, 2)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"init": "a.h5@epoch=9"}, "a.h5 has no point 'epoch=9'"),
        ({"init": "none.h5"}, "none.h5 does not exist"),
        ({"init": "a.h5", "model_arg": {"widths": (9,)}}, "a.h5 does not fit Sequential"),
    ],
)
def test_what_cannot_be_begun_at_is_said(ancestor, options, said):
    with pytest.raises(BadInput, match=said):
        landscape.measure(None, "train", epochs=1, output="b.h5", **options)


def test_another_point_is_another_run(ancestor):
    landscape.measure(None, "train", init="a.h5", epochs=1, output="b.h5")
    with pytest.raises(BadInput, match=r"b\.h5"):
        landscape.measure(None, "train", init="a.h5@init", epochs=1, output="b.h5")


def test_a_training_that_begins_elsewhere_fails_its_check(ancestor, monkeypatch):
    from landscape.inputs import checkpoints

    plain = checkpoints.loaded

    def off(module, tensors, *args, **options):
        plain(module, {name: 1.01 * one for name, one in tensors.items()}, *args, **options)

    monkeypatch.setattr(checkpoints, "loaded", off)
    made = landscape.measure(None, "train", init="a.h5", epochs=1, output="b.h5")
    assert "points" in [one.name for one in made.checks if not one.passed]


def test_data_that_are_named_are_taken_whole_where_the_other_run_had_a_part(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command(*f"{LINE} --subset 50".split()).code == 0
    for words, subset in (("", 50), (" --data moons", None), (" --subset 20", 20)):
        done = command(*f"train --init a.h5{words} --epochs 1 --seed 3 -q --overwrite -o b.h5".split())
        assert done.code == 0, done.err
        assert Run("b.h5").recipe.subset == subset
