"""The element of a family that brings B's units closest to A's, everything else at rest: least Σ_s ‖A_s − g B_s‖².

Turns in closed form (Schönemann 1966), scales by Newton's method on their logarithm. An invertible map M acts as M on
some weights and as M⁻ᵀ on others: M solves M B₊ = A₊ and Mᵀ A₋ = B₋ in least squares, a Sylvester equation, exact where
A is of the orbit of B; from there, or from what is better, the distance itself is lowered by Gauss–Newton.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from landscape.symmetry.families import Family, centring, turning
from landscape.symmetry.shears import Shear, nearest_shear
from landscape.symmetry.translations import Translation, nearest_translations

Tensors = Mapping[str, Tensor]
NEWTON, HALVINGS, POLISHING = 40, 8, 20
SHORT = 1e-7
# Maps worse conditioned than this are no start.
WORST = 1e6
# A square distance that rounding leaves, over ‖A‖², and what a step must bring of one, as others move in between.
EXACT, WORTH = 1e-14, 1e-6


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
        _lowest(sums._replace(inner=0 * sums.inner).distance, torch.zeros_like(sums.sizes[0]))
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

    def distance(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Σ_s ‖c^a b_s‖² − 2⟨a_s, c^a b_s⟩ at c = exp t, and its first two derivatives in t."""
        by = (self.exponents * t).exp()
        square, linear = by * by * self.sizes, by * self.inner
        slope = (2 * self.exponents * (square - linear)).sum(0)
        bend = (2 * self.exponents**2 * (2 * square - linear)).sum(0)
        return (square - 2 * linear).sum(0), slope, bend


def _starts(exponents: Tensor, sizes: Tensor, inner: Tensor) -> Tensor:
    """No scale, and those that the slots of one exponent would have alone, (…, starts, copies, n)."""
    alone = (inner / sizes.clamp_min(1e-300)).abs().clamp(1e-6, 1e6).log() / exponents
    return torch.cat([torch.zeros_like(alone[:1]), alone]).movedim(0, -3)


def _best(found: Tensor, values: Tensor) -> Tensor:
    """Of each number that with the least value, along axis 0."""
    return found.gather(0, values.argmin(0, keepdim=True))[0]


def _lowest(distance: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]], start: Tensor) -> Tensor:
    """Newton's method from a start, every number by itself, steps halved where they rise.

    ``distance``: with its first two derivatives.
    """
    t = start
    value, slope, bend = distance(t)
    for _ in range(NEWTON):
        bend = torch.where(bend > 0, bend, slope.abs())
        step = (-slope / bend.clamp_min(1e-300)).clamp(-1, 1)
        there = distance(t + step)
        for _ in range(HALVINGS):
            # Of a step so small rounding alone says whether it rises, and the next one would be its square.
            is_worse = (there[0] > value) & (step.abs() > SHORT)
            if not bool(is_worse.any()):
                break
            step = torch.where(is_worse, step / 2, step)
            there = distance(t + step)
        is_worse = (there[0] > value) & (step.abs() > SHORT)
        step = torch.where(is_worse, 0, step)
        t = t + step
        value, slope, bend = (
            torch.where(is_worse, old, new) for old, new in zip((value, slope, bend), there, strict=True)
        )
        if float(step.abs().max()) <= SHORT:
            break
    return t


def _scales(family: Family, a: Tensors, b: Tensors) -> Tensor:
    exponents, sizes, inner = _Sums.of(family, a, b)
    signs = torch.tensor([1.0, -1.0] if family.is_signed else [1.0]).double()[:, None, None]
    inner = inner[:, None] * signs ** exponents[:, None]
    starts = _starts(exponents[:, None], sizes[:, None], inner)
    sums = _Sums(exponents[:, None, None], sizes[:, None, None], inner[:, :, None])
    t = _lowest(sums.distance, starts)
    found = (signs[:, None] * t.exp()).flatten(0, 1)
    return _best(found, sums.distance(t)[0].flatten(0, 1))


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
    """z = r e^{iφ} of each pair: z on slots of exponent 1, 1/z̄ on those of −1; at every r the best φ."""
    half = family.size // 2
    sizes = torch.zeros(2, family.copies, half, dtype=torch.float64)
    inner = torch.zeros_like(sizes, dtype=torch.complex128)
    for slot, exponent in family.members:
        x, y = (torch.complex(*slot.of(t).double().split(half, 1)) for t in (a, b))
        inner[int(exponent < 0)] += (x * y.conj()).sum(2)
        sizes[int(exponent < 0)] += y.abs().square().sum(2)
    squares, both = inner.abs().square(), 2 * (inner[0] * inner[1].conj()).real

    def distance(t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        up, down = (2 * t).exp(), (-2 * t).exp()
        # |Σ_a e^{at} inner_a|², of which the best turn leaves the root.
        there = (up * squares[0] + down * squares[1] + both).clamp_min(1e-300)
        slope, bend = (n * (up * squares[0] + sign * down * squares[1]) for n, sign in ((2, -1), (4, 1)))
        root = there.sqrt()
        return (
            up * sizes[0] + down * sizes[1] - 2 * root,
            2 * (up * sizes[0] - down * sizes[1]) - slope / root,
            4 * (up * sizes[0] + down * sizes[1]) - bend / root + slope.square() / (2 * there * root),
        )

    exponents = torch.tensor([1.0, -1.0], dtype=torch.float64)[:, None, None]
    t = _lowest(distance, _starts(exponents, sizes, inner.abs()))
    t = _best(t, distance(t)[0])
    angles = ((exponents * t).exp() * inner).sum(0).angle()
    return turning(torch.polar(t.exp(), angles))


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
    # Gauss–Newton: of exp(X) M to first order in X the distance is least at another Sylvester equation.
    for _ in range(POLISHING):
        w, before = torch.linalg.inv(best).mT, value
        there, back = best @ size[1] @ best.mT, w @ size[-1] @ w.mT
        step = _sylvester(back, there, inner[1] @ best.mT - there - (inner[-1] @ w.mT - back).mT)
        step = step / step.norm(dim=(1, 2), keepdim=True).clamp_min(1)
        for _ in range(HALVINGS):
            moved = torch.linalg.matrix_exp(step) @ best
            now = distance(moved)
            is_better = (now < value) & (torch.linalg.cond(moved) < WORST)
            best = torch.where(is_better[:, None, None], moved, best)
            value = torch.where(is_better, now, value)
            step = torch.where(is_better[:, None, None], 0, step / 2)
            if bool(is_better.all()):
                break
        if bool((before - value <= WORTH * (value + size_of_a)).all()):
            break
    return best


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
