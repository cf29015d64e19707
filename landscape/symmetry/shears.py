"""Maps of what a norm that centres hands on, for layers that read it without a bias.

Of y = g x̂ + b the sum hᵀy over h = 1/g is that of b alone, as x̂ sums to 0. So M = 1 + v hᵀ moves b to M b and leaves
g x̂ as it is, and readers with W M⁻¹ see nothing of it; one that has a bias takes W v hᵀb from that. Where all have one
these maps are translations.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.symmetry.families import Family
from landscape.symmetry.slots import Slot, acted
from landscape.symmetry.translations import Reader

Tensors = Mapping[str, Tensor]
STEPS, HALVINGS, STILL = 30, 20, 1e-14


@dataclass(frozen=True, kw_only=True)
class Shear(Family):
    """v (1, n) of M = 1 + v hᵀ, hᵀv ≠ −1: ``members`` are the norm's bias and, with −1, weights that read it.

    ``gain``: g of the norm. ``readers``: layers with a bias. ``scale``: of g, which v is drawn by.
    """

    gain: Slot
    readers: tuple[Reader, ...]
    scale: float

    @property
    def tensors(self) -> set[str]:
        blocks = [self.gain.block, *(slot.block for slot, _ in self.members)]
        blocks += [part for reader in self.readers for part in (reader.weight.block, reader.bias)]
        return {block.tensor for block in blocks}

    def random(self, generator: torch.Generator) -> Tensor:
        """Normal, so that hᵀv is about 1/(4√n)."""
        drawn = torch.randn(1, self.size, generator=generator, dtype=torch.float64)
        return drawn * self.scale / (4 * self.size)

    def acted(self, tensors: Tensors, element: Tensor) -> dict[str, Tensor]:
        one, h = torch.eye(self.size, dtype=torch.float64), self.sums(tensors)
        found = acted(tensors, self.members, one + element[:, :, None] * h)
        (bias, _), *_ = self.members
        added = element[0] * (h @ bias.of(tensors).flatten().double())
        for reader in self.readers:
            name, places, numbers, times = reader.moves(tensors)
            taken = (times * added[numbers]).to(found[name])
            found[name] = found[name].index_add(0, places, taken)
        return found

    def sums(self, tensors: Tensors) -> Tensor:
        """h (n,); 0, for no map at all, where a gain is 0."""
        gain = self.gain.of(tensors).flatten().double()
        return 1 / gain if bool((gain != 0).all()) else torch.zeros_like(gain)

    def hidden(self, tensors: Tensors) -> dict[str, Tensor]:
        """What all its elements have in common: readers of g x̂ alone, W (1 − g hᵀ/n), and no bias."""
        found, h = dict(tensors), self.sums(tensors)
        gain = self.gain.of(tensors).flatten().double()
        for slot, a in self.members if bool(h.any()) else ():
            found[slot.block.tensor] = found[slot.block.tensor].clone()
            values = slot.of(found).double()
            seen = torch.zeros_like(values) if a == 1 else values - h[:, None] * (gain @ values) / self.size
            slot.put(found, seen.to(found[slot.block.tensor]))
        return found


def felt(weight: Slot, h: Tensor, values: Tensors, slopes: Tensors) -> Tensor:
    """The slope (n,) of Σ ⟨slope, θ⟩ in the v of W (1 + v hᵀ)."""
    return weight.of(values)[0].double() @ (h @ weight.stored(slopes)[0].double())


def nearest_shear(family: Shear, a: Tensors, b: Tensors) -> Tensor:
    """v of least distance, by Gauss–Newton from the best of none, that of the bias and that of the readers.

    With w = v/(1 + hᵀv), in which readers are linear: W M⁻¹ = W − W w hᵀ.
    """
    (bias, _), *readers = family.members
    h, own = family.sums(b), bias.of(b).flatten().double()
    apart, s = bias.of(a).flatten().double() - own, float(h @ own)
    gram = torch.zeros(family.size, family.size, dtype=torch.float64)
    pull, weights = torch.zeros_like(h), []
    for slot, _ in readers:
        w, wanted = slot.of(b)[0].double(), slot.of(a)[0].double()
        weights.append((w, wanted - w))
        gram += float(h @ h) * w @ w.T
        pull -= w @ (h @ (wanted - w))

    def distance(w: Tensor) -> float:
        left = (apart - s * w / (1 - h @ w)).square().sum()
        for weight, other in weights:
            left = left + (other + torch.outer(h, w @ weight)).square().sum()
        return float(left.nan_to_num(nan=torch.inf))

    starts = [torch.zeros_like(h), torch.linalg.pinv(gram, hermitian=True) @ pull]
    starts += [apart / s / (1 + h @ apart / s)] if s else []
    best = min(starts, key=distance)
    for _ in range(STEPS):
        left = 1 / (1 - h @ best)
        slope = s * left * (torch.eye(family.size, dtype=torch.float64) + left * torch.outer(best, h))
        side = slope.T @ (apart - s * left * best) + pull - gram @ best
        step = torch.linalg.pinv(slope.T @ slope + gram, hermitian=True) @ side
        before = distance(best)
        for _ in range(HALVINGS):
            if distance(best + step) < before:
                break
            step = step / 2
        if not distance(best + step) < before:
            break
        best = best + step
        if before - distance(best) <= STILL * before:
            break
    return (best / (1 - h @ best))[None]
