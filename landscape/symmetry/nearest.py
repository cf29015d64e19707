"""The element of a family that brings B's units closest to A's, everything else at rest: least Σ_s ‖A_s − g B_s‖².

Turns in closed form (Schönemann 1966), scales by Newton's method on their logarithm. An invertible map M acts as M on
some weights and as M⁻ᵀ on others: M solves M B₊ = A₊ and Mᵀ A₋ = B₋ in least squares, a Sylvester equation, exact where
A is of the orbit of B; from there, or from what is better, the distance itself is lowered by L-BFGS.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from landscape.symmetry.families import Family, centring, turning
from landscape.symmetry.shears import Shear, nearest_shear
from landscape.symmetry.translations import Translation, nearest_translations

Tensors = Mapping[str, Tensor]
NEWTON, HALVINGS, ALTERNATIONS, POLISHING = 40, 8, 40, 60
# Maps worse conditioned than this are no start.
WORST = 1e6
# A square distance that rounding leaves, over ‖A‖².
EXACT = 1e-14


def nearest(family: Family, a: Tensors, b: Tensors) -> Tensor:
    """The element, as :meth:`Family.acted` takes it; a local minimum for scales and invertible maps."""
    rules: dict[str, Callable[[Family, Tensors, Tensors], Tensor]] = {
        "scaling": _scales,
        "sign": _signs,
        "orthogonal": _turn,
        "centred": _turn,
        "rotary": _pairs,
        "invertible": _map,
        "shear": _shear,
        "translation": _translation,
    }
    return rules[family.kind](family, a, b)


def products(family: Family, a: Tensors, b: Tensors, exponent: int) -> Tensor:
    """Σ A_s B_sᵀ over the slots of an exponent, (copies, n, n)."""
    n = family.size
    found = torch.zeros(family.copies, n, n, dtype=torch.float64)
    for slot, one in family.members:
        if one == exponent:
            found += slot.of(a).double() @ slot.of(b).double().mT
    return found


def balance(family: Family, tensors: Tensors) -> Tensor:
    """The scales of least Σ ‖θ_s‖², with signs by a rule where they have signs."""
    if family.kind == "sign":
        return _positive(family, tensors)
    sums = _Sums.of(family, tensors, tensors)
    if len(sums.exponents) == 1:
        # Nothing else pays for it: to a norm of 1.
        lengths = torch.where(sums.sizes[0] == 0, 1.0, sums.sizes[0].sqrt())
        found = lengths.pow(-1 / float(sums.exponents))
        return found * _positive(family, tensors) if family.is_signed else found
    is_idle = ((sums.sizes * (sums.exponents > 0)).sum(0) == 0) | (
        (sums.sizes * (sums.exponents < 0)).sum(0) == 0
    )
    found = (
        sums._replace(inner=0 * sums.inner)
        .lowest(torch.zeros_like(sums.sizes[0]))
        .exp()
        .masked_fill(is_idle, 1)
    )
    return found * _positive(family, tensors) if family.is_signed else found


def _positive(family: Family, tensors: Tensors) -> Tensor:
    """Signs by which third powers have a sum > 0: of a gain or bias where there is one, which nothing else turns."""
    members = sorted(
        (slot for slot, a in family.members if a % 2), key=lambda slot: slot.of(tensors).shape[2]
    )
    found = torch.zeros(family.copies, family.size, dtype=torch.float64)
    for slot in members:
        found = torch.where(found == 0, slot.of(tensors).double().pow(3).sum(2).sign(), found)
    return found.masked_fill(found == 0, 1)


class _Sums(NamedTuple):
    """Of the slots of each exponent a: Σ ‖b_s‖² and Σ ⟨a_s, b_s⟩, (exponents, copies, n)."""

    exponents: Tensor
    sizes: Tensor
    inner: Tensor

    @classmethod
    def of(cls, family: Family, a: Tensors, b: Tensors) -> "_Sums":
        known = sorted({one for _, one in family.members}, reverse=True)
        sizes = torch.zeros(len(known), family.copies, family.size, dtype=torch.float64)
        inner = torch.zeros_like(sizes)
        for slot, one in family.members:
            x, y = slot.of(a).double(), slot.of(b).double()
            sizes[known.index(one)] += y.square().sum(2)
            inner[known.index(one)] += (x * y).sum(2)
        return cls(torch.tensor(known, dtype=torch.float64)[:, None, None], sizes, inner)

    def distance(self, t: Tensor) -> Tensor:
        """Σ_s ‖c^a b_s‖² − 2⟨a_s, c^a b_s⟩ at c = exp t."""
        by = (self.exponents * t).exp()
        return (by * (by * self.sizes - 2 * self.inner)).sum(0)

    def lowest(self, start: Tensor) -> Tensor:
        """Newton's method from a start, steps halved where they rise."""
        t, value = start, self.distance(start)
        for _ in range(NEWTON):
            by = (self.exponents * t).exp()
            square, linear = by * by * self.sizes, by * self.inner
            slope = (2 * self.exponents * (square - linear)).sum(0)
            bend = (2 * self.exponents**2 * (2 * square - linear)).sum(0)
            bend = torch.where(bend > 0, bend, slope.abs())
            step = (-slope / bend.clamp_min(1e-300)).clamp(-1, 1)
            for _ in range(HALVINGS):
                is_worse = self.distance(t + step) > value
                if not bool(is_worse.any()):
                    break
                step = torch.where(is_worse, step / 2, step)
            step = torch.where(self.distance(t + step) > value, 0, step)
            t, value = t + step, self.distance(t + step)
            if float(step.abs().max()) < 1e-12:
                break
        return t

    @property
    def starts(self) -> Tensor:
        """No scale, and those that the slots of one exponent would have alone, (starts, copies, n)."""
        alone = (self.inner / self.sizes.clamp_min(1e-300)).abs().clamp(1e-6, 1e6).log() / self.exponents
        return torch.cat([torch.zeros_like(alone[:1]), alone])


def _scales(family: Family, a: Tensors, b: Tensors) -> Tensor:
    sums = _Sums.of(family, a, b)
    found, values = [], []
    for sign in (1, -1) if family.is_signed else (1,):
        signed = sums._replace(inner=sums.inner * sign**sums.exponents)
        for start in signed.starts:
            t = signed.lowest(start)
            found.append(sign * t.exp())
            values.append(signed.distance(t))
    best = torch.stack(values).argmin(0, keepdim=True)
    return torch.stack(found).gather(0, best)[0]


def _signs(family: Family, a: Tensors, b: Tensors) -> Tensor:
    inner = torch.stack([(slot.of(a).double() * slot.of(b).double()).sum(2) for slot, _ in family.members])
    return torch.where(inner.sum(0) < 0, -1.0, 1.0).double()


def _translation(family: Family, a: Tensors, b: Tensors) -> Tensor:
    assert isinstance(family, Translation)
    return nearest_translations([family], a, b)[0]


def _shear(family: Family, a: Tensors, b: Tensors) -> Tensor:
    assert isinstance(family, Shear)
    return nearest_shear(family, a, b)


def _turn(family: Family, a: Tensors, b: Tensors) -> Tensor:
    inner = products(family, a, b, 1)
    if family.kind == "orthogonal":
        return _polar(inner)
    basis = centring(family.size)
    return basis @ _polar(basis.T @ inner @ basis) @ basis.T + 1 / family.size


def _polar(inner: Tensor) -> Tensor:
    left, _, right = torch.linalg.svd(inner)
    return left @ right


def _pairs(family: Family, a: Tensors, b: Tensors) -> Tensor:
    """z = r e^{iφ} of each pair: z on slots of exponent 1, 1/z̄ on those of −1; r and φ in turn."""
    half = family.size // 2
    sizes = torch.zeros(2, family.copies, half, dtype=torch.float64)
    inner = torch.zeros_like(sizes, dtype=torch.complex128)
    for slot, exponent in family.members:
        x, y = (torch.complex(*slot.of(t).double().split(half, 1)) for t in (a, b))
        inner[int(exponent < 0)] += (x * y.conj()).sum(2)
        sizes[int(exponent < 0)] += y.abs().square().sum(2)
    exponents = torch.tensor([1.0, -1.0], dtype=torch.float64)[:, None, None]
    found, values = [], []
    for start in _Sums(exponents, sizes, inner.abs()).starts:
        turn, t = _turned(exponents, inner, start), start
        for _ in range(ALTERNATIONS):
            before, t = t, _Sums(exponents, sizes, (inner * turn.conj()).real).lowest(t)
            turn = _turned(exponents, inner, t)
            if float((t - before).abs().max()) < 1e-12:
                break
        found.append(t.exp() * turn)
        values.append(_Sums(exponents, sizes, (inner * turn.conj()).real).distance(t))
    best = torch.stack(values).argmin(0, keepdim=True)
    return turning(torch.stack(found).gather(0, best)[0])


def _turned(exponents: Tensor, inner: Tensor, t: Tensor) -> Tensor:
    """e^{iφ} of the best angle at scales exp t."""
    return torch.polar(torch.ones_like(t), ((exponents * t).exp() * inner).sum(0).angle())


def _map(family: Family, a: Tensors, b: Tensors) -> Tensor:
    size, inner = ({e: products(family, one, b, e) for e in (1, -1)} for one in (b, a))
    other = products(family, a, a, -1)

    def distance(m: Tensor) -> Tensor:
        w = torch.linalg.inv(m).mT
        parts = [
            ((one @ size[e]) * one).sum((1, 2)) - 2 * (one * inner[e]).sum((1, 2))
            for e, one in ((1, m), (-1, w))
        ]
        return parts[0] + parts[1]

    best = torch.eye(family.size, dtype=torch.float64).repeat(family.copies, 1, 1)
    value = distance(best)
    starts = [_sylvester(other, size[1], inner[1] + inner[-1])]
    starts += [_solved(inner[1], size[1]), torch.linalg.pinv(_solved(inner[-1], size[-1])).mT]
    for start in starts:
        is_usable = torch.linalg.cond(start) < WORST
        start = torch.where(is_usable[:, None, None], start, best)
        now = distance(start)
        best = torch.where((now < value)[:, None, None], start, best)
        value = torch.minimum(now, value)
    size_of_a = sum(slot.of(a).double().square().sum((1, 2)) for slot, _ in family.members)
    if bool((value + size_of_a <= EXACT * size_of_a).all()):
        return best
    m = best.clone(memory_format=torch.contiguous_format).requires_grad_()
    optimizer = torch.optim.LBFGS(
        [m], max_iter=POLISHING, tolerance_grad=1e-12, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )
    scale = 1 / max(float(sum(one.diagonal(dim1=1, dim2=2).sum() for one in size.values())), 1e-300)

    def closure() -> Tensor:
        optimizer.zero_grad()
        with torch.enable_grad():
            total = distance(m).sum() * scale
        total.backward()
        return total

    optimizer.step(closure)  # pyright: ignore[reportArgumentType]
    polished = m.detach()
    is_better = (distance(polished) < value) & (torch.linalg.cond(polished) < WORST)
    return torch.where(is_better[:, None, None], polished, best)


def _sylvester(left: Tensor, right: Tensor, wanted: Tensor) -> Tensor:
    """M with left M + M right = wanted, both symmetric and ≥ 0."""
    s, u = torch.linalg.eigh(left)
    t, v = torch.linalg.eigh(right)
    sums = s[:, :, None] + t[:, None, :]
    sums = sums.clamp_min(1e-13 * float(sums.max()) + 1e-300)
    return u @ ((u.mT @ wanted @ v) / sums) @ v.mT


def _solved(inner: Tensor, size: Tensor) -> Tensor:
    """A Bᵀ (B Bᵀ)⁺."""
    return inner @ torch.linalg.pinv(size, hermitian=True)
