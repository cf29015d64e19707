"""Nets with continuous symmetries: what each is made of, its inputs, and its families."""

from functools import cache

import torch
from symmetric import Decoder, Encoder, Gpt, built, numbers
from torch import Tensor, nn

from landscape.symmetry import symmetry_of
from landscape.symmetry.continuous import families_of
from landscape.symmetry.families import Family
from landscape.symmetry.permutations import Symmetry


def gaussian(*shape: int):
    return lambda: torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


class Patches(nn.Module):
    """As ViT: patches of an image and a class token, blocks normed first."""

    def __init__(self):
        super().__init__()
        self.patch, self.token = nn.Conv2d(3, 8, 2, 2), nn.Parameter(torch.zeros(1, 1, 8))
        self.position = nn.Parameter(torch.zeros(1, 5, 8))
        layer = nn.TransformerEncoderLayer(
            8, 2, 10, batch_first=True, norm_first=True, activation="gelu", dropout=0
        )
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.patch(x).flatten(2).transpose(1, 2)
        y = torch.cat([self.token.expand(len(x), 1, 8), y], 1) + self.position
        return self.head(self.norm(self.encoder(y)[:, 0]))


MODULES = {
    "ReLU": (
        lambda: nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3)),
        gaussian(8, 4),
    ),
    "tanh": (
        lambda: nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3)),
        gaussian(8, 4),
    ),
    "linear": (lambda: nn.Sequential(nn.Linear(7, 5), nn.Linear(5, 5), nn.Linear(5, 3)), gaussian(8, 7)),
    "Llama": (lambda: Decoder(blocks=2), numbers(11, 4, 6)),
    "GPT-2": (lambda: Gpt(), numbers(11, 4, 6)),
    "BERT": (lambda: Encoder(), gaussian(3, 5, 8)),
    "ViT": (lambda: Patches(), gaussian(3, 3, 4, 4)),
}


@cache
def found_in(name: str, seed: int = 0) -> tuple[nn.Module, Tensor, Symmetry, list[Family], dict[str, Tensor]]:
    factory, inputs = MODULES[name]
    module, x = built(factory, seed), inputs()
    traced = symmetry_of(module, (x,))
    families = families_of(module, (x,), traced).families
    return module, x, traced.symmetry, families, {n: p.detach() for n, p in module.named_parameters()}
