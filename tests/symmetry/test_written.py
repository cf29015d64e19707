"""Nets as they are written in papers' own code: what is stacked, shifted in time, complex, or a token more."""

from collections.abc import Callable

import pytest
import torch
from symmetric import built, difference
from torch import Tensor, nn
from torch.nn import functional

from landscape.symmetry import symmetry_of
from landscape.symmetry.continuous import families_of


class Turned(nn.Module):
    """Keys shared by two queries each, turned by their positions as complex numbers."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(6, size, bias=False) for size in (16, 8, 8))
        self.out = nn.Linear(16, 3, bias=False)

    def turned(self, x: Tensor) -> Tensor:
        angles = torch.outer(torch.arange(x.shape[2]).to(x), torch.tensor([1.0, 0.1]).to(x))
        pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2).contiguous())
        return torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(3)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (one(x).unflatten(-1, (-1, 4)).transpose(1, 2) for one in (self.q, self.k, self.v))
        k, v = (one.repeat_interleave(2, 1) for one in (self.turned(k), v))
        y = functional.scaled_dot_product_attention(self.turned(q), k, v)
        return self.out(y.transpose(1, 2).flatten(2))


class Scan(nn.Module):
    """States of a diagonal recurrence, stacked along time."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)
        self.a, self.b, self.skip = (nn.Parameter(torch.rand(4)) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        u = self.first(x)
        state, found = torch.zeros_like(u[:, 0]), []
        for t in range(u.shape[1]):
            state = torch.sigmoid(self.a) * state + self.b * u[:, t]
            found.append(state + self.skip * u[:, t])
        return self.last(functional.silu(torch.stack(found, 1)))


class States(nn.Module):
    """Three states of every channel, as of a state space."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)
        self.a, self.b, self.c = (nn.Parameter(torch.randn(4, 3)) for _ in range(3))
        self.skip = nn.Parameter(torch.randn(4))

    def forward(self, x: Tensor) -> Tensor:
        u, found = self.first(x), []
        state = torch.zeros(len(x), 4, 3).to(x)
        for t in range(x.shape[1]):
            state = torch.exp(-self.a.exp()) * state + self.b * u[:, t, :, None]
            found.append((state * self.c).sum(-1) + self.skip * u[:, t])
        return self.last(functional.silu(torch.stack(found, 1)))


class Shifted(nn.Module):
    """Every token mixed with the one before it, as in RWKV."""

    def __init__(self):
        super().__init__()
        self.first, self.key, self.last = nn.Linear(3, 5), nn.Linear(5, 6), nn.Linear(6, 2)
        self.mix = nn.Parameter(torch.rand(5))

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        before = functional.pad(h, (0, 0, 1, -1))
        return self.last(torch.relu(self.key(h * self.mix + before * (1 - self.mix))).square())


class Registers(nn.Module):
    """A class token, two registers and patches through ``nn.MultiheadAttention``."""

    def __init__(self):
        super().__init__()
        self.patches, self.last = nn.Linear(3, 8), nn.Linear(8, 2)
        self.token, self.registers = nn.Parameter(torch.randn(1, 1, 8)), nn.Parameter(torch.randn(1, 2, 8))
        self.norm, self.attention = nn.LayerNorm(8), nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = (self.token.expand(len(x), -1, -1), self.registers.expand(len(x), -1, -1))
        h = torch.cat([*tokens, self.patches(x)], 1)
        y = self.norm(h)
        return self.last((h + self.attention(y, y, y, need_weights=False)[0])[:, 0])


class Centres(nn.Module):
    """Radial units: distances from centres."""

    def __init__(self):
        super().__init__()
        self.centres, self.width, self.last = (
            nn.Parameter(torch.randn(6, 4)),
            nn.Parameter(torch.rand(6)),
            nn.Linear(6, 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.exp(-self.width * torch.cdist(x, self.centres)))


class Heads(nn.Module):
    """Attention in Einstein's notation, its weights of three axes."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Parameter(torch.randn(6, 2, 3)) for _ in range(3))
        self.o, self.last = nn.Parameter(torch.randn(2, 3, 6)), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (torch.einsum("bld,dhe->blhe", x, w) for w in (self.q, self.k, self.v))
        scores = torch.einsum("bqhe,bkhe->bhqk", q, k).softmax(-1)
        return self.last(functional.gelu(torch.einsum("bhqk,bkhe,hed->bqd", scores, v, self.o)))


class Pooled(nn.Module):
    """A convolution along time, pooled to one position."""

    def __init__(self):
        super().__init__()
        self.first, self.pool, self.last = nn.Conv1d(2, 5, 3), nn.AdaptiveAvgPool1d(1), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.pool(torch.relu(self.first(x))).flatten(1))


class Experts(nn.Module):
    """A layer for each expert, all of them summed; with ``mixing`` units compete with those of other experts."""

    def __init__(self, mixing: str = ""):
        super().__init__()
        self.mixing = mixing
        self.up, self.down = nn.Parameter(torch.randn(3, 4, 5)), nn.Parameter(torch.randn(3, 5, 2))
        self.bias, self.router = nn.Parameter(torch.randn(3, 5)), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(torch.einsum("bi,eij->bej", x, self.up) + self.bias)
        if self.mixing == "softmax":
            h = h.softmax(1)
        elif self.mixing == "products":  # of all pairs of experts
            h = (h @ h.mT) @ h
        return torch.einsum("be,bej,ejk->bk", self.router(x).softmax(-1), h, self.down)


class Competing(Experts):
    def __init__(self):
        super().__init__("softmax")


class Paired(Experts):
    def __init__(self):
        super().__init__("products")


# Inputs of one sample, groups as (units, units of the outer group).
class Soft(nn.Module):
    """Two slots of each of three experts, which softly read and are read by all places (Puigcerver et al. 2024)."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 3)
        self.slots = nn.Parameter(torch.randn(6, 3, 2))
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(6, 7), nn.GELU(), nn.Linear(7, 6)) for _ in range(3)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        scores = torch.einsum("bld,dep->blep", x, self.slots)
        given = scores.flatten(2).softmax(-1).view_as(scores)
        read = torch.einsum("bld,blep->bepd", x, scores.softmax(1))
        made = torch.stack([expert(read[:, i]) for i, expert in enumerate(self.experts)], 1)
        return self.last(torch.einsum("bepd,blep->bld", made, given))


WRITTEN: dict[Callable[[], nn.Module], tuple[tuple[int, ...], list[tuple[int, int | None]]]] = {
    # Heads of keys, the queries of each, channels of values; the pairs of a key are held by their angles.
    Turned: ((5, 6), [(2, None), (2, 2), (4, 2)]),
    Scan: ((6, 3), [(4, None)]),
    States: ((6, 3), [(4, None), (3, 4)]),
    Shifted: ((4, 3), [(5, None), (6, None)]),
    # The registers have no order either, unlike the patches, which are data.
    Registers: ((4, 3), [(8, None), (2, None), (2, None), (4, 2), (4, 2)]),
    Centres: ((4,), [(6, None)]),
    Pooled: ((2, 8), [(5, None)]),
    # Channels of every head, and units of every expert, have an order of their own.
    Heads: ((5, 6), [(2, None), (3, 2), (3, 2), (6, None)]),
    Experts: ((4,), [(3, None), (5, 3)]),
    # But not where units of one expert meet those of another.
    Competing: ((4,), [(3, None), (5, None)]),
    Paired: ((4,), [(3, None), (5, None)]),
    # What is read and what is made, the slots of all experts alike, and the units of each.
    Soft: ((5, 4), [(6, None), (6, None), (2, None), (7, None), (7, None), (7, None)]),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_what_is_written_by_hand_moves(kind):
    shape, groups = WRITTEN[kind]
    module = built(kind).double().eval()
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    symmetry = symmetry_of(module, (x,)).symmetry
    found = [
        (group.size, None if group.outer is None else symmetry.groups[group.outer].size)
        for group in (symmetry.groups[i] for i in symmetry.free)
    ]
    assert sorted(found, key=str) == sorted(groups, key=str)
    assert [name for name in symmetry.blocked if not name.startswith(("last.", "out."))] == []
    generator = torch.Generator().manual_seed(2)
    for group in (None, *symmetry.free):
        assert difference(module, x, symmetry, symmetry.random(generator, group)) <= 1e-9


def test_maps_of_what_is_parted_are_counted_once():
    """Scales of the states of each channel, and one of the channel: not the channel's over again."""
    for kind, count in ((Heads, 4 * 9), (Experts, 3 * 5), (States, 4 * 3 + 4)):
        module = built(kind).double().eval()
        x = torch.randn(3, *WRITTEN[kind][0], dtype=torch.float64)
        found = families_of(module, (x,), symmetry_of(module, (x,)))
        assert sum(one.dimension for one in found.families if one.kind != "translation") == count
