"""Steps of a stack taken again by plain loops: the user's module, autograd, and the samples by a rule of their own."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape.descent.gradients import stacked_gradients
from landscape.descent.stated_batches import batches
from landscape.descent.stated_sizes import size_of
from landscape.descent.witness import STEPS, Seen
from landscape.numerics.steps.replicas import Plan, Replicas
from landscape.numerics.steps.sampling import Sampler
from landscape.objective import checks, plain
from landscape.objective.objective import Objective
from landscape.objective.undefined import undefined
from landscape.result import Check, largest_gap

# Of a gradient, whose terms cancel, over the sizes of these: a thousand roundings of a sum of float64.
ROUNDING = 1e-9
# Halves in each of which all terms cancel, as at a point that treats classes alike, tell less than a part of one term.
TERM = 1e-3
# What a stack may be off by over what a loop is that begins at another rounding of its start.
BESIDE = 100.0


class Stated(NamedTuple):
    """What a replica is meant to do: its step size; rule, size and seed of its batches (no rule: all samples).

    A step size that changes by a schedule of ``arguments`` is the first.
    """

    step_size: float
    rule: str | None = None
    batch_size: int = 0
    seed: int = 0
    schedule: str = "constant"
    arguments: Mapping[str, Any] = {}

    def plan(self, num_samples: int, num_steps: int) -> Plan:
        """The same as a plan of a stack."""
        rule = self.rule
        sampler = Sampler(rule, num_samples, self.batch_size, self.seed) if rule else None
        how = {"schedule": self.schedule, "arguments": self.arguments}
        return Plan(step_size=self.step_size, num_steps=num_steps, sampler=sampler, **how)

    def size(self, step: int) -> float:
        """The size of step ``step``, from 0, without a plan; the first where it follows the loss."""
        every = int(self.arguments.get("every", 1))
        found = size_of(self.schedule, self.arguments, self.step_size, every, step)
        return self.step_size if found is None else found

    def batches(self, num_samples: int, first: int, count: int) -> list[Tensor]:
        """The samples of ``count`` steps from ``first`` on, without a sampler."""
        steps = range(first, first + count)
        found = batches(self.rule, num_samples, self.batch_size, self.seed, steps)
        return [found[step] for step in steps]


def draws(objective: Objective, theta: Tensor) -> bool:
    """Whether the gradient at θ (d,) in training draws random numbers, as dropout does."""
    fixed = objective.present_point().fixed
    with plain.proving(gradients=2):
        once, twice = (objective.batch_gradient(theta, None, fixed, training=True)[1] for _ in range(2))
    return not torch.equal(once.nan_to_num(), twice.nan_to_num())


def plain_slope(
    objective: Objective, theta: Tensor, rows: Tensor, *, training: bool = True
) -> tuple[float, Tensor]:
    """The loss of the samples ``rows`` as one batch at θ (d,) and its gradient (d,) float64, in training mode or F's.

    Of the user's own module with the numbers written into it, by autograd on its own parameters.
    """
    tensors = plain.by_name(objective, objective.as_point(theta))
    loss, slopes = (
        float("nan"),
        {piece.name: torch.full(piece.shape, torch.nan) for piece in objective.pieces},
    )
    with (
        undefined(objective, *objective.samples.picked(rows), training=training, derives=True),
        plain.proving(gradients=len(rows) / objective.num_samples),
        objective.written(tensors, training=training),
        torch.enable_grad(),
    ):
        loss, slopes, _ = plain.batch_gradient(objective, rows)
    theta = theta.detach().double()
    slope = torch.cat([slopes[piece.name].reshape(-1).double() for piece in objective.pieces])
    return loss + 0.5 * objective.l2 * float(theta.square().sum()), slope + objective.l2 * theta.to(slope)


def retaken(objective: Objective, wide: Objective, seen: Seen, stated: Sequence[Stated]) -> Check | None:
    """Steps of a stack of ``objective`` from where its replicas stood, by plain loops in float64, those of ``wide``.

    ``stated`` says by number what the replicas are meant to do. The value is the largest distance between where
    the stack and the loop end, over what rounding allows. None where no replica was seen.

    A loop in the dtype of the stack goes beside: what it is off by grows on the way as what the stack is off by does,
    and where it has no numbers the stack may have none.
    """
    gaps = []
    for i, first, length, (start, end) in zip(*seen, strict=True):
        theta, allowed = torch.from_numpy(start).to(wide.device).double(), 0.0
        coarse = torch.from_numpy(start).to(objective.device, objective.dtype)
        before: tuple[Tensor, Tensor] | None = None
        own, is_finite = stated[i], True
        for k, rows in enumerate(own.batches(wide.num_samples, int(first), int(length)), int(first)):
            alpha = own.size(k)
            loss, slope, error = _slope_and_rounding(objective, wide, theta, rows, True)
            if objective.dtype != torch.float64:
                coarse_loss, step = plain_slope(objective, coarse, rows)
            else:
                coarse_loss, step = loss, slope
            is_finite = bool(np.isfinite([loss, coarse_loss]).all() and torch.isfinite(step).all())
            if not is_finite:
                break
            coarse = (coarse.to(theta) - alpha * step.to(theta)).to(coarse)
            # What a step was off by grows in the next one as the slope changes on the way, if there is one.
            if before is not None and (way := float((theta - before[0]).norm())) > 0:
                allowed *= 1 + alpha * float((slope - before[1]).norm()) / way
            before = (theta, slope)
            theta = theta - alpha * slope
            allowed += alpha * error
        eps = torch.finfo(objective.coarsest).eps
        allowed += 4 * int(length) * eps * float(theta.norm()) + 10 * float((coarse.to(theta) - theta).norm())
        gap = float((torch.from_numpy(end).to(theta) - theta).norm())
        if is_finite and allowed < gap < np.inf:
            # In float64 no coarser loop goes beside, nor need one show all: one begun an ε away does, where needed.
            begun = torch.from_numpy(start).to(theta)
            other = _beside(wide, own, begun, int(first), int(length), eps)
            allowed += BESIDE * float((other - theta).norm().nan_to_num(0.0))
        if not (np.isfinite(gap) or (is_finite and np.isfinite(allowed))):
            continue
        gaps.append(gap / max(allowed, 1e-300) if np.isfinite(gap) else np.inf)
    if not gaps:
        return None
    meaning = (
        f"{STEPS} steps of replicas among others against plain loops over the module in float64, over what rounding "
        "allows: of the terms of a gradient, ten times what the dtype costs the loop itself, and an ε of θ a step"
    )
    return Check("stack", largest_gap(*gaps), 1.0, meaning)


def _beside(wide: Objective, own: Stated, start: Tensor, first: int, length: int, eps: float) -> Tensor:
    """Where the plain loop ends that begins at another rounding of ``start`` (d,), by ``eps``."""
    theta = _rounded_otherwise(start, eps)
    for k, rows in enumerate(own.batches(wide.num_samples, first, length), first):
        theta = theta - own.size(k) * plain_slope(wide, theta, rows)[1]
    return theta


def _rounded_otherwise(theta: Tensor, eps: float) -> Tensor:
    noise = torch.randn(len(theta), generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(theta)
    return theta * (1 + eps * noise)


def error_beside(objective: Objective, wide: Objective, theta: Tensor, rows: Tensor, slope: Tensor) -> float:
    """Ten times how far the gradient at another rounding of θ (d,) is from ``slope``, that at θ.

    All there is of it where nothing is left of a loss: residuals are rounding there.
    """
    theta = _rounded_otherwise(theta, torch.finfo(objective.coarsest).eps)
    off = plain_slope(wide, theta, rows)[1] - slope
    return 10 * float(off.norm().nan_to_num(0.0))


def rehearsed(wide: Objective, thetas: Tensor, stated: Sequence[Stated]) -> Check | None:
    """The first steps of a small stack from ``thetas`` (k, d) in float64, where mixing shows that float32 hides."""
    plans = [one.plan(wide.num_samples, STEPS) for one in stated]
    thetas = thetas.to(wide.device).double()
    with plain.proving(gradients=STEPS * len(plans)):
        stack = Replicas(stacked_gradients(wide), thetas, plans)
        stack.advance(STEPS)
    count = len(plans)
    points = torch.stack([thetas, stack.thetas], 1).cpu().numpy()
    seen = Seen(np.arange(count), np.zeros(count, dtype=np.int64), np.full(count, STEPS), points)
    check = retaken(wide, wide, seen, stated)
    return check and Check("stack in float64", check.value, check.bound, check.meaning)


def stack_checks(
    objective: Objective, wide: Objective, seen: Seen, stated: Sequence[Stated], thetas: Tensor
) -> list[Check]:
    """:func:`retaken`, and where the stack is not in float64, :func:`rehearsed` from ``thetas`` (k, d), if any."""
    found = [retaken(objective, wide, seen, stated)]
    if objective.dtype != torch.float64 and len(thetas):
        found.append(rehearsed(wide, thetas, stated[: len(thetas)]))
    return [one for one in found if one]


def slope_and_error(
    objective: Objective, wide: Objective, theta: Tensor, rows: Tensor, *, training: bool = True
) -> tuple[float, Tensor, float]:
    """:func:`plain_slope` of ``wide``, in float64, and how far that of a stack of ``objective`` may be from it.

    Rounding of the terms that cancel, by the gradients of two halves, and ten times what the dtype of the stack costs
    the plain loop itself.
    """
    loss, slope, error = _slope_and_rounding(objective, wide, theta, rows, training)
    if objective.dtype != torch.float64:
        coarse = plain_slope(objective, theta.to(objective.device, objective.dtype), rows, training=training)[
            1
        ]
        error += 10 * float((coarse.to(slope) - slope).norm())
    return loss, slope, error


def _slope_and_rounding(
    objective: Objective, wide: Objective, theta: Tensor, rows: Tensor, training: bool
) -> tuple[float, Tensor, float]:
    """:func:`plain_slope` of ``wide``, and what rounding makes of the terms that cancel in one of ``objective``."""
    loss, slope, size = _slope_and_size(wide, theta, rows, training)
    return loss, slope, max(checks.rounding(objective), ROUNDING) * size


def _slope_and_size(
    objective: Objective, theta: Tensor, rows: Tensor, training: bool
) -> tuple[float, Tensor, float]:
    """:func:`plain_slope`, where F is a mean of two halves' whose sizes tell how large the terms are that cancel.

    And that of the first sample, where these are nothing beside it.
    """
    if len(rows) < 2 or not objective.is_mean:
        loss, slope = plain_slope(objective, theta, rows, training=training)
        return loss, slope, float(slope.norm())
    halves = [rows[::2], rows[1::2]]
    shares = [len(half) / len(rows) for half in halves]
    losses, slopes = zip(
        *(plain_slope(objective, theta, half, training=training) for half in halves), strict=True
    )
    slope = shares[0] * slopes[0] + shares[1] * slopes[1]
    sizes = sum(share * float(one.norm()) for share, one in zip(shares, slopes, strict=True))
    first = plain_slope(objective, theta, rows[:1], training=False)[1]
    sizes = max(sizes, TERM * float(first.norm().nan_to_num(0.0)))
    return sum(share * one for share, one in zip(shares, losses, strict=True)), slope, sizes
