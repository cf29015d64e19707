"""Nets with continuous symmetries: what each is made of, its inputs, and its families; how many there must be."""

from functools import cache

import torch
from symmetric import Decoder, Encoder, Gpt, built, numbers
from torch import Tensor, nn
from torch.func import functional_call, jacrev
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape.symmetry import symmetry_of
from landscape.symmetry.continuous import families_of
from landscape.symmetry.families import Family
from landscape.symmetry.permutations import Symmetry


def gaussian(*shape: int):
    return lambda: torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: t.detach() for name, t in (*module.named_parameters(), *module.named_buffers())}


def nullity(module: nn.Module, x: Tensor) -> int:
    """Directions of θ along which no output on ``x`` moves, at a θ in general position."""
    generator = torch.Generator().manual_seed(3)
    buffers = dict(module.named_buffers())
    theta = {
        name: p.detach() + 0.3 * torch.randn(p.shape, generator=generator, dtype=p.dtype)
        for name, p in module.named_parameters()
    }
    with sdpa_kernel(SDPBackend.MATH):
        jacobian = jacrev(lambda t: functional_call(module, {**buffers, **t}, (x,)).flatten())(theta)
    matrix = torch.cat([part.flatten(1) for part in jacobian.values()], 1)
    sizes = matrix.norm(dim=0)
    # Columns of rounding alone, of what no output sees, are not blown up.
    matrix = matrix / sizes.clamp_min(1e-6 * float(sizes.max()))
    values = torch.linalg.svdvals(matrix)
    return matrix.shape[1] - int((values > 1e-9 * values[0]).sum())


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
    "Gemma": (lambda: Decoder(one_more=True), numbers(11, 4, 6)),
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
