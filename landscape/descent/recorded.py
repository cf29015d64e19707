"""The graph of a stack's gradients, recorded once and replayed, as calling it takes longer than its arithmetic."""

import warnings
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from torch.fx import Graph
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_flatten, tree_unflatten

from landscape.objective.batching import REFUSALS, by_rules_alone

# Columns of a product below which the libraries for matrices are slow.
NARROW = 8


def recorded_function(
    function: Callable[..., Any], thetas: Tensor, x: tuple[Any, ...], y: Tensor
) -> Callable[..., Any] | None:
    """``function`` as a graph without Python between its operations, or as it is where that cannot be had.

    None where vmap itself cannot: control flow that looks at values, operations without a batching rule.
    """
    with warnings.catch_warnings(), by_rules_alone(), sdpa_kernel(SDPBackend.MATH):
        try:
            function(thetas, x, y)
        except REFUSALS:
            return None
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        parts, structure = tree_flatten(x)
        flat = lambda thetas, y, *x: function(thetas, tree_unflatten(list(x), structure), y)  # noqa: E731
        if not all(isinstance(part, Tensor) for part in parts):
            return function
        try:
            graph = make_fx(flat)(thetas, y, *parts)
            _reshaped_products(graph.graph)
            graph.graph.eliminate_dead_code()
            graph.recompile()
            traced = torch.jit.trace(graph.eval(), (thetas, y, *parts), check_trace=False)
            script = torch.jit.freeze(cast(torch.jit.ScriptModule, traced))
            # The first runs record shapes; what they may refuse, the function itself still does.
            for _ in range(3):
                script(thetas, y, *parts)
        except REFUSALS:
            return function
    return lambda thetas, x, y: script(thetas, y, *tree_flatten(x)[0])


def _reshaped_products(graph: Graph) -> None:
    """Batched products in the shape that is fastest: outer ones elementwise, narrow right factors on the left.

    A product over all samples takes two to six times as long where its right factor is narrow.
    """
    aten = torch.ops.aten
    for node in list(graph.nodes):
        if node.target is not aten.bmm.default:
            continue
        left, right = node.args
        (_, rows, inner), (*_, columns) = left.meta["tensor_meta"].shape, right.meta["tensor_meta"].shape
        with graph.inserting_before(node):
            if inner == 1:
                new = graph.call_function(aten.mul.Tensor, (left, right))
            elif columns < NARROW <= rows and inner > columns:
                turned = [graph.call_function(aten.transpose.int, (one, 1, 2)) for one in (right, left)]
                product = graph.call_function(aten.bmm.default, tuple(turned))
                back = graph.call_function(aten.transpose.int, (product, 1, 2))
                # What follows may look at it as a matrix of another shape.
                new = graph.call_function(
                    aten.clone.default, (back,), {"memory_format": torch.contiguous_format}
                )
            else:
                continue
        node.replace_all_uses_with(new)
        graph.erase_node(node)
