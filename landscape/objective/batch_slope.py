"""What a batch says of F and its slope, over all processes, and which parameters it reaches."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape import distributed
from landscape.objective import batchnorm
from landscape.objective.derivatives import by_each
from landscape.objective.fitted import Fitted
from landscape.objective.parametrised import Fixed
from landscape.objective.undefined import undefined


class BatchSlope(NamedTuple):
    """The loss, the gradient (d,) and, by piece of θ, whether the graph reaches it."""

    loss: Tensor
    slope: Tensor
    is_reached: np.ndarray


def batch_slope(
    subject: Fitted, theta: Tensor, indices: Tensor | None, fixed: Fixed, l2: float, *, training: bool
) -> BatchSlope:
    """Of the samples ``indices``, all of them for None, with ``l2``/2 ‖θ‖² in the slope alone.

    By each parameter, as those that are not reached have no gradient. Raises NotDifferentiable.
    """
    samples, num_processes = subject.samples, distributed.num_processes()
    count = subject.num_samples if indices is None else len(indices)
    inputs, targets = samples if indices is None else samples.select(indices)
    if training and num_processes > 1:
        batchnorm.require_splittable(subject.module)
    weight = torch.zeros((), dtype=torch.float64, device=subject.device)
    leaf = subject._leaf(theta).detach()
    total, slope = torch.zeros_like(weight), torch.zeros_like(leaf)
    is_reached = np.zeros(len(subject.pieces), dtype=bool)
    if len(targets):
        parts = {name: part.detach().requires_grad_() for name, part in subject._placed(leaf).items()}
        slopes: list[Tensor | None] = [torch.full_like(part, torch.nan) for part in parts.values()]
        total = torch.full_like(weight, torch.nan)
        with (
            undefined(subject, inputs, targets, training=training, derives=True),
            batchnorm.single_samples_explained(),
            subject._parts_explained(len(targets)),
            subject.passed(parts, fixed, inputs, training) as outputs,
        ):
            total, own = subject.loss.of_batch(outputs, targets, count)
            weight = weight if own is None else own
            slopes = by_each(total, list(parts.values()))
        is_reached = np.array([one is not None for one in slopes])
        slope = joined(slopes, list(parts.values()), subject.dtype)
    mean, slope = distributed.total(total.detach()), distributed.total(slope)
    if subject.loss.over == "weight":
        weight = distributed.total(weight)
        mean, slope = mean / weight, (slope / weight).to(slope.dtype)
    if num_processes > 1:
        is_reached = (
            distributed.total(torch.from_numpy(is_reached.astype(float)).to(leaf.device)).cpu().numpy() > 0
        )
        if subject.is_whole:
            mean, slope = mean / num_processes, slope / num_processes
    if l2:
        slope = slope.add(leaf, alpha=l2)
    return BatchSlope(mean, slope, is_reached)


def joined(slopes: Sequence[Tensor | None], like: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    """(d,), zero for what is None."""
    pairs = zip(slopes, like, strict=True)
    parts = [(torch.zeros_like(leaf) if one is None else one).reshape(-1) for one, leaf in pairs]
    # To ask each takes longer than its copy where there are many small ones.
    if all(part.dtype == dtype for part in parts):
        return torch.cat(parts)
    return torch.cat([part.to(dtype) for part in parts])
