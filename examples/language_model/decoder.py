"""A small language model and text to train it on, with no network and no third package.

The model is a decoder of the usual kind: tokens are bytes, RMS norms before attention and before a gated unit, learned
positions, no biases. The text is the reference of the Python language that every Python brings (``pydoc_data``; PSF
License Agreement), in pieces of ``context`` bytes; which tenth of them is kept for testing is drawn once and for all.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TOKENS = 128  # ASCII


class Layer(nn.Module):
    """Attention to what came before, then a gated unit, each added to the stream."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        inner = 8 * width // 3
        self.before_attention, self.before_unit = nn.RMSNorm(width), nn.RMSNorm(width)
        self.query, self.key, self.value, self.output = (
            nn.Linear(width, width, bias=False) for _ in range(4)
        )
        self.gate, self.up = nn.Linear(width, inner, bias=False), nn.Linear(width, inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, stream: Tensor) -> Tensor:
        """(samples, context, width) in and out."""
        normed = self.before_attention(stream)
        query, key, value = (
            one(normed).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for one in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        stream = stream + self.output(mixed.transpose(1, 2).flatten(2))
        normed = self.before_unit(stream)
        return stream + self.down(F.silu(self.gate(normed)) * self.up(normed))


class Decoder(nn.Module):
    """Logits (samples, tokens, context) of the next byte for each of ``inputs`` (samples, context)."""

    def __init__(self, width: int, depth: int, heads: int, context: int):
        super().__init__()
        self.tokens, self.places = nn.Embedding(TOKENS, width), nn.Embedding(context, width)
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(depth))
        self.last, self.head = nn.RMSNorm(width), nn.Linear(width, TOKENS, bias=False)
        for one in (self.tokens, self.places):
            nn.init.normal_(one.weight, std=0.1)

    def forward(self, inputs: Tensor) -> Tensor:
        stream = self.tokens(inputs) + self.places.weight[: inputs.shape[1]]
        for layer in self.layers:
            stream = layer(stream)
        return self.head(self.last(stream)).mT


def model(width: int = 128, depth: int = 5, heads: int = 4, context: int = 64) -> nn.Module:
    """About 12 · width² · depth parameters: 1.0e6 as it stands, 1.0e7 with ``width=320 depth=8``."""
    return Decoder(width, depth, heads, context)


def text(samples: int = 512, context: int = 64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pieces of text and the bytes that follow each of theirs, for training and, a tenth as many, for testing."""
    from pydoc_data.topics import topics

    whole = "\n".join(topics[name] for name in sorted(topics)).encode("ascii", "ignore")
    pieces = torch.frombuffer(bytearray(whole), dtype=torch.uint8).long()
    pieces = pieces[: len(pieces) // (context + 1) * (context + 1)].view(-1, context + 1)
    pieces = pieces[torch.randperm(len(pieces), generator=torch.Generator().manual_seed(0))]
    tenth = len(pieces) // 10
    test, train = pieces[: min(max(samples // 10, 1), tenth)], pieces[tenth:][:samples]
    return train[:, :-1], train[:, 1:], test[:, :-1], test[:, 1:]
