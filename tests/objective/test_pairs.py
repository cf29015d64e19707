"""Parameters of pairs, seen as complex numbers: torch does so from even places of a memory alone, θ has all of them."""

import pytest
import torch
from torch import nn

import landscape
from landscape import Objective


class Filtered(nn.Module):
    """A Fourier filter after ``before`` other numbers in θ, an odd number of them in all where that is even."""

    def __init__(self, before: int, by_view: bool):
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        numbers = {"generator": draw, "dtype": torch.float64}
        self.before = nn.Parameter(torch.randn(before, **numbers))
        self.filter = nn.Parameter(torch.randn(3, 2, **numbers))
        self.after = nn.Parameter(torch.randn(3, **numbers))
        self.by_view = by_view

    def forward(self, x):
        w = self.filter
        w = torch.view_as_complex(w) if self.by_view else torch.complex(w[:, 0], w[:, 1])
        h = torch.fft.irfft(torch.fft.rfft(x) * w, n=4).tanh()
        return (h[:, :3] * self.after).sum(1) + self.before.square().sum()


@pytest.mark.parametrize("before", [1, 2])
def test_pairs_at_odd_places_and_in_rows_of_odd_length_are_complex_numbers(before):
    draw = torch.Generator().manual_seed(1)
    data = tuple(torch.randn(*shape, generator=draw, dtype=torch.float64) for shape in ((7, 4), (7,)))
    one, other = (Objective(Filtered(before, by_view), "mse", data) for by_view in (True, False))
    d = one.num_parameters
    thetas, ways = torch.randn(2, 3, d, generator=draw, dtype=torch.float64)
    close = {"rtol": 1e-12, "atol": 1e-13}
    torch.testing.assert_close(one.values(thetas), other.values(thetas), **close)
    for theta, v in zip(thetas, ways, strict=True):
        torch.testing.assert_close(one.gradient(theta), other.gradient(theta), **close)
        torch.testing.assert_close(one.hvp(theta, v), other.hvp(theta, v), **close)
    assert landscape.hessian(one, thetas[1], exact=True, per_layer=True).status == "complete"
    assert landscape.slice2d(one, thetas[1], num_points=3, curvature=True).status == "complete"
    assert landscape.train(one, steps=3, batch_size=2, momentum=0.5).status == "complete"


class Turned(nn.Module):
    """Every channel times a complex number of its own, the pairs of which begin behind one other parameter."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.gain = nn.Parameter(torch.ones(1, dtype=torch.float64))
            self.turns = nn.Parameter(torch.randn(3, 2, dtype=torch.float64))
            self.first, self.last = nn.Linear(2, 3).double(), nn.Linear(3, 1).double()

    def forward(self, x):
        h = self.gain * torch.view_as_complex(self.turns) * self.first(x)
        return self.last(h.real.tanh())


def test_units_of_pairs_at_odd_places_are_aligned():
    x = torch.randn(9, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    objective = Objective(Turned(), "mse", (x, x[:, :1]))
    assert [piece.span.start for piece in objective.pieces if piece.name == "turns"] == [1]
    order = torch.tensor([2, 0, 1])
    module = objective.module_at(objective.theta)
    with torch.no_grad():
        for one in (module.turns, module.first.weight, module.first.bias):
            one.copy_(one[order])
        module.last.weight.copy_(module.last.weight[:, order])
    found = landscape.align(objective, objective.theta, objective.point(module.state_dict()))
    assert (found.status, float(found.distance_after)) == ("complete", pytest.approx(0, abs=1e-12))


def test_other_parameters_of_two_columns_stand_in_the_memory_of_theta():
    module = nn.Sequential(nn.Linear(3, 5, bias=False), nn.Tanh(), nn.Linear(5, 2), nn.Linear(2, 1)).double()
    x = torch.randn(7, 3, dtype=torch.float64)
    objective = Objective(module, "mse", (x, x[:, :1]))
    theta = objective.theta
    with objective.standing(theta, objective.present_point().fixed):
        for piece in objective.pieces:
            assert objective.now(piece.name).data_ptr() == theta[piece.span].data_ptr()
    assert any(piece.shape[-1:] == (2,) and piece.span.start % 2 for piece in objective.pieces)
