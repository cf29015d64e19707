"""Axes that are cut, or written in columns, while others are nested in them: every part has units of its own."""

from collections.abc import Callable, Sequence

import pytest
import torch
from families import nullity
from symmetric import built, difference
from torch import Tensor, nn
from torch.nn import functional

from landscape.symmetry import symmetry_of
from landscape.symmetry.continuous import families_of

Cut = Callable[[Tensor], Sequence[Tensor]]
CUTS: dict[str, Cut] = {
    "as Falcon": lambda y: (y[:, :, :-2], y[:, :, [-2]], y[:, :, [-1]]),
    "keys first": lambda y: (y[:, :, 3, None], y[:, :, 4, None], y[:, :, :3])[::-1],
    "split": lambda y: y.split([3, 1, 1], 2),
    "twice": lambda y: (y[:, :, :3], *y[:, :, 3:].chunk(2, 2)),
    "selected": lambda y: (y[:, :, :3], *(one[:, :, None] for one in y[:, :, 3:].unbind(2))),
    "picked": lambda y: [y.index_select(2, torch.tensor(one)) for one in ([0, 1, 2], [3], [4])],
}


class Fused(nn.Module):
    """Three queries, a key and a value of four channels, all of one layer."""

    def __init__(self, cut: Cut):
        super().__init__()
        self.cut, self.first, self.last = cut, nn.Linear(6, 20), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.cut(self.first(x).unflatten(-1, (5, 4)))
        q, k, v = (one.transpose(1, 2) for one in (q, k.expand_as(q), v.expand_as(q)))
        return self.last(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


@pytest.mark.parametrize("way", CUTS)
def test_heads_that_are_cut_from_one_axis_move_apart(way):
    module, x = built(lambda: Fused(CUTS[way])), torch.randn(5, 6, 6, dtype=torch.float64)
    found = symmetry_of(module, (x,))
    groups = [(found.symmetry.groups[i].size, found.symmetry.groups[i].outer) for i in found.symmetry.free]
    assert groups == [(3, None), (4, None), (4, None)]
    generator = torch.Generator().manual_seed(2)
    assert difference(module, x, found.symmetry, found.symmetry.random(generator)) <= 1e-9
    if way == "as Falcon":
        families = families_of(module, (x,), found)
        assert [one.text for one in families.families if one.kind != "translation"] == ["GL(4)", "GL(4)"]
        more = torch.randn(20, 6, 6, dtype=torch.float64)
        assert families.dimension == nullity(module, more)


def test_units_beside_each_other_are_columns():
    """A gate and its unit side by side, as those of GPT-OSS."""

    class Beside(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(3, 10), nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            y = self.first(x)
            return self.last(torch.sigmoid(y[..., ::2]) * y[..., 1::2])

    module, x = built(Beside), torch.randn(8, 3, dtype=torch.float64)
    symmetry = symmetry_of(module, (x,)).symmetry
    assert [symmetry.groups[i].size for i in symmetry.free] == [5]
    assert {block.shape[:2] for block in symmetry.of(0) if block.tensor == "first.weight"} == {(5, 2)}


def test_a_list_of_positions_is_slices():
    """Single positions stand alone, and runs of them have an order of their own."""

    class Listed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(3, 8), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            y = torch.tanh(self.first(x))
            return self.last(torch.cat([y[:, [2, 3, 4, 5]].sin(), y[:, [0, -1, -2, 1]]], 1))

    module, x = built(Listed), torch.randn(4, 3, dtype=torch.float64)
    symmetry = symmetry_of(module, (x,)).symmetry
    assert [symmetry.groups[i].size for i in symmetry.free] == [4]
    assert difference(module, x, symmetry, symmetry.random(torch.Generator().manual_seed(2))) <= 1e-9


def test_pairs_of_a_key_that_heads_share_turn_beside_maps_in_each_head():
    """As DeepSeek's: two channels of each head without positions, and a pair with, whose key all heads have."""

    class Latent(nn.Module):
        def __init__(self):
            super().__init__()
            sizes = {"q": 8, "k": 4, "v": 4, "turned": 2}
            self.read = nn.ModuleDict({name: nn.Linear(5, n, bias=False) for name, n in sizes.items()})
            self.last = nn.Linear(4, 3, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            q, k, v, shared = (one(x).unflatten(-1, (-1, 2)).transpose(1, 2) for one in self.read.values())
            plain, turned = q.transpose(1, 2).unflatten(2, (2, 2)).permute(3, 0, 2, 1, 4)
            angles = torch.arange(x.shape[1]).to(x)[:, None]

            def by_position(z: Tensor) -> Tensor:
                return z * angles.cos() + torch.cat([-z[..., 1:], z[..., :1]], -1) * angles.sin()

            keys = torch.cat([k, by_position(shared).expand_as(k)], -1)
            queries = torch.cat([plain, by_position(turned)], -1)
            y = functional.scaled_dot_product_attention(queries, keys, v)
            return self.last(y.transpose(1, 2).flatten(2))

    module, x = built(Latent), torch.randn(4, 6, 5, dtype=torch.float64)
    found = families_of(module, (x,), symmetry_of(module, (x,)))
    assert sorted(one.text for one in found.families) == ["C*^1", "GL(2)^2", "GL(2)^2"]
    assert found.dimension == nullity(module, torch.randn(12, 6, 5, dtype=torch.float64))


def test_channels_of_heads_of_groups_are_alike_in_a_group():
    """As of Mamba-2: of two axes around another one, one is left; the heads of a group move still."""

    class Groups(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(3, 24), nn.Linear(24, 2)
            self.group, self.head = nn.Parameter(torch.randn(2, 2)), nn.Parameter(torch.randn(2, 3, 2))

        def forward(self, x: Tensor) -> Tensor:
            y = torch.tanh(self.first(x)).unflatten(-1, (2, 3, 4))
            shared = torch.einsum("bghc,bghd->bgcd", y, y)
            y = torch.einsum("bgcd,bghd->bghc", shared, y) * self.head.exp().sum(-1)[..., None]
            return self.last((y * self.group.sum(-1)[:, None, None]).flatten(1))

    module, x = built(Groups), torch.randn(4, 3, dtype=torch.float64)
    symmetry = symmetry_of(module, (x,)).symmetry
    free = [symmetry.groups[i] for i in symmetry.free]
    found = [(one.size, None if one.outer is None else symmetry.groups[one.outer].size) for one in free]
    assert {(2, None), (3, 2), (4, 2)} <= set(found)
    assert difference(module, x, symmetry, symmetry.random(torch.Generator().manual_seed(2))) <= 1e-9
