"""A point from elsewhere: its loss, its accuracy, and its tensors under their own names."""

import copy

import numpy as np
import pytest
import torch
from plain import another, named, plain_loss, plain_module

from landscape import Objective
from landscape.analyses import import_point
from landscape.objective.objective import Measurement
from landscape.objective.parameters import split


def test_a_point_is_worth_what_the_plain_model_says(classifier):
    (x,), y = classifier.samples
    test = classifier.on((x[:10] + 0.5, y[:10]))
    point = another(classifier, 1)
    before = copy.deepcopy(classifier.module.state_dict())
    result = import_point(classifier, point, test=test)
    assert result.final_loss == pytest.approx(plain_loss(classifier, point.theta, point.fixed), rel=1e-12)
    assert result.final_test_loss == pytest.approx(plain_loss(test, point.theta, point.fixed), rel=1e-12)
    module = plain_module(classifier, point.theta, point.fixed)
    for accuracy, objective in ((result.final_accuracy, classifier), (result.final_test_accuracy, test)):
        (inputs,), targets = objective.samples
        assert accuracy == pytest.approx(float((module(inputs).argmax(1) == targets).double().mean()))
    assert list(result.states) == ["final"]
    wanted = module.state_dict()
    assert result.states["final"].keys() == wanted.keys()
    for name, value in result.states["final"].items():
        np.testing.assert_array_equal(value, wanted[name])
    assert all(torch.equal(tensor, before[name]) for name, tensor in classifier.module.state_dict().items())
    assert result.status == "complete"
    wanted = {"loss", "accuracy", "test loss", "test accuracy"}
    assert named(result).keys() == wanted | {"module untouched", "cut", "moved", "cut, derivative"}


def failed(objective: Objective, test: Objective) -> set[str]:
    found = import_point(objective, another(objective, 1), test=test)
    return {check.name for check in found.checks if not check.passed}


def test_each_check_fails_where_what_it_proves_is_broken(classifier, monkeypatch):
    (x,), y = classifier.samples
    test = classifier.on((x[:11] + 0.5, y[:11]))
    assert failed(classifier, test) == set()
    measure = Objective.measure

    def on_training_data(self, theta, fixed=None):
        return measure(classifier, theta, fixed)

    def over_one_more(self, theta, fixed=None):
        loss, accuracy = measure(self, theta, fixed)
        return Measurement(loss, accuracy * self.num_samples / (self.num_samples + 1))

    def beside(self, theta, fixed=None):
        return measure(self, theta * (1 + 1e-9), fixed)

    for fault, wanted in (
        (on_training_data, {"test loss", "test accuracy"}),
        (over_one_more, {"accuracy", "test accuracy"}),
        (beside, {"loss", "test loss"}),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(Objective, "measure", fault)
            # Its own evaluation at the moved point goes the same way.
            assert failed(classifier, test) - {"moved", "cut"} == wanted


def test_a_point_that_is_stored_in_less_precision_fails_its_loss(classifier, monkeypatch):
    (x,), y = classifier.samples
    rounded = lambda theta, pieces: {k: v.float().double() for k, v in split(theta, pieces).items()}  # noqa: E731
    monkeypatch.setattr("landscape.objective.parameters.split", rounded)
    assert failed(classifier, classifier.on((x[:11], y[:11]))) >= {"loss", "test loss"}


def test_what_is_unknown_is_left_out(regression):
    result = import_point(regression, regression.present_point())
    assert (result.final_accuracy, result.final_test_loss, result.final_test_accuracy) == (None, None, None)
    assert "final_accuracy" not in result.scalars()


def test_what_holds_no_numbers_is_named(regression):
    point = regression.present_point()
    piece = regression.pieces[-1]
    theta = point.theta.clone()
    theta[piece.span.start] = torch.nan
    result = import_point(regression, type(point)(theta, point.fixed, "epoch=3"))
    (note,) = [note for note in result.notes if "NaN or infinite" in note]
    assert note.startswith("final holds")
    assert note.count(piece.name) == 1
    assert not [note for note in import_point(regression, point).notes if "NaN or infinite" in note]
