"""Nets as users bring them, of kinds that were wrong once: as many dimensions as no output sees, and planted points."""

from itertools import pairwise

import pytest
import torch
from families import gaussian, nullity, tensors_of
from symmetric import built, numbers
from torch import Tensor, nn
from torch.nn import functional

from landscape.errors import BadInput
from landscape.symmetry import function_difference, symmetry_of
from landscape.symmetry.continuous import families_of
from landscape.symmetry.orbit import between, nearest_of_orbit, random_of_orbit


class Latent(nn.Module):
    """Layers through a latent that is normed, as queries and keys of DeepSeek."""

    def __init__(self):
        super().__init__()
        self.embedding, self.out = nn.Embedding(11, 6), nn.Linear(6, 5, bias=False)
        self.norm, self.inner, self.last = (nn.RMSNorm(n, eps=0.01) for n in (6, 4, 6))
        self.down, self.up, self.back = (nn.Linear(a, b, bias=False) for a, b in ((6, 4), (4, 7), (7, 6)))

    def forward(self, x: Tensor) -> Tensor:
        y = self.embedding(x)
        y = y + self.back(torch.relu(self.up(self.inner(self.down(self.norm(y))))))
        return self.out(self.last(y))


class Tied(nn.Module):
    """One norm for gated units and a linear pair; its output tied to its embeddings, so nothing turns the stream."""

    def __init__(self):
        super().__init__()
        self.embedding, self.out = nn.Embedding(11, 8), nn.Linear(8, 11, bias=False)
        self.out.weight = self.embedding.weight
        self.norm, self.last = (nn.LayerNorm(8, bias=False) for _ in "ab")
        self.gate, self.up, self.value = (nn.Linear(8, n, bias=False) for n in (10, 10, 4))
        self.down, self.back = (nn.Linear(n, 8, bias=False) for n in (10, 4))

    def forward(self, x: Tensor) -> Tensor:
        y = self.embedding(x)
        z = self.norm(y)
        y = y + self.down(functional.silu(self.gate(z)) * self.up(z)) + self.back(self.value(z))
        return self.out(self.last(y))


class Scaled(nn.Module):
    """A gain of every layer before it is added to the stream, as LayerScale, and a norm that centres."""

    def __init__(self, width: int = 7):
        super().__init__()
        self.first, self.last, self.gain = nn.Linear(5, 6), nn.Linear(6, 3), nn.Parameter(torch.rand(6) + 0.5)
        self.up, self.down, self.norms = (
            nn.Linear(6, width),
            nn.Linear(width, 6),
            nn.ModuleList(nn.LayerNorm(6) for _ in "ab"),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        y = y + self.gain * self.down(torch.sigmoid(self.up(self.norms[0](y))))
        return self.last(self.norms[1](y))


class Centred(nn.Module):
    """Queries turned by their positions and keys are centred for each head; heads have gains of their own."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.last = nn.Linear(5, 8, bias=False), nn.Linear(5, 4), nn.Linear(5, 3)
        self.gains, self.one = nn.Parameter(torch.rand(2, 4) + 0.5), nn.Parameter(torch.rand(1, 4) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        q, k = (one(x).unflatten(-1, (-1, 4)) for one in (self.q, self.k))
        q = functional.layer_norm(q, (4,), eps=0.01) * self.gains
        k = functional.layer_norm(k, (4,), eps=0.01) * self.one
        angles = torch.outer(torch.arange(x.shape[1]).to(x), torch.tensor([1.0, 0.3]).to(x)).repeat(1, 2)
        q, k = (
            y * angles.cos()[:, None] + torch.cat([-y[..., 2:], y[..., :2]], -1) * angles.sin()[:, None]
            for y in (q, k)
        )
        scores = torch.einsum("blhc,bmhc->bhlm", q, k.expand(-1, -1, 2, -1)).softmax(-1)
        return self.last(torch.sin(scores.sum(1) @ x))


class Cosine(nn.Module):
    """Queries and keys of length 1, as of Swin v2: of each head they turn together."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(5, 12) for _ in "qkv")
        self.scale, self.back = nn.Parameter(torch.rand(3, 1, 1) + 1), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (one(x).unflatten(-1, (3, 4)).transpose(1, 2) for one in (self.q, self.k, self.v))
        q, k = (functional.normalize(one, dim=-1) for one in (q, k))
        heads = (self.scale * (q @ k.mT)).softmax(-1) @ v
        return torch.tanh(self.back(heads.transpose(1, 2).flatten(2)))


class Chained(nn.Module):
    """Values of two heads, their output and a layer that reads it, with maps of their own between each two."""

    def __init__(self):
        super().__init__()
        self.first, self.q, self.k, self.v = (
            nn.Linear(5, 4),
            nn.Linear(5, 6),
            nn.Linear(5, 6),
            nn.Linear(4, 6),
        )
        self.back, self.last = nn.Linear(6, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.q(x), self.k(x), self.v(torch.tanh(self.first(x)))
        q, k, v = (one.unflatten(-1, (2, 3)).transpose(1, 2) for one in parts)
        heads = (q @ k.mT).softmax(-1) @ v
        return torch.tanh(self.last(self.back(heads.transpose(1, 2).flatten(2))))


class OneHead(nn.Module):
    """A decoder whose only head is as wide as the stream, its output tied to its embeddings."""

    def __init__(self):
        super().__init__()
        self.tokens, self.places = nn.Embedding(11, 6), nn.Embedding(5, 6)
        self.norms = nn.ModuleList(nn.LayerNorm(6) for _ in "abc")
        self.qkv, self.back, self.up, self.down = (
            nn.Linear(a, b) for a, b in ((6, 18), (6, 6), (6, 12), (12, 6))
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.tokens(x) + self.places(torch.arange(x.shape[1]))
        q, k, v = self.qkv(self.norms[0](y)).split(6, -1)
        hidden = torch.ones(x.shape[1], x.shape[1]).triu(1).bool()
        y = y + self.back((q @ k.mT).masked_fill(hidden, -torch.inf).softmax(-1) @ v)
        y = y + self.down(functional.gelu(self.up(self.norms[1](y))))
        return self.norms[2](y) @ self.tokens.weight.T


class Deep(nn.Module):
    """Layers in a row with nothing between them."""

    def __init__(self, *widths: int):
        super().__init__()
        self.layers = nn.Sequential(*(nn.Linear(a, b) for a, b in pairwise(widths)))
        self.last = nn.Linear(widths[-1], 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.layers(x)))


def families_in(factory, x: Tensor):
    module = built(factory).double().eval()
    traced = symmetry_of(module, (x,))
    return module, traced.symmetry, families_of(module, (x,), traced)


@pytest.mark.parametrize(
    ("factory", "inputs", "seeds"),
    [
        (Latent, numbers(11, 4, 6), (0, 5)),
        (Tied, numbers(11, 4, 6), (11,)),
        (Scaled, gaussian(9, 5), (0, 1)),
        (Centred, gaussian(4, 6, 5), (0, 1)),
        (Cosine, gaussian(4, 6, 5), (0, 1)),
        (Chained, gaussian(4, 6, 5), (0,)),
        (OneHead, numbers(11, 20, 5), (0,)),
        (lambda: Deep(6, 6, 6, 6, 6), gaussian(30, 6), (1,)),
        (lambda: Deep(3, 6, 6, 5, 2), gaussian(30, 3), (0,)),
        (Cosine, gaussian(4, 6, 5), (2, 3)),
        (Chained, gaussian(4, 6, 5), (2, 4)),
        (OneHead, numbers(11, 20, 5), (1, 2)),
        (lambda: Deep(6, 6, 6, 6, 6), gaussian(30, 6), (2, 3)),
        (lambda: Deep(3, 6, 6, 5, 2), gaussian(30, 3), (1,)),
    ],
)
def test_what_was_planted_is_found(factory, inputs, seeds):
    module, symmetry, found = families_in(factory, inputs())
    a = tensors_of(module)
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        b = random_of_orbit(symmetry, found.families, a, generator)
        assert function_difference(module, a, b, [(inputs(),)]) <= 1e-9
        left = nearest_of_orbit(symmetry, found.families, a, b, generator=generator)
        assert between(a, left.tensors) <= 1e-5 * between(a, b)


def test_rows_of_a_tied_table_that_the_samples_do_not_look_up_are_not_free():
    """A norm that centres hands on nothing along 1 over its gain, so the output alone does not see it in any row."""
    few, x = numbers(7, 4, 6)(), numbers(11, 40, 6)()
    module, symmetry, found = families_in(Tied, few)
    a, generator = tensors_of(module), torch.Generator().manual_seed(0)
    b = random_of_orbit(symmetry, found.families, a, generator)
    assert between(a, b) > 0.1
    assert function_difference(module, a, b, [(x,)]) <= 1e-9


class LookedUp(nn.Module):
    """Rows of a table by the numbers in the data, in the mean."""

    def __init__(self, rows):
        super().__init__()
        self.table, self.rows = nn.Parameter(torch.randn(20, 5)), rows
        self.hidden, self.out = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, tokens):
        return self.out(torch.relu(self.hidden(self.rows(self.table, tokens))))


@pytest.mark.parametrize(
    "rows",
    [
        lambda table, tokens: functional.embedding_bag(tokens, table),
        lambda table, tokens: table[tokens].mean(1),
        lambda table, tokens: table.index_select(0, tokens.flatten()).unflatten(0, tokens.shape).mean(1),
        lambda table, tokens: torch.take_along_dim(table[None], tokens[..., None], 1).mean(1),
    ],
    ids=["bag", "index", "select", "along"],
)
def test_rows_that_the_samples_do_not_look_up_are_not_free_however_they_are_looked_up(rows):
    """Those of tokens that few samples do not hold, or hold together: at others they would move the outputs."""
    few, tokens = numbers(20, 3, 4)(), numbers(20, 40, 4)()
    module, symmetry, found = families_in(lambda: LookedUp(rows), few)
    a = tensors_of(module)
    b = random_of_orbit(symmetry, found.families, a, torch.Generator().manual_seed(1))
    assert found.dimension == 34
    assert function_difference(module, a, b, [(tokens,)]) <= 1e-12


class Twice(Scaled):
    """A gain beside another one, as of BEiT."""

    def __init__(self):
        super().__init__(6)
        self.other = nn.Parameter(torch.rand(6) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        y = y + self.gain * self.down(torch.sigmoid(self.up(self.norms[0](y))))
        return self.last(self.norms[1](y + self.other * torch.sin(self.norms[0](y))))


@pytest.mark.parametrize("factory", [Scaled, Twice])
def test_a_gain_that_is_added_has_the_weights_of_its_bias_too(factory):
    """And those of a square weight, of which both axes are as long as its bias."""
    module, _, found = families_in(factory, gaussian(9, 5)())
    # Counted twice: what is added to both biases, and of the first layer's alike to each.
    assert nullity(module, gaussian(150, 5)()) == found.dimension


class Dead(nn.Module):
    """What leads to no output: a parameter and frequencies that are used for nothing, and a mask."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 3)
        self.idle, self.shift = nn.Parameter(torch.rand(5)), torch.nn.Buffer(torch.rand(6))
        self.mask = torch.nn.Buffer(torch.ones(3, dtype=torch.bool))

    def forward(self, x: Tensor) -> Tensor:
        (self.idle * 2).to(torch.float64).cos()
        x = x + (x.mean(1, keepdim=True) * self.shift + 1).sin().mean(1, keepdim=True)
        return self.b(torch.tanh(self.a(x))).masked_fill(~self.mask, 0)


def test_what_leads_to_no_output_is_not_used():
    module, symmetry, found = families_in(Dead, gaussian(9, 4)())
    assert symmetry.blocked["idle"] == "[0] the traced module does not use it"
    assert [one.text for one in found.families] == ["{±1}^6"]
    tensors = {**tensors_of(module), **dict(module.named_buffers())}
    generator = torch.Generator().manual_seed(0)
    assert between(tensors, random_of_orbit(symmetry, found.families, tensors, generator)) > 0.1


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.tanh(self.a(x)) * torch.rand(6, dtype=x.dtype))


def test_outputs_that_are_drawn_at_random_are_refused():
    with pytest.raises(BadInput, match=r"outputs of Noisy at the same numbers .* second call gives again"):
        symmetry_of(Noisy(), (torch.randn(5, 4),))


def test_outputs_that_are_not_finite_are_not_said_to_be_drawn_at_random():
    module = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    nn.init.constant_(module[2].bias, torch.inf)
    with pytest.raises(BadInput, match="outputs of Sequential that are not finite"):
        symmetry_of(module, (torch.randn(5, 4),))


class Normed(nn.Module):
    """Queries and keys with a norm and a gain for all heads, turned by their positions or not."""

    def __init__(self, rotary: bool):
        super().__init__()
        self.rotary, self.last = rotary, nn.Linear(5, 3)
        self.q, self.k = (nn.Linear(5, 8, bias=False) for _ in "qk")
        self.queries, self.keys = (nn.RMSNorm(4, eps=0.01) for _ in "qk")

    def forward(self, x: Tensor) -> Tensor:
        q, k = (one(x).unflatten(-1, (2, 4)).transpose(1, 2) for one in (self.q, self.k))
        q, k = self.queries(q), self.keys(k)
        if self.rotary:
            angles = torch.outer(torch.arange(x.shape[1]).to(x), torch.tensor([1.0, 0.3]).to(x)).repeat(1, 2)
            q, k = (
                y * angles.cos() + torch.cat([-y[..., 2:], y[..., :2]], -1) * angles.sin() for y in (q, k)
            )
        return self.last(torch.sin((q @ k.mT).softmax(-1).sum(1) @ x))


@pytest.mark.parametrize(("rotary", "texts"), [(False, ["{±1}^8", "{±1}^4"]), (True, ["{±1}^4", "{±1}^2"])])
def test_normed_queries_and_keys_change_their_signs_in_each_head(rotary, texts):
    """Of each head's channels, or pairs; and queries of all heads with their gain, as that of keys is with both."""
    module, _, found = families_in(lambda: Normed(rotary), gaussian(4, 6, 5)())
    signs = [one for one in found.families if one.kind == "sign"]
    assert [one.text for one in signs] == texts
    assert [sorted({slot.block.tensor for slot, _ in one.members}) for one in signs] == [
        ["k.weight", "q.weight"],
        ["q.weight", "queries.weight"],
    ]
    before, x = tensors_of(module), gaussian(3, 7, 5)()
    channels = [1, 3] if rotary else [1]
    after = {name: t.clone() for name, t in before.items()}
    for name in ("q.weight", "k.weight"):
        after[name][[4 + c for c in channels]] *= -1
    assert function_difference(module, before, after, [(x,)]) <= 1e-12
    element = torch.ones(2, signs[0].size)
    element[1, 1] = -1
    assert all(torch.equal(one, after[name]) for name, one in signs[0].acted(before, element).items())


def test_a_stream_that_cannot_turn_changes_its_signs():
    """As of Llama with tied embeddings: beside gains, which stay."""

    class Plain(Tied):
        def __init__(self):
            super().__init__()
            self.norm, self.last = (nn.RMSNorm(8, eps=0.01) for _ in "ab")

    _, _, found = families_in(Plain, numbers(11, 4, 6)())
    (signs,) = [one for one in found.families if one.kind == "sign"]
    assert signs.text == "{±1}^8"
    assert not {"norm.weight", "last.weight"} & signs.tensors


class Grouped(nn.Module):
    """Heads of which two share what is asked of them, as of Mamba-2: their channels are scaled each by itself."""

    def __init__(self):
        super().__init__()
        self.channels, self.shared, self.back = (
            nn.Linear(5, 12, bias=False),
            nn.Linear(5, 4),
            nn.Linear(12, 3),
        )
        self.gain = nn.Parameter(torch.rand(12) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        each = self.channels(x).unflatten(-1, (2, 2, 3)) * self.gain.view(2, 2, 3)
        shared = torch.sin(self.shared(x).unflatten(-1, (2, 1, 2))).sum(-1, keepdim=True)
        return self.back((torch.tanh(each) * shared * self.gain.view(2, 2, 3)).flatten(-3))


def test_channels_of_every_head_of_a_group_are_scaled_alone():
    module, symmetry, found = families_in(Grouped, gaussian(9, 5)())
    assert [one.text for one in found.families if one.kind == "scaling"] == ["R*^12"]
    assert nullity(module, gaussian(150, 5)()) == found.dimension
    a, generator = tensors_of(module), torch.Generator().manual_seed(0)
    b = random_of_orbit(symmetry, found.families, a, generator)
    left = nearest_of_orbit(symmetry, found.families, a, b, generator=generator)
    assert between(a, left.tensors) <= 1e-9 * between(a, b)
