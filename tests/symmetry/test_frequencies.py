"""Rotary positions whose pairs stand side by side, and whose angles are buffers: every head has maps of its own."""

import pytest
import torch
from families import gaussian
from symmetric import built
from torch import Tensor, nn

from landscape.symmetry import symmetry_of
from landscape.symmetry.continuous import families_of
from landscape.symmetry.orbit import between, nearest_of_orbit, random_of_orbit


class Rotary(nn.Module):
    """Two heads of queries, as many of keys as are asked for, three frequencies in a buffer."""

    cos: Tensor
    sin: Tensor

    def __init__(self, keys: int):
        super().__init__()
        self.q, self.k = nn.Linear(5, 12, bias=False), nn.Linear(5, 6 * keys, bias=False)
        self.last = nn.Linear(5, 3)
        angles = torch.outer(torch.arange(4.0), torch.tensor([1.0, 0.5, 0.2]))
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def turned(self, y: Tensor) -> Tensor:
        one, other = y.unflatten(-1, (-1, 3, 2)).unbind(-1)
        cos, sin = self.cos[:, None], self.sin[:, None]
        return torch.stack([one * cos - other * sin, one * sin + other * cos], -1).flatten(3)

    def forward(self, x: Tensor) -> Tensor:
        q, k = self.turned(self.q(x)), self.turned(self.k(x))
        scores = torch.einsum("blhc,bmhc->bhlm", q, k.expand(-1, -1, 2, -1)).softmax(-1)
        return self.last(torch.sin(scores @ x[:, None]).sum(1))


@pytest.mark.parametrize("keys", [1, 2])
def test_every_head_has_a_rotation_and_a_scale_of_each_frequency(keys):
    module, x = built(lambda: Rotary(keys)).double().eval(), gaussian(4, 4, 5)()
    traced = symmetry_of(module, (x,))
    found = families_of(module, (x,), traced)
    assert [one.text for one in found.families] == [f"C*^{3 * keys}"]
    assert found.dimension == 6 * keys
    a = {name: one.detach() for name, one in module.named_parameters()}
    whole = {**a, **dict(module.named_buffers())}
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        b = random_of_orbit(traced.symmetry, found.families, whole, generator)
        back = nearest_of_orbit(traced.symmetry, found.families, a, b, generator=generator)
        assert back.distance <= 1e-5 * between(a, b)
