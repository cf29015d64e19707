"""Units that are permuted for themselves at every index of another axis, as their weights have an axis for both.

Weights of heads are written as (width, heads, channels), those of experts as (experts, width, units), and a state of
each channel as (channels, states): wherever the units stand, their head stands too, so each head has an order of its
own. What operations join says nothing of that, so it is looked for in the whole graph, and tried as all else is.
"""

from collections.abc import Iterable, Sequence
from itertools import product

from landscape.symmetry.axes import Axis, Factor, factors, resolved

# A tensor's axes along which an operation sees different positions together, and its other axes.
Mixed = tuple[Sequence[Axis], Sequence[Axis]]


def part(tensors: Iterable[Sequence[Axis]], mixed: Iterable[Mixed]) -> bool:
    """Nests every free factor in another one that stands beside it wherever it stands; whether there was any.

    Not where an operation mixes the other's positions, as a softmax along it, without those of the factor.
    """
    places: dict[Factor, list[list[Factor]]] = {}
    for axes in tensors:
        for box in product(*map(resolved, axes)):
            present = [factor for one in box for factor in one]
            for factor in dict.fromkeys(present):
                places.setdefault(factor, []).append(present)
    together = {
        (one, other)
        for along, beside in mixed
        for other in _all(along)
        for one in _all(beside)
        if one not in _all(along)
    }
    found = False
    for one in sorted(places, key=lambda factor: -factor.size):
        if one.reason or one.outer is not None or one.inner or one.members or one.size < 2:
            continue
        first, *others = places[one]
        beside = [
            other
            for other in dict.fromkeys(first)
            if other is not one and other.outer is None and other.size > 1 and (one, other) not in together
            if all(present.count(other) == 1 for present in (first, *others))
        ]
        if beside:
            one.outer = max(beside, key=lambda other: other.size)
            one.outer.inner.append(one)
            found = True
    return found


def _all(axes: Iterable[Axis]) -> list[Factor]:
    return [factor for axis in axes for factor in factors(axis)]
