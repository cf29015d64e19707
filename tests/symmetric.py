"""Modules with known symmetries: for each its inputs, how many parameters move, and its groups."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from landscape.inputs.models.cnn import cnn
from landscape.inputs.models.mlp import mlp
from landscape.inputs.models.resnet import resnet
from landscape.symmetry import symmetry_of
from landscape.symmetry.permutations import Symmetry, permuted


class Encoder(nn.Module):
    """``nn.TransformerEncoder`` between two linear layers."""

    def __init__(self, **options: Any):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, **options)
        self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 3)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.encoder(self.first(x)).mean(1))


class Packed(nn.Module):
    """Attention by hand; queries, keys and values from one layer, taken apart in either common way."""

    def __init__(self, way: str):
        super().__init__()
        self.way = way
        self.project, self.out, self.head = nn.Linear(8, 24), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        if self.way == "chunk":
            parts = (part.view(n, length, 2, 4).transpose(1, 2) for part in self.project(x).chunk(3, -1))
        else:
            parts = self.project(x).reshape(n, length, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        y = functional.scaled_dot_product_attention(*parts)
        return self.head(torch.relu(self.out(y.transpose(1, 2).reshape(n, length, width))).mean(1))


class Grouped(nn.Module):
    """Two keys and values, each for three queries, repeated in either common way."""

    def __init__(self, way: str):
        super().__init__()
        self.way = way
        self.q, self.k, self.v = (nn.Linear(7, size) for size in (30, 10, 10))
        self.out, self.head = nn.Linear(30, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        n, length, _ = x.shape
        q, k, v = (one(x).view(n, length, -1, 5).transpose(1, 2) for one in (self.q, self.k, self.v))
        if self.way == "expand":
            k, v = (one[:, :, None].expand(n, 2, 3, length, 5).reshape(n, 6, length, 5) for one in (k, v))
        elif self.way == "tile":
            k, v = (one.repeat(1, 3, 1, 1) for one in (k, v))
        else:
            k, v = (one.repeat_interleave(3, 1) for one in (k, v))
        y = functional.scaled_dot_product_attention(q, k, v)
        return self.head(torch.relu(self.out(y.transpose(1, 2).reshape(n, length, 30))).mean(1))


class Alike(nn.Module):
    """Heads of four channels that something has in common for all heads, in one of several ways."""

    def __init__(self, way: str):
        super().__init__()
        self.way = way
        self.q, self.k, self.v, self.out = (nn.Linear(8, 8) for _ in range(4))
        norm = {"layer": nn.LayerNorm, "rms": nn.RMSNorm}.get(way, nn.Identity)
        self.normed = nn.ModuleList(norm(4) for _ in range(2))
        self.shared, self.head = nn.Linear(4, 4), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        n, length, _ = x.shape
        q, k, v = (one(x).view(n, length, 2, 4).transpose(1, 2) for one in (self.q, self.k, self.v))
        y = functional.scaled_dot_product_attention(self.normed[0](q), self.normed[1](k), v)
        y = torch.relu(self.shared(y))
        y = y.mean(1).repeat(1, 1, 2) if self.way == "mean" else y.transpose(1, 2).reshape(n, length, 8)
        return self.head(torch.relu(self.out(y)).mean(1))


class Dense(nn.Module):
    """Concatenated features, normalised together, flattened together."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 5, 3, padding=1)
        self.norm, self.c = nn.BatchNorm2d(9), nn.Conv2d(9, 6, 3, padding=1)
        self.last_norm, self.out = nn.BatchNorm2d(15), nn.Linear(15 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        x = torch.cat([x, torch.relu(self.b(x))], 1)
        x = torch.cat([x, self.c(torch.relu(self.norm(x)))], 1)
        return self.out(torch.relu(self.last_norm(x)).flatten(1))


class UNet(nn.Module):
    """Down, group norm, up by a transposed convolution, skip by concatenation."""

    def __init__(self):
        super().__init__()
        self.a, self.down = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 8, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(2, 8)
        self.up, self.out = nn.ConvTranspose2d(8, 5, 2, 2), nn.Conv2d(9, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.a(x))
        y = torch.relu(self.norm(self.down(x)))
        return self.out(torch.cat([x, self.up(y)], 1))


class Tied(nn.Module):
    """A language model's ties: embedding and output, and two layers."""

    def __init__(self):
        super().__init__()
        self.embedding, self.out = nn.Embedding(7, 6), nn.Linear(6, 7, bias=False)
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)
        self.out.weight, self.b.weight = self.embedding.weight, self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(self.b(torch.relu(self.a(self.embedding(x))))))


class Recurrent(nn.Module):
    """An LSTM, whose four gates permute together."""

    def __init__(self):
        super().__init__()
        self.a, self.lstm, self.out = nn.Linear(3, 5), nn.LSTM(5, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.lstm(self.a(x))[0][:, -1])


class Pair(nn.Module):
    """Two layers in a bilinear one, the second with weights normalised by hand."""

    def __init__(self):
        super().__init__()
        self.a, self.m, self.out = nn.Linear(4, 6), nn.Bilinear(6, 5, 7), nn.Linear(7, 3)
        self.v, self.g = nn.Parameter(torch.randn(5, 4)), nn.Parameter(torch.rand(5) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.v * (self.g / self.v.norm(dim=1))[:, None]
        return self.out(torch.tanh(self.m(torch.relu(self.a(x)), torch.tanh(functional.linear(x, weight)))))


class Bidirectional(nn.Module):
    """A GRU each way, whose states begin at the same zeros and have nothing else in common."""

    def __init__(self):
        super().__init__()
        self.gru, self.out = nn.GRU(3, 5, batch_first=True, bidirectional=True), nn.Linear(10, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.gru(x)[0].mean(1))


class Shared(nn.Module):
    """Two queries of one key and value; or keys and queries of each head normed, with one gain for all heads."""

    def __init__(self, *, normed: bool):
        super().__init__()
        self.normed, self.keys = normed, 2 if normed else 1
        self.q, self.out = nn.Linear(8, 8, bias=False), nn.Linear(8, 8)
        self.k, self.v = (nn.Linear(8, 4 * self.keys, bias=False) for _ in range(2))
        self.head = nn.Linear(8, 3)
        self.norms = nn.ModuleList(nn.RMSNorm(4) for _ in range(2)) if normed else None

    def forward(self, x: Tensor) -> Tensor:
        n, length, _ = x.shape
        q, k, v = (one(x).view(n, length, -1, 4).transpose(1, 2) for one in (self.q, self.k, self.v))
        if self.norms is not None:
            q, k = self.norms[0](q), self.norms[1](k)
        y = (q @ k.mT).softmax(-1) @ v
        return self.head(torch.relu(self.out(y.transpose(1, 2).reshape(n, length, 8))).mean(1))


class Residual(nn.Module):
    """x + W relu(U x) a few times, between two linear layers."""

    def __init__(self, inputs: int = 16, width: int = 128, blocks: int = 3, outputs: int = 10):
        super().__init__()
        self.first, self.last = nn.Linear(inputs, width), nn.Linear(width, outputs)
        self.up = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.down = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for up, down in zip(self.up, self.down, strict=True):
            x = x + down(torch.relu(up(x)))
        return self.last(x)


class OneMore(nn.Module):
    """As the RMS norms of Gemma: a gain of 1 + w."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 0.01) * (1 + self.weight)


class Decoder(nn.Module):
    """As Llama: rotary positions, gated units, RMS norms; two keys and values, each for two queries.

    ``one_more``: as Gemma, its norms with gains of 1 + w.
    """

    def __init__(
        self, width: int = 6, hidden: int = 5, vocabulary: int = 11, blocks: int = 1, one_more: bool = False
    ):
        super().__init__()
        norm = OneMore if one_more else partial(nn.RMSNorm, eps=0.01)
        self.embedding, self.head = nn.Embedding(vocabulary, width), nn.Linear(width, vocabulary, bias=False)
        self.norm = norm(width)
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    **{
                        name: nn.Linear(width, size, bias=False)
                        for name, size in (("q", 16), ("k", 8), ("v", 8))
                    },
                    "o": nn.Linear(16, width, bias=False),
                    "up": nn.Linear(width, hidden, bias=False),
                    "gate": nn.Linear(width, hidden, bias=False),
                    "down": nn.Linear(hidden, width, bias=False),
                    "before": norm(width),
                    "after": norm(width),
                }
            )
            for _ in range(blocks)
        )

    def forward(self, x: Tensor) -> Tensor:
        n, length = x.shape
        y = self.embedding(x)
        angles = torch.arange(length, device=x.device)[:, None] * torch.tensor([1.0, 0.3], device=x.device)
        sine, cosine = (one.repeat(1, 2).to(y) for one in (angles.sin(), angles.cos()))

        def turned(z: Tensor) -> Tensor:
            return z * cosine + torch.cat([-z[..., 2:], z[..., :2]], -1) * sine

        for block in self.blocks:
            z = block["before"](y)  # pyright: ignore[reportIndexIssue]
            q, k, v = (block[name](z).view(n, length, -1, 4).transpose(1, 2) for name in "qkv")  # pyright: ignore[reportIndexIssue]
            k, v = (one.repeat_interleave(2, 1) for one in (turned(k), v))
            z = functional.scaled_dot_product_attention(turned(q), k, v, is_causal=True)
            y = y + block["o"](z.transpose(1, 2).reshape(n, length, 16))  # pyright: ignore[reportIndexIssue]
            z = block["after"](y)  # pyright: ignore[reportIndexIssue]
            y = y + block["down"](functional.silu(block["gate"](z)) * block["up"](z))  # pyright: ignore[reportIndexIssue]
        return self.head(self.norm(y))


class Gpt(nn.Module):
    """As GPT-2: learned positions, LayerNorm before each part, queries, keys and values from one layer; not tied."""

    def __init__(self, width: int = 8, vocabulary: int = 11, *, bias: bool = True, tied: bool = False):
        super().__init__()
        self.embedding, self.position = nn.Embedding(vocabulary, width), nn.Embedding(6, width)
        self.before, self.after, self.norm = (nn.LayerNorm(width, bias=bias) for _ in range(3))
        self.qkv, self.o = nn.Linear(width, 24, bias=bias), nn.Linear(8, width, bias=bias)
        self.up, self.down = nn.Linear(width, 10, bias=bias), nn.Linear(10, width, bias=bias)
        self.head = nn.Linear(width, vocabulary, bias=False)
        if tied:
            self.head.weight = self.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        n, length = x.shape
        y = self.embedding(x) + self.position(torch.arange(length, device=x.device))
        parts = (one.view(n, length, 2, 4).transpose(1, 2) for one in self.qkv(self.before(y)).split(8, -1))
        z = functional.scaled_dot_product_attention(*parts, is_causal=True)
        y = y + self.o(z.transpose(1, 2).reshape(n, length, 8))
        y = y + self.down(functional.gelu(self.up(self.after(y))))
        return self.head(self.norm(y))


class Spoilt(nn.Module):
    """Three layers; what is done to the second's units ties them to their places."""

    def __init__(self, how: Callable[[Tensor], Tensor]):
        super().__init__()
        self.how = how
        self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.how(torch.relu(self.b(torch.tanh(self.a(x))))))


SPOILT: dict[str, Callable[[Tensor], Tensor]] = {
    "one unit indexed": lambda x: x + x[:, 2:3],
    "one unit selected": lambda x: x * x[:, 4, None],
    "sorted": lambda x: x.sort(1).values,
    "the order of a sort": lambda x: x + x.argsort(1),
    "the place of a maximum": lambda x: x * x.max(1, keepdim=True).indices,
    "reversed": lambda x: x.flip(1),
    "accumulated": lambda x: x.cumsum(1),
    "every fifth": lambda x: x + x[:, ::5].repeat(1, 3),
    "every second, beside all": lambda x: x + torch.cat([x[:, ::2], x[:, 1::2]], 1),
    "rolled": lambda x: x.roll(1, 1),
    "pooled along units": lambda x: functional.avg_pool1d(x[:, None], 3, 1, 1)[:, 0],
    "times their numbers": lambda x: x * torch.arange(6),
    "units by a buffer": lambda x: x @ torch.arange(36.0, dtype=x.dtype).sin().view(6, 6),
    "picked by a list": lambda x: x + x[:, [5, 0, 1, 2, 3, 4]],
    "mixed by a view": lambda x: x.view(-1, 4, 3).flip(1).reshape(-1, 6) if len(x) % 2 == 0 else x,
}


@dataclass(frozen=True)
class Symmetric:
    """A module, its inputs, how many of its parameters can be moved, and its groups' sizes (in what outer size)."""

    module: Callable[[], nn.Module]
    inputs: Callable[[], Tensor]
    movable: int
    total: int
    groups: list[tuple[int, int | None]]


def image(*shape: int) -> Callable[[], Tensor]:
    return lambda: torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def numbers(limit: int, *shape: int) -> Callable[[], Tensor]:
    return lambda: torch.randint(limit, shape, generator=torch.Generator().manual_seed(1))


HEADS = [(2, None), (4, 2), (4, 2)]
SYMMETRIC = {
    "mlp": Symmetric(lambda: mlp((4,), 3, (6, 5)), image(3, 4), 5, 6, [(6, None), (5, None)]),
    "mlp of images": Symmetric(lambda: mlp((2, 3), 3, (6,), dropout=0.3), image(3, 2, 3), 3, 4, [(6, None)]),
    "mlp with batch norm": Symmetric(
        lambda: mlp((4,), 3, (6, 5), batchnorm=True), image(3, 4), 7, 8, [(6, None), (5, None)]
    ),
    "cnn": Symmetric(lambda: cnn((3, 8, 8), 3, (4, 6)), image(2, 3, 8, 8), 5, 6, [(4, None), (6, None)]),
    "cnn with batch norm": Symmetric(
        lambda: cnn((8, 8), 3, (4, 6), batchnorm=True, activation="gelu"),
        image(2, 8, 8),
        7,
        8,
        [(4, None), (6, None)],
    ),
    # Channels of a later stage: those that the shortcut carries, and those it pads with zeros.
    "resnet": Symmetric(
        lambda: resnet((3, 8, 8), 3, depth=8),
        image(2, 3, 8, 8),
        22,
        23,
        [(16, None), (16, None), (32, None), (16, None), (64, None), (32, None)],
    ),
    "resnet without batch norm": Symmetric(
        lambda: resnet((3, 8, 8), 3, depth=8, batchnorm=False, shortcuts=False),
        image(2, 3, 8, 8),
        15,
        16,
        [(16, None), (16, None), (16, None), (32, None), (32, None), (64, None), (64, None)],
    ),
    "encoder": Symmetric(
        lambda: Encoder(), image(2, 5, 8), 27, 28, [*HEADS, *HEADS, (8, None), (16, None), (16, None)]
    ),
    "encoder, norm first": Symmetric(
        lambda: Encoder(norm_first=True, activation="gelu"),
        image(2, 5, 8),
        27,
        28,
        [*HEADS, *HEADS, (8, None), (16, None), (16, None)],
    ),
    "packed attention, chunks": Symmetric(lambda: Packed("chunk"), image(2, 5, 8), 5, 6, [*HEADS, (8, None)]),
    "packed attention, unbound": Symmetric(
        lambda: Packed("unbind"), image(2, 5, 8), 5, 6, [*HEADS, (8, None)]
    ),
    # Keys, the queries of each, channels of both and of the values within a key.
    "grouped queries, expanded": Symmetric(
        lambda: Grouped("expand"), image(2, 5, 7), 9, 10, [(2, None), (3, 2), (5, 2), (5, 2), (8, None)]
    ),
    "grouped queries, repeated": Symmetric(
        lambda: Grouped("repeat"), image(2, 5, 7), 9, 10, [(2, None), (3, 2), (5, 2), (5, 2), (8, None)]
    ),
    # Channels of all heads are permuted as one where a norm, or a layer, is the same for all of them.
    **{
        f"heads alike, {way}": Symmetric(
            lambda way=way: Alike(way),
            image(2, 5, 8),
            count - 1,
            count,
            [(2, None), (4, queries), (4, None), (4, None), (8, None)],
        )
        for way, count, queries in (("layer", 16, None), ("rms", 14, None), ("plain", 12, 2), ("mean", 12, 2))
    },
    "dense": Symmetric(lambda: Dense(), image(2, 3, 4, 4), 11, 12, [(4, None), (5, None), (6, None)]),
    "u-net": Symmetric(lambda: UNet(), image(2, 3, 8, 8), 9, 10, [(4, None), (2, None), (4, 2), (5, None)]),
    "tied": Symmetric(lambda: Tied(), numbers(7, 2, 3), 4, 4, [(6, None)]),
    "recurrent": Symmetric(lambda: Recurrent(), image(2, 4, 3), 7, 8, [(5, None), (4, None)]),
    "bilinear, weights normed": Symmetric(
        lambda: Pair(), image(8, 4), 7, 8, [(6, None), (5, None), (7, None)]
    ),
    "both ways": Symmetric(lambda: Bidirectional(), image(2, 4, 3), 9, 10, [(5, None), (5, None)]),
    "residual": Symmetric(
        lambda: Residual(4, 6, 2, 3), image(3, 4), 11, 12, [(6, None), (6, None), (6, None)]
    ),
    "embedding": Symmetric(
        lambda: nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 3)),
        numbers(7, 2, 3),
        4,
        5,
        [(4, None), (5, None)],
    ),
    "grouped and depthwise": Symmetric(
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3),
            nn.ReLU(),
            nn.Conv2d(8, 12, 3, groups=4),
            nn.ReLU(),
            nn.Conv2d(12, 12, 1, groups=12),
            nn.Conv2d(12, 4, 1),
        ),
        image(2, 3, 8, 8),
        7,
        8,
        [(4, None), (2, 4), (3, 4)],
    ),
    "group norm, grouped transposed": Symmetric(
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3),
            nn.GroupNorm(2, 8),
            nn.ReLU(),
            nn.ConvTranspose2d(8, 6, 2, groups=2),
            nn.PReLU(6),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(54, 3),
        ),
        image(2, 3, 8, 8),
        8,
        9,
        [(2, None), (4, 2), (3, 2)],
    ),
    "one dimension": Symmetric(
        lambda: nn.Sequential(
            nn.Conv1d(2, 5, 3, padding=1),
            nn.InstanceNorm1d(5, affine=True),
            nn.MaxPool1d(2),
            nn.Conv1d(5, 4, 1),
            nn.Softmax(1),
            nn.AdaptiveAvgPool1d(2),
            nn.Flatten(),
            nn.Linear(8, 3),
        ),
        image(2, 2, 8),
        7,
        8,
        [(5, None), (4, None)],
    ),
    "three dimensions": Symmetric(
        lambda: nn.Sequential(
            nn.Conv3d(1, 4, 3),
            nn.BatchNorm3d(4),
            nn.SiLU(),
            nn.Conv3d(4, 5, 2),
            nn.Flatten(),
            nn.Linear(5, 2),
        ),
        image(2, 1, 4, 4, 4),
        7,
        8,
        [(4, None), (5, None)],
    ),
    "upsampling and pixel shuffle": Symmetric(
        lambda: nn.Sequential(
            nn.Conv2d(2, 8, 3, padding=1),
            nn.PixelShuffle(2),
            nn.Conv2d(2, 5, 3),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.LayerNorm([5, 12, 12]),
            nn.Conv2d(5, 2, 1),
        ),
        image(1, 2, 4, 4),
        7,
        8,
        [(2, None), (5, None)],
    ),
}


def built(factory: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """In float64 and eval mode, no parameter or buffer at a value that a permutation would not show."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = factory().double().eval()
        for parameter in module.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
        for buffer in module.buffers():
            if buffer.is_floating_point():
                buffer.uniform_(0.5, 1.5)
    return module


@cache
def found(name: str) -> tuple[nn.Module, Tensor, Symmetry]:
    """A case's module, its inputs, and the symmetry found, which is that of all weights: to be left as they are."""
    case = SYMMETRIC[name]
    module, x = built(case.module), case.inputs()
    return module, x, symmetry_of(module, (x,)).symmetry


def difference(module: nn.Module, x: torch.Tensor, symmetry: Symmetry, permutations) -> float:
    """By plain loading and calling, relative to the size of the outputs."""
    other = copy.deepcopy(module)
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    moved = permuted({n: t.detach() for n, t in tensors.items()}, symmetry, permutations)
    other.load_state_dict(moved, strict=False)  # of tied tensors one name is enough
    with torch.no_grad():
        before, after = module(x.clone()), other(x.clone())
    return float((after - before).abs().max() / before.abs().max())
