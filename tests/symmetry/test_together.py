"""Attention beside an MLP behind one norm, as of GPT-NeoX and GPT-J: what may be added to it, and all brought back."""

import pytest
import torch
from families import gaussian, nullity, tensors_of
from symmetric import Decoder, Gpt, built, numbers
from torch import Tensor, nn

from landscape.symmetry import function_difference, symmetry_of
from landscape.symmetry import together as joint
from landscape.symmetry.continuous import families_of
from landscape.symmetry.independent import generators
from landscape.symmetry.moments import near
from landscape.symmetry.orbit import between, nearest_of_orbit, random_of_orbit
from landscape.symmetry.together import _acted, _slopes, together


class Parallel(nn.Module):
    """Queries, keys and values of each head side by side in one weight; half of a head's channels are turned."""

    def __init__(self, bias: bool):
        super().__init__()
        self.first, self.norm, self.final = (
            nn.Linear(7, 6),
            nn.LayerNorm(6, eps=0.01),
            nn.LayerNorm(6, eps=0.01),
        )
        self.qkv, self.back = nn.Linear(6, 24, bias=bias), nn.Linear(8, 6, bias=bias)
        self.up, self.down, self.last = nn.Linear(6, 7), nn.Linear(7, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        y = self.norm(x)
        q, k, v = self.qkv(y).unflatten(-1, (2, 12)).transpose(1, 2).chunk(3, -1)
        angles = torch.arange(x.shape[1]).to(x)[:, None]
        q, k = (
            torch.cat([a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos(), rest], -1)
            for a, b, rest in (one.split([1, 1, 2], -1) for one in (q, k))
        )
        heads = (q @ k.mT).softmax(-1) @ v
        mixed = self.back(heads.transpose(1, 2).flatten(2))
        return self.last(self.final(mixed + self.down(torch.tanh(self.up(y))) + x))


@pytest.mark.parametrize("bias", [True, False])
def test_what_is_added_to_values_and_to_keys_is_as_much_as_no_output_sees(bias):
    """To values from a bias or, without one, from that of their norm; to keys that no position turns, without one."""
    module, x = built(lambda: Parallel(bias)).double().eval(), gaussian(24, 4, 7)()
    traced = symmetry_of(module, (x[:4],))
    found = families_of(module, (x[:4],), traced)
    assert nullity(module, x) == found.dimension
    a, generator = tensors_of(module), torch.Generator().manual_seed(1)
    b = random_of_orbit(traced.symmetry, found.families, a, generator)
    assert function_difference(module, a, b, [(x[4:],)]) <= 1e-10
    # Where families go one after the other 1e-4 is left: a shear and what is added to the same weights.
    back = nearest_of_orbit(traced.symmetry, found.families, a, b, generator=generator).tensors
    assert between(a, back) <= 1e-9 * between(a, b)


def test_all_families_together_are_never_farther_and_leave_the_function():
    module, x = built(lambda: Parallel(True)).double().eval(), gaussian(24, 4, 7)()
    found = families_of(module, (x[:4],), symmetry_of(module, (x[:4],)))
    a = tensors_of(module)
    noise = torch.Generator().manual_seed(2)
    b = {n: t + torch.randn(t.shape, generator=noise, dtype=t.dtype) for n, t in a.items()}
    moved = together(found.families, a, b)
    assert function_difference(module, b, moved, [(x,)]) <= 1e-9
    assert between(a, moved) < 0.9 * between(a, b)


@pytest.mark.parametrize("net", ["gated", "layer norms", "parallel"])
def test_slopes_are_what_small_elements_bring(net):
    factory, inputs = {
        "gated": (lambda: Decoder(one_more=True), numbers(11, 4, 6)),
        "layer norms": (lambda: Gpt(bias=False), numbers(11, 4, 6)),
        "parallel": (lambda: Parallel(False), gaussian(4, 4, 7)),
    }[net]
    module = built(factory).double().eval()
    families = families_of(module, (inputs(),), symmetry_of(module, (inputs(),))).families
    names, step = [name for name, _ in module.named_parameters()], 1e-5
    b = near(tensors_of(module), names, torch.Generator().manual_seed(0))
    slopes, lengths = _slopes(families, b, names)
    columns, kinds = [], []
    for family in families:
        for number in generators(family):
            x = torch.zeros(family.logarithm, dtype=torch.float64)
            x.view(-1)[number] = step
            ends = [_acted(family, b, sign * x) for sign in (1, -1)]
            columns.append(
                torch.cat([(ends[0][name] - ends[1][name]).flatten() for name in names]) / 2 / step
            )
            kinds.append(family.kind)
    assert {"gated": "rotary", "layer norms": "centred", "parallel": "shear"}[net] in kinds
    assert torch.allclose(slopes * lengths, torch.stack(columns, 1), rtol=0, atol=1e-7)


def test_one_step_that_brings_little_is_not_the_last(monkeypatch):
    """As of a GPT-2 of one head, where after four steps of a quarter each one brought 0.5 %, and the next ones all."""
    module, x = built(lambda: Parallel(True)).double().eval(), gaussian(24, 4, 7)()
    families = families_of(module, (x[:4],), symmetry_of(module, (x[:4],))).families
    families = [one for one in families if one.kind == "invertible"]
    a, noise = tensors_of(module), torch.Generator().manual_seed(2)
    b = a
    for one in families:
        b = one.acted(b, one.exponential(0.1 * torch.randn(one.logarithm, generator=noise).double()))
    shares, own = [0.001], joint._step

    def short(*given):
        share = shares.pop() if shares else 1.0
        return [share * one for one in own(*given)]

    monkeypatch.setattr(joint, "_step", short)
    assert between(a, together(families, a, b)) <= 1e-9 * between(a, b)
