"""Positions that are picked by a list of numbers, as slices, of which it is known what they do to axes."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx

# What hands a constant on as it is, and the most slices that a list is made.
SAME = (torch.ops.aten.clone.default, torch.ops.aten.lift_fresh_copy.default, torch.ops.aten.detach.default)
MOST_SLICES = 8


def as_slices(graph: fx.Graph, constants: Mapping[str, Any]) -> None:
    """Replaces ``x[:, [2, 3]]`` by ``x[:, 2:4]``, and a list of several runs by slices one after the other.

    ``constants``: the tensor that a placeholder is. Only of lists along one axis that the graph itself holds.
    """
    for node in list(graph.nodes):
        found = _picked(node, constants)
        if found is None:
            continue
        source, dim, runs = found
        with graph.inserting_before(node):
            parts = [graph.call_function(torch.ops.aten.slice.Tensor, (source, dim, *run)) for run in runs]
            for part, (start, stop) in zip(parts, runs, strict=True):
                part.meta["val"] = source.meta["val"].narrow(dim, start, stop - start)
            whole = parts[0]
            if len(parts) > 1:
                whole = graph.call_function(torch.ops.aten.cat.default, (parts, dim))
                whole.meta["val"] = node.meta["val"]
        node.replace_all_uses_with(whole)
        graph.erase_node(node)


def _picked(node: fx.Node, constants: Mapping[str, Any]) -> tuple[fx.Node, int, list[tuple[int, int]]] | None:
    """What is picked from, along which axis, and the runs of neighbouring positions; None where it is no such list."""
    args: Any = node.args
    if node.target is torch.ops.aten.index.Tensor:
        lists = [(dim, one) for dim, one in enumerate(args[1]) if one is not None]
    elif node.target is torch.ops.aten.index_select.default:
        lists = [(args[1] % args[0].meta["val"].dim(), args[2])]
    else:
        return None
    (dim, chosen), *others = lists
    while isinstance(chosen, fx.Node) and chosen.target in SAME:
        chosen = chosen.args[0]
    numbers = constants.get(getattr(chosen, "name", ""))
    if others or not isinstance(numbers, Tensor) or numbers.dim() != 1 or numbers.dtype == torch.bool:
        return None
    size = args[0].meta["val"].shape[dim]
    runs: list[tuple[int, int]] = []
    for number in numbers.tolist():
        number %= size
        if runs and runs[-1][1] == number:
            runs[-1] = (runs[-1][0], number + 1)
        elif len(runs) == MOST_SLICES:
            return None
        else:
            runs.append((number, number + 1))
    return (args[0], dim, runs) if runs else None
