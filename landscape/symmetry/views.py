"""Axes of a row-major view of the same positions in another shape."""

from collections.abc import Sequence
from math import prod

from landscape.symmetry.axes import (
    Axis,
    first_reason,
    fixed,
    is_at_rest,
    join,
    outer_and_inner,
    pin,
    resolved,
    size_of,
)


def regrouped(axes: Sequence[Axis], shape: Sequence[int], reason: str) -> list[Axis]:
    """The axes of a row-major view of the same positions in another shape.

    Axes that a view leaves whole are none of those that it cuts through.
    """
    found: list[Axis] = []
    for some, sizes in _spans(axes, shape):
        part = _regrouped(some, sizes)
        if part is None:
            for axis in some:
                pin(axis, reason)
            part = _regrouped(some, sizes)  # at rest, neighbours are one
        found += [fixed(size, reason) for size in sizes] if part is None else part
    return found


def _spans(axes: Sequence[Axis], shape: Sequence[int]) -> list[tuple[list[Axis], list[int]]]:
    """The fewest neighbouring axes at a time that a view makes other axes of, and the sizes of these."""
    spans: list[tuple[list[Axis], list[int]]] = [([], [])]
    left, right = list(axes), list(shape)
    while left or right:
        some, sizes = spans[-1]
        before, after = prod(map(size_of, some)), prod(sizes)
        if before == after and some and sizes and left and right:
            spans.append(([], []))
        elif left and (before <= after or not right):
            some.append(left.pop(0))
        else:
            sizes.append(right.pop(0))
    return spans


def _regrouped(axes: Sequence[Axis], shape: Sequence[int]) -> list[Axis] | None:
    """As :func:`regrouped`; None where the view cuts through an axis."""
    waiting: list[Axis] = [resolved(axis) for axis in axes]
    found: list[Axis] = []
    for size in shape:
        collected: Axis = ((),)
        remaining = size
        while remaining != 1:
            waiting = _merged(waiting)
            item = waiting.pop(0)
            whole = size_of(item)
            is_single = len(item) == 1
            if remaining % whole == 0 and (is_single or collected == ((),)):
                joint = item if collected == ((),) else tuple((*p, *item[0]) for p in collected)
                collected, remaining = joint, remaining // whole
            elif is_single and whole % remaining == 0:
                outer, inner = outer_and_inner(item[0][0], remaining)
                collected, remaining = tuple((*p, outer) for p in collected), 1
                waiting.insert(0, ((inner,),))
            elif collected == ((),) and (parts := _split(item, remaining)) is not None:
                (collected, inside), remaining = parts, 1
                waiting.insert(0, inside)
            else:
                return None
        found.append(resolved(collected))
    return found


def _split(axis: Axis, size: int) -> tuple[Axis, Axis] | None:
    """A concatenation as an outer axis of ``size`` and an inner one, which all its segments have in common.

    So are tensors that were stacked along an axis other than the first, and several tokens of every sample.
    """
    each = size_of(axis) // size
    if size_of(axis) % size or any(size_of([product]) % each for product in axis):
        return None
    parts = [_regrouped([(product,)], (size_of([product]) // each, each)) for product in axis]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    for _, inside in known[1:]:
        join(known[0][1], inside, "stacked with what is arranged in another way")
    return resolved(tuple(product for outer, _ in known for product in outer)), resolved(known[0][1])


def _merged(axes: Sequence[Axis]) -> list[Axis]:
    """One item for each factor or concatenation, neighbours that are inert made one."""
    items: list[Axis] = []
    for axis in map(resolved, axes):
        first, *others = axis
        parts: list[Axis] = [axis] if others else [((factor,),) for factor in first]
        for part in parts:
            if items and is_at_rest(items[-1]) and is_at_rest(part):
                last = items.pop()
                part = fixed(size_of(last) * size_of(part), first_reason(last))
            items.append(part)
    return items
