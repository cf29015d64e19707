"""How well a loss and an accuracy are known from the samples they were measured on: standard errors."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from landscape import distributed
from landscape.objective.batching import batched, is_worthwhile
from landscape.objective.objective import Objective
from landscape.objective.undefined import undefined

# A loss that has to be called for every sample alone is, no more often than this.
MOST_ALONE = 2**18


def has_errors(objective: Objective, num_points: int) -> bool:
    """Whether the errors at so many points cost next to nothing beside the forward passes."""
    is_alone = objective.loss.rows is None
    is_cheap = not is_alone or num_points * objective.num_samples <= MOST_ALONE
    return objective.tells_samples_apart and objective.num_samples > 1 and is_cheap


def without_errors(objective: Objective, num_points: int, whose: str = "samples") -> list[str]:
    """A note where there are none."""
    if has_errors(objective, num_points) or objective.num_samples == 1:
        return []
    return [
        f"no standard errors over {whose}: the loss {objective.loss.name} is not had for each from the outputs"
    ]


def measured_with_errors(objective: Objective, thetas: Tensor, fixed: Mapping[str, Tensor]) -> Tensor:
    """Loss, accuracy and the standard errors of both over the samples at K points: (K, d) -> (K, 4) float64.

    From the outputs that loss and accuracy come from. The error of the loss, a mean over n samples, is s/√n, s their
    standard deviation; that of an accuracy p is √(p(1 − p)/n), or s/√n without Bessel's correction where samples are
    right in part. The objective must tell its samples apart. On the CPU.
    """
    thetas = thetas.detach().to(objective.device, objective.dtype)
    count, here = objective.num_samples, objective.samples.count_here
    with torch.set_grad_enabled(objective.needs_gradients):
        may_batch = distributed.num_processes() == 1 and objective.loss.rows is not None
        local = None
        if may_batch and is_worthwhile(objective.activations, thetas):
            local = batched(lambda theta: _sums(objective, theta, fixed), thetas, objective.activations)
        if local is None:
            local = torch.stack([_sums(objective, theta, fixed) for theta in thetas])
    local = local.detach()
    sums = objective.over_samples(local[:, :2])
    # Squares about the means of all samples, from those about the means of this process's.
    drift = local[:, :2] / max(here, 1) - sums / count
    squares = objective.over_samples(local[:, 2:] + here * drift.square())
    divisors = torch.tensor([count - 1, count], dtype=torch.float64, device=squares.device)
    errors = (squares / divisors).sqrt() / count**0.5
    scales = torch.tensor(
        [objective.divisor / objective.num_copies, count], dtype=torch.float64, device=squares.device
    )
    found = torch.cat([sums / scales, errors * (count / scales)], dim=1).cpu()
    if objective.l2:
        found[:, 0] += 0.5 * objective.l2 * thetas.double().square().sum(1).cpu()
    return found


def _sums(objective: Objective, theta: Tensor, fixed: Mapping[str, Tensor]) -> Tensor:
    """Of this process's samples: Σ losses, Σ right, and both summed as squares about their means, (4,)."""
    loss = objective.loss
    rows, totals = [], []
    for inputs, targets in objective.chunks():
        each = right = torch.full((len(targets),), torch.nan, dtype=torch.float64, device=objective.device)
        total = each.sum()
        with (
            undefined(objective, inputs, targets),
            objective.passed(theta, fixed, inputs) as outputs,
        ):
            each = loss.each(outputs, targets)
            right = (
                loss.correct(outputs, targets).double() if loss.correct else torch.full_like(each, torch.nan)
            )
            total = each.sum() if loss.rows else _total(loss, outputs, targets)
        rows.append(torch.stack([each, right]))
        totals.append(torch.stack([total, right.sum()]))
    if not rows:
        return torch.zeros(4, dtype=torch.float64, device=objective.device)
    both = torch.cat(rows, dim=1)
    sums = totals[0] if len(totals) == 1 else torch.stack(totals).sum(0)
    return torch.cat([sums, (both - both.mean(1, keepdim=True)).square().sum(1)])


def _total(loss: Any, outputs: Any, targets: Tensor) -> Tensor:
    return loss.total(outputs, targets).detach().double().reshape(())
