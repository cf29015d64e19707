"""Analyses of run files: points are those of the file, F there is what the run logged, what is written is read back."""

import numpy as np
import pytest
import torch

import landscape
from landscape import LandscapeError
from landscape.inputs.data import DataSet
from landscape.objective import parametrised
from landscape.runs import recipe, store
from landscape.runs.run import Run

FEW = {"top_k": 1, "search": False}


def checks_of(places, kind="hessian", **options) -> dict:
    options = options or FEW
    found = landscape.measure(places, kind, overwrite=True, **options)
    return {check.name: check for check in found.checks}


def failed(places, kind="hessian", **options) -> set[str]:
    return {name for name, check in checks_of(places, kind, **options).items() if not check.passed}


@pytest.mark.parametrize("place", ["a.h5", "a.h5@init", "a.h5@epoch=2", "b.h5"])
def test_every_point_is_that_of_its_file_and_worth_what_was_logged(folder, place):
    found = checks_of(place)
    assert found["points"].value == 0
    assert found["as logged"].passed
    assert place.partition("@")[0] in found["as logged"].meaning


@pytest.mark.parametrize(
    ("kind", "places", "options"),
    [
        ("slice1d", "a.h5", {"num_points": 3}),
        ("slice2d", "a.h5", {"num_points": 3}),
        ("sharpness", "a.h5", {"num_draws": 2, "ascent_steps": 1}),
        ("compare", ["a.h5", "b.h5"], {"draws": 2, "num_points": 3, "noise_draws": 2, "ascent_steps": 1}),
        ("certify", "a.h5", {}),
        ("critical", "a.h5", {"starts": 2, "max_steps": 5}),
        ("interpolate", ["a.h5", "b.h5"], {"num_points": 3}),
        ("connect", ["a.h5", "b.h5"], {"steps": 2, "num_points": 3}),
        ("align", ["a.h5", "b.h5"], {}),
        ("modes", ["a.h5", "b.h5", "a.h5@init"], {"steps": 2, "num_points": 3}),
    ],
)
def test_of_every_kind(folder, kind, places, options):
    found = landscape.measure(places, kind, overwrite=True, **options)
    assert {"points", "as logged"} <= {check.name for check in found.checks if check.passed}


@pytest.mark.parametrize("options", [{"subset": 20}, {"dtype": "float64"}, {"l2": 0.1}])
def test_another_function_is_not_compared_with_the_log(folder, options):
    found = checks_of("a.h5", **FEW, **options)
    assert "points" in found
    assert "as logged" not in found


def test_a_point_in_another_order_than_the_file_fails_both(folder, monkeypatch):
    def in_alphabetical_order(tensors, pieces):
        names = sorted(one.name for one in pieces)
        return torch.cat([tensors[name].detach().reshape(-1) for name in names])

    monkeypatch.setattr(parametrised, "flatten", in_alphabetical_order)
    assert failed("a.h5") == {"points", "as logged"}


def test_another_point_than_was_asked_for_fails_both(folder, monkeypatch):
    point = Run.point
    monkeypatch.setattr(Run, "point", lambda self, objective, name="": point(self, objective, "init"))
    assert failed("a.h5@epoch=3") == {"points", "as logged"}


def test_other_data_than_they_say_fail_the_logged_loss(folder, monkeypatch):
    whole = recipe.fingerprint
    data_set = recipe.Recipe.data_set

    def once_less(self, *args):
        data = data_set(self, *args)
        monkeypatch.setattr("landscape.runs.run.fingerprint", lambda _: whole(data))
        return DataSet(**{**vars(data), "inputs": data.inputs[:-1], "targets": data.targets[:-1]})

    monkeypatch.setattr(recipe.Recipe, "data_set", once_less)
    assert failed("a.h5") == {"as logged"}


def test_weights_in_another_order_than_the_checkpoint_fail_the_points(folder, monkeypatch):
    words = ["mlp", {"widths": 6}, "moons", {"num_samples": 60}]
    given = dict(zip(("model", "model_arg", "data", "data_arg"), words, strict=True))
    Run("a.h5").export("final", folder / "w.safetensors")
    assert failed("w.safetensors", "import", output="c.h5", **given) == set()

    def in_alphabetical_order(tensors, pieces):
        names = sorted(one.name for one in pieces)
        return torch.cat([tensors[name].detach().reshape(-1) for name in names])

    monkeypatch.setattr(parametrised, "flatten", in_alphabetical_order)
    assert failed("w.safetensors", "import", output="d.h5", **given) == {"points"}


@pytest.mark.parametrize("part", ["_write_points", "_write_array"])
def test_a_file_that_does_not_hold_what_was_measured_is_refused(folder, monkeypatch, part):
    written = getattr(store, part)

    def in_less_precision(values):
        return values.astype(np.float16) if values.dtype.kind == "f" else values

    def points(file, states):
        few = {k: {name: in_less_precision(v) for name, v in state.items()} for k, state in states.items()}
        written(file, few)

    def array(group, name, dims, values, *about):
        written(group, name, dims, in_less_precision(values), *about)

    monkeypatch.setattr(store, part, points if part == "_write_points" else array)
    options = {"model": "mlp", "data": "moons", "epochs": 1, "output": "e.h5"}
    with pytest.raises(LandscapeError, match="does not hold"):
        landscape.measure(None, "train", **options)
    # What was computed waits beside it.
    assert [one.name for one in folder.glob("e.h5*")] == ["e.h5.part"]
