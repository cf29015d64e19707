"""Tensors nested in tuples, lists, dictionaries, named tuples and dataclasses: changed, cut and compared as one."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten


def mapped(change: Callable[[Tensor], Any], tree: Any) -> Any:
    """``tree`` with every tensor changed; everything else stays as it is."""
    if isinstance(tree, Tensor):
        return change(tree)
    if _is_record(tree):
        fields = [field.name for field in dataclasses.fields(tree) if field.init]
        return dataclasses.replace(tree, **{name: mapped(change, getattr(tree, name)) for name in fields})
    leaves, structure = tree_flatten(tree, is_leaf=_is_record)
    if len(leaves) == 1 and leaves[0] is tree:
        return tree
    return tree_unflatten([mapped(change, leaf) for leaf in leaves], structure)


def leaves(tree: Any) -> list[Any]:
    """Everything in a tree that holds nothing itself, tensors and others, in a fixed order."""
    if isinstance(tree, Tensor):
        return [tree]
    if _is_record(tree):
        return [leaf for field in dataclasses.fields(tree) for leaf in leaves(getattr(tree, field.name))]
    found, _ = tree_flatten(tree, is_leaf=_is_record)
    if len(found) == 1 and found[0] is tree:
        return [] if tree is None else [tree]
    return [leaf for one in found for leaf in leaves(one)]


def tensors(tree: Any) -> list[Tensor]:
    """Every tensor of a tree, in a fixed order."""
    return [leaf for leaf in leaves(tree) if isinstance(leaf, Tensor)]


def moving(tree: Any) -> list[Tensor]:
    """The floating-point tensors of a tree, in the order in which :func:`mapped` meets them.

    Of complex ones their real and imaginary parts along a last axis.
    """
    found: list[Tensor] = []

    def see(tensor: Tensor) -> None:
        if tensor.is_floating_point() or tensor.is_complex():
            found.append(torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor)

    mapped(see, tree)
    return found


def with_moving(tree: Any, others: Sequence[Tensor]) -> Any:
    """``tree`` with ``others`` in the places of those of :func:`moving`, as many and in their order."""
    left = iter(others)

    def other(tensor: Tensor) -> Tensor:
        if tensor.is_complex():
            return torch.complex(*next(left).unbind(-1))
        return next(left) if tensor.is_floating_point() else tensor

    return mapped(other, tree)


def rows(tree: Any, which: Any) -> Any:
    """The entries ``which`` (a slice, or numbers) along axis 0 of every tensor."""
    return mapped(lambda tensor: tensor[which], tree)


def count(tree: Any) -> int | None:
    """The length that axis 0 of all tensors has; None where they differ, or where there is none."""
    sizes = {len(tensor) if tensor.dim() else None for tensor in tensors(tree)}
    return sizes.pop() if len(sizes) == 1 else None


def described(tree: Any) -> str:
    """The shape of a tensor, else the class of what holds the tensors."""
    return str(tuple(tree.shape)) if isinstance(tree, Tensor) else type(tree).__name__


def largest(tree: Any) -> float:
    """The largest finite magnitude among the floating-point numbers of a tree; 0 where there is none."""
    return max(
        (float(t[t.isfinite()].abs().max()) for t in _numbers(tree) if bool(t.isfinite().any())), default=0.0
    )


def agree(one: Any, other: Any, tolerance: float) -> bool:
    """Whether two trees hold the same tensors but for rounding, relative to the largest number of each tensor.

    Also those that are attributes of other objects, such as distributions, where both have them: some are made when
    they are asked for.
    """
    if len(tensors(one)) != len(tensors(other)):
        return False
    some, others = held(one), held(other)
    pairs = [(some[name], others[name]) for name in some if name in others]
    return all(a.shape == b.shape and _close(a, b, tolerance) for a, b in pairs)


def held(tree: Any, depth: int = 3) -> dict[tuple[int | str, ...], Tensor]:
    """Every tensor of a tree, and those that are attributes of other objects in it, by where they are."""
    found: dict[tuple[int | str, ...], Tensor] = {}
    for number, one in enumerate(leaves(tree)):
        if isinstance(one, Tensor):
            found[(number,)] = one
        elif depth and hasattr(one, "__dict__") and not isinstance(one, type | Callable):
            for name, part in sorted(vars(one).items()):
                found |= {(number, name, *where): inner for where, inner in held(part, depth - 1).items()}
    return found


def _close(one: Tensor, other: Tensor, tolerance: float) -> bool:
    if one.is_complex():
        one, other = torch.view_as_real(one), torch.view_as_real(other.to(one.dtype))
    one, other = one.double(), other.double()
    return torch.allclose(one, other, rtol=tolerance, atol=tolerance * largest(other), equal_nan=True)


def _numbers(tree: Any) -> list[Tensor]:
    return [tensor for tensor in tensors(tree) if tensor.is_floating_point()]


def _is_record(tree: Any) -> bool:
    return dataclasses.is_dataclass(tree) and not isinstance(tree, type)
