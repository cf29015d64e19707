"""Gains that a number is added to or multiplies, as 1 + w: scaled as they are, and w by what that makes of it."""

from collections.abc import Callable

import pytest
import torch
from families import gaussian, tensors_of
from torch import Tensor, nn

from landscape.symmetry import function_difference, symmetry_of
from landscape.symmetry.continuous import families_of

GAINS = {
    "w": lambda w: w,
    "1 + w": lambda w: 1 + w,
    "1 - w": lambda w: 1 - w,
    "(w - 3) / 2": lambda w: (w - 3.0) / 2,
    "4 (1 + 2 w) - 1": lambda w: (1 + 2 * w).unsqueeze(0) * 4 - 1,
}


class Gained(nn.Module):
    """A norm, what its gain is of w, and where w is read again beside it."""

    def __init__(self, gain: Callable[[Tensor], Tensor], again: bool = False):
        super().__init__()
        self.first, self.last, self.gain, self.again = nn.Linear(4, 6), nn.Linear(6, 3), gain, again
        self.w = nn.Parameter(torch.full((6,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        h = h * torch.rsqrt(h.square().mean(-1, keepdim=True) + 1e-6)
        return self.last(h * self.gain(self.w) + (h * self.w if self.again else 0))


@pytest.mark.parametrize("name", GAINS)
def test_a_gain_is_scaled_whatever_is_added_to_it(name):
    x, module = gaussian(60, 4)(), Gained(GAINS[name]).double()
    found = families_of(module, (x,), symmetry_of(module, (x,)))
    assert [one.text for one in found.families] == ["R*^6", "O(6)"]
    assert found.refused == []
    (scaling, turn), before = found.families, tensors_of(module)
    element = torch.tensor([[2.0, -3.0, 0.5, 1, -1, 4]])
    after = scaling.acted(before, element)
    gains = [GAINS[name](one["w"]) for one in (before, after)]
    shares = (gains[1] / gains[0]).flatten() * (after["last.weight"] / before["last.weight"])[0]
    torch.testing.assert_close(shares, torch.ones(6).double())
    assert function_difference(module, before, after, [(x,)]) <= 1e-12
    assert len(set(GAINS[name](turn.folded(before)["w"]).flatten().tolist())) == 1


def test_a_gain_with_one_number_added_and_with_another_is_named():
    x, module = gaussian(60, 4)(), Gained(GAINS["1 + w"], again=True).double()
    found = families_of(module, (x,), symmetry_of(module, (x,)))
    (said,) = found.refused
    assert said.startswith("scalings of w: a gain with one number added and with another")
    assert found.dimension == 0


class Scaled(nn.Module):
    """A bias that a number is added to and that a number multiplies is no gain."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 6, bias=False), nn.Linear(6, 3)
        self.b = nn.Parameter(torch.full((6,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.first(x) + (self.b + 1) * 0.5))


def test_what_a_number_multiplies_is_no_gain():
    module, x = Scaled().double(), torch.randn(5, 4).double()
    assert not [one for one in families_of(module, (x,), symmetry_of(module, (x,))).refused if "gain" in one]
