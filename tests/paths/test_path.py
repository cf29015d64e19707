"""A path begins and ends at its two points, bit for bit, whatever curve it takes."""

import numpy as np
import pytest
import torch

from landscape.numerics.curves.curves import bezier, chain
from landscape.objective.parameters import Point
from landscape.paths.path import Path

D = 7


def chord(seed: int = 0) -> Path:
    draws = torch.randn(2, D, generator=torch.Generator().manual_seed(seed))
    return Path.chord(Point(draws[0], {}, "a"), Point(draws[1], {}, "b"))


@pytest.mark.parametrize("curve", [bezier(0), bezier(3), chain(np.array([0, 0.3, 1.0]))])
def test_without_control_points_of_its_own_it_is_the_chord(curve):
    straight = chord()
    path, t = straight.along(curve), np.linspace(0, 1, 9)
    first, last = (end.theta for end in straight.ends)
    wanted = torch.lerp(first.double(), last.double(), torch.from_numpy(t)[:, None])
    torch.testing.assert_close(path.points(t).double(), wanted, rtol=1e-6, atol=1e-6)
    assert torch.equal(path.points(t)[0], first)
    assert torch.equal(path.points(t)[-1], last)
    assert path.keeps_its_ends
    assert path.ends == straight.ends
    lengths = path.lengths(t)
    np.testing.assert_allclose(lengths, float((last - first).norm()) / 8, rtol=1e-5)
    np.testing.assert_allclose(path.squared_norms(t), wanted.square().sum(1), rtol=1e-5)


def test_ends_that_moved_are_seen():
    path = chord().along(bezier(1))
    for row in (0, -1):
        control = path.control.clone()
        control[row, 3] = torch.nextafter(control[row, 3], torch.tensor(torch.inf))
        assert not path.along(path.curve, control).keeps_its_ends
    control = path.control.clone()
    control[1] += 1
    assert path.along(path.curve, control).keeps_its_ends


def test_to_another_point_it_starts_where_it_started():
    straight, other = chord(), chord(1).ends[0]
    moved = straight.to(other)
    assert moved.ends == (straight.ends[0], other)
    assert moved.keeps_its_ends
    assert not moved.is_one_point
    assert straight.to(straight.ends[0]).is_one_point
