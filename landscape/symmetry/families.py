"""Continuous symmetries of a module, a *family* of them for each set of units: their groups, and random elements."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from landscape.symmetry.slots import Members, Slot, acted

Kind = Literal["scaling", "sign", "orthogonal", "centred", "invertible", "rotary", "shear", "translation"]
TURNS = ("orthogonal", "centred")


@dataclass(frozen=True)
class Family:
    """One group of linear maps for each of ``copies`` sets of ``size`` units, and where they act.

    ``scaling``: c of each unit, > 0 or, if ``is_signed``, ≠ 0; ``sign``: ±1 of each; ``invertible``: M of all units;
    ``orthogonal``: M with MᵀM = 1, and ``centred`` with M1 = 1 as well; ``rotary``: units i and i + n/2 turned by an
    angle and times a scale; ``shear`` and ``translation``: see :mod:`landscape.symmetry.shears` and
    :mod:`landscape.symmetry.translations`. ``group``: that of permutations of the same units, or pairs, None where they
    cannot be permuted.
    ``gains``: scalings whose first slot, the gain of a norm, must be 1 for a turn.
    """

    kind: Kind
    members: Members
    group: int | None
    is_signed: bool = False
    gains: tuple["Family", ...] = ()

    @property
    def name(self) -> str:
        """The first place it acts on."""
        slot = self.members[0][0]
        return f"{slot.block.tensor}[{slot.dim}]"

    @property
    def size(self) -> int:
        return self.members[0][0].size

    @property
    def copies(self) -> int:
        slot = self.members[0][0]
        return 1 if slot.outer is None else slot.block.shape[slot.outer]

    @property
    def dimension(self) -> int:
        """Of the group, as a manifold."""
        n = self.size
        each = {
            "scaling": n,
            "sign": 0,
            "invertible": n * n,
            "orthogonal": n * (n - 1) // 2,
            "centred": (n - 1) * (n - 2) // 2,
            "rotary": n,
            "shear": n,
            "translation": n,
        }
        return self.copies * each[self.kind]

    @property
    def text(self) -> str:
        """The group in the field's letters: ``GL(4)^2``, ``O(16)``, ``R>0^24``, ``C*^8``."""
        n = self.size
        power = f"^{self.copies}" if self.copies > 1 else ""
        if self.kind == "scaling":
            return f"{'R*' if self.is_signed else 'R>0'}^{n * self.copies}"
        if self.kind == "sign":
            return f"{{±1}}^{n * self.copies}"
        if self.kind == "rotary":
            return f"C*^{n // 2 * self.copies}"
        if self.kind == "translation":
            return f"R^{n * self.copies}"
        if self.kind == "shear":
            return f"R^{n - 1}⋊R*"
        letter = {"invertible": f"GL({n})", "orthogonal": f"O({n})", "centred": f"O({n - 1})"}[self.kind]
        return letter + power

    def random(self, generator: torch.Generator) -> Tensor:
        """An element: scales (copies, n), powers of two, or maps (copies, n, n) of singular values from ½ to 2."""
        m, n = self.copies, self.size
        if self.kind == "scaling":
            powers = torch.randint(1, 3, (m, n), generator=generator)
            signs = 2 * torch.randint(2, (2, m, n), generator=generator) - 1
            sizes = 2.0 ** (powers * signs[0]).double()
            return sizes * signs[1] if self.is_signed else sizes
        if self.kind == "sign":
            signs = (2 * torch.randint(2, (m, n), generator=generator) - 1).double()
            signs[:, 0] = -1
            return signs
        if self.kind == "rotary":
            angles = 2 * torch.pi * torch.rand(m, n // 2, generator=generator, dtype=torch.float64)
            sizes = 2 ** (2 * torch.rand(m, n // 2, generator=generator, dtype=torch.float64) - 1)
            return turning(torch.polar(sizes, angles))
        if self.kind == "centred":
            inner = orthogonal(m, n - 1, generator)
            basis = centring(n)
            return basis @ inner @ basis.T + 1 / n
        turned = orthogonal(m, n, generator)
        if self.kind == "orthogonal":
            return turned
        sizes = 2 ** (2 * torch.rand(m, n, generator=generator, dtype=torch.float64) - 1)
        return turned * sizes[:, None] @ orthogonal(m, n, generator)

    @property
    def logarithm(self) -> tuple[int, ...]:
        """The shape of what :meth:`exponential` takes."""
        m, n = self.copies, self.size
        if self.kind == "rotary":
            return m, n // 2, 2
        n -= self.kind == "centred"
        return (m, n) if self.kind in ("scaling", "shear", "translation") else (m, n, n)

    def exponential(self, logarithm: Tensor) -> Tensor:
        """The element exp X, differentiable in X: 1 at 0; of a turn that of X − Xᵀ; no ``sign``.

        Of a translation, and of a shear, X.
        """
        if self.kind in ("shear", "translation"):
            return logarithm
        if self.kind == "scaling":
            return logarithm.exp()
        if self.kind == "rotary":
            return turning(torch.polar(logarithm[..., 0].exp(), logarithm[..., 1]))
        if self.kind == "invertible":
            return torch.linalg.matrix_exp(logarithm)
        turned = torch.linalg.matrix_exp(logarithm - logarithm.mT)
        if self.kind == "orthogonal":
            return turned
        basis = centring(self.size)
        return basis @ turned @ basis.T + 1 / self.size

    def acted(self, tensors: Mapping[str, Tensor], element: Tensor) -> dict[str, Tensor]:
        """The tensors moved by an element; those of a turn with gains of 1."""
        return acted(tensors, self.members, element)

    def folded(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same function with gains of 1, where they are not 0."""
        found = dict(tensors)
        for family in self.gains:
            gain = family.members[0][0].of(found).squeeze(2)
            found = family.acted(found, torch.where(gain == 0, 1.0, 1 / gain))
        return found

    @property
    def tensors(self) -> set[str]:
        """All that it moves, and the gains that must be 1."""
        return {slot.block.tensor for one in (self, *self.gains) for slot, _ in one.members}

    def scales(self) -> "Family":
        """Its diagonal maps alone."""
        return replace(self, kind="scaling", is_signed=True)


class Found(NamedTuple):
    """Families of a module, every one tried, what the trial refused, in words, and what each adds to those before."""

    families: list[Family]
    refused: list[str]
    dimensions: list[int]

    @property
    def dimension(self) -> int:
        """Directions of all of them together: independent ones, where they are few enough to be counted."""
        return sum(self.dimensions)


def of_level(families: Sequence[Family], level: str, names: Container[str]) -> list[Family]:
    """The families that ``level`` allows and that move the tensors ``names`` alone.

    ``permutation``: none; ``scaling``: scales and signs, and the scales among invertible maps; ``orthogonal``: turns
    as well; ``all``: all.
    """
    if level == "permutation":
        return []
    kinds = {"scaling", "sign"}
    if level != "scaling":
        kinds |= set(TURNS)
    if level == "all":
        kinds |= {"invertible", "rotary", "shear", "translation"}
    found = [one.scales() if one.kind == "invertible" and level != "all" else one for one in families]
    return [one for one in found if one.kind in kinds and all(name in names for name in one.tensors)]


def moved_by(families: Iterable[Family]) -> frozenset[str]:
    """The tensors that some family moves."""
    return frozenset(name for one in families for name in one.tensors)


def is_among(family: Family, others: Sequence[Family], tensors: Mapping[str, Tensor]) -> bool:
    """Whether its scalings of whole heads are among those of their channels and of the heads: as directions of θ."""
    inside = [one for one in others if any(slot.head == family.group for slot, _ in one.members)]
    if not inside:
        return False
    inside += [one for one in others if one.group == family.group]
    names = sorted({slot.block.tensor for one in (family, *inside) for slot, _ in one.members})
    rows = []
    for one in (family, *inside):
        row = {name: torch.zeros_like(tensors[name], dtype=torch.float64) for name in names}
        for slot, a in one.members:
            slot.put(row, slot.of(row) + a * slot.of(tensors))
        rows.append(torch.cat([part.flatten() for part in row.values()]))
    wanted, basis = rows[0], torch.stack(rows[1:], 1)
    left = wanted - basis @ torch.linalg.lstsq(basis, wanted[:, None]).solution[:, 0]
    return bool(left.norm() < 1e-6 * wanted.norm())


def left_of(slot: Slot, families: Iterable[Family]) -> Slot | None:
    """The positions of a slot that families, of single positions or of such in each head, have left."""
    places = [one for family in families for one, _ in family.members if one[:2] == slot[:2]]
    known = {i for one in places for i in one.positions or range(one.size)}
    units = [i for i in range(slot.size) if i not in known]
    return slot if len(units) == slot.size else slot.some(units) if units else None


def orthogonal(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Random orthogonal matrices (count, size, size), of Haar's measure."""
    q, r = torch.linalg.qr(torch.randn(count, size, size, generator=generator, dtype=torch.float64))
    return q * r.diagonal(dim1=1, dim2=2).sign()[:, None]


def centring(size: int) -> Tensor:
    """An orthonormal basis (size, size − 1) of what is orthogonal to the vector of ones."""
    ones = torch.ones(size, 1, dtype=torch.float64)
    return torch.linalg.qr(torch.cat([ones, torch.eye(size, dtype=torch.float64)[:, 1:]], 1))[0][:, 1:]


def turning(factors: Tensor) -> Tensor:
    """Complex factors (m, k) of k pairs of units i and k + i, as real matrices (m, 2k, 2k)."""
    real, imaginary = (torch.diag_embed(part) for part in (factors.real, factors.imag))
    return torch.cat([torch.cat([real, -imaginary], 2), torch.cat([imaginary, real], 2)], 1)
