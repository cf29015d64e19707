"""Vectors of which every process holds a part: one tensor to whoever computes with it, whole in shape alone.

A :class:`Spread` has the shape that the vector, or a stack of vectors, would have in one process. What is done entry by
entry is done on the parts; sums over entries (dot, norm, products of matrices) add one number, or a k × k block, over
the processes; anything else raises, so that no part can pass for the whole.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from landscape import distributed
from landscape.errors import BadInput
from landscape.numerics import sums

aten = torch.ops.aten


@dataclass(frozen=True)
class Layout:
    """Which entries of a vector of ``size`` lie here: ``ranges`` of them, (first, number), one after the other.

    ``copies``: in how many processes each entry lies.
    """

    size: int
    ranges: tuple[tuple[int, int], ...]
    copies: int = 1

    @property
    def size_here(self) -> int:
        """How many entries lie here."""
        return sum(count for _, count in self.ranges)

    def cut(self, start: int, stop: int) -> tuple["Layout", slice]:
        """That of the entries from ``start`` to ``stop``, and where they lie in the part here."""
        found, before, taken = [], 0, 0
        for first, count in self.ranges:
            low, high = max(first, start), min(first + count, stop)
            before += min(count, max(0, start - first))
            if high > low:
                found.append((low - start, high - low))
                taken += high - low
        return Layout(stop - start, tuple(found), self.copies), slice(before, before + taken)


class Spread(Tensor):
    """A tensor (…, d, …) of which the entries ``held`` along one axis lie here, as ``part``.

    ``axis`` is that axis, counted from the end. Raises BadInput for an operation that is neither entry by entry nor a
    sum, as of what the others hold nothing is here.
    """

    part: Tensor
    held: Layout
    axis: int

    @staticmethod
    def __new__(cls, part: Tensor, layout: Layout, axis: int = -1) -> "Spread":
        shape = list(part.shape)
        shape[axis] = layout.size
        how: dict[str, Any] = {"dtype": part.dtype, "device": part.device}
        made = torch.Tensor._make_wrapper_subclass(cls, shape, **how)  # pyright: ignore[reportAttributeAccessIssue]
        made.part, made.held, made.axis = part, layout, axis
        return made

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        """A line: its numbers are not all here."""
        return f"Spread{tuple(self.shape)}, {self.part.numel()} entries here"

    def numpy(self, *, force: bool = False) -> Any:
        raise _refused("an array")

    def tolist(self) -> Any:
        raise _refused("a list")

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in MATMULS and args[0].dim() == 1 and args[1].dim() == 2:
            # torch would change the shape of what it has made.
            func, args = torch.mv, (args[1].T, args[0])
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if (rule := RULES.get(func)) is not None:
            return rule(func, *args, **kwargs)
        if torch.Tag.pointwise in func.tags or func in ENTRYWISE:
            return _by_entry(func, args, kwargs)
        raise _refused(str(func).removeprefix("aten.").partition(".")[0])


def local(tensor: Tensor) -> Tensor:
    """What of ``tensor`` lies in this process: all of one that is whole."""
    return tensor.part if isinstance(tensor, Spread) else tensor


def _refused(what: str) -> BadInput:
    return BadInput(
        f"the parameters are sharded, and {what} needs them in one process",
        "hessian, slice1d, slice2d, sharpness, compare, interpolate or connect, which take a sharded module",
        "gather the module, as torch.distributed.checkpoint.state_dict.get_model_state_dict does, and give it whole",
    )


def _total(part: Tensor, layout: Layout) -> Tensor:
    """The sum over the processes, in float64 on the way."""
    found = distributed.total(part.double())
    return (found / layout.copies if layout.copies > 1 else found).to(part.dtype)


MATMULS = {torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__}
ENTRYWISE = {
    *(aten.clone.default, aten.detach.default, aten._to_copy.default, aten.alias.default, aten.copy_.default),
    *(aten.zeros_like.default, aten.empty_like.default, aten.ones_like.default, aten.zero_.default),
    *(aten.fill_.Scalar, aten.lift_fresh.default),
}


def _by_entry(func: Any, args: Any, kwargs: Any) -> Any:
    """On the parts; what is whole must have one entry along the axis that is not, or no such axis."""
    spread = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Spread)]
    layout, axis = spread[0].held, spread[0].axis
    for one in tree_leaves((args, kwargs)):
        if isinstance(one, Spread):
            if (one.held, one.axis) != (layout, axis):
                raise _refused("a sum of vectors that are not spread alike")
        elif isinstance(one, Tensor) and one.dim() >= -axis and one.shape[axis] != 1:
            raise _refused("a vector that is not spread")
    made = func(*tree_map(local, args), **tree_map(local, kwargs))
    # What is written into is the same object afterwards.
    return args[0] if func._schema.is_mutable else Spread(made, layout, axis)


def _sum(func: Any, one: Spread, dim: Any = None, keepdim: bool = False, **how: Any) -> Tensor:
    dims = range(one.dim()) if dim is None or dim == [] else [dim] if isinstance(dim, int) else dim
    dims = sorted(number % one.dim() for number in dims)
    made = torch.sum(one.part, dims, keepdim=keepdim, **how)
    return _left(made, one, dims, keepdim) if one.dim() + one.axis not in dims else _total(made, one.held)


def _left(made: Tensor, one: Spread, dims: Sequence[int], keepdim: bool) -> Spread:
    """What is spread still after axes were taken away."""
    gone = 0 if keepdim else sum(number > one.dim() + one.axis for number in dims)
    return Spread(made, one.held, one.axis + gone)


def _norm(
    func: Any, one: Spread, ord: float = 2, dim: Any = None, keepdim: bool = False, **how: Any
) -> Tensor:
    if ord != 2:
        raise _refused(f"a norm of order {ord}")
    dims = None if dim is None else [dim] if isinstance(dim, int) else list(dim)
    kept = how.get("dtype") or one.dtype
    numbers = sorted(number % one.dim() for number in (range(one.dim()) if dims is None else dims))
    if one.dim() + one.axis not in numbers:
        return _left(torch.linalg.vector_norm(one.part, 2, dims, keepdim, **how), one, numbers, keepdim)
    if numbers == [one.dim() - 1]:
        made = sums.norms(one.part)
        made = made.unsqueeze(-1) if keepdim else made
    else:
        made = torch.linalg.vector_norm(one.part, 2, dims, keepdim, dtype=torch.float64)
    return _total(made.square(), one.held).sqrt().to(kept)


def _product(func: Any, one: Tensor, other: Tensor) -> Tensor:
    """Dot products and matrix products: over the axis that is spread a sum, along it parts."""
    contracts = [isinstance(a, Spread) and a.axis == b for a, b in ((one, -1), (other, -min(other.dim(), 2)))]
    if all(contracts):
        assert isinstance(one, Spread)
        assert isinstance(other, Spread)
        if one.held != other.held:
            raise _refused("a product of vectors that are not spread alike")
        return _total(sums.product(one.part, other.part), one.held)
    if any(contracts) or (isinstance(one, Spread) and isinstance(other, Spread)):
        raise _refused("a product with what is not spread alike")
    made = func(local(one), local(other))
    kept = one if isinstance(one, Spread) else other
    assert isinstance(kept, Spread)
    return Spread(made, kept.held, -made.dim() if kept is one else -1)


def _is_any(func: Any, one: Spread) -> Tensor:
    found = one.part.any() if func is aten.any.default else one.part.logical_not().any()
    anywhere = distributed.total(found.double()) > 0
    return anywhere if func is aten.any.default else ~anywhere


def _is_same(func: Any, one: Tensor, other: Tensor) -> bool:
    same = isinstance(one, Spread) and isinstance(other, Spread) and one.held == other.held
    if not same:
        raise _refused("a comparison with what is not spread alike")
    return not bool(distributed.total(torch.tensor(float(not torch.equal(local(one), local(other))))))


def _extreme(func: Any, one: Spread) -> Tensor:
    sign = 1 if func is aten.max.default else -1
    here = float((sign * one.part).max()) if one.part.numel() else -np.inf
    return torch.tensor(sign * distributed.largest(here)[0], dtype=one.dtype, device=one.device)


def _triangle(func: Any, one: Spread, mode: str = "reduced") -> tuple[Any, Tensor]:
    """(Q, R) of tall (d, k): R from the triangles of all parts (Demmel et al. 2012), Q by it, for k of full rank."""
    if one.dim() != 2 or one.axis != -2:
        raise _refused("a factorisation")
    width = one.shape[1]
    own = torch.linalg.qr(one.part, mode="r").R
    stacked = own.new_zeros((distributed.num_processes(), width, width))
    stacked[distributed.rank(), : len(own)] = own / one.held.copies**0.5
    triangle = torch.linalg.qr(distributed.total(stacked).reshape(-1, width), mode="r").R
    if mode == "r":
        return one.part.new_empty(0), triangle
    q = torch.linalg.solve_triangular(triangle, one.part, upper=True, left=False)
    return Spread(q, one.held, -2), triangle


def _turned(func: Any, one: Spread, *dims: Any) -> Spread:
    """The transpose of a matrix."""
    order = dims[0] if dims and isinstance(dims[0], list | tuple) else dims
    if one.dim() != 2 or (order and {number % 2 for number in order} != {0, 1}) or list(order) == [0, 1]:
        raise _refused("another order of the axes")
    return Spread(one.part.t(), one.held, -3 - one.axis)


def _sliced(
    func: Any, one: Spread, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> Spread:
    if dim % one.dim() != one.dim() + one.axis:
        return Spread(func(one.part, dim, start, end, step), one.held, one.axis)
    start, stop, _ = slice(start, end).indices(one.held.size)
    if step != 1:
        raise _refused("every k-th entry")
    layout, here = one.held.cut(start, max(start, stop))
    return Spread(aten.slice.Tensor(one.part, dim, here.start, here.stop), layout, one.axis)


def _split(func: Any, one: Spread, sizes: Sequence[int], dim: int = 0) -> list[Spread]:
    ends = np.cumsum([0, *sizes]).tolist()
    return [_sliced(func, one, dim, *pair) for pair in itertools.pairwise(ends)]


def _in_blocks(func: Any, one: Spread, size: int, dim: int = 0) -> list[Spread]:
    return [_sliced(func, one, dim, at, at + size) for at in range(0, one.shape[dim], size)]


def _selected(func: Any, one: Spread, dim: int, index: int) -> Spread:
    if dim % one.dim() == one.dim() + one.axis:
        raise _refused("a single entry")
    return _left(func(one.part, dim, index), one, [dim % one.dim()], keepdim=False)


def _unbound(func: Any, one: Spread, dim: int = 0) -> list[Spread]:
    return [_selected(aten.select.int, one, dim, number) for number in range(one.shape[dim])]


def _indexed(func: Any, one: Spread, indices: Any) -> Spread:
    if len(indices) != 1 or one.dim() != 2 or one.axis != -1:
        raise _refused("a choice of entries")
    return Spread(func(one.part, indices), one.held, -1)


def _put(func: Any, one: Spread, indices: Any, value: Tensor, accumulate: bool = False) -> Spread:
    if len(indices) != 1 or one.dim() != 2 or one.axis != -1 or not isinstance(value, Spread):
        raise _refused("a choice of entries")
    func(one.part, indices, value.part, accumulate)
    return one


def _expanded(func: Any, one: Spread, size: Sequence[int], **_: Any) -> Spread:
    size = list(size)
    size[one.axis] = one.held.size_here
    return Spread(one.part.expand(size), one.held, one.axis)


def _with_outer(func: Any, one: Spread, rows: Tensor, along: Spread, **how: Any) -> Spread:
    """A multiple of every row more of a vector."""
    if one.axis != -1 or not isinstance(along, Spread) or along.held != one.held:
        raise _refused("an outer product with what is not spread alike")
    func(one.part, rows, along.part, **how)
    return one


def _joined(func: Any, parts: Sequence[Tensor], dim: int = 0) -> Spread:
    first = next(one for one in parts if isinstance(one, Spread))
    alike = [
        one for one in parts if isinstance(one, Spread) and (one.held, one.axis) == (first.held, first.axis)
    ]
    if len(alike) != len(parts) or dim != 0 or (func is aten.cat.default and first.dim() + first.axis == 0):
        raise _refused("putting vectors together")
    return Spread(func([local(one) for one in parts], dim), first.held, first.axis)


def _unsqueezed(func: Any, one: Spread, dim: int) -> Spread:
    place = dim % (one.dim() + 1)
    return Spread(func(one.part, dim), one.held, one.axis - (place > one.dim() + one.axis))


def _fresh(func: Any, one: Spread, size: Sequence[int], **how: Any) -> Tensor:
    """Of vectors as long as these, spread as these are; of others, whole."""
    if not size or size[-1] != one.held.size:
        return func(one.part, size, **how)
    return Spread(func(one.part, [*size[:-1], one.held.size_here], **how), one.held)


def _shaped(func: Any, one: Spread, size: Sequence[int]) -> Spread:
    """A vector in the shape of a parameter, of which whole rows lie here; and back."""
    held, last = one.held, list(size[1:])
    if one.dim() == 1 and size:
        row = int(np.prod(last, dtype=int))
        if -1 in last or any(first % max(row, 1) or count % max(row, 1) for first, count in held.ranges):
            raise _refused("a shape of which no whole rows lie here")
        rows = tuple((first // row, count // row) for first, count in held.ranges)
        layout = Layout(held.size // max(row, 1), rows, held.copies)
    elif one.axis == -one.dim() and not last:
        row = int(np.prod(one.shape[1:], dtype=int))
        layout = Layout(held.size * row, tuple((a * row, b * row) for a, b in held.ranges), held.copies)
    else:
        raise _refused("another shape")
    return Spread(one.part.reshape(-1, *last), layout, -len(size))


RULES: dict[Any, Callable[..., Any]] = {
    aten.sum.default: _sum,
    aten.sum.dim_IntList: _sum,
    aten.linalg_vector_norm.default: _norm,
    aten.dist.default: lambda func, one, other, p=2: torch.linalg.vector_norm(one - other, p),
    aten.dot.default: _product,
    aten.mv.default: _product,
    aten.mm.default: _product,
    aten.addr_.default: _with_outer,
    aten.any.default: _is_any,
    aten.all.default: _is_any,
    aten.equal.default: _is_same,
    aten.max.default: _extreme,
    aten.min.default: _extreme,
    aten.linalg_qr.default: _triangle,
    aten.t.default: _turned,
    aten.permute.default: _turned,
    aten.transpose.int: _turned,
    aten.slice.Tensor: _sliced,
    aten.select.int: _selected,
    aten.unbind.int: _unbound,
    aten.index.Tensor: _indexed,
    aten.index_put_.default: _put,
    aten.expand.default: _expanded,
    aten.split_with_sizes.default: _split,
    aten.split.Tensor: _in_blocks,
    aten.cat.default: _joined,
    aten.stack.default: _joined,
    aten.unsqueeze.default: _unsqueezed,
    aten.new_empty.default: _fresh,
    aten.new_zeros.default: _fresh,
    aten.view.default: _shaped,
    aten._unsafe_view.default: _shaped,
}
