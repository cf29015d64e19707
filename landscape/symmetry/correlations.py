"""How alike the units of two points of one module are on data: correlations of their activations."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, fx

from landscape.symmetry.axes import factors, resolved
from landscape.symmetry.matching import Costs, units
from landscape.symmetry.tracing import Traced

# Before a unit's variance counts as one.
SMALLEST = 1e-12


def correlations(
    traced: Traced, a: Mapping[str, Tensor], b: Mapping[str, Tensor], batches: Iterable[tuple[Tensor, ...]]
) -> dict[int, Costs]:
    """Pearson's correlation of every unit of A with every unit of B, summed over the places where they are seen.

    A unit's samples are its values over all data and positions; the places are the outputs of activation
    functions, or all nodes where a group has none (Li et al. 2016; Ainsworth et al. 2023, section 3.1).
    ``batches``: float64 inputs of the very shapes that were traced.
    """
    places = _places(traced)
    sums: dict[tuple[fx.Node, int, int | None], _Moments] = {}
    for inputs in batches:
        first, second = (_Recorder(traced, places).values(tensors, inputs) for tensors in (a, b))
        for node, wanted in places.items():
            for outer, inner in wanted:
                rows = [_rows(traced, node, one[node], outer, inner) for one in (first, second)]
                sums.setdefault((node, outer, inner), _Moments()).add(*rows)
    costs: dict[int, Costs] = {}
    for unit in units(traced.symmetry):
        size = traced.symmetry.groups[unit].size
        costs[unit] = Costs(torch.zeros(size, size, dtype=torch.float64), {})
    for (_, outer, inner), moments in sums.items():
        found = moments.correlation()
        if inner is None:
            costs[outer].own.add_(found)
        else:
            nested = costs[outer].nested
            nested[inner] = nested[inner] + found if inner in nested else found
    return costs


class _Moments:
    """Sums over samples of two sets of units, (…, n, samples) each, nested ones in pairs of their outer units."""

    def __init__(self) -> None:
        self.parts: list[Tensor] = []
        self.count = 0

    def add(self, u: Tensor, v: Tensor) -> None:
        products = u @ v.T if u.dim() == 2 else torch.einsum("iak,jbk->ijab", u, v)
        new = [u.sum(-1), v.sum(-1), u.square().sum(-1), v.square().sum(-1), products]
        self.count += u.shape[-1]
        self.parts = [x + y for x, y in zip(self.parts, new, strict=True)] if self.parts else new

    def correlation(self) -> Tensor:
        count = self.count
        u, v, u2, v2, products = self.parts
        spread = [(s - m.square() / count).clamp_min(SMALLEST).sqrt() for s, m in ((u2, u), (v2, v))]
        if u.dim() == 1:
            return (products - u[:, None] * v / count) / (spread[0][:, None] * spread[1])
        outside = [torch.einsum("ia,jb->ijab", *pair) for pair in ((u, v), spread)]
        return (products - outside[0] / count) / outside[1]


class _Recorder(fx.Interpreter):
    """Runs the graph and keeps the values at some places."""

    def __init__(self, traced: Traced, places: Mapping[fx.Node, Any]):
        super().__init__(traced.graph, garbage_collect_values=True)
        self.traced, self.places = traced, places
        self.kept: dict[fx.Node, Tensor] = {}

    def values(self, tensors: Mapping[str, Tensor], inputs: tuple[Tensor, ...]) -> dict[fx.Node, Tensor]:
        waiting = list(inputs)
        given = [
            tensors[self.traced.names[node.name]]
            if node.name in self.traced.names
            else self._other(node, waiting)
            for node in self.traced.graph.graph.nodes
            if node.op == "placeholder"
        ]
        with torch.no_grad():
            self.run(*given)
        return self.kept

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n in self.places:
            self.kept[n] = value
        return value

    def _other(self, node: fx.Node, waiting: list[Tensor]) -> Tensor:
        constant = self.traced.constants.get(node.name)
        return waiting.pop(0) if constant is None else constant


def _places(traced: Traced) -> dict[fx.Node, list[tuple[int, int | None]]]:
    """The nodes at which each unit, and each group nested in one, is looked at."""
    structure = units(traced.symmetry)
    seen: dict[tuple[int, int | None], dict[tuple[bool, bool], list[fx.Node]]] = {}
    for node, found in traced.nodes.items():
        value = node.meta.get("val")
        if node.op != "call_function" or not isinstance(value, Tensor) or not value.is_floating_point():
            continue
        here = _groups(traced, found.axes)
        wanted = [
            (unit, None) for unit in structure if unit in here and not traced.symmetry.groups[unit].reason
        ]
        wanted += [(unit, one) for unit in structure for one in structure[unit] if {unit, one} <= set(here)]
        for key in wanted:
            unit, one = key
            # Beside another group of the same unit, whose order in B is not known either, the samples are mixed.
            mixed = one is not None and any(other in here for other in structure[unit] if other != one)
            seen.setdefault(key, {}).setdefault((mixed, not _is_activation(node)), []).append(node)
    places: dict[fx.Node, list[tuple[int, int | None]]] = {}
    for key, nodes in seen.items():
        for node in nodes[min(nodes)]:
            places.setdefault(node, []).append(key)
    return places


def _is_activation(node: fx.Node) -> bool:
    target: Any = node.target
    tags = getattr(target, "tags", ())
    return torch.Tag.pointwise in tags and len(node.all_input_nodes) == 1


def _groups(traced: Traced, axes: Any) -> list[int]:
    """The groups of a node's axes; a concatenation is seen where its parts are made."""
    whole = [axis for axis in map(resolved, axes) if len(axis) == 1]
    return [traced.groups[one] for axis in whole for one in factors(axis) if one in traced.groups]


def _rows(traced: Traced, node: fx.Node, value: Tensor, outer: int, inner: int | None) -> Tensor:
    """The node's values as (n, samples), or (n, m, samples) with a nested group."""
    labels: list[int | None] = []
    shape: list[int] = []
    for axis, size in zip(traced.nodes[node].axes, value.shape, strict=True):
        axis = resolved(axis)
        parts = factors(axis) if len(axis) == 1 else []
        labels += [traced.groups.get(one) for one in parts] or [None]
        shape += [one.size for one in parts] or [size]
    value = value.reshape(shape)
    front = [labels.index(group) for group in (outer, inner) if group is not None]
    order = [*front, *(k for k in range(len(shape)) if k not in front)]
    return (
        value.permute(order).flatten(len(front))
        if len(order) > len(front)
        else value.permute(order)[..., None]
    )
