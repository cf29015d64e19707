"""Targets that are several tensors, as for several heads: carried as one, and given back to the loss as they came."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_map, tree_unflatten

from landscape.errors import BadInput
from landscape.inputs.data.batches import ABSENT, TOGETHER, are_numbers, array_like, opened


@dataclass(frozen=True)
class Layout:
    """What holds the targets (a dictionary, a tuple, …), and the shape of a sample and the dtype of each of them.

    ``record``: the class of targets that are a dataclass, or a mapping of another kind than ``dict``.
    """

    held_by: TreeSpec
    shapes: tuple[torch.Size, ...]
    dtypes: tuple[torch.dtype, ...]
    record: Any = None

    def parted(self, targets: Tensor, beside: torch.dtype | None) -> Any:
        """The targets in the ``targets`` (n, m) of :func:`carried`; real ones no coarser than the dtype ``beside``."""
        found = []
        for (shape, dtype), part in zip(self._each, targets.split(self._widths, dim=1), strict=True):
            # In memory of its own, also where it is all there is, as a loss may write into what it is given.
            one = _numbers(part.clone(memory_format=torch.contiguous_format), dtype)
            one = torch.view_as_complex(one.unflatten(1, (-1, 2))) if dtype.is_complex else one
            one = one.reshape(len(targets), *shape)
            if dtype.is_floating_point and beside is not None:
                one = one.to(torch.promote_types(dtype, beside))
            found.append(one)
        held: Any = tree_unflatten(found, self.held_by)
        if self.record is None:
            return held
        has_fields = bool(getattr(self.record, "__dataclass_fields__", ()))
        return self.record(**held) if has_fields else self.record(held)

    def is_of(self, targets: Tensor) -> bool:
        """Whether ``targets`` can carry those laid out so."""
        return targets.dtype == torch.int64 and targets.shape[1:] == (sum(self._widths),)

    @property
    def _widths(self) -> list[int]:
        return [shape.numel() * (2 if dtype.is_complex else 1) for shape, dtype in self._each]

    @property
    def _each(self) -> list[tuple[torch.Size, torch.dtype]]:
        return list(zip(self.shapes, self.dtypes, strict=True))


def are_several(inputs: Any, targets: Any, known: Layout | None = None) -> bool:
    """Whether ``targets`` hold tensors with an entry for each of the samples that ``inputs`` have, side by side.

    No list that is like the inputs, as a training and a test pair are; nor one of as many that are alike, which may
    have one for each sample, unless a ``known`` layout is theirs.
    """
    targets = opened(targets)
    if not isinstance(targets, Mapping | tuple | list) or are_numbers(targets):
        return False
    leaves, held_by = tree_flatten(tree_map(array_like, targets))
    counts = {len(one) if isinstance(one, Tensor) and one.dim() else None for one in leaves}
    inside, inputs_held_by = tree_flatten(tree_map(array_like, inputs))
    tensors = [one for one in inside if isinstance(one, Tensor)]
    if len(counts) != 1 or None in counts or {len(one) if one.dim() else None for one in tensors} != counts:
        return False
    if known is not None and known.held_by == held_by:
        return True
    if isinstance(targets, Mapping):
        return True
    is_pair = held_by == inputs_held_by and list(map(_kind, inside)) == list(map(_kind, leaves))
    return not (is_pair or (len(targets) in counts and len({*map(_kind, leaves)}) == 1))


def carried(inputs: Any, targets: Any, where: str, known: Layout | None = None) -> tuple[Tensor, Layout]:
    """``targets`` as one tensor (n, m) of integers, the bits of what is real, which no change of dtype touches.

    ``known``: the layout of those before. Raises BadInput where they are not :func:`are_several`, laid out otherwise
    than those before, and for numbers that are NaN or infinite. ``where`` names what they are of.
    """
    if not are_several(inputs, targets, known):
        raise BadInput(f"the targets of {where} are a {type(targets).__name__}", "one tensor", TOGETHER)
    fields = opened(targets)
    leaves, held_by = tree_flatten(tree_map(array_like, fields))
    for one in leaves:
        if (one.is_floating_point() or one.is_complex()) and not bool(torch.isfinite(one).all()):
            count = int((~torch.isfinite(one)).sum())
            raise BadInput(
                f"{count} NaN or infinite numbers in the targets of {where}", "finite data", ABSENT
            )
    record = None if fields is targets else type(targets)
    shapes, dtypes = tuple(one.shape[1:] for one in leaves), tuple(one.dtype for one in leaves)
    layout = Layout(held_by, shapes, dtypes, record)
    if known not in (None, layout):
        raise BadInput(f"{where} has targets of other fields, shapes or dtypes", "those of the first batch")
    return torch.cat([_bits(one.detach()) for one in leaves], dim=1), layout


def _kind(one: Any) -> Any:
    return (one.shape[1:], one.dtype) if isinstance(one, Tensor) else type(one)


def _bits(one: Tensor) -> Tensor:
    """(n, m) integers; not every device has float64, so that only what is as wide goes by it."""
    one = torch.view_as_real(one.resolve_conj()) if one.is_complex() else one
    one = one.reshape(len(one), -1).contiguous()
    if not one.is_floating_point():
        return one.long()
    return one.view(torch.int64) if one.dtype == torch.float64 else one.float().view(torch.int32).long()


def _numbers(bits: Tensor, dtype: torch.dtype) -> Tensor:
    """What :func:`_bits` was made of, in its dtype; of complex numbers their parts."""
    real = dtype.to_real()
    if not real.is_floating_point:
        return bits.to(dtype)
    if real == torch.float64:
        return bits.view(torch.float64)
    return bits.to(torch.int32).view(torch.float32).to(real)
