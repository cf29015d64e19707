"""A module as a graph of operations, and what its graph says about the axes of its parameters."""

import io
import logging
import operator
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from itertools import groupby, islice, product
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves

from landscape.objective.arguments import placed
from landscape.objective.samples import coarsest
from landscape.symmetry.axes import (
    Axis,
    Factor,
    agree,
    cut,
    factors,
    fixed,
    free,
    lift,
    pin,
    resolved,
    root,
    size_of,
)
from landscape.symmetry.calls import Call, Labelled
from landscape.symmetry.opened import without_looks
from landscape.symmetry.operations import KEPT, RULES, axes_of, constant
from landscape.symmetry.parting import Mixed, part
from landscape.symmetry.permutations import UNUSED, Block, Group, Symmetry
from landscape.symmetry.picks import as_slices
from landscape.symmetry.untraced import require_sizes, untraced


class Traced(NamedTuple):
    """A module's graph with what its axes are.

    ``names`` and ``constants``: the parameter or buffer, or the constant, that a placeholder is; ``nodes``:
    the axes of every node; ``groups``: the number of the group that a factor of them is in ``symmetry``;
    ``is_parted``: whether some units were taken to have an order of their own at every index of another axis.
    """

    graph: fx.GraphModule
    names: dict[str, str]
    constants: dict[str, Any]
    nodes: dict[fx.Node, Any]
    groups: dict[Factor, int]
    symmetry: Symmetry
    is_parted: bool

    @property
    def coarsest(self) -> torch.dtype:
        """The floating-point dtype of least precision that an operation of the graph makes."""
        made = [one for node in self.graph.graph.nodes for one in tree_leaves(node.meta.get("val"))]
        dtypes = {one.dtype for one in made if isinstance(one, Tensor) and one.is_floating_point()}
        return coarsest(dtypes | {torch.float64})


def traced(module: nn.Module, inputs: tuple[Any, ...], *, parting: bool = True) -> Traced:
    """The graph of ``module``, in eval mode, on ``inputs`` (samples along axis 0), and its symmetry.

    ``parting``: whether units may have an order of their own at every index of another axis that is always beside them.

    The graph is that of ``torch.export``, a ``torch.fx`` graph of Core ATen operations, whatever layers and
    functions the module is made of. Raises BadInput for a module that cannot be traced.
    """
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    first = _first_names(module)
    places, named = placed(module, inputs)
    try:
        # Decomposed, the other kernels of attention leave strides that the views behind them do not fit.
        with _quiet(), without_looks(), sdpa_kernel(SDPBackend.MATH):
            program = torch.export.export(module, places, named, strict=False).run_decompositions()
    except Exception as error:
        raise untraced(module, error) from error
    require_sizes(module, program.graph)
    signature = program.graph_signature
    lifted = signature.inputs_to_lifted_tensor_constants
    constants = {node: program.constants[name] for node, name in lifted.items()}
    _drop_looks(program.graph)
    as_slices(program.graph, constants)
    _drop_unseen(program.graph)
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    names = {node: first.get(name, name) for node, name in names.items()}
    parameters = {name: [free(size) for size in tensor.shape] for name, tensor in tensors.items()}
    used = {names.get(node.name) for node in program.graph.find_nodes(op="placeholder") if node.users}
    for name in set(tensors) - used:
        for axis in parameters[name]:
            pin(axis, UNUSED)
    nodes = _propagated(program.graph, names, constants, parameters)
    every = [one.axes for value in nodes.values() for one in _labelled({}, value)]
    is_parted = parting and part([*every, *parameters.values()], _mixed(nodes))
    groups, symmetry = _symmetry(parameters, [name for name, _ in module.named_parameters()])
    return Traced(program.graph_module, names, constants, nodes, groups, symmetry, is_parted)


def _drop_looks(graph: fx.Graph) -> None:
    """A look at numbers that may raise an error, as that of a matrix that is solved with, gives none of an output."""
    tokens = set()
    for node in list(graph.nodes):
        if getattr(node.target, "__name__", "") == "with_effects":
            token = node.args[0]
            if all(user.target is operator.getitem and user.args[1] == 0 for user in node.users):
                for user in list(node.users):
                    user.replace_all_uses_with(token)
                    graph.erase_node(user)
                graph.erase_node(node)
                tokens.add(token)
    last = graph.output_node()
    last.args = (tuple(one for one in last.args[0] if one not in tokens),)  # pyright: ignore[reportArgumentType, reportOptionalIterable, reportGeneralTypeIssues]
    for token in tokens:
        if not token.users:
            graph.erase_node(token)


def _drop_unseen(graph: fx.Graph) -> None:
    """What leads to no output is not used, as frequencies of positions where others are chosen: but to assertions."""
    for node in reversed(graph.nodes):
        if node.op == "call_function" and "val" not in node.meta and not node.users:
            graph.erase_node(node)
    graph.eliminate_dead_code()


@contextmanager
def _quiet() -> Iterator[None]:
    """The tracer warns of its own internals, and prints the graph where it fails: its error says enough."""
    log = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    level = log.level
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        log.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            log.setLevel(level)


def _first_names(module: nn.Module) -> dict[str, str]:
    """Every name of a tied tensor, and the first name it has."""
    first: dict[int, str] = {}
    every = [
        *module.named_parameters(remove_duplicate=False),
        *module.named_buffers(remove_duplicate=False),
    ]
    return {name: first.setdefault(id(tensor), name) for name, tensor in every}


def _propagated(
    graph: fx.Graph,
    names: Mapping[str, str],
    constants: Mapping[str, Any],
    parameters: Mapping[str, list[Axis]],
) -> dict[fx.Node, Any]:
    """The axes of every node, from the inputs on; on the way the axes of the parameters are joined."""
    nodes: dict[fx.Node, Any] = {}
    # What follows from the data.
    seeing = set[fx.Node]()
    for node in graph.nodes:
        is_input = node.op == "placeholder" and node.name not in names and node.name not in constants
        if is_input or (not _is_constant(node) and not seeing.isdisjoint(node.all_input_nodes)):
            seeing.add(node)
        if node.op == "placeholder" and node.name in names:
            nodes[node] = Labelled(_shape(node), parameters[names[node.name]])
            _pin_unseen(node, nodes[node])
        elif node.op in ("placeholder", "get_attr"):
            what = "a constant" if node.name in constants or node.op == "get_attr" else "an input"
            axes = [fixed(size, f"{what} of the module") for size in _shape(node)]
            nodes[node] = Labelled(_shape(node), axes)
        elif node.op == "call_function" and "val" not in node.meta:
            # An assertion, as the tracer puts beside a change of dtype.
            nodes[node] = None
        elif node.op == "call_function":
            nodes[node] = _called(node, nodes, seeing)
    for tensor in _labelled(nodes, graph.output_node().args):
        for axis in tensor.axes:
            pin(axis, "an output of the module")
    for tensor in [one for value in nodes.values() for one in _labelled({}, value)]:
        agree(tensor.axes)
    return nodes


def _pin_unseen(node: fx.Node, tensor: Labelled) -> None:
    """Whole numbers stay, and so does what every use of the tensor leaves out: longer inputs may use it."""
    if not node.meta["val"].is_floating_point():
        for axis in tensor.axes:
            pin(axis, "whole numbers")
    uses = [user.args for user in node.users if user.target is torch.ops.aten.slice.Tensor]
    dims: list[Any] = [args[1] if len(args) > 1 else 0 for args in uses]
    if len(uses) < len(node.users) or len(set(dims)) != 1:
        return
    numbers = range(tensor.shape[dims[0]])
    spans: list[Any] = [args[2:] or (None,) for args in uses]
    unseen = sorted(set(numbers) - {i for span in spans for i in numbers[slice(*span)]})
    for _, run in groupby(enumerate(unseen), lambda pair: pair[1] - pair[0]):
        left = [i for _, i in run]
        part = cut(tensor.axes[dims[0]], left[0], left[-1] + 1, "cut through")
        pin(part, UNUSED)


def _called(node: fx.Node, nodes: Mapping[fx.Node, Any], seeing: Collection[fx.Node]) -> Any:
    if node.target is operator.getitem:
        source, index = node.args
        several = nodes[source]  # pyright: ignore[reportArgumentType]
        if isinstance(several, list) and index < len(several):  # pyright: ignore[reportOperatorIssue]
            return several[index]  # pyright: ignore[reportCallIssue, reportArgumentType]
        # Beside the values: where they stood, and so in which order.
        for tensor in _labelled(nodes, source.args):  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]
            for axis in tensor.axes:
                pin(axis, "numbers of positions on it are computed")
        return Labelled(_shape(node), [fixed(size, "numbers of positions") for size in _shape(node)])
    target: Any = node.target
    if not hasattr(target, "_schema"):
        return _of_functions(node, nodes)
    shapes = _shapes(node.meta["val"])
    arguments, options = map_arg((node.args, node.kwargs), lambda one: _seen(one, nodes))
    call = Call(
        target._schema.name.partition("::")[2],
        tuple(arguments),
        dict(options),
        shapes[0],
        torch.Tag.pointwise in target.tags,
        any(one in seeing and _is_whole(one) for one in node.all_input_nodes),
    )
    found = axes_of(call)
    if found and isinstance(found[0], list):
        several = [Labelled(shape, axes) for shape, axes in zip(shapes, found, strict=False)]
    else:
        several = [Labelled(shapes[0], found)]
    for one in several:
        agree(one.axes)
    return several if isinstance(node.meta["val"], tuple | list) else several[0]


def _is_whole(node: fx.Node) -> bool:
    """Whether its numbers are whole, as those of positions."""
    value = node.meta.get("val")
    return isinstance(value, Tensor) and not value.is_floating_point() and not value.is_complex()


def _of_functions(node: fx.Node, nodes: Mapping[fx.Node, Any]) -> Any:
    """What takes functions, as a branch does, may do anything to what it is given."""
    name = getattr(node.target, "__name__", str(node.target))
    for tensor in _labelled(nodes, node.args):
        for axis in tensor.axes:
            pin(axis, f"{name} takes a function")
    value: Any = node.meta["val"]
    made = [
        Labelled(tuple(one.shape), [fixed(size, f"an output of {name}") for size in one.shape])
        if isinstance(one, Tensor)
        else None
        for one in (value if isinstance(value, tuple | list) else [value])
    ]
    return made if isinstance(value, tuple | list) else made[0]


def _seen(node: fx.Node, nodes: Mapping[fx.Node, Any]) -> Any:
    """What an operation is given: of a constant, axes of its own, as it binds nothing to what it meets elsewhere."""
    if not _is_constant(node) or not isinstance(nodes[node], Labelled):
        return nodes[node]
    return Labelled(nodes[node].shape, [free(size) for size in nodes[node].shape])


def _is_constant(node: fx.Node) -> bool:
    """Whether all its numbers are one, as the first state of a recurrent layer."""
    if node.op != "call_function":
        return False
    if node.target is operator.getitem:
        return _is_constant(node.all_input_nodes[0])
    name = getattr(getattr(node.target, "_schema", None), "name", "").partition("::")[2]
    if name in KEPT:
        return all(map(_is_constant, node.all_input_nodes))
    return RULES.get(name) is constant


def _mixed(nodes: Mapping[fx.Node, Any]) -> Iterator[Mixed]:
    """Along what a softmax or a norm sees its positions together, and the other axes."""
    for node, value in nodes.items():
        name = getattr(getattr(node.target, "_schema", None), "name", "").partition("::")[2]
        which: Any = node.args[1] if len(node.args) > 1 else None
        for one in islice(_labelled({}, value), 1):
            count, dims = len(one.axes), set[int]()
            if name in ("_softmax", "_log_softmax"):
                dims = {which % count}
            elif name == "native_layer_norm":
                dims = set(range(count - len(which), count))
            yield [one.axes[d] for d in dims], [axis for d, axis in enumerate(one.axes) if d not in dims]


def _labelled(nodes: Mapping[fx.Node, Any], value: Any) -> Iterator[Labelled]:
    if isinstance(value, fx.Node):
        yield from _labelled(nodes, nodes[value])
    elif isinstance(value, Labelled):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _labelled(nodes, part)


def _shape(node: fx.Node) -> tuple[int, ...]:
    return _shapes(node.meta.get("val"))[0]


def _shapes(value: Any) -> list[tuple[int, ...]]:
    parts = value if isinstance(value, tuple | list) else [value]
    return [tuple(part.shape) if isinstance(part, Tensor) else () for part in parts]


# --- from axes to groups --------------------------------------------------------------------


def _symmetry(
    parameters: Mapping[str, Sequence[Axis]], names: Sequence[str]
) -> tuple[dict[Factor, int], Symmetry]:
    # A tensor without numbers is neither moved nor in the way.
    parameters = {name: axes for name, axes in parameters.items() if all(size_of(axis) for axis in axes)}
    groups: dict[Factor, int] = {}
    listed: list[Group] = []
    blocks: list[Block] = []

    def group_of(factor: Factor, name: str) -> int | None:
        if factor.reason and not any(not root(one).reason for one in factor.inner):
            return None
        if factor not in groups:
            outer = None if factor.outer is None else group_of(root(factor.outer), name)
            if factor.outer is not None and outer is None:
                pin(((factor,),), "nested in what is no axis of its own")
                return None
            groups[factor] = len(listed)
            same = sum(one.name.partition("#")[0] == name for one in listed)
            label = f"{name}#{same + 1}" if same else name
            listed.append(Group(label, factor.size, outer, factor.reason))
        return groups[factor]

    for name, axes in parameters.items():
        for box in product(*(_segments(axis) for axis in axes)):
            parts = [(axis, factor) for axis, (_, segment) in enumerate(box) for factor in segment]
            for _, factor in parts:
                # Channels of heads of groups: alike for all heads of a group, as of two axes one would be too many.
                while factor.outer is not None and root(factor.outer).outer is not None:
                    lift(factor)
            found = [group_of(factor, f"{name}[{axis}]") for axis, factor in parts]
            if any(one is not None for one in found):
                where = tuple(span for span, _ in box)
                shape = tuple(factor.size for _, factor in parts)
                outers = tuple(_outer(parts, i) for i in range(len(parts)))
                blocks.append(Block(name, where, shape, tuple(found), outers))
    reasons = {name: _reason(parameters[name]) for name in names if name in parameters}
    return groups, Symmetry(tuple(listed), tuple(blocks), tuple(reasons), reasons)


def _segments(axis: Axis) -> Iterator[tuple[tuple[int, int], tuple[Factor, ...]]]:
    start = 0
    for segment in resolved(axis):
        size = size_of([segment])
        yield (start, start + size), segment
        start += size


def _outer(parts: Sequence[tuple[int, Factor]], i: int) -> int | None:
    """Where in a block the outer factor of a nested one stands, on the same axis if it is there twice."""
    axis, factor = parts[i]
    if factor.outer is None:
        return None
    places = [k for k, (_, one) in enumerate(parts) if one is root(factor.outer)]
    return next((k for k in places if parts[k][0] == axis), places[0] if places else None)


def _reason(axes: Sequence[Axis]) -> str:
    reasons = dict.fromkeys(
        f"[{position}] {factor.reason}"
        for position, axis in enumerate(axes)
        for factor in factors(axis)
        if factor.reason
    )
    return ", ".join(reasons) or "a single number"
