"""Cells of a slice stand where α and β say, and three points have the weights of a triangle."""

from typing import get_args

import numpy as np
import pytest
import torch

from landscape.choices import Directions
from landscape.errors import BadInput
from landscape.objective.parameters import Point
from landscape.objective.sweep import COLUMNS, Sweep
from landscape.paths import slices
from landscape.paths.slices import Cut, sliced

CUT = {
    "norm": "filter",
    "ignore": ("bias",),
    "span": 0.5,
    "num_points": 5,
    "draws": 1,
    "show_trajectory": False,
    "seed": 3,
}


def test_every_direction_by_name_is_known():
    assert tuple(slices.DIRECTIONS) == get_args(Directions)


@pytest.mark.parametrize("num_axes", [1, 2])
def test_a_cell_is_where_its_steps_lead(regression, num_axes):
    point = regression.present_point()
    found = sliced(Sweep(regression), [point], Cut(directions="random", **CUT), num_axes)
    shape = (5,) * num_axes
    assert found.table.shape == (*shape, COLUMNS)
    for cell in (0, 3, 5**num_axes - 1):
        # α runs fastest.
        place = np.unravel_index(cell, shape)[::-1]
        theta = point.theta.clone()
        for axis, index, direction in zip(found.grid, place, found.axes.draws[0], strict=True):
            theta += float(axis[index]) * direction
        torch.testing.assert_close(found.theta_at(cell), theta)
        value = regression.value(theta, point.fixed)
        assert found.losses[0].ravel()[cell] == pytest.approx(value, rel=1e-6)
    assert torch.equal(found.theta_at(found.middle), point.theta)
    assert found.centre_loss == pytest.approx(regression.value(point.theta, point.fixed), rel=1e-6)


def test_three_points_have_weights_that_give_them_back(regression):
    draws = torch.randn(3, regression.num_parameters, generator=torch.Generator().manual_seed(0))
    points = [regression.as_point(one.to(regression.theta)) for one in draws]
    found = sliced(Sweep(regression), points, Cut(directions="random", **CUT | {"span": None}), 2)
    assert found.weights_at is not None
    for cell in (0, 7, 24):
        weights = torch.tensor(found.weights_at(cell), dtype=torch.float64)
        assert float(weights.sum()) == pytest.approx(1)
        wanted = weights @ torch.stack([point.theta for point in points]).double()
        torch.testing.assert_close(found.theta_at(cell).double(), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["eigen-ends", "axes"])
def test_what_takes_a_plane_is_refused_for_a_line(regression, name):
    with pytest.raises(BadInput, match="for one axis"):
        sliced(
            Sweep(regression),
            [Point(regression.theta, {})],
            Cut(directions=name, **(CUT | {"ignore": ("bias", "norm")})),
            1,
        )
