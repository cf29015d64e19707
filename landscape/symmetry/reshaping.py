"""What operations that take tensors apart and put them together do to axes: views, slices, concatenations, picks."""

from itertools import accumulate

from landscape.symmetry.axes import (
    Axis,
    at,
    cut,
    fixed,
    free,
    join,
    parted,
    pin,
    resolved,
    size_of,
    times,
    unroll,
)
from landscape.symmetry.calls import Call, Labelled, unknown
from landscape.symmetry.permutations import IN_DATA
from landscape.symmetry.views import regrouped

# Positions of an axis that are told apart by cutting it, as heads of queries beside a key and a value; more by number.
MOST_PARTS = 64


def view(call: Call) -> list[Axis]:
    reason = f"{call.name} {call.tensors[0].shape} to {call.shape} cuts through it"
    return regrouped(call.tensors[0].axes, call.shape, reason)


def permute(call: Call) -> list[Axis]:
    return [call.tensors[0].axes[dim] for dim in call.arguments[1]]


def as_strided(call: Call) -> list[Axis]:
    """What adaptive pooling to one position ends with: the same rows in the same order."""
    source, sizes, strides = call.tensors[0], call.arguments[1], call.arguments[2]
    expected, step = [], 1
    for size in reversed(sizes):
        expected.insert(0, step)
        step *= size
    pairs = zip(sizes, strides, expected, strict=True)
    is_same = tuple(sizes) == source.shape and all(n == 1 or one == other for n, one, other in pairs)
    return source.axes if is_same and not call.argument(3, "storage_offset", 0) else unknown(call)


def real_as_complex(call: Call) -> list[Axis]:
    """Two real numbers, along the last axis, as a complex one."""
    pin(call.tensors[0].axes[-1], "real and imaginary parts")
    return call.tensors[0].axes[:-1]


def complex_as_real(call: Call) -> list[Axis]:
    return [*call.tensors[0].axes, fixed(2, "real and imaginary parts")]


def unsqueeze(call: Call) -> list[Axis]:
    axes = list(call.tensors[0].axes)
    axes.insert(call.arguments[1] % len(call.shape), free(1))
    return axes


def squeeze(call: Call) -> list[Axis]:
    source = call.tensors[0]
    dims = call.argument(1, "dim")
    count = len(source.shape)
    chosen = range(count) if dims is None else [dims] if isinstance(dims, int) else dims
    gone = {dim % count for dim in chosen if source.shape[dim] == 1}
    return [axis for dim, axis in enumerate(source.axes) if dim not in gone]


def expand(call: Call) -> list[Axis]:
    """A repeated position is the same under every permutation."""
    source = call.tensors[0]
    offset = len(call.shape) - len(source.shape)
    return [
        source.axes[dim - offset] if dim >= offset and source.shape[dim - offset] == size else free(size)
        for dim, size in enumerate(call.shape)
    ]


def select(call: Call) -> list[Axis]:
    source, dim = call.tensors[0], call.arguments[1] % len(call.tensors[0].shape)
    return _taken(source, dim, call.arguments[2] % source.shape[dim], call.name)


def _taken(source: Labelled, dim: int, index: int, name: str) -> list[Axis]:
    """The other axes at one position of an axis, which stays where it is; of a concatenation its segment alone does."""
    reason = f"{name} picks one position of it"
    segment, *after = resolved(source.axes[dim])
    while after and index >= size_of([segment]):
        index -= size_of([segment])
        segment, *after = after
    others = [axis for position, axis in enumerate(source.axes) if position != dim]
    _, *rest = parted([(segment,), *others])
    if len(segment) > 1:
        pin(source.axes[dim], reason)
    if len(segment) != 1:
        return rest
    chosen = segment[0]
    while chosen.inner and not chosen.reason and 2 < chosen.size <= MOST_PARTS:
        # The others keep an order of their own: the part with the position is cut out, with one beside it at most.
        border, part = index or 1, int(index > 0)
        cut(((chosen,),), 0, border, reason)
        rest = [at(axis, chosen, part) for axis in rest]
        assert chosen.bound is not None
        chosen, index = chosen.bound[part][0], index - border * part
    unroll(chosen, reason)
    return [at(axis, chosen, index) for axis in rest]


def sliced(call: Call) -> list[Axis]:
    source = call.tensors[0]
    dim = call.argument(1, "dim", 0) % len(source.shape)
    size = source.shape[dim]
    start, stop, step = slice(
        call.argument(2, "start"), call.argument(3, "end"), call.argument(4, "step")
    ).indices(size)
    axes = list(source.axes)
    if (start, stop, step) == (0, size, 1):
        return axes
    each = size // step
    if step > 1 and size % step == 0 and start < step and call.shape[dim] == each > 1:
        # One of the columns that the axis is written in: of pairs side by side the first, or the second.
        axes[dim : dim + 1] = regrouped([axes[dim]], (each, step), f"{call.name} takes every {step}th of it")
        shape = (*source.shape[:dim], each, step, *source.shape[dim + 1 :])
        return _taken(Labelled(shape, axes), dim + 1, start, call.name)
    if step != 1:
        pin(axes[dim], f"{call.name} takes every {step}th of it")
        axes[dim] = fixed(call.shape[dim], call.reason)
    elif stop - start == 1:
        axes = _taken(source, dim, start, call.name)
        axes.insert(dim, free(1))
    else:
        axes[dim] = cut(axes[dim], start, stop, f"{call.name} cuts through it")
        axes = parted(axes)
    return axes


def split(call: Call) -> list[list[Axis]]:
    source = call.tensors[0]
    sizes, dim = call.arguments[1], call.argument(2, "dim", 0) % len(source.shape)
    if isinstance(sizes, int):
        sizes = [min(sizes, source.shape[dim] - start) for start in range(0, source.shape[dim], sizes)]
    ends = list(accumulate(sizes))
    found: dict[int, list[Axis]] = {}
    # Single positions last, which what is left of the axis has for itself.
    for part in sorted(range(len(sizes)), key=lambda part: sizes[part] == 1):
        start, axes = ends[part] - sizes[part], list(source.axes)
        if sizes[part] == 1:
            axes = _taken(source, dim, start, call.name)
            axes.insert(dim, free(1))
        else:
            axes[dim] = cut(axes[dim], start, ends[part], f"{call.name} cuts through it")
            axes = parted(axes)
        found[part] = axes
    return [found[part] for part in range(len(sizes))]


def cat(call: Call) -> list[Axis]:
    """Segments one after the other; the other axes are permuted alike."""
    parts = [part for part in call.tensors if part.shape != (0,)]
    dim = call.argument(1, "dim", 0) % len(call.shape)
    for part in parts[1:]:
        for position, axis in enumerate(part.axes):
            if position != dim:
                join(parts[0].axes[position], axis, call.reason)
    axes = list(parts[0].axes)
    axes[dim] = tuple(product for part in parts if part.shape[dim] for product in part.axes[dim])
    return axes


def constant_pad(call: Call) -> list[Axis]:
    """Padding is a constant: its positions may be permuted like any others."""
    source, widths = call.tensors[0], call.arguments[1]
    axes = list(source.axes)
    for pair in range(len(widths) // 2):
        dim = len(axes) - 1 - pair
        before, after = widths[2 * pair : 2 * pair + 2]
        if min(before, after) < 0:
            stop = size_of(axes[dim]) + min(after, 0)
            axes[dim] = cut(axes[dim], max(-before, 0), stop, f"{call.name} cuts through it")
            before, after = max(before, 0), max(after, 0)
        sides = [free(width) if width else () for width in (before, after)]
        axes[dim] = (*sides[0], *axes[dim], *sides[1])
    return axes


def repeat(call: Call) -> list[Axis]:
    source, counts = call.tensors[0], call.arguments[1]
    axes = [free(1)] * (len(counts) - len(source.axes)) + list(source.axes)
    tiles = "its positions are those of a tiling"
    return [
        axis if count == 1 else times(fixed(count, tiles), axis)
        for count, axis in zip(counts, axes, strict=True)
    ]


def flip(call: Call) -> list[Axis]:
    source = call.tensors[0]
    for dim in call.arguments[1]:
        pin(source.axes[dim], f"{call.name} turns its order round")
    return source.axes


def indexed(call: Call) -> list[Axis]:
    """Positions picked by a tensor of their numbers, along one axis or neighbouring ones."""
    source, chosen = call.arguments[:2]
    dims = [dim for dim, one in enumerate(chosen) if one is not None]
    if dims != list(range(dims[0], dims[-1] + 1)):
        return unknown(call)
    for axis in (*source.axes[dims[0] : dims[-1] + 1], *(a for dim in dims for a in chosen[dim].axes)):
        pin(axis, call.picks)
    before, after = source.axes[: dims[0]], source.axes[dims[-1] + 1 :]
    picked = call.shape[len(before) : len(call.shape) - len(after)]
    return [*before, *(fixed(size, call.reason) for size in picked), *after]


def index_select(call: Call) -> list[Axis]:
    source, dim, numbers = call.arguments[:3]
    axes, dim = list(source.axes), dim % len(source.shape)
    for axis in (axes[dim], *numbers.axes):
        pin(axis, call.picks)
    axes[dim] = fixed(call.shape[dim], call.reason)
    return axes


def index_put(call: Call) -> list[Axis]:
    """Rows written, or added, to positions that a list of numbers picks, as messages to the nodes of a graph."""
    source, chosen, values = call.arguments[:3]
    dims = [dim for dim, one in enumerate(chosen) if one is not None]
    # A mask has more axes: it stands for several of the source.
    if dims != list(range(dims[0], dims[-1] + 1)) or any(len(chosen[dim].shape) > 1 for dim in dims):
        return unknown(call)
    for axis in (*source.axes[dims[0] : dims[-1] + 1], *(a for dim in dims for a in chosen[dim].axes)):
        pin(axis, call.picks)
    count = max(len(chosen[dim].shape) for dim in dims)
    beside = [*source.axes[: dims[0]], *[None] * count, *source.axes[dims[-1] + 1 :]]
    sizes = [*source.shape[: dims[0]], *[0] * count, *source.shape[dims[-1] + 1 :]]
    last = len(values.shape)
    for axis, size, own, of in zip(
        values.axes, values.shape, beside[len(beside) - last :], sizes[len(sizes) - last :], strict=True
    ):
        if own is None:
            pin(axis, call.picks)
        elif size == of:
            join(axis, own, call.reason)
    return source.axes


def embedding(call: Call) -> list[Axis]:
    weight, indices = call.tensors
    for axis in (weight.axes[0], *indices.axes):
        pin(axis, IN_DATA)
    return [*indices.axes, weight.axes[1]]


def embedding_bag(call: Call) -> list[list[Axis]]:
    """Sums, means or maxima of rows, column by column."""
    weight, *others = call.tensors
    for axis in (weight.axes[0], *(axis for one in others for axis in one.axes)):
        pin(axis, IN_DATA)
    return [[fixed(call.shape[0], IN_DATA), weight.axes[1]]]
