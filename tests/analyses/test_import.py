"""A point from elsewhere: its loss, its accuracy, and its tensors under their own names."""

import copy

import numpy as np
import pytest
import torch
from plain import another, named, plain_loss, plain_module

from landscape.analyses import import_point


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
    assert named(result).keys() == {"loss", "module untouched", "cut", "moved", "cut, derivative"}


def test_what_is_unknown_is_left_out(regression):
    result = import_point(regression, regression.present_point())
    assert (result.final_accuracy, result.final_test_loss, result.final_test_accuracy) == (None, None, None)
    assert "final_accuracy" not in result.scalars()
