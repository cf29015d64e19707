"""Gradients of batches along a training: the module stands at the θ that moves, from one batch to the next."""

from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import numpy as np
from torch import Tensor

from landscape import distributed
from landscape.numerics.pieces import Piece
from landscape.objective.batch_slope import joined
from landscape.objective.derivatives import by_each
from landscape.objective.objective import Objective
from landscape.objective.parameters import are_odd_pairs, split
from landscape.objective.undefined import RAISED


class BatchGradients:
    """:meth:`Objective.batch_gradient` in training mode at a θ that is moved in place, bit for bit, call by call.

    There the module is put back after every call, which takes as long as a small batch. Here it stands at θ until
    :meth:`leave`, to be called before anything else looks at module or samples; at the end of the context
    at the latest.
    What cannot stay goes the other way: a module that a call leaves something behind in or that writes into its inputs,
    parameters in several dtypes or of pairs at an odd place, several processes, a module in parts.
    """

    def __init__(self, objective: Objective, theta: Tensor, fixed: Mapping[str, Tensor]):
        self._objective, self._theta, self._fixed = objective, theta, fixed
        several = objective.is_sharded or distributed.num_processes() > 1
        has_odd = objective.sees_pairs and any(map(are_odd_pairs, objective.pieces))
        self._may_stay = not (several or has_odd or objective.is_mixed or objective.moves_inputs)
        self._parts = split(theta.detach(), objective.pieces) if self._may_stay else {}
        self._leaves = [part.requires_grad_() for part in self._parts.values()]
        self._buffers = {name: fixed[name] for name, _ in objective.module.named_buffers() if name in fixed}
        self._stack = ExitStack()
        self._is_there = self._is_known = False
        self._has_reached_all = False
        # Of every parameter whether some batch reached it, and whether some batch did not.
        self.reached, self.missed = (np.zeros(len(objective.pieces), dtype=bool) for _ in range(2))
        # Which the last batch did not.
        self.left: list[Piece] = []

    def __call__(self, indices: Tensor | None) -> tuple[Tensor, Tensor]:
        """What the loss says of the samples ``indices`` (all of them for None) as a batch, and its gradient (d,)."""
        if not self._is_known and self._may_stay:
            self._is_known = self._objective.leaves_nothing(training=True)
        if self._is_known:
            try:
                return self._standing_there(indices)
            except (RuntimeError, IndexError, *RAISED) as error:
                # Said in a sentence on the other way, or that F is not defined here.
                self._stand_down()
                found = self._put_back(indices)
                if not bool(found[0].isnan()):
                    raise error
                return found
        return self._put_back(indices)

    def at(self, theta: Tensor, indices: Tensor | None) -> tuple[Tensor, Tensor]:
        """The same once θ has moved to ``theta`` (d,)."""
        self._theta.copy_(theta)
        return self(indices)

    def leave(self) -> None:
        """Put the module back as it was, and end a pass over the samples."""
        self._stand_down()
        self._objective.samples.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    def _stand_down(self) -> None:
        self._is_there = False
        self._stack.close()

    def _put_back(self, indices: Tensor | None) -> tuple[Tensor, Tensor]:
        found = self._objective.batch_slope(self._theta, indices, self._fixed, training=True)
        self._note(found.is_reached)
        return found.loss, found.slope

    def _note(self, is_reached: np.ndarray) -> None:
        self.reached |= is_reached
        self.missed |= ~is_reached
        self._has_reached_all = bool(self.reached.all())
        pairs = zip(self._objective.pieces, is_reached, strict=True)
        self.left = [piece for piece, is_there in pairs if not is_there]

    def _standing_there(self, indices: Tensor | None) -> tuple[Tensor, Tensor]:
        objective = self._objective
        if not self._is_there:
            self._stack.enter_context(objective.standing(self._parts, self._fixed, training=True))
            self._is_there = True
        samples = objective.samples
        inputs, targets = samples if indices is None else samples.select(indices)
        outputs, is_as_placed = objective.called(inputs), True
        for name, tensor in self._buffers.items():
            now = objective.now(name)
            if now is not tensor:  # replaced, not written into
                tensor.copy_(now.detach())
                is_as_placed = False
        count = objective.num_samples if indices is None else len(indices)
        total, weight = objective.loss.of_batch(outputs, targets, count)
        slopes = by_each(total, self._leaves)
        if not self._has_reached_all or self.left or any(slope is None for slope in slopes):
            self._note(np.array([slope is not None for slope in slopes]))
        if not is_as_placed:
            self._stand_down()
        mean, slope = total.detach(), joined(slopes, self._leaves, self._theta.dtype)
        if weight is not None:
            mean, slope = mean / weight, (slope / weight).to(slope.dtype)
        if objective.l2:
            slope = slope.add(self._theta.detach(), alpha=objective.l2)
        return mean, slope
