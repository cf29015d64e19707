"""The band: tangents by hand, redistribution by numpy, and saddles that are known."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from landscape import Objective
from landscape.analyses import connect
from landscape.numerics.curves import band

POINTS = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]], dtype=torch.float64)
AFTER, BEFORE = torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.0])


def unit(vector):
    return (vector / vector.norm()).double()


@pytest.mark.parametrize(
    ("energies", "expected"),
    [
        ([0, 1, 2], AFTER),  # a slope up: the higher neighbour comes after
        ([2, 1, 0], BEFORE),
        ([0, 3, 2], 3 * AFTER + 1 * BEFORE),  # a maximum: the higher neighbour has the larger weight
        ([2, 3, 0], 1 * AFTER + 3 * BEFORE),
        ([4, 1, 2], 1 * AFTER + 3 * BEFORE),  # a minimum too
        ([1, 1, 1], AFTER + BEFORE),
    ],
)
def test_tangents_by_hand(energies, expected):
    """Henkelman and Jónsson (2000), equations 8 to 11; ΔV are |V₊ − V| and |V₋ − V|."""
    found = band.tangents(POINTS, torch.tensor(energies, dtype=torch.float64))
    torch.testing.assert_close(found[0], unit(expected))


def test_nothing_is_left_along_the_tangent():
    tangents = torch.nn.functional.normalize(torch.randn(4, 9, dtype=torch.float64), dim=1)
    slopes = torch.randn(4, 9, dtype=torch.float64)
    left = band.across(slopes, tangents)
    assert (left * tangents).sum(1).abs().max() < 1e-14
    torch.testing.assert_close(left + (slopes * tangents).sum(1, keepdim=True) * tangents, slopes)


@given(st.integers(0, 1000), st.integers(3, 8))
def test_redistribution_is_linear_interpolation_in_arc_length(seed, count):
    generator = np.random.default_rng(seed)
    points = generator.normal(size=(count, 3))
    shares = np.concatenate([[0], np.sort(generator.random(count - 2)), [1]])
    found = band.redistributed(torch.from_numpy(points), torch.from_numpy(shares)).numpy()
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    for column in range(3):
        expected = np.interp(shares * along[-1], along, points[:, column])
        np.testing.assert_allclose(found[:, column], expected, atol=1e-12)
    np.testing.assert_array_equal(found[[0, -1]], points[[0, -1]])


def test_points_that_are_where_they_belong_stay_and_equal_points_too():
    line = torch.linspace(0, 1, 5, dtype=torch.float64)[:, None] * torch.ones(3, dtype=torch.float64)
    torch.testing.assert_close(band.redistributed(line, torch.linspace(0, 1, 5, dtype=torch.float64)), line)
    still = torch.ones(4, 2)
    assert torch.equal(band.redistributed(still, torch.linspace(0, 1, 4)), still)


def test_a_pivot_is_added_where_the_profile_rises_above_the_chord_of_its_gap():
    knots = np.array([0, 0.5, 1.0])
    t = np.array([0, 0.25, 0.4, 0.5, 0.75, 1.0])
    loss = np.array([0.0, 0.9, 1.2, 1.0, 0.6, 0.0])  # above the chords by 0.4, 0.4 and 0.1, of a range of 1
    assert band.risen(knots, t, loss, 0.2).tolist() == [0.25]
    assert band.risen(knots, t, loss, 0.05).tolist() == [0.25, 0.75]
    assert len(band.risen(knots, t, loss, 0.5)) == 0


class MuellerBrown(nn.Module):
    """The surface of Müller and Brown (1979), in hundreds, the same for every input."""

    A = (-200.0, -100.0, -170.0, 15.0)
    EXPONENTS = ((-1, 0, -10), (-1, 0, -10), (-6.5, 11, -6.5), (0.7, 0.6, 0.7))
    CENTRES = ((1, 0), (0, 0.5), (-0.5, 1.5), (-1, 1))

    def __init__(self):
        super().__init__()
        self.place = nn.Parameter(torch.zeros(2, dtype=torch.float64))

    def forward(self, inputs):
        x, y = self.place
        height = sum(
            a * torch.exp(p * (x - u) ** 2 + q * (x - u) * (y - v) + r * (y - v) ** 2)
            for a, (p, q, r), (u, v) in zip(self.A, self.EXPONENTS, self.CENTRES, strict=True)
        )
        return (height / 100).expand(len(inputs), 1)


def surface(module: nn.Module) -> Objective:
    return Objective(module, "output", (torch.zeros(4, 1, dtype=torch.float64), torch.zeros(4, 1)))


def test_the_band_finds_the_saddle_of_mueller_and_brown():
    """Minima −146.6995 and −108.1667, the higher saddle between them −40.6648 (in hundreds below)."""
    objective = surface(MuellerBrown())
    a, b = torch.tensor([[-0.558224, 1.441726], [0.623499, 0.028038]], dtype=torch.float64)
    result = connect(
        objective, a, b, method="neb", bends=15, epochs=250, lr=0.004, momentum=0.5, batch_size=4
    )
    assert result.loss[[0, -1]] == pytest.approx([-1.466995, -1.081667], abs=1e-5)
    assert result.max_loss == pytest.approx(-0.406648, abs=0.005)
    assert result.loss_straight.max() > 0.1  # the straight line goes over far higher ground
    # A band's t is the share of its length: its pivots are where they should be.
    lengths = np.linalg.norm(np.diff([a.numpy(), *result.control_points, b.numpy()], axis=0), axis=1)
    shares = np.cumsum(lengths)[:-1] / lengths.sum()
    np.testing.assert_allclose(shares, result.control_t, atol=2e-3)


class DoubleWell(nn.Module):
    """(x² − 1)² + 2(y − 1 + x²)²: minima at (±1, 0), the saddle of height 1 at (0, 1)."""

    def __init__(self):
        super().__init__()
        self.place = nn.Parameter(torch.zeros(2, dtype=torch.float64))

    def forward(self, inputs):
        x, y = self.place
        return ((x**2 - 1) ** 2 + 2 * (y - 1 + x**2) ** 2).expand(len(inputs), 1)


def test_a_band_of_one_pivot_grows_until_it_follows_the_valley():
    ends = torch.tensor([[-1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    result = connect(surface(DoubleWell()), *ends, method="neb", bends=1, epochs=200, lr=0.02, batch_size=4)
    assert len(result.control_points) > 1
    assert result.max_loss == pytest.approx(1, abs=0.01)
    assert result.barrier_chord_straight == pytest.approx(3, rel=1e-6)
    # The straight line from pivot to pivot never leaves the valley by more than its turns.
    assert np.abs(result.control_points - [0, 1]).sum(1).min() < 0.01
