"""θ cut into its parameters, each a leaf of graphs, whose derivatives are put into one vector as they come."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import Node

from landscape.numerics.pieces import Piece
from landscape.objective.derivatives import (
    at_an_even_place,
    derivative,
    no_gradient,
    require_twice,
    undifferentiable,
)
from landscape.objective.parameters import by_pairs, split


class Slopes(NamedTuple):
    """A gradient that is to be differentiated again: the sum of its entries, and where those of each parameter enter.

    Its numbers are not among them: no second derivative reads them, and they are as many as θ has.
    """

    total: Tensor | None = None
    ends: Sequence[tuple[Piece, Node]] = ()


# Numbers of θ from which it is worth a leaf of every parameter; below, a few hooks take longer than a copy.
LARGE = 2**20


class Leaves:
    """The parameters in the memory of θ (d,), each a leaf where d is large, else parts of one.

    Where ``is_cut`` each is a leaf in memory of its own, as those of a module are.

    A derivative by θ itself is concatenated from those by the parameters, which makes 2 d numbers of it. By leaves of
    their own each is put into its place and let go before the next comes: beside the result there stands one of them.
    """

    def __init__(self, theta: Tensor, pieces: Sequence[Piece], *, is_cut: bool = False):
        self.theta, self._pieces = theta.detach(), pieces
        self._is_cut = is_cut or len(theta) >= LARGE
        self._owners = pieces if self._is_cut else (Piece("", (len(theta),), 0, "vector"),)
        self._taken = _Taken()
        self._leaves: list[Tensor] = []
        for piece, part in zip(self._owners, split(self.theta, self._owners).values(), strict=True):
            self._leaves.append((part.clone() if is_cut else part).detach().requires_grad_())
            if self._is_cut:
                self._leaves[-1].register_post_accumulate_grad_hook(self._taken.by(piece))

    @property
    def parts(self) -> dict[str, Tensor]:
        """The parameters by name."""
        if self._is_cut:
            return {piece.name: leaf for piece, leaf in zip(self._pieces, self._leaves, strict=True)}
        return split(self._leaves[0], self._pieces)

    def gradient(self, scalar: Tensor, before: Tensor | None = None) -> Tensor:
        """d scalar / dθ (d,), or in float64 ``before`` with it added in place.

        Raises NotDifferentiable, also where the scalar depends on no parameter, as that means a broken graph.
        """
        if not self._is_cut:
            slope = derivative(scalar, self._leaves[0])
            return slope if before is None else before.add_(slope)
        if not scalar.requires_grad:
            raise no_gradient()
        taken = self._taken
        result = torch.zeros_like(self.theta) if before is None else before
        taken.begin(result, adds=before is not None)
        try:
            torch.autograd.backward(scalar, inputs=self._leaves)
        except RuntimeError as error:
            raise undifferentiable(error) from error
        finally:
            taken.into = None
            self._clear()
        if not taken.seen:
            raise no_gradient()
        return result

    def slopes(self, scalar: Tensor) -> Slopes:
        """The derivatives by those parameters that the scalar depends on, to be differentiated again.

        Raises NotDifferentiable where they cannot.
        """
        if not scalar.requires_grad:
            return Slopes()
        try:
            found = torch.autograd.grad(scalar, self._leaves, create_graph=True, allow_unused=True)
        except RuntimeError as error:
            raise undifferentiable(error) from error
        finally:
            self._clear()
        # By a view each, as parameters that are added to each other have one tensor as their derivative.
        pairs = zip(self._owners, found, strict=True)
        slopes = [(piece, one.view_as(one)) for piece, one in pairs if one is not None]
        require_twice(scalar, [slope for _, slope in slopes])
        ends = [(piece, slope.grad_fn) for piece, slope in slopes if slope.grad_fn is not None]
        if not ends:
            return Slopes()
        total = torch.stack([slope.sum() for _, slope in slopes if slope.grad_fn is not None]).sum()
        return Slopes(total, ends)

    def image(self, slopes: Slopes, v: Tensor, keep: bool) -> list[Tensor]:
        """(d slopes / dθ)ᵀ v for v (d,), of θ's dtype or narrower, in pieces (dᵢ,) in order.

        ``keep`` leaves the graph for the next one.

        Raises NotDifferentiable.
        """
        if slopes.total is None:
            return [torch.zeros_like(self.theta)]
        v = v if self._is_cut else at_an_even_place(v)

        def entering(piece: Piece) -> Callable[[Any], tuple[Tensor]]:
            return lambda _: (by_pairs(v[piece.span].view(piece.shape).to(self.theta.dtype), piece),)

        with ExitStack() as hooks:
            # Handed over as arguments, they would make torch load its symbolic shapes first, and sympy: half a second.
            for piece, end in slopes.ends:
                hooks.callback(end.register_prehook(entering(piece)).remove)
            parts = self._leaves
            try:
                # Of every parameter something comes early here, so that nothing is saved by taking them one by one.
                found = torch.autograd.grad(slopes.total, parts, retain_graph=keep, allow_unused=True)
            except RuntimeError as error:
                raise undifferentiable(error) from error
            finally:
                self._clear()
        images = zip(parts, found, strict=True)
        return [(torch.zeros_like(part) if one is None else one).reshape(-1) for part, one in images]

    def _clear(self) -> None:
        """What a function of the module's own has accumulated by a backward pass inside."""
        for leaf in self._leaves:
            leaf.grad = None


class _Taken:
    """Where derivatives go, and whose have come; apart from the leaves, which would hold themselves in a circle.

    One may come in parts: a function that goes backward inside its own backward accumulates what it finds.
    """

    def __init__(self) -> None:
        self.into: Tensor | None = None
        self.seen: set[str] = set()
        self._adds = False

    def begin(self, into: Tensor, *, adds: bool) -> None:
        """From now on into ``into``, whose numbers are added to or, the first time, replaced."""
        self.into, self.seen, self._adds = into, set(), adds

    def by(self, piece: Piece) -> Callable[[Tensor], None]:
        def take(part: Tensor) -> None:
            if self.into is None:
                return
            grad, part.grad = part.grad, None
            assert grad is not None
            place = self.into[piece.span].view(piece.shape)
            grad = grad.to_dense() if grad.is_sparse else grad
            place.add_(grad) if self._adds or piece.name in self.seen else place.copy_(grad)
            self.seen.add(piece.name)

        return take
