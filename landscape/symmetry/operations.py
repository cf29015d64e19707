"""What each operation of a traced graph does to the axes of its tensors.

Every rule says which permutations of the inputs the operation turns into which permutation of its
output. The operations are those of PyTorch's Core ATen IR, into which ``torch.export`` decomposes; one
that has no rule pins every axis that reaches it, so what is not understood is never permuted.
"""

import re
from typing import Any

from landscape.symmetry import reshaping
from landscape.symmetry.axes import Axis, factors, fixed, free, join, nest, pin, times
from landscape.symmetry.calls import Call, Labelled, Rule, unknown
from landscape.symmetry.views import regrouped


def axes_of(call: Call) -> Any:
    """The axes of what a call returns: a list of them for each tensor, the first of several where they are many."""
    rule = RULES.get(call.name) or (_pointwise if call.is_pointwise else None)
    spatial = re.search(r"(pool|upsample_\w+|_pad)(\d)d", call.name)
    if rule is None and spatial:
        return _spatial(call, int(spatial[2]))
    return (rule or unknown)(call)


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


def constant(call: Call) -> list[Axis]:
    """One number everywhere is the same under every permutation."""
    return [free(size) for size in call.shape]


# --- reductions -----------------------------------------------------------------------------


def _reduction(call: Call) -> list[Axis]:
    """Sums, means and maxima over an axis do not see its order."""
    (source,) = call.tensors
    dims = call.argument(2 if call.name == "linalg_vector_norm" else 1, "dim")
    count = len(source.shape)
    chosen = range(count) if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims
    gone = {dim % count for dim in chosen} if count else set()
    if len(call.shape) == count:
        return [free(1) if dim in gone else axis for dim, axis in enumerate(source.axes)]
    return [axis for dim, axis in enumerate(source.axes) if dim not in gone]


def _trilinear(call: Call) -> list[Axis]:
    """Three tensors, each with axes of one position put in, multiplied element by element and summed over some axes."""
    gone, widened = set(call.arguments[6]), []
    for tensor, places in zip(call.arguments[:3], call.arguments[3:6], strict=True):
        shape, axes = list(tensor.shape), list(tensor.axes)
        for place in sorted(places):
            shape.insert(place, 1)
            axes.insert(place, free(1))
        widened.append(Labelled(tuple(shape), axes))
    whole = tuple(max(sizes) for sizes in zip(*(one.shape for one in widened), strict=True))
    axes = _pointwise(call._replace(arguments=tuple(widened), options={}, shape=whole))
    return [axis for dim, axis in enumerate(axes) if dim not in gone]


def _along(call: Call) -> Any:
    """What goes along some axes, as a running sum, a sort or a Fourier transform: alike at each position of others."""
    source = call.tensors[0]
    if not call.shape:
        return unknown(call)
    dims = call.argument(2 if call.name in ("topk", "roll") else 1, "dim", -1)
    chosen = {dim % len(call.shape) for dim in ([dims] if isinstance(dims, int) else dims)}
    for dim in chosen or range(len(call.shape)):
        pin(source.axes[dim], call.reason)
    axes = [
        fixed(call.shape[dim], call.reason) if dim in chosen else axis for dim, axis in enumerate(source.axes)
    ]
    return [axes, axes] if call.name in ("sort", "topk", "cummax", "cummin") else axes


def _number(call: Call) -> list[Axis]:
    """The number of a position, as that of the largest one."""
    dim = call.argument(1, "dim")
    if dim is None:
        return unknown(call)
    pin(call.tensors[0].axes[dim], call.reason)
    return _reduction(call)


def _by_number(call: Call) -> list[Axis]:
    """Positions picked, or written to, by number along one axis, other ones at each position of the others."""
    source, numbers, *written = call.tensors
    dim = call.arguments[1] % max(len(source.shape), 1)
    for one in (source, *written):
        for position, (axis, other) in enumerate(zip(one.axes, numbers.axes, strict=True)):
            if position != dim and one.shape[position] == numbers.shape[position]:
                join(axis, other, call.reason)
            else:
                pin(axis, call.picks)
    return numbers.axes if call.name == "gather" else source.axes


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


def _cdist(call: Call) -> list[Axis]:
    """Distances of (…, m, k) from (…, n, k): of all coordinates alike."""
    left, right = call.tensors[:2]
    join(left.axes[-1], right.axes[-1], call.reason)
    rows = Labelled((*left.shape[:-1], 1), [*left.axes[:-1], free(1)])
    columns = Labelled((*right.shape[:-2], 1, right.shape[-2]), [*right.axes[:-2], free(1), right.axes[-2]])
    return _pointwise(call._replace(arguments=(rows, columns), options={}))


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
    **dict.fromkeys(("full", "full_like", "zeros", "zeros_like", "ones", "ones_like"), constant),
    **dict.fromkeys(("new_zeros", "new_ones", "new_full", "scalar_tensor"), constant),
    **dict.fromkeys(("sum", "mean", "amax", "amin", "max", "min", "prod", "var", "any", "all"), _reduction),
    **dict.fromkeys(
        ("cumsum", "cumprod", "logcumsumexp", "sort", "topk", "cummax", "cummin", "roll"), _along
    ),
    **dict.fromkeys(("argmax", "argmin"), _number),
    **dict.fromkeys(("gather", "scatter", "scatter_add", "scatter_reduce"), _by_number),
    **dict.fromkeys(("complex", "polar"), _pointwise),
    **dict.fromkeys(("_fft_r2c", "_fft_c2c", "_fft_c2r"), _along),
    "linalg_vector_norm": _reduction,
    "_trilinear": _trilinear,
    "view": reshaping.view,
    "_unsafe_view": reshaping.view,
    "permute": reshaping.permute,
    "flip": reshaping.flip,
    "as_strided": reshaping.as_strided,
    "view_as_complex": reshaping.real_as_complex,
    "view_as_real": reshaping.complex_as_real,
    "unsqueeze": reshaping.unsqueeze,
    "squeeze": reshaping.squeeze,
    "expand": reshaping.expand,
    "repeat": reshaping.repeat,
    "select": reshaping.select,
    "slice": reshaping.sliced,
    "split": reshaping.split,
    "split_with_sizes": reshaping.split,
    "cat": reshaping.cat,
    "constant_pad_nd": reshaping.constant_pad,
    "embedding": reshaping.embedding,
    **dict.fromkeys(("_embedding_bag", "_embedding_bag_forward_only"), reshaping.embedding_bag),
    "index": reshaping.indexed,
    "index_select": reshaping.index_select,
    **dict.fromkeys(("index_put", "_unsafe_index_put"), reshaping.index_put),
    "_unsafe_index": reshaping.indexed,
    "mm": _mm,
    "bmm": _mm,
    "addmm": _mm,
    "baddbmm": _mm,
    "_cdist_forward": _cdist,
    "convolution": _convolution,
    "_native_batch_norm_legit": _batch_norm,
    "_native_batch_norm_legit_no_training": _batch_norm,
    "native_layer_norm": _layer_norm,
    "native_group_norm": _group_norm,
}

# What makes of a constant, one number everywhere, another one.
KEPT = (
    "view",
    "_unsafe_view",
    "permute",
    "unsqueeze",
    "squeeze",
    "expand",
    "repeat",
    "select",
    "slice",
    "split",
)
KEPT += ("split_with_sizes", "clone", "alias", "detach", "_to_copy", "lift_fresh_copy")
