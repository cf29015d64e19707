"""What each operation of a traced graph does to the axes of its tensors.

Every rule says which permutations of the inputs the operation turns into which permutation of its
output. The operations are those of PyTorch's Core ATen IR, into which ``torch.export`` decomposes; one
that has no rule pins every axis that reaches it, so what is not understood is never permuted.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from landscape.symmetry.axes import (
    Axis,
    at,
    cut,
    factors,
    fixed,
    free,
    join,
    nest,
    pin,
    regrouped,
    times,
    unroll,
)


class Labelled(NamedTuple):
    """A tensor of the graph: its sizes, and what each of its axes is."""

    shape: tuple[int, ...]
    axes: list[Axis]


# What one call of an operation is: its name, its arguments with tensors labelled, the shapes it returns.
Rule = Callable[["Call"], Any]


class Call(NamedTuple):
    name: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    shape: tuple[int, ...]
    is_pointwise: bool

    @property
    def reason(self) -> str:
        return f"{self.name} does not commute with a permutation of it"

    @property
    def tensors(self) -> list[Labelled]:
        return list(_tensors((self.arguments, self.options)))

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        given = self.arguments[position] if len(self.arguments) > position else None
        return self.options.get(name, default) if given is None else given


def axes_of(call: Call) -> Any:
    """The axes of what a call returns: a list of them for each tensor, the first of several where they are many."""
    rule = RULES.get(call.name) or (_pointwise if call.is_pointwise else None)
    spatial = re.search(r"(pool|upsample_\w+|_pad)(\d)d", call.name)
    if rule is None and spatial:
        return _spatial(call, int(spatial[2]))
    return (rule or _unknown)(call)


def _tensors(value: Any) -> Any:
    if isinstance(value, Labelled):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)


def _unknown(call: Call) -> list[Axis]:
    for tensor in call.tensors:
        for axis in tensor.axes:
            pin(axis, call.reason)
    return [fixed(size, call.reason) for size in call.shape]


# --- element by element ---------------------------------------------------------------------


def _pointwise(call: Call) -> list[Axis]:
    """Tensors broadcast against each other are permuted alike."""
    found: list[Axis | None] = [None] * len(call.shape)
    for tensor in call.tensors:
        offset = len(call.shape) - len(tensor.axes)
        for position, axis in enumerate(tensor.axes, start=offset):
            if tensor.shape[position - offset] != call.shape[position]:
                continue
            known = found[position]
            if known is None:
                found[position] = axis
            else:
                join(known, axis, call.reason)
    return [free(size) if axis is None else axis for size, axis in zip(call.shape, found, strict=True)]


def _same(call: Call) -> list[Axis]:
    return call.tensors[0].axes


def _constant(call: Call) -> list[Axis]:
    """One number everywhere is the same under every permutation."""
    return [free(size) for size in call.shape]


# --- reductions -----------------------------------------------------------------------------


def _reduction(call: Call) -> list[Axis]:
    """Sums, means and maxima over an axis do not see its order."""
    (source,) = call.tensors
    dims = call.argument(1, "dim")
    count = len(source.shape)
    chosen = range(count) if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims
    gone = {dim % count for dim in chosen} if count else set()
    if len(call.shape) == count:
        return [free(1) if dim in gone else axis for dim, axis in enumerate(source.axes)]
    return [axis for dim, axis in enumerate(source.axes) if dim not in gone]


# --- shapes ---------------------------------------------------------------------------------


def _view(call: Call) -> list[Axis]:
    reason = f"{call.name} {call.tensors[0].shape} to {call.shape} cuts through it"
    return regrouped(call.tensors[0].axes, call.shape, reason)


def _permute(call: Call) -> list[Axis]:
    return [call.tensors[0].axes[dim] for dim in call.arguments[1]]


def _unsqueeze(call: Call) -> list[Axis]:
    axes = list(call.tensors[0].axes)
    axes.insert(call.arguments[1] % len(call.shape), free(1))
    return axes


def _squeeze(call: Call) -> list[Axis]:
    source = call.tensors[0]
    dims = call.argument(1, "dim")
    count = len(source.shape)
    chosen = range(count) if dims is None else [dims] if isinstance(dims, int) else dims
    gone = {dim % count for dim in chosen if source.shape[dim] == 1}
    return [axis for dim, axis in enumerate(source.axes) if dim not in gone]


def _expand(call: Call) -> list[Axis]:
    """A repeated position is the same under every permutation."""
    source = call.tensors[0]
    offset = len(call.shape) - len(source.shape)
    return [
        source.axes[dim - offset] if dim >= offset and source.shape[dim - offset] == size else free(size)
        for dim, size in enumerate(call.shape)
    ]


def _select(call: Call) -> list[Axis]:
    source, dim = call.tensors[0], call.arguments[1] % len(call.tensors[0].shape)
    return _taken(source, dim, call.arguments[2] % source.shape[dim], call.name)


def _taken(source: Labelled, dim: int, index: int, name: str) -> list[Axis]:
    reason = f"{name} picks one position of it"
    chosen = factors(source.axes[dim])
    rest = [axis for position, axis in enumerate(source.axes) if position != dim]
    if len(chosen) != 1:
        pin(source.axes[dim], reason)
        return rest
    unroll(chosen[0], reason)
    return [at(axis, chosen[0], index) for axis in rest]


def _slice(call: Call) -> list[Axis]:
    source = call.tensors[0]
    dim = call.argument(1, "dim", 0) % len(source.shape)
    size = source.shape[dim]
    start, stop, step = slice(
        call.argument(2, "start"), call.argument(3, "end"), call.argument(4, "step")
    ).indices(size)
    axes = list(source.axes)
    if (start, stop, step) == (0, size, 1):
        return axes
    if step != 1:
        pin(axes[dim], f"{call.name} takes every {step}th of it")
        axes[dim] = fixed(call.shape[dim], call.reason)
    elif stop - start == 1:
        axes = _taken(source, dim, start, call.name)
        axes.insert(dim, free(1))
    else:
        axes[dim] = cut(axes[dim], start, stop, f"{call.name} cuts through it")
    return axes


def _split(call: Call) -> list[list[Axis]]:
    source = call.tensors[0]
    sizes, dim = call.arguments[1], call.argument(2, "dim", 0) % len(source.shape)
    if isinstance(sizes, int):
        sizes = [min(sizes, source.shape[dim] - start) for start in range(0, source.shape[dim], sizes)]
    found, start = [], 0
    for size in sizes:
        axes = list(source.axes)
        axes[dim] = cut(axes[dim], start, start + size, f"{call.name} cuts through it")
        found.append(axes)
        start += size
    return found


def _cat(call: Call) -> list[Axis]:
    """Segments one after the other; the other axes are permuted alike."""
    parts = [part for part in call.tensors if part.shape != (0,)]
    dim = call.argument(1, "dim", 0) % len(call.shape)
    for part in parts[1:]:
        for position, axis in enumerate(part.axes):
            if position != dim:
                join(parts[0].axes[position], axis, call.reason)
    axes = list(parts[0].axes)
    axes[dim] = tuple(product for part in parts for product in part.axes[dim])
    return axes


def _constant_pad(call: Call) -> list[Axis]:
    """Padding is a constant: its positions may be permuted like any others."""
    source, widths = call.tensors[0], call.arguments[1]
    axes = list(source.axes)
    for pair in range(len(widths) // 2):
        dim = len(axes) - 1 - pair
        before, after = widths[2 * pair : 2 * pair + 2]
        if min(before, after) < 0:
            return _unknown(call)
        sides = [free(width) if width else () for width in (before, after)]
        axes[dim] = (*sides[0], *axes[dim], *sides[1])
    return axes


def _repeat(call: Call) -> list[Axis]:
    source, counts = call.tensors[0], call.arguments[1]
    axes = [free(1)] * (len(counts) - len(source.axes)) + list(source.axes)
    tiles = "its positions are those of a tiling"
    return [
        axis if count == 1 else times(fixed(count, tiles), axis)
        for count, axis in zip(counts, axes, strict=True)
    ]


def _index(call: Call) -> list[Axis]:
    """Positions picked by a tensor of their numbers, along one axis or neighbouring ones."""
    source, chosen = call.arguments[:2]
    dims = [dim for dim, one in enumerate(chosen) if one is not None]
    if dims != list(range(dims[0], dims[-1] + 1)):
        return _unknown(call)
    for axis in (*source.axes[dims[0] : dims[-1] + 1], *(a for dim in dims for a in chosen[dim].axes)):
        pin(axis, f"{call.name} picks positions of it by number")
    before, after = source.axes[: dims[0]], source.axes[dims[-1] + 1 :]
    picked = call.shape[len(before) : len(call.shape) - len(after)]
    return [*before, *(fixed(size, call.reason) for size in picked), *after]


def _index_select(call: Call) -> list[Axis]:
    source, dim, numbers = call.arguments[:3]
    axes, dim = list(source.axes), dim % len(source.shape)
    for axis in (axes[dim], *numbers.axes):
        pin(axis, f"{call.name} picks positions of it by number")
    axes[dim] = fixed(call.shape[dim], call.reason)
    return axes


def _embedding(call: Call) -> list[Axis]:
    weight, indices = call.tensors
    for axis in (weight.axes[0], *indices.axes):
        pin(axis, "its positions are the numbers in the data")
    return [*indices.axes, weight.axes[1]]


# --- contractions ---------------------------------------------------------------------------


def _mm(call: Call) -> list[Axis]:
    """(…, k) times (…, k, n): leading axes alike, the contracted one alike."""
    *added, left, right = call.tensors
    for one, other in zip(left.axes[:-2], right.axes[:-2], strict=True):
        join(one, other, call.reason)
    join(left.axes[-1], right.axes[-2], call.reason)
    axes = [*left.axes[:-1], right.axes[-1]]
    for tensor in added:
        together = [tensor, Labelled(call.shape, axes)]
        axes = _pointwise(call._replace(arguments=tuple(together), options={}))
    return axes


def _convolution(call: Call) -> list[Axis]:
    """Channels are permuted, space is not; groups are permuted whole, and their channels inside each."""
    source, weight, bias = call.arguments[:3]
    transposed, groups = call.arguments[6], call.arguments[8]
    for axis in (*source.axes[2:], *weight.axes[2:]):
        pin(axis, "a convolution slides along it")
    across, within = weight.axes[:2]
    if groups > 1:
        reason = "groups of channels cut through it"
        outer = regrouped([across], (groups, weight.shape[0] // groups), reason)[0]
        nest(within, factors(outer)[-1], reason)
        within = times(outer, within)
    incoming, outgoing = (across, within) if transposed else (within, across)
    join(source.axes[1], incoming, call.reason)
    if bias is not None:
        join(outgoing, bias.axes[0], call.reason)
    space = [fixed(size, "a convolution slides along it") for size in call.shape[2:]]
    return [source.axes[0], outgoing, *space]


# --- normalisation and space ----------------------------------------------------------------


def _batch_norm(call: Call) -> list[list[Axis]]:
    source, *statistics = call.tensors
    for tensor in statistics:
        join(source.axes[1], tensor.axes[0], call.reason)
    return [source.axes]


def _layer_norm(call: Call) -> list[list[Axis]]:
    source, *affine = call.tensors
    for tensor in affine:
        for axis, other in zip(source.axes[-len(tensor.axes) :], tensor.axes, strict=True):
            join(axis, other, call.reason)
    return [source.axes]


def _group_norm(call: Call) -> list[list[Axis]]:
    """Whole groups are permuted, and the channels inside each."""
    source, *affine = call.tensors
    groups = call.argument(6, "group")
    for tensor in affine:
        join(source.axes[1], tensor.axes[0], call.reason)
    if groups > 1:
        shape = (groups, source.shape[1] // groups)
        regrouped([source.axes[1]], shape, "groups of channels cut through it")
    return [source.axes]


def _spatial(call: Call, num_dims: int) -> list[list[Axis]]:
    """Pooling, padding and scaling: channel by channel along space."""
    source = call.tensors[0]
    for axis in source.axes[-num_dims:]:
        pin(axis, f"{call.name} slides along it")
    space = [fixed(size, f"{call.name} slides along it") for size in call.shape[-num_dims:]]
    return [[*source.axes[:-num_dims], *space]]


RULES: dict[str, Rule] = {
    **dict.fromkeys(("clone", "alias", "detach", "_to_copy", "lift_fresh_copy"), _same),
    **dict.fromkeys(("_softmax", "_log_softmax"), _same),
    **dict.fromkeys(("full", "full_like", "zeros", "zeros_like", "ones", "ones_like"), _constant),
    **dict.fromkeys(("new_zeros", "new_ones", "new_full", "scalar_tensor"), _constant),
    **dict.fromkeys(("sum", "mean", "amax", "amin", "max", "min", "prod", "var", "any", "all"), _reduction),
    "view": _view,
    "_unsafe_view": _view,
    "permute": _permute,
    "unsqueeze": _unsqueeze,
    "squeeze": _squeeze,
    "expand": _expand,
    "repeat": _repeat,
    "select": _select,
    "slice": _slice,
    "split": _split,
    "split_with_sizes": _split,
    "cat": _cat,
    "constant_pad_nd": _constant_pad,
    "embedding": _embedding,
    "index": _index,
    "index_select": _index_select,
    "_unsafe_index": _index,
    "mm": _mm,
    "bmm": _mm,
    "addmm": _mm,
    "baddbmm": _mm,
    "convolution": _convolution,
    "_native_batch_norm_legit": _batch_norm,
    "_native_batch_norm_legit_no_training": _batch_norm,
    "native_layer_norm": _layer_norm,
    "native_group_norm": _group_norm,
}
