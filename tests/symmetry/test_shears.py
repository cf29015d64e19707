"""Maps that leave what a norm centres and move its bias, for readers without a bias."""

import pytest
import torch
from families import gaussian, nullity, tensors_of
from symmetric import built
from torch import Tensor, nn

from landscape.symmetry import function_difference, symmetry_of
from landscape.symmetry.continuous import families_of
from landscape.symmetry.orbit import between, nearest_of_orbit, random_of_orbit
from landscape.symmetry.shears import Shear, nearest_shear


class Read(nn.Module):
    """A norm with a bias that two layers read."""

    def __init__(self, first: bool, second: bool):
        super().__init__()
        self.inputs, self.norm = nn.Linear(8, 6), nn.LayerNorm(6)
        self.one, self.two = nn.Linear(6, 9, bias=first), nn.Linear(6, 5, bias=second)
        self.outputs = nn.Linear(14, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.inputs(x))
        return self.outputs(torch.cat([self.one(y).tanh(), self.two(y).sigmoid()], -1))


def found_in(first: bool, second: bool):
    module, x = built(lambda: Read(first, second)), gaussian(60, 8)()
    traced = symmetry_of(module, (x,))
    return module, x, traced.symmetry, families_of(module, (x,), traced)


@pytest.mark.parametrize(
    ("first", "second", "number"), [(False, False, 1), (False, True, 1), (True, True, 0)]
)
def test_there_is_one_where_a_reader_has_no_bias(first, second, number):
    module, x, symmetry, found = found_in(first, second)
    shears = [one for one in found.families if isinstance(one, Shear)]
    assert [one.text for one in shears] == ["R^5⋊R*"] * number
    assert not found.refused
    assert found.dimension == nullity(module, x)
    tensors, generator = tensors_of(module), torch.Generator().manual_seed(0)
    for one in shears:
        moved = one.acted(tensors, one.random(generator))
        assert not torch.equal(moved["norm.bias"], tensors["norm.bias"])
        assert function_difference(module, tensors, moved, [(10 * torch.randn(5, 8, dtype=x.dtype),)]) < 1e-13
    size = between(tensors, dict.fromkeys(tensors, torch.zeros(())))
    for _ in range(5):
        moved = random_of_orbit(symmetry, found.families, tensors, generator)
        back = nearest_of_orbit(symmetry, found.families, tensors, moved, generator=generator)
        assert back.distance < 1e-5 * size < between(tensors, moved)


def test_the_nearest_of_another_net_is_a_minimum():
    module, _, _, found = found_in(False, False)
    (shear,) = [one for one in found.families if isinstance(one, Shear)]
    a, generator = tensors_of(module), torch.Generator().manual_seed(1)
    b = {name: t + 0.3 * torch.randn(t.shape, generator=generator, dtype=t.dtype) for name, t in a.items()}

    def distance(v: Tensor) -> Tensor:
        moved = shear.acted(b, v)
        return torch.stack([(moved[name] - a[name]).square().sum() for name in a]).sum()

    v = nearest_shear(shear, a, b).requires_grad_()
    slope = torch.autograd.grad(distance(v), v)[0]
    assert float(slope.norm()) < 1e-6 * float(distance(torch.zeros_like(v)))
    assert float(distance(v.detach())) < float(distance(torch.zeros_like(v)))


def test_a_gain_of_zero_hides_what_is_summed():
    module, _, _, found = found_in(False, False)
    (shear,) = [one for one in found.families if isinstance(one, Shear)]
    tensors = tensors_of(module)
    tensors["norm.weight"] = tensors["norm.weight"].clone()
    tensors["norm.weight"][2] = 0
    moved = shear.acted(tensors, shear.random(torch.Generator().manual_seed(0)))
    assert all(torch.allclose(moved[name], tensors[name], rtol=0, atol=1e-15) for name in tensors)
    hidden = shear.hidden(tensors)
    assert all(torch.equal(hidden[name], tensors[name]) for name in tensors)


class Wide(nn.Module):
    """A norm of several pieces side by side, as where patches are merged, or of numbers that have an order."""

    def __init__(self, *, at_rest: bool, bias: bool):
        super().__init__()
        self.at_rest = at_rest
        self.inputs = nn.Linear(5, 6 if at_rest else 3)
        self.norm, self.outputs = nn.LayerNorm(6), nn.Linear(6, 4, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        y = self.inputs(x).tanh()
        y = y + 2 * y.roll(1, -1) if self.at_rest else torch.cat([y[:30], y[30:]], -1)
        return self.outputs(self.norm(y)).tanh()


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("at_rest", [False, True])
def test_norms_of_several_pieces_or_of_numbers_in_order_hide_as_much(at_rest, bias):
    module, x = built(lambda: Wide(at_rest=at_rest, bias=bias)), gaussian(60, 5)()
    traced = symmetry_of(module, (x,))
    found = families_of(module, (x,), traced)
    assert found.dimension == nullity(module, x)
    assert any(isinstance(one, Shear) for one in found.families) != bias
