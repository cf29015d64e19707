"""F, how many samples are right, and ∇F, from one pass over the data."""

from typing import NamedTuple

import torch
from torch import Tensor

from landscape import distributed
from landscape.objective import trees
from landscape.objective.derivatives import divided
from landscape.objective.fitted import Fitted
from landscape.objective.leaves import Leaves
from landscape.objective.parametrised import Fixed
from landscape.objective.undefined import undefined


class Sum(NamedTuple):
    """F(θ); the fraction of samples classified right, NaN where that was not asked for; ∇F(θ) of shape (d,)."""

    value: float
    accuracy: float
    slope: Tensor


@torch.enable_grad()
def summed(subject: Fitted, theta: Tensor, fixed: Fixed, l2: float, *, counts: bool = False) -> Sum:
    """The loss of ``subject`` at ``theta`` and its derivative, in float64 where chunks are added; with ``l2``/2 ‖θ‖².

    ``counts``: the accuracy too, where the loss knows one. Raises NotDifferentiable.
    """
    leaves = Leaves(theta, subject.pieces, is_cut=subject.stands_as_leaves)
    theta = leaves.theta
    correct = subject.loss.correct if counts else None

    def added() -> tuple[Tensor, Tensor]:
        # Widened with the second chunk: the derivative of a single one is the sum.
        found, slope = torch.zeros(2, dtype=torch.float64, device=subject.device), None
        for inputs, targets in subject.chunks(subject.derivative_chunk()):
            chunk = right = torch.tensor(torch.nan, dtype=torch.float64, device=subject.device)
            with (
                undefined(subject, inputs, targets, derives=True) as said,
                subject.passed(leaves, fixed, inputs) as outputs,
            ):
                chunk = subject.loss.total(outputs, targets)
                right = correct and correct(trees.mapped(Tensor.detach, outputs), targets).double().sum()
                # Of a block, as an expert, what no sample of a chunk reaches has no graph, and is no broken one.
                if chunk.requires_grad or not subject.is_part:
                    slope = leaves.gradient(chunk, None if slope is None else slope.double())
            if said:
                slope = torch.full_like(theta, torch.nan)
            found[0] += chunk.detach()
            found[1] += torch.nan if right is None else right
        return found, torch.zeros_like(theta) if slope is None else slope

    def flat() -> Tensor:
        found, slope = added()
        return torch.cat([found, slope.double()])

    if distributed.num_processes() == 1:
        found, slope = added()
    else:
        sums = distributed.summed(flat, len(theta) + 2, subject.device)
        found, slope = sums[:2], sums[2:]
    total, right = found.tolist()
    value, slope = total / subject.divisor, divided(slope, subject.divisor, theta)
    if l2:
        value += 0.5 * l2 * theta.double().square().sum().item()
        slope.add_(theta, alpha=l2)
    return Sum(value, right / subject.num_counted if correct else torch.nan, slope)
