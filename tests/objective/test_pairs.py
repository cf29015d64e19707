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
