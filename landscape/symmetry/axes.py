"""What the positions along an axis are: units that may be permuted, found by unification.

An axis is a *sum* of *products* of factors: a concatenation of segments, each the row-major product of
index sets. ``((c, s),)`` is a flattened image whose channels ``c`` may be permuted while its pixels ``s``
stay; ``((c,), (d,))`` is a concatenation of channels. Joining two axes is unification in the sense of
Robinson (1965): a factor that is free takes whatever shape the other axis has, and union-find keeps what
was joined. A factor split in two, (heads, channels of a head), is *nested*: every index of the outer one
has a permutation of the inner one to itself (a wreath product). Where the outer one is cut, as heads into those of
queries, the key and the value, what is nested in it is another factor in each part.

Every axis of a tensor acts by itself except for nested factors, whose outer factor must be in the same
tensor: where it is not, one permutation is for all its indices. What cannot be expressed is pinned, with
the reason; a pinned factor is a fixed index set.
"""

from collections.abc import Container, Iterable, Iterator, Sequence
from math import prod


class Factor:
    """An index set: free until ``reason`` says why not, or until ``bound`` says what it is made of."""

    __slots__ = ("bound", "inner", "members", "outer", "reason", "size", "unrolled")

    def __init__(self, size: int, outer: "Factor | None" = None, reason: str = ""):
        self.size, self.outer, self.reason = size, outer, reason
        self.bound: Axis | None = None
        self.inner: list[Factor] = []
        if outer is not None:
            outer.inner.append(self)
        # Where an outer factor was indexed or cut, its indices, or parts, part ways: what a nested factor is at each.
        self.members: dict[tuple[Factor, int], Factor] = {}
        self.unrolled = False


Product = tuple[Factor, ...]
Axis = tuple[Product, ...]


def free(size: int) -> Axis:
    """An axis of ``size`` positions about which nothing is known yet."""
    return ((Factor(size),),)


def fixed(size: int, reason: str) -> Axis:
    """An axis whose positions have a meaning of their own."""
    return ((Factor(size, reason=reason),),)


def size_of(axis: Iterable[Product]) -> int:
    return sum(prod(factor.size for factor in product) for product in axis)


def root(factor: Factor) -> Factor:
    """The factor that stands for all it was joined with."""
    while factor.bound is not None and len(factor.bound) == 1 and len(factor.bound[0]) == 1:
        factor = factor.bound[0][0]
    return factor


def resolved(axis: Axis) -> Axis:
    """The axis in its present shape: bound factors replaced, single positions and needless splits left out."""
    found = [product for one in axis for product in _expanded(one)]
    if len(found) > 1 and is_at_rest(tuple(found)):
        return fixed(size_of(found), first_reason(found) or "single positions, one after the other")
    return tuple(found)


def factors(axis: Axis) -> list[Factor]:
    """Every factor of the axis in its present shape."""
    return [factor for product in resolved(axis) for factor in product]


def pin(axis: Axis, reason: str) -> None:
    """Nothing on this axis may move."""
    for factor in factors(axis):
        _pin(factor, reason)


def join(one: Axis, other: Axis, reason: str) -> None:
    """Whatever permutes ``one`` permutes ``other`` alike; pinned with ``reason`` where they do not fit."""
    one, other = resolved(one), resolved(other)
    while one:
        p, q = one[0], other[0]
        difference = size_of([p]) - size_of([q])
        if difference > 0:
            p, rest = _cut(p, size_of([q]), reason)
            one = (p, rest, *one[1:])
        elif difference < 0:
            q, rest = _cut(q, size_of([p]), reason)
            other = (q, rest, *other[1:])
        _join_products(p, q, reason)
        one, other = resolved(one[1:]), resolved(other[1:])


def nest(axis: Axis, outer: Factor, reason: str) -> None:
    """Says that the permutation of ``axis`` may depend on the index along ``outer``, in every tensor."""
    for factor in factors(axis):
        if factor.outer is None and not factor.reason:
            factor.outer = outer
            outer.inner.append(factor)
        elif factor.outer is None or root(factor.outer) is not root(outer):
            _pin(factor, reason)


def outer_and_inner(factor: Factor, size: int) -> Product:
    """The factor as an outer one of ``size`` and an inner one, nested in it."""
    outer = Factor(size, factor.outer, factor.reason)
    is_nested = not factor.reason or factor.inner
    inner = Factor(factor.size // size, outer if is_nested else None, factor.reason)
    for one in factor.inner:
        one.outer = inner
    inner.inner.extend(factor.inner)
    _bind(factor, ((outer, inner),))
    return outer, inner


def cut(axis: Axis, start: int, stop: int, reason: str) -> Axis:
    """The positions ``start`` to ``stop`` of the axis, as segments of their own."""
    found, position = [], 0
    waiting = list(resolved(axis))
    while waiting:
        product = waiting.pop(0)
        length = size_of([product])
        for border in (start, stop):
            if position < border < position + length:
                product, rest = _cut(product, border - position, reason)
                waiting.insert(0, rest)
                length = border - position
        if start <= position and position + length <= stop:
            found.append(product)
        position += length
    return resolved(tuple(found)) if found else fixed(0, reason)


def times(outer: Axis, inner: Axis) -> Axis:
    """The row-major product of two axes."""
    found = []
    for axis in (outer, inner):
        factor = Factor(size_of(axis))
        factor.bound = axis
        found.append(factor)
    return resolved((tuple(found),))


def at(axis: Axis, outer: Factor, index: int) -> Axis:
    """What the axis is at one index of ``outer``, which is pinned and whose indices part ways from now on."""
    return tuple(_at(product, outer, index) for product in resolved(axis))


def unroll(outer: Factor, reason: str) -> None:
    """Pins ``outer`` and lets every index of it have nested factors of its own."""
    _pin(outer, reason)
    outer.unrolled = True


def parted(axes: Sequence[Axis]) -> list[Axis]:
    """The axes of a tensor that holds one part of a factor that was cut, with what is nested in it as it is there."""
    present = {factor for axis in axes for factor in factors(axis)}
    return [tuple(tuple(_there(one, present) for one in p) for p in resolved(axis)) for axis in axes]


def agree(axes: Sequence[Axis]) -> None:
    """Nested factors whose outer factor is not in the tensor: one permutation for all of its indices."""
    present = {factor for axis in axes for factor in _within(axis)}
    for factor in [one for axis in axes for one in factors(axis)]:
        while factor.outer is not None and not factor.reason and root(factor.outer) not in present:
            lift(factor)


def lift(factor: Factor) -> None:
    """Takes a factor out of that which it is nested in, to beside it; what it was at each index is the same."""
    assert factor.outer is not None
    outer = root(factor.outer)
    outer.inner = [one for one in outer.inner if root(one) is not factor]
    factor.outer = outer.outer
    if factor.outer is not None:
        root(factor.outer).inner.append(factor)
    for member in [one for (above, _), one in factor.members.items() if root(above) is outer]:
        join(((factor,),), ((member,),), "its parts do not fit")


# --- inside ---------------------------------------------------------------------------------


def _expanded(product: Product) -> list[Product]:
    found: list[Product] = [()]
    for position, factor in enumerate(product):
        factor = root(factor)
        if factor.size == 1:
            continue
        inside = ((factor,),) if factor.bound is None else resolved(factor.bound)
        rest = product[position + 1 :]
        if factor.bound is not None and len(factor.bound) > 1 and found == [()] and rest:
            # What is nested in a factor that was cut is another one in each part.
            by_part = [(*one, *_at(rest, factor, i)) for i, one in enumerate(factor.bound)]
            return [part for one in by_part for part in _expanded(one)]
        if len(inside) > 1 and found != [()]:
            # A concatenation below another factor has no shape of ours.
            reason = "its positions interleave those of another axis"
            for part in (*(part for one in inside for part in one), *rest):
                _pin(part, reason)
            inside = fixed(factor.size, reason)
        if len(inside) == 1:
            found = [(*before, *inside[0]) for before in found]
        else:
            found = list(inside)
        is_leading = len(found) == 1 and found[0] == (factor,)
        if is_leading and factor.unrolled and rest:
            by_index = [_at(rest, factor, i) for i in range(factor.size)]
            return [part for one in by_index for part in _expanded(one)]
    return found


def _within(axis: Axis) -> Iterator[Factor]:
    """The factors of an axis, and those that were cut or split into them."""
    for factor in (root(one) for product in axis for one in product):
        yield factor
        yield from _within(factor.bound or ())


def _there(factor: Factor, present: Container[Factor]) -> Factor:
    """What a nested factor is beside the only part that there is of one around it, where that was cut."""
    above = factor.outer
    while above is not None and not factor.reason:
        above = root(above)
        parts = above.bound if above.bound is not None and len(above.bound) > 1 else ()
        here = [k for k, part in enumerate(parts) if any(one in present for one in factors((part,)))]
        if len(here) == 1:
            factor = _member(factor, above, here[0])
            above = factor
        above = above.outer
    return factor


def _is_inert(factor: Factor) -> bool:
    """Pinned, and no other factor's permutation depends on its index."""
    return bool(factor.reason) and not any(not root(one).reason for one in factor.inner)


def is_at_rest(axis: Axis) -> bool:
    """Whether nothing on the axis moves, nor anything else by it."""
    return all(_is_inert(factor) for product in axis for factor in product)


def first_reason(products: Iterable[Product]) -> str:
    """Why the first factor that is pinned is so; empty where none is."""
    return next((factor.reason for product in products for factor in product if factor.reason), "")


def _pin(factor: Factor, reason: str) -> None:
    factor = root(factor)
    if factor.bound is not None:
        pin(factor.bound, reason)
    elif not factor.reason:
        factor.reason = reason
        for member in factor.members.values():
            _pin(member, reason)


def _bind(factor: Factor, axis: Axis) -> None:
    factor.bound = axis
    for (outer, index), member in list(factor.members.items()):
        join(((member,),), at(axis, outer, index), "its parts do not fit")


def _at(product: Product, outer: Factor, index: int) -> Product:
    return tuple(_member(factor, outer, index) for factor in product)


def _member(factor: Factor, outer: Factor, index: int) -> Factor:
    factor, outer = root(factor), root(outer)
    if factor.outer is None or not _is_below(factor, outer):
        return factor
    key = (outer, index)
    if key not in factor.members:
        above = root(factor.outer)
        parent = _member(above, outer, index) if above is not outer else _part(outer, index)
        member = Factor(factor.size, parent, factor.reason)
        factor.members[key] = member
        if factor.bound is not None:
            join(((member,),), at(factor.bound, outer, index), "its parts do not fit")
    return factor.members[key]


def _part(outer: Factor, index: int) -> Factor | None:
    """The part of a factor that was cut; None of a single position, which does not move."""
    parts = outer.bound if outer.bound is not None and not outer.unrolled else ()
    return parts[index][0] if len(parts) > 1 and parts[index][0].size > 1 else None


def _is_below(factor: Factor, outer: Factor) -> bool:
    above = factor.outer
    while above is not None:
        above = root(above)
        if above is outer:
            return True
        above = above.outer
    return False


def _cut(product: Product, size: int, reason: str) -> tuple[Product, Product]:
    """The first ``size`` positions of a product, and the others."""
    whole, each = size_of([product]), prod(factor.size for factor in product[1:])
    first = product[0]
    nested = [root(one) for one in first.inner]
    if size % each or (nested and first.unrolled):
        for factor in (first, *first.inner, *product):
            _pin(factor, reason)
        why = first_reason([product])
        return (Factor(size, reason=why),), (Factor(whole - size, reason=why),)
    # Parts of a nested factor stay nested; they are permuted each for itself.
    parts = tuple(Factor(n, first.outer, first.reason) for n in (size // each, first.size - size // each))
    _bind(first, tuple((part,) for part in parts))
    for factor in nested:
        for index in range(2):
            _member(factor, first, index)
    return (parts[0], *_at(product[1:], first, 0)), (parts[1], *_at(product[1:], first, 1))


def _join_products(p: Product, q: Product, reason: str) -> None:
    # A single position is no factor: with one beside it a factor would become what it is itself in.
    p, q = (tuple(one for one in product if one.size != 1) for product in (p, q))
    for one, other in ((p, q), (q, p)):
        if len(one) == 1 and len(other) != 1 and _may_become(one[0], other):
            _bind(one[0], (other,))
            return
    while p and q:
        f, g = p[0], q[0]
        if f.size == g.size:
            _join_factors(f, g, reason)
            p, q = p[1:], q[1:]
        elif f.size % g.size == 0:
            outer, inner = outer_and_inner(f, g.size)
            p = (outer, inner, *p[1:])
        elif g.size % f.size == 0:
            outer, inner = outer_and_inner(g, f.size)
            q = (outer, inner, *q[1:])
        else:
            pin((p, q), reason)
            return
        shapes = [resolved((part,)) for part in (p, q)]
        if any(len(shape) > 1 for shape in shapes):
            pin((p, q), reason)
            return
        p, q = (shape[0] for shape in shapes)


def _may_become(factor: Factor, product: Product) -> bool:
    """Whether a free factor can take the shape of a product, whose nesting must then be all its own."""
    if factor.reason or factor.inner or factor.members or factor.outer is not None:
        return False
    within = {*product}
    return all(part.reason or part.outer is None or root(part.outer) in within for part in product)


def _adopt(factor: Factor, outer: Factor) -> None:
    """``factor`` is nested in ``outer`` if it was in nothing, as repeated keys are, or in what is nested in it itself.

    In the second case it is permuted alike along the one between, as channels of queries that have one key in common.
    Where a tensor holds it without ``outer`` it is beside that in the end: see :func:`agree`.
    """
    before = None if factor.outer is None else root(factor.outer)
    if before is not None and not _is_below(before, outer):
        return
    if outer is factor or _is_below(outer, factor):
        return
    if before is not None and factor in before.inner:
        before.inner.remove(factor)
    factor.outer = outer
    outer.inner.append(factor)


def _join_factors(f: Factor, g: Factor, reason: str) -> None:
    f, g = root(f), root(g)
    if f is g:
        return
    for one, other in ((f, g), (g, f)):
        if not (one.reason or other.reason) and other.outer is not None:
            _adopt(one, root(other.outer))
    outers = [None if one.outer is None else root(one.outer) for one in (f, g)]
    if not f.reason and not g.reason and outers[0] is not outers[1]:
        reason = "shared between the indices of an outer axis (heads, or groups of channels)"
        _pin(f, reason)
        _pin(g, reason)
    elif f.reason or g.reason:
        _pin(f, g.reason)
        _pin(g, f.reason)
    f.inner.extend(g.inner)
    f.unrolled = f.unrolled or g.unrolled
    members, g.members = g.members, {}
    g.bound = ((f,),)
    for key, member in members.items():
        if key in f.members:
            join(((f.members[key],),), ((member,),), reason)
        else:
            f.members[key] = member
