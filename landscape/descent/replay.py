"""Replicas beside plain loops: the first steps of a stack, taken again one by one."""

from collections.abc import Callable

import torch
from torch import Tensor

from landscape.descent.gradients import stacked_gradients
from landscape.numerics.steps.replicas import Plan, Replicas
from landscape.objective.checks import Check
from landscape.objective.objective import Objective

STEPS = 10
BOUND = 1e-6


def draws(objective: Objective, theta: Tensor) -> bool:
    """Whether the gradient at θ (d,) in training draws random numbers, as dropout does."""
    fixed = objective.present_point().fixed
    once, twice = (objective.batch_gradient(theta, None, fixed, training=True)[1] for _ in range(2))
    return not torch.equal(once.nan_to_num(), twice.nan_to_num())


def replayed(objective: Objective, thetas: Tensor, plan_of: Callable[[int], Plan]) -> Check | None:
    """STEPS steps of a stack from ``thetas`` (k, d) against plain ones, for an objective in float64.

    ``plan_of(i)`` makes a fresh plan of replica i, its step size constant at first. The value is the largest
    distance, over the way that the replica went. None where gradients draw random numbers.
    """
    if draws(objective, thetas[0]):
        return None
    fixed = objective.present_point().fixed
    stack = Replicas(stacked_gradients(objective), thetas, [plan_of(i) for i in range(len(thetas))])
    stack.advance(STEPS)
    gaps = []
    for i, (start, end) in enumerate(zip(thetas, stack.thetas, strict=True)):
        plan, theta, way = plan_of(i), start, 0.0
        for _ in range(min(STEPS, plan.num_steps)):
            batch = plan.sampler.next() if plan.sampler else None
            loss, slope = objective.batch_gradient(theta, batch, fixed, training=True)
            if not bool(torch.isfinite(loss)):
                break
            theta = theta - plan.step_size * slope
            way += plan.step_size * float(torch.linalg.vector_norm(slope))
        # A replica that hardly moves still rounds its θ.
        way += BOUND * float(torch.linalg.vector_norm(theta))
        gaps.append(float(torch.linalg.vector_norm(end - theta)) / max(way, 1e-300))
    meaning = f"{STEPS} steps in a stack against plain ones in float64, over the way they went"
    return Check("stack", max(gaps), BOUND, meaning)
