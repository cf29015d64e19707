"""Which axes of their operands the operations of torch sum over, and how that cuts a parameter into filters.

An operand is known by the places of its numbers in a parameter, an integer tensor of its own shape, 1 for the
first number and 0 for what is none of them. Whatever moves the numbers moves these places as well.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from landscape.objective.uses import Cut

aten = torch.ops.aten

# By the position of the operand among the arguments, the axes of it that are summed over.
PRODUCTS: Mapping[Any, Mapping[int, tuple[int, ...]]] = {
    aten.mm: {0: (1,), 1: (0,)},
    aten.addmm: {1: (1,), 2: (0,)},
    aten._addmm_activation: {1: (1,), 2: (0,)},
    aten.bmm: {0: (2,), 1: (1,)},
    aten.baddbmm: {1: (2,), 2: (1,)},
    aten.addbmm: {1: (0, 2), 2: (0, 1)},
    aten.mv: {0: (1,), 1: (0,)},
    aten.addmv: {1: (1,), 2: (0,)},
    aten.dot: {0: (0,), 1: (0,)},
    aten.vdot: {0: (0,), 1: (0,)},
    aten._cdist_forward: {0: (-1,), 1: (-1,)},
    aten._euclidean_dist: {0: (-1,), 1: (-1,)},
}
# Recurrent layers in one operation: every matrix among the arguments has its outputs along axis 0.
RECURRENT = {aten.mkldnn_rnn_layer, aten._cudnn_rnn, aten.miopen_rnn, aten._lstm_mps}
# What a look at an axis needs to tell whether the places change along it.
MOST_PLACES = 33


class Operand(NamedTuple):
    """A tensor with the axes that are summed over, once its places have been ``folded``."""

    tensor: Tensor
    summed: Sequence[int]
    folded: Callable[[Tensor], Tensor] = lambda places: places


def operands(operation: Any, args: Sequence[Any]) -> list[Operand]:
    """The operands of a sum of products; none where the operation is no such sum."""
    if operation in PRODUCTS:
        return [Operand(args[position], axes) for position, axes in PRODUCTS[operation].items()]
    if operation is aten.convolution:
        return list(_convolution(*args))
    if operation is aten._trilinear:
        return list(_trilinear(*args))
    if operation in RECURRENT:
        matrices = [one for one in _flat(args[1:]) if one.dim() == 2]
        return [Operand(args[0], (-1,)), *(Operand(one, (1,)) for one in matrices)]
    return []


def _convolution(x: Tensor, weight: Tensor, bias: Any, *others: Any) -> Iterator[Operand]:
    is_transposed, groups = others[3], others[5]
    yield Operand(x, tuple(range(1, x.dim())))
    if not is_transposed:
        yield Operand(weight, tuple(range(1, weight.dim())))
        return
    inputs, *rest = weight.shape
    shape = (groups, inputs // groups, *rest)
    yield Operand(weight, (1, *range(3, len(shape))), lambda places: places.reshape(shape))


def _trilinear(*args: Any) -> Iterator[Operand]:
    for position in range(3):
        added, summed = args[3 + position], args[6]

        def folded(places: Tensor, added: Sequence[int] = added) -> Tensor:
            for axis in sorted(added):
                places = places.unsqueeze(axis)
            return places

        yield Operand(args[position], tuple(summed), folded)


def _flat(args: Sequence[Any]) -> list[Tensor]:
    nested = [one if isinstance(one, list | tuple) else [one] for one in args]
    return [one for part in nested for one in part if isinstance(one, Tensor)]


def cut_of(places: Tensor, summed: Sequence[int], shape: Sequence[int]) -> Cut | None:
    """In how many parts each axis of a parameter of ``shape`` is cut by the units of an operand that has ``places``.

    As in :class:`~landscape.numerics.pieces.Piece`; None for an axis along which the operand does not change, and
    altogether where an axis is cut otherwise than into equal parts.
    """
    summed = [axis % places.dim() for axis in summed]
    units = [axis for axis in range(places.dim()) if axis not in summed]
    places = _thinned(places)
    cut: list[int | None] = []
    hole, rest = places == 0, places - 1
    for axis, size in enumerate(shape):
        here = (rest // prod(shape[axis + 1 :])) % size
        is_summed, is_cut = _changes(here, hole, summed), _changes(here, hole, units)
        if is_summed and is_cut:
            parts = (count for count in range(2, size) if size % count == 0)
            fitting = [
                count
                for count in parts
                if not _changes(here // (size // count), hole, summed)
                and not _changes(here % (size // count), hole, units)
            ]
            if not fitting:
                return None
            cut.append(fitting[0])
        else:
            cut.append(size if is_cut else 1 if is_summed else None)
    return tuple(cut)


def _thinned(places: Tensor) -> Tensor:
    """Some of the entries along every axis, the first and the last among them."""
    for axis, size in enumerate(places.shape):
        if size > MOST_PLACES:
            spread = torch.linspace(0, size - 1, MOST_PLACES - 1, dtype=torch.float64).round().long()
            kept = torch.cat([spread, torch.ones(1, dtype=torch.int64)]).unique().to(places.device)
            places = places.index_select(axis, kept)
    return places


def _changes(values: Tensor, hole: Tensor, axes: Sequence[int]) -> bool:
    if not axes:
        return False
    low = values.masked_fill(hole, torch.iinfo(values.dtype).max).amin(list(axes))
    high = values.masked_fill(hole, -1).amax(list(axes))
    return bool((high > low).any())
