"""What parameters are to each other by the graph: gains that others are multiplied by, and biases of weights."""

import operator
from collections.abc import Iterator

from torch import fx

from landscape.symmetry.tracing import Traced

# Where operations take a gain, and those that leave a tensor as it is.
GAINS = {"native_layer_norm": 2, "native_group_norm": 1}
SAME = ("view", "_unsafe_view", "_to_copy", "expand", "unsqueeze", "clone", "alias", "detach")
# Where a number is added to a tensor.
SHIFTS = ("add", "sub", "rsub")
# Where a weight meets what it reads, and the same with a bias that stands first.
PRODUCTS, WITH_BIAS = ("mm", "bmm", "addmm", "baddbmm", "convolution"), ("addmm", "baddbmm")
# Where parts of a product are, which a bias may be added to; of weights and biases too, which may be cut alike.
PARTS = (*SAME, "permute", "squeeze", "slice", "split", "split_with_sizes", "getitem")


def multipliers(found: Traced) -> tuple[set[str], set[str]]:
    """The parameters that others are multiplied by, element by element; as they are, and after a number was added."""
    names: tuple[set[str], set[str]] = (set(), set())
    for node in found.graph.graph.find_nodes(op="placeholder"):
        seen = [(node, False)]
        while seen and node.name in found.names:
            one, is_shifted = seen.pop()
            for user in one.users:
                kind = _kind(user)
                is_mul = kind == "mul" and len(user.all_input_nodes) > 1
                if is_mul or (kind in GAINS and user.args[GAINS[kind]] is one):
                    names[is_shifted].add(found.names[node.name])
                elif kind in SAME:
                    seen.append((user, is_shifted))
                elif kind in SHIFTS and user.all_input_nodes == [one]:
                    seen.append((user, True))
    return names


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


def _met(node: fx.Node) -> Iterator[fx.Node]:
    """The products that a tensor, or a transposed one, is in."""
    for user in node.users:
        if _kind(user) in PRODUCTS:
            yield user
        elif _kind(user) in PARTS:
            yield from _met(user)


def _added(product: fx.Node) -> Iterator[object]:
    """What is added to a product: its bias, or what its only use adds."""
    if _kind(product) in WITH_BIAS:
        yield product.args[0]
    elif _kind(product) == "convolution":
        yield product.args[2]
    else:
        while len(product.users) == 1:
            (user,) = product.users
            if _kind(user) == "add":
                yield from (arg for arg in user.args if arg is not product)
            if _kind(user) not in PARTS:
                break
            product = user


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
