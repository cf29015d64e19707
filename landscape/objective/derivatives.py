"""First and second derivatives by autograd, with its failures as sentences."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from landscape.errors import NotDifferentiable


def derivative(scalar: Tensor, leaf: Tensor, create_graph: bool = False) -> Tensor:
    """d scalar / d leaf, in the shape of ``leaf``. Raises NotDifferentiable.

    With ``create_graph`` the result can be differentiated again, and a scalar that does not depend on
    the leaf has the derivative zero; without it that is an error, as it means a broken graph.
    """
    if not scalar.requires_grad:
        if create_graph:
            return torch.zeros_like(leaf)
        raise no_gradient()
    try:
        (slope,) = torch.autograd.grad(scalar, leaf, create_graph=create_graph)
    except RuntimeError as error:
        raise undifferentiable(error) from error
    if create_graph:
        require_twice(scalar, [slope])
        if leaf.grad is not None:
            leaf.grad = None
            raise NotDifferentiable(
                "a function in the module goes backward inside its own backward, which cannot be differentiated again",
                "operations that autograd can differentiate twice",
                "call its layers without it",
            )
    elif leaf.grad is not None:
        # By a function that goes backward inside its own backward, as RevNets do.
        slope, leaf.grad = slope + leaf.grad, None
    return slope


def by_each(scalar: Tensor, leaves: Sequence[Tensor]) -> list[Tensor | None]:
    """d scalar / d leaf for each leaf, in its shape; None for one that the graph does not reach.

    Raises NotDifferentiable, also where it reaches none, as that means a broken graph.
    """
    if not scalar.requires_grad:
        raise no_gradient()
    try:
        found = torch.autograd.grad(scalar, leaves, allow_unused=True)
    except RuntimeError as error:
        raise undifferentiable(error) from error
    finally:
        # By a function that goes backward inside its own backward, as RevNets do.
        inside = [leaf.grad for leaf in leaves]
        for leaf, more in zip(leaves, inside, strict=True):
            if more is not None:
                leaf.grad = None
    if all(one is None for one in found) and all(one is None for one in inside):
        raise no_gradient()
    if all(one is None for one in inside):
        return list(found)
    pairs = zip(found, inside, strict=True)
    return [one if more is None else more if one is None else one + more for one, more in pairs]


def second_derivative(slope: Tensor, leaf: Tensor, v: Tensor, keep: bool) -> Tensor:
    """(d slope / d leaf)ᵀ v; ``keep`` leaves the graph for the next product. Raises NotDifferentiable."""
    if not slope.requires_grad:
        return torch.zeros_like(leaf)
    v = at_an_even_place(v)
    # Handed over as an argument, v would make torch load its symbolic shapes first, and sympy: half a second.
    handle = slope.register_hook(lambda _: v)
    try:
        (product,) = torch.autograd.grad(slope.sum(), leaf, retain_graph=keep, allow_unused=True)
    except RuntimeError as error:
        raise undifferentiable(error) from error
    finally:
        handle.remove()
    return torch.zeros_like(leaf) if product is None else product


def at_an_even_place(v: Tensor) -> Tensor:
    """``v``, copied where it begins at an odd number, as a row may: torch.view_as_complex takes no part of it."""
    return v.clone() if v.storage_offset() % 2 else v


def divided(vector: Tensor, divisor: float, *others: Tensor) -> Tensor:
    """``vector`` (d,) / ``divisor``, in its own place unless it lies in that of one of ``others``.

    A derivative by θ is a place of its own, as θ is cut into parameters: where d is large, most of a division is the
    new memory.
    """
    places = {other.untyped_storage().data_ptr() for other in others}
    if vector.untyped_storage().data_ptr() in places or not vector.is_contiguous():
        return vector / divisor
    return vector.div_(divisor)


def is_finite(vector: Tensor) -> bool:
    """Whether all numbers are finite: if their sum is, they are, in a fifteenth of the time of a look at each."""
    return bool(torch.isfinite(vector.sum())) or bool(torch.isfinite(vector).all())


def nodes_of(roots: Iterable[Tensor]) -> Iterator[Any]:
    """Every node of the graphs that end in ``roots``, each once."""
    seen: set[Any] = set()
    waiting = [root.grad_fn for root in roots]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            yield node
            waiting += [following for following, _ in node.next_functions]


def require_twice(scalar: Tensor, slopes: Iterable[Tensor]) -> None:
    """No function that may be differentiated only once stands in the graph of ``slopes``. Raises NotDifferentiable.

    Autograd would not reach its error, as nothing leads from there to the parameters, and would leave
    its part of the second derivative out without a word.
    """
    if any(node.name() == "torch::autograd::Error" for node in nodes_of(slopes)):
        raise NotDifferentiable(
            f"{_once(scalar)} in the module or the loss is marked @once_differentiable",
            "operations that autograd can differentiate twice",
        )


def _once(scalar: Tensor) -> str:
    """The functions behind ``scalar`` that are marked so, by name."""
    functions = [node._forward_cls for node in nodes_of([scalar]) if hasattr(node, "_forward_cls")]
    marked = {one.__name__ for one in functions if hasattr(one.backward, "__wrapped__")}
    return ", ".join(sorted(marked)) or "an operation"


def no_gradient() -> NotDifferentiable:
    """That the loss has no gradient, which means a broken graph."""
    return NotDifferentiable(
        "the loss does not depend differentiably on any trainable parameter",
        "a loss with a gradient",
        "is there a detach, an argmax or a torch.no_grad in the way?",
    )


def undifferentiable(error: Exception) -> Exception:
    """The failure of a derivative as a sentence; but memory that ran out stays what it is."""
    if isinstance(error, torch.OutOfMemoryError):
        return error
    if "modified by an inplace operation" in str(error):
        return NotDifferentiable(
            "the module or the loss writes into a tensor that the backward pass needs",
            "what a gradient is taken through left as it is until then",
            "take a .clone() of it before it is used, as of a queue: q @ self.queue.clone().T",
        )
    return NotDifferentiable(
        f"an operation has no derivative of this order ({str(error).splitlines()[0]})",
        "operations that autograd can differentiate twice",
    )
