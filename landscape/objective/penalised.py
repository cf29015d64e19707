"""The loss of a module whose last output column is a penalty R(θ), the same for every sample, and its identity."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from landscape.errors import NotDifferentiable
from landscape.objective import plain
from landscape.objective.losses import Loss, known_loss, name_of
from landscape.objective.objective import Objective
from landscape.result import Check

# Sums of so many terms, in units of the rounding of the coarsest dtype.
ROUNDING = 1e3


def penalised(loss: Any) -> "Loss | Callable[..., Any]":
    """ℓ(f, y) + R for outputs (n, k + 1) that are f beside R: R once in F, however the data are cut.

    A mean over samples adds the mean of R. Of a callable of the user's it is found out on the data, as without R,
    what it means: a sum over samples is then none, and is taken as a whole.
    """
    given = known_loss(loss)
    if isinstance(given, Loss) and given.over == "samples":
        bare, total, rows, correct = given, given.total, given.rows, given.correct
        return replace(
            bare,
            has_price=True,
            total=lambda o, t: total(o[:, :-1], t) + o[:, -1].double().sum(),
            rows=None if rows is None else lambda o, t: rows(o[:, :-1], t) + o[:, -1].double(),
            correct=None if correct is None else lambda o, t: correct(o[:, :-1], t),
        )

    def with_price(outputs: Tensor, targets: Tensor) -> Any:
        value = (
            given.mean(outputs[:, :-1], targets)
            if isinstance(given, Loss)
            else given(outputs[:, :-1], targets)
        )
        price = outputs[:, -1].mean()
        if isinstance(value, tuple):
            return value[0] + value[1] * price, value[1]
        return value + price

    with_price.__name__ = name_of(given)
    return with_price


def modified(module: nn.Module) -> Any:
    """The module where it has an identity that holds at every θ, else None."""
    return module if callable(getattr(type(module), "identity", None)) and hasattr(module, "price") else None


def largest_bias(objective: Objective, theta: Tensor) -> float:
    """The largest bₖ of exponential neurons at θ (d,), which grows where the infimum lies at infinity; else NaN."""
    changed = modified(objective.module)
    spans = [piece.span for piece in objective.pieces if piece.name == "b"]
    return float(theta[spans[0]].max()) if spans and getattr(changed, "is_unbounded", False) else math.nan


def identity_checks(objective: Objective, tensors: dict[str, Tensor]) -> list[Check]:
    """The identity that ties ∂F to the regulariser, at θ by name, of ∇F by the module itself; none without one."""
    changed = modified(objective.module)
    if changed is None or objective.l2:
        return []
    try:
        flat = plain.gradient(objective, tensors)
    except NotDifferentiable:
        return []
    slopes, place = {}, 0
    for piece in objective.pieces:
        size = tensors[piece.name].numel()
        slopes[piece.name] = flat[place : place + size].reshape(tensors[piece.name].shape).double()
        place += size
    if not {"a", "w", "b"} <= slopes.keys():
        return []
    values = {name: tensors[name].double() for name in "awb"}
    left, right = changed.identity(slopes, values)
    terms = sum(
        float((values[name] * slopes[name]).abs().max()) + float(slopes[name].abs().max()) for name in "awb"
    )
    gap = float((left - right).abs().max()) / max(terms, float(right.abs().max()), 1e-300)
    bound = ROUNDING * torch.finfo(objective.coarsest).eps
    meaning = (
        "the identity of the regulariser, that holds at every θ, of ∇F by autograd; relative to its terms"
    )
    return [Check("regulariser identity", gap, bound, meaning)]
