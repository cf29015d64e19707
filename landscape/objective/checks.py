"""The checks every Result carries: an independent evaluation, an untouched module, finite values."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from landscape.errors import NotDifferentiable
from landscape.inputs.sharded import here
from landscape.numerics.vectors import normal, typical_share
from landscape.objective import plain
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.result import Check

# How far the point of the check `moved` lies, over ‖θ‖.
MOVED = 1e-2
# Of the terms that F is computed from, its rounding in units of theirs.
ROUNDED = 4.0
# Step of a difference quotient over ‖θ‖, and what it may be off by, by dtype.
STEPS = {torch.float64: (1e-7, 1e-3), torch.float32: (1e-3, 5e-2)}
# Gaps of a difference to a slope that vary by less than this share of themselves are one.
UNLIKE = 0.1
PLAINLY = "loss against a plain loop over model.eval()"
ANOTHER = (
    "F has a derivative there, the same ahead and behind, and the gradient that autograd gives is another, in a plain "
    "loop too: straight-through, surrogate or scaled gradients, or a part of F behind a detach?"
)

KINK = "F has a kink there: its differences ahead and behind have two limits"


def independent_loss(objective: Objective, point: Point) -> float:
    """F at a point, computed independently: see :mod:`landscape.objective.plain`."""
    return plain.measure(objective, plain.by_name(objective, point)).loss


class Stated(NamedTuple):
    """A loss as a result states it at a point, and the name and the meaning of the check that proves it."""

    name: str
    loss: float
    meaning: str


def meaning(
    objective: Objective,
    point: Point,
    measured: tuple[float, Tensor] | None = None,
    stated: Stated | None = None,
) -> list[Check]:
    """That F is the user's loss of the user's module on all of the data, here and beside here.

    First that what is ``stated`` here, if anything, is the loss of a plain loop.
    ``cut``: value, and derivative along a random direction, under the chunks used against plain loops over every
    k-th sample, in which neither the order of the samples nor causality hides. ``moved``: the value at a point moved
    by 1e-2 ‖θ‖ against a plain loop, for what is computed once from the weights, or kept elsewhere, stays behind.
    Four evaluations of F and one gradient, which ``measured``, F and ∇F as they were measured there, saves.
    """
    with plain.proving(evaluations=1, gradients=0 if measured else 1):
        return _meaning(objective, point, measured, stated)


def _meaning(
    objective: Objective, point: Point, measured: tuple[float, Tensor] | None, stated: Stated | None
) -> list[Check]:
    theta, fixed = point.theta, point.fixed
    try:
        value, slope = measured or objective.value_and_gradient(theta, fixed)
    except NotDifferentiable:
        value, slope = objective.value(theta, fixed), None
    generator = torch.Generator().manual_seed(0)
    noise = normal(theta, generator).to(theta.device)
    way = noise * ((float(torch.linalg.vector_norm(theta.double())) or 1.0) / float(noise.norm()))
    every = torch.arange(objective.samples.count_here)
    num_cuts = max(2, -(-len(every) // max(plain.BATCH, objective.chunk_size)))
    strided = [part for part in (every[i::num_cuts] for i in range(num_cuts)) if len(part)]

    def plainly(theta: Tensor) -> float:
        return plain.measure(objective, plain.by_name(objective, Point(theta, fixed)), strided).loss

    here = plainly(theta)
    aside = theta + (MOVED * way).to(theta.dtype)
    moved = objective.value(aside, fixed)
    beside = plainly(aside)
    found = [close(*stated[:2], here, rounding(objective), stated.meaning)] if stated else []
    found += [
        close(
            "cut",
            value,
            here,
            rounding(objective),
            "F under the chunks used against every k-th sample at a time",
        ),
        close("moved", moved, beside, rounding(objective), "F at θ moved by 1e-2 ‖θ‖ against a plain loop"),
    ]
    if slope is not None and objective.coarsest in STEPS and np.isfinite([value, moved]).all():

        def slopes(length: float) -> tuple[float, float]:
            there = theta + (length * way).to(theta.dtype)
            true_way = (there - theta).double() / length
            return float(slope.double() @ true_way), (plainly(there) - here) / length

        def away() -> float:
            far = theta + way.to(theta.dtype) * typical_share(theta)
            values = [plainly(far), plainly(torch.zeros_like(theta))]
            return max((abs(one) for one in values if np.isfinite(one)), default=0.0)

        found.append(_derivative(objective, point, slope, float(way.norm()), slopes, (value, moved), away))
    return found


def _derivative(
    objective: Objective,
    point: Point,
    slope: Tensor,
    size: float,
    slopes: Callable[[float], tuple[float, float]],
    ends: tuple[float, float],
    away: Callable[[], float],
) -> Check:
    """The derivative along a way, of this ``size``, by ∇F against a difference of plain loops.

    ``slopes(length)`` are both for a step of this share of the way, and ``ends`` F at θ and by ``MOVED`` of it away;
    ``away()`` is the size of F far away, where a loss that is next to nothing at θ shows what it is computed from.
    """
    meaning = "dF along a random direction against a difference of plain loops"
    step, bound = STEPS[objective.coarsest]
    eps, before, gap, last, total = torch.finfo(objective.coarsest).eps, None, np.inf, step, 1.0
    # Half as far only where F bends more on the way than it does from here to the point moved to.
    for length in (step, step / 2, step * typical_share(point.theta)):
        is_other = length < step / 2
        along, quotient = slopes(length)
        # By the quotient, as a slope that is wrong would allow for itself.
        bend = 2 * abs(ends[1] - ends[0] - MOVED * quotient) / (MOVED * (MOVED - length))
        # What the quotient may be off by: rounding of F, and the curvature on the way.
        off = 100 * eps * abs(ends[0]) / length + 2 * length * bend
        # Behind a jump quotients grow as the step falls, and differ by half of themselves.
        off += 0.0 if before is None or is_other else 4 * abs(quotient - before)
        typical = abs(along) + float(slope.double().norm()) * size / len(point.theta) ** 0.5
        if is_other and off > bound * typical:
            break
        total = max(typical + off / bound, 1e-300)
        gap, before, last = abs(quotient - along) / total, quotient, length
        if gap <= bound:
            return Check("cut, derivative", gap, bound, meaning)
    # Of terms that cancel, as logits of a net that fits its data, rounding is theirs.
    left = ROUNDED * eps * away() / last / bound
    if gap * total <= bound * (total + left):
        return Check(
            "cut, derivative", gap * total / (total + left), bound, f"{meaning}, to rounding of F away from θ"
        )

    def gap_at(length: float) -> float:
        along, quotient = slopes(length)
        return quotient - along

    def is_autograds() -> bool:
        # Where ∇F is not that of a plain loop, it is not for the module to answer for.
        own = plain.gradient(objective, plain.by_name(objective, point))
        return float((own - slope.double()).norm()) <= bound * float(own.norm())

    why = _why([[gap_at(side * length) for length in (last, last / 2)] for side in (1, -1)], is_autograds)
    return Check("cut, derivative", gap, bound, "; ".join(filter(None, (meaning, why))))


def _why(gaps: Sequence[Sequence[float]], is_autograds: Callable[[], bool]) -> str:
    """What ``gaps``, quotients less the slope, ahead and behind by falling steps, say of the slope; '' for nothing."""
    least = min(abs(gap) for side in gaps for gap in side)
    spreads = [max(found) - min(found) for found in (*gaps, [gap for side in gaps for gap in side])]
    if not np.isfinite(least) or max(spreads[:-1]) > UNLIKE * max(abs(gap) for side in gaps for gap in side):
        return ""
    if spreads[-1] > UNLIKE * least:
        return KINK
    if not is_autograds():
        return ""
    return ANOTHER


def of_values(found: Sequence[Check]) -> tuple[list[Check], list[str]]:
    """Of :func:`meaning` what proves numbers that are of F alone: that ∇F is another there, or none, is a note."""
    others = {
        one: said
        for one in found
        for said in (ANOTHER, KINK)
        if not one.passed and one.meaning.endswith(said)
    }
    notes = [f"no number here is of a gradient: {said.removesuffix('?')}" for said in others.values()]
    return [one for one in found if one not in others], notes


def agreement(name: str, objective: Objective, value: float, point: Point, meaning: str) -> Check:
    """A loss against the independent one at the same point, relative to rounding of the dtype."""
    return close(name, value, independent_loss(objective, point), rounding(objective), meaning)


def close(name: str, value: float, reference: float, tolerance: float, meaning: str) -> Check:
    """|value − reference| / max(1e-3, |reference|) against ``tolerance``; two NaNs or equal infinities agree."""
    if value == reference or (np.isnan(value) and np.isnan(reference)):
        return Check(name, 0.0, tolerance, meaning)
    difference = abs(value - reference) / max(1e-3, abs(reference))
    return Check(name, float(np.nan_to_num(difference, nan=np.inf)), tolerance, meaning)


def rounding(objective: Objective) -> float:
    """What two correct evaluations may differ by, relative: float64 1e-12, float32 2e-5, half types 5e-2.

    A forward pass of L layers over width w accumulates about √(L w) roundings of the dtype's
    epsilon; a hundred epsilons (float32: 1.2e-5) covers the nets measured here with some room. The dtype is the
    coarsest that the module computes in.
    """
    return {torch.float64: 1e-12, torch.float32: 2e-5}.get(objective.coarsest, 5e-2)


def finite(values: np.ndarray, name: str = "not finite") -> Check:
    """The number of NaN and infinite values among ``values``."""
    return Check(
        name, float((~np.isfinite(values)).sum()), 0.0, "values that are NaN or infinite (kept as they are)"
    )


@contextmanager
def untouched(objective: Objective, checks: list[Check]) -> Iterator[None]:
    """Adds the check that parameters, buffers, modes and requires_grad are bit for bit what they were."""
    before = fingerprint(objective.module)
    yield
    moved = float(fingerprint(objective.module) != before)
    checks.append(
        Check(
            "module untouched",
            moved,
            0.0,
            "parameters, buffers, modes and requires_grad, bit for bit (0 = same)",
        )
    )


def fingerprint(module: nn.Module) -> str:
    """A sha256 over everything an analysis could have moved in a module."""
    digest = hashlib.sha256()
    tensors: list[tuple[str, Tensor]] = [*module.named_parameters(), *module.named_buffers()]
    for name, tensor in tensors:
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} {tensor.requires_grad}".encode())
        digest.update(here(tensor).detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    digest.update(str([layer.training for layer in module.modules()]).encode())
    return digest.hexdigest()
