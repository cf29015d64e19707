"""What parameters are to each other by the graph: gains that others are multiplied by, and biases of weights."""

import operator
from collections.abc import Callable, Iterator

from torch import Tensor, fx

from landscape.symmetry.tracing import Traced

# Where operations take a gain, and those that leave a tensor as it is.
GAINS = {"native_layer_norm": 2, "native_group_norm": 1}
SAME = ("view", "_unsafe_view", "_to_copy", "expand", "unsqueeze", "clone", "alias", "detach")
# What a number n makes of a tensor w: m and s of m w + s.
LINES: dict[str, Callable[[float], tuple[float, float]]] = {
    "add": lambda n: (1.0, n),
    "sub": lambda n: (1.0, -n),
    "rsub": lambda n: (-1.0, n),
    "mul": lambda n: (n, 0.0),
    "div": lambda n: (1 / n if n else 0.0, 0.0),
}
# What goes flat where its inputs are large, and then hides them.
FLAT = ("_softmax", "_safe_softmax", "_log_softmax", "sigmoid", "tanh", "gelu", "silu", "elu", "erf", "exp")
# Where a weight meets what it reads, and where the bias stands in those that take one.
PRODUCTS, AT = ("mm", "bmm", "addmm", "baddbmm", "convolution"), {"addmm": 0, "baddbmm": 0, "convolution": 2}
# What cuts off at a number, or asks which is larger; smaller numbers guard against 0, larger ones against overflow.
BOUNDS = ("hardtanh", "clamp", "clamp_max", "clamp_min", "minimum", "maximum", "fmod", "remainder")
BOUNDS += ("gt", "ge", "lt", "le")
SMALLEST, LARGEST = 1e-3, 1e3
# Where parts of a product are, which a bias may be added to; of weights and biases too, which may be cut alike.
PARTS = (*SAME, "permute", "squeeze", "slice", "split", "split_with_sizes", "getitem")


def multipliers(found: Traced) -> dict[str, float | None]:
    """The parameters w that others are multiplied by, element by element, and the s with a gain of w + s.

    Times a number, which no scaling minds: 0 for a plain gain, 1 for 1 + w; None for one that is a gain in two ways.
    """
    names: dict[str, float | None] = {}
    for node in found.graph.graph.find_nodes(op="placeholder"):
        seen = [(node, 1.0, 0.0)]  # factor · w + shift
        while seen and node.name in found.names:
            one, factor, shift = seen.pop()
            for user in one.users:
                kind = _kind(user)
                if _is_gain(user, one):
                    name, offset = found.names[node.name], shift / factor
                    names[name] = offset if names.get(name, offset) == offset else None
                elif kind in SAME:
                    seen.append((user, factor, shift))
                else:
                    by, added = _line(user)
                    seen += [(user, factor * by, shift * by + added)] if by else []
    return names


def has_bounds(found: Traced) -> bool:
    """Whether numbers are cut off or told apart at others than 0, which may lie beyond all that the inputs bring."""
    for node in found.graph.graph.nodes:
        seen = (
            node.all_input_nodes[0].meta.get("val")
            if _kind(node) in BOUNDS and node.all_input_nodes
            else None
        )
        if isinstance(seen, Tensor) and seen.is_floating_point():
            numbers = [abs(arg) for arg in node.args if isinstance(arg, int | float)]
            if len(node.all_input_nodes) > 1 or any(SMALLEST < number < LARGEST for number in numbers):
                return True
    return False


def goes_flat(found: Traced) -> bool:
    """Whether large numbers may hide others: a softmax of far scores sees no query, and GELU of them is ReLU."""
    return any(_kind(node) in FLAT for node in found.graph.graph.nodes)


def _is_gain(user: fx.Node, one: fx.Node) -> bool:
    """Whether an operation multiplies another tensor by ``one``."""
    kind = _kind(user)
    if kind in GAINS:
        return user.args[GAINS[kind]] is one
    return kind == "mul" and len(user.all_input_nodes) > 1


def _line(user: fx.Node) -> tuple[float, float]:
    """m and s of an operation that makes m w + s of a tensor w by a number alone; m = 0 for any other."""
    kind = _kind(user)
    numbers = [float(arg) for arg in user.args if isinstance(arg, int | float)]
    if kind not in LINES or user.kwargs or len(user.args) != 2 or len(numbers) != 1:
        return 0.0, 0.0
    # Of 1 − w the number stands first.
    kind = "rsub" if kind == "sub" and isinstance(user.args[1], fx.Node) else kind
    return LINES[kind](numbers[0])


def biases(found: Traced) -> dict[str, str]:
    """Of each weight that inputs are multiplied by, the parameter that is added to that, if there is one."""
    names: dict[str, str] = {}
    for node in found.graph.graph.find_nodes(op="placeholder"):
        for one in _met(node) if node.name in found.names else ():
            added = [_source(arg) for arg in _added(one)]
            its = [found.names[arg.name] for arg in added if arg is not None and arg.name in found.names]
            if its:
                names.setdefault(found.names[node.name], its[0])
    return names


def weights(found: Traced) -> set[str]:
    """The parameters that others are multiplied by in a product."""
    nodes = [one for one in found.graph.graph.find_nodes(op="placeholder") if one.name in found.names]
    return {found.names[one.name] for one in nodes if next(_met(one), None) is not None}


def _met(node: fx.Node) -> Iterator[fx.Node]:
    """The products that a tensor, or a transposed one, is in."""
    for user in node.users:
        if _kind(user) in PRODUCTS:
            yield user
        elif _kind(user) in PARTS:
            yield from _met(user)


def _added(product: fx.Node) -> Iterator[object]:
    """What is added to a product: its bias, or what its only use adds; then the biases of what is added there."""
    if _kind(product) in AT:
        yield product.args[AT[_kind(product)]]
        return
    one, several = product, list[object]()
    while len(one.users) == 1:
        (user,) = one.users
        if _kind(user) == "add":
            several += [arg for arg in user.args if arg is not one]
        elif _kind(user) not in PARTS:
            break
        one = user
    yield from several
    # Not of the stream that it reads itself, whose biases it sees.
    terms = [term for arg in several for term in _terms(arg)]
    before = _before(product) if terms else set[fx.Node]()
    yield from (term for term in terms if _source(term) not in before)


def _terms(node: object) -> Iterator[object]:
    """The biases in a sum."""
    if isinstance(node, fx.Node) and _kind(node) in AT:
        yield node.args[AT[_kind(node)]]
    elif isinstance(node, fx.Node) and (_kind(node) in PARTS or _kind(node) == "add"):
        for arg in node.all_input_nodes:
            yield from _terms(arg)


def _before(node: fx.Node) -> set[fx.Node]:
    """All that a node is made of."""
    found, waiting = set[fx.Node](), [node]
    while waiting:
        more = [one for one in waiting.pop().all_input_nodes if one not in found]
        found.update(more)
        waiting += more
    return found


def _source(node: object) -> fx.Node | None:
    """The placeholder that a tensor is, whatever its shape."""
    while isinstance(node, fx.Node) and node.op != "placeholder" and _kind(node) in PARTS:
        node = node.args[0]
    return node if isinstance(node, fx.Node) and node.op == "placeholder" else None


def _kind(node: fx.Node) -> str:
    if node.target is operator.getitem:
        return "getitem"
    schema = getattr(node.target, "_schema", None)
    return schema.name.partition("::")[2] if schema else ""
