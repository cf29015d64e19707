"""Which scalings leave a function as it is, by its gradients (Kunin et al. 2021).

A scale c of a unit that multiplies its numbers θ_s in slot s by c^a_s leaves h(x; θ) as it is exactly if
Σ_s a_s ⟨θ_s, ∂(w·h)/∂θ_s⟩ = 0 for all θ, x and weights w of the outputs. So the exponents are the null space of
a small matrix, a row for each unit and draw of θ and w; one gradient fills rows of all units of a module.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from landscape.objective import trees
from landscape.objective.arguments import placed
from landscape.symmetry.slots import Slot

# Exponents are whole numbers, of at most this size.
LARGEST = 4
# Rows of a group that are used, times the number of its unknowns; draws of θ beyond these are not taken.
# Few units of ReLU are alive on few samples, so there are some draws at least.
ROWS, LEAST_DRAWS, MOST_DRAWS = 3, 12, 512
# What is left of a relation that a gradient in float64 has by itself, whatever the function rounds to inside.
EXACT = 1e-10
# Powers of two by which parameters are larger, so that bounds are reached.
LARGER = 4


class Moments:
    """Draws of parameters near those given, and the gradients there, of a module in float64 on ``inputs``."""

    def __init__(
        self,
        module: nn.Module,
        tensors: Mapping[str, Tensor],
        inputs: tuple[Any, ...],
        *,
        tolerance: float,
        generator: torch.Generator,
        has_bounds: bool = False,
        goes_flat: bool = False,
    ):
        self.tolerance, self._has_bounds, self._goes_flat = tolerance, has_bounds, goes_flat
        self._module, self._tensors, self._inputs, self._generator = module, tensors, inputs, generator
        self._names = [name for name, p in module.named_parameters() if p.is_floating_point()]
        self._drawn: list[tuple[dict[str, Tensor], dict[str, Tensor]]] = []

    def near(self, *, is_calm: bool = False) -> dict[str, Tensor]:
        """Parameters near those given, or larger where weights are small; none is 0 or equal to another. Buffers stay.

        Where the module has bounds, as 6 of ReLU6, larger ones too: units that stay below seem to be of ReLU. Where it
        goes flat, as a softmax, every other one, or this one, is calm: at far scores no query seems to be seen.
        """
        found = near(self._tensors, self._names, self._generator)
        found.update({name: awake(found[name]) for name in self._names})
        if self._goes_flat and (is_calm or int(torch.randint(2, (), generator=self._generator))):
            found.update({name: calm(found[name]) for name in self._names})
        for name in self._names:
            if self._has_bounds:
                found[name] *= 2.0 ** int(torch.randint(LARGER, (), generator=self._generator))
        return found

    def exponents(self, slots: Sequence[Slot], *, by_position: bool = False) -> list[list[int]]:
        """A basis of the exponents of ``slots`` in whole numbers, of every unit alike; 0 where it moves nothing.

        ``by_position``: of every position of every slot, one slot after the other, alike for every copy.
        """
        unknowns = sum(slot.size for slot in slots) if by_position else len(slots)
        copies = slots[0].of(self._tensors).shape[0]
        each = copies if by_position else copies * slots[0].size
        count = min(MOST_DRAWS, max(LEAST_DRAWS, -(-ROWS * unknowns // each)))
        rows = []
        for values, slopes in self.draws(count):
            moments = [(slot.of(values) * slot.stored(slopes)).sum(-1) for slot in slots]
            rows.append(
                torch.cat(moments, -1) if by_position else torch.stack([one.flatten() for one in moments], -1)
            )
        found = whole_null_space(torch.cat(rows), self.tolerance)
        if not by_position:
            found += [vector for vector in self._alone(slots, torch.cat(rows)) if vector not in found]
        return found

    def _alone(self, slots: Sequence[Slot], rows: Tensor) -> list[list[int]]:
        """Slots whose numbers outputs see, and whose scale none does, as of weights that are divided by their norm."""
        weights = rows.norm(dim=0)
        still = (weights <= self.tolerance * weights.max()).tolist()
        return [
            [int(k == i) for k in range(len(slots))]
            for i, slot in enumerate(slots)
            if still[i] and not self.is_idle(slot)
        ]

    def is_idle(self, slot: Slot) -> bool:
        """Whether no output sees any of the numbers of a slot."""
        return len(self.idle(slot)) == slot.size

    def idle(self, slot: Slot) -> list[int]:
        """The units of a slot whose numbers no output sees, of no copy and at no draw."""
        seen = torch.zeros(slot.size, dtype=torch.bool)
        for _, slopes in self.draws(LEAST_DRAWS):
            largest = max(float(one.abs().max()) for one in slopes.values() if one.numel())
            seen |= slot.stored(slopes).abs().amax((0, 2)) > self.tolerance * largest
        return (~seen).nonzero().flatten().tolist()

    def draws(self, count: int) -> list[tuple[dict[str, Tensor], dict[str, Tensor]]]:
        """So many pairs of parameters θ and the slopes of a random sum of all outputs there, the largest θᵢ∂ᵢ ±1."""
        while len(self._drawn) < count:
            values = self.near(is_calm=True)
            leaves = {name: values[name].requires_grad_() for name in self._names}
            given = placed(self._module, trees.mapped(torch.clone, self._inputs))
            outputs = functional_call(self._module, {**values, **leaves}, *given)
            parts = [part for part in trees.tensors(outputs) if part.is_floating_point()]
            weights = [torch.randn(part.shape, generator=self._generator).to(part) for part in parts]
            total = torch.stack([(w * part).sum() for w, part in zip(weights, parts, strict=True)]).sum()
            slopes = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
            drawn = {name: leaf.detach() for name, leaf in leaves.items()}
            felt = {
                name: torch.zeros_like(drawn[name]) if slope is None else slope.double()
                for name, slope in zip(leaves, slopes, strict=True)
            }
            # Rounding is a share of the largest, which of draws of several sizes must be the same.
            moments = [float((drawn[name] * felt[name]).abs().max()) for name in felt if felt[name].numel()]
            largest = max(moments, default=0.0)
            unit = 1 / largest if 0 < largest < torch.inf else 1.0
            self._drawn.append((drawn, {name: unit * slope for name, slope in felt.items()}))
        return self._drawn[:count]


def near(
    tensors: Mapping[str, Tensor], names: Iterable[str], generator: torch.Generator
) -> dict[str, Tensor]:
    """The tensors, in float64 those ``names``, of which no number is 0 or equal to another."""
    found = dict(tensors)
    for name in names:
        tensor = tensors[name].double()
        size = tensor.abs() + 0.3 * tensor.square().mean().sqrt() + 0.03
        noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        found[name] = tensor + 0.5 * size * noise
    return found


def awake(tensor: Tensor) -> Tensor:
    """No smaller than hands numbers of size 1 on as such: at scores near 0, rounding hides what queries do."""
    size = _handed_on(tensor)
    return tensor / size if 0 < size < 1 and tensor.dim() > 1 else tensor


def calm(tensor: Tensor) -> Tensor:
    """No larger than hands numbers of size 1 on as such: of a mean square of 1 over how many are summed, at most."""
    return tensor / max(1.0, _handed_on(tensor))


def _handed_on(tensor: Tensor) -> float:
    """The size that numbers of size 1 are handed on with."""
    summed = tensor.numel() / max(len(tensor), 1) if tensor.dim() > 1 else 1
    return float((summed * tensor.square().mean()).sqrt()) if tensor.numel() else 0.0


def whole_null_space(rows: Tensor, tolerance: float) -> list[list[int]]:
    """A basis of the null space of ``rows`` (m, k) in whole numbers, as far as it has one: sparse, in echelon form.

    Columns that are 0 beside the others are of no influence: 0 in every vector. First what is 0 exactly: to the
    ``tolerance`` what is small, as slopes of biases of keys, may pass for 0 as well, and leaves no whole numbers.

    >>> whole_null_space(torch.tensor([[1.0, 2, 3, 0], [2, 1, 3, 0], [1, 1, 2, 0]]), 1e-6)
    [[1, 1, -1, 0]]
    """
    sizes = rows.norm(dim=1, keepdim=True)
    rows = (rows / sizes.clamp_min(1e-300))[sizes[:, 0] > tolerance * sizes.max()]
    weights = rows.norm(dim=0)
    used = (
        [k for k, one in enumerate((weights > tolerance * weights.max()).tolist()) if one]
        if len(rows)
        else []
    )
    if not used:
        return []
    # The triangle of many rows has their null space, and its SVD no square matrix of as many.
    triangle = torch.linalg.qr(rows[:, used], mode="r").R
    _, values, right = torch.linalg.svd(triangle, full_matrices=True)
    found, known = list[list[int]](), torch.zeros(0, len(used), dtype=torch.float64)
    levels = (min(tolerance, EXACT), tolerance)
    ranks = [int((values > left * values[0] * len(used) ** 0.5).sum()) for left in levels]
    for rank in sorted(set(ranks), reverse=True):
        for vector in filter(None, map(_whole, _echelon(right[rank:].clone()))):
            new = torch.tensor(vector, dtype=torch.float64)
            size = float(new.norm())
            for _ in range(2):  # once leaves rounding
                new -= known.mT @ (known @ new)
            if float(new.norm()) > 1e-6 * size:
                known = torch.cat([known, new[None] / new.norm()])
                found.append(vector)
    full = torch.zeros(len(found), rows.shape[1], dtype=torch.int64)
    full[:, used] = torch.tensor(found, dtype=torch.int64).reshape(len(found), len(used))
    return full.tolist()


def _whole(vector: Tensor) -> list[int] | None:
    """The least multiple of a vector that is of whole numbers, if one is."""
    for multiple in range(1, LARGEST + 1):
        whole = (multiple * vector).round()
        if float((multiple * vector - whole).abs().max()) < 1e-3 and float(whole.abs().max()) <= LARGEST:
            return whole.int().tolist()
    return None


def _echelon(basis: Tensor) -> Tensor:
    """The same space in reduced row echelon form."""
    row = 0
    for column in range(basis.shape[1]):
        if row == len(basis):
            break
        pivot = row + int(basis[row:, column].abs().argmax())
        if float(basis[pivot, column].abs()) < 1e-3:
            continue
        basis[[row, pivot]] = basis[[pivot, row]]
        basis[row] /= basis[row, column].clone()
        others = [k for k in range(len(basis)) if k != row]
        basis[others] -= basis[others, column, None] * basis[row]
        row += 1
    return basis
