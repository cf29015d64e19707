"""What proves an average over noise on θ: its own draws in a plain loop, and as many others."""

import math
import statistics
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.numerics.vectors import normal
from landscape.objective import checks, plain
from landscape.objective.objective import Objective
from landscape.objective.row_proofs import numbers
from landscape.objective.smoothing import Smoothed, noise_of
from landscape.result import Check, largest_gap

ONCE_IN = 1e6


def smoothing_checks(
    objective: Objective,
    found: Smoothed,
    place: int,
    values: Any,
    tensors_at: Callable[[Any], Mapping[str, Tensor]],
) -> list[Check]:
    """Of one place, whose θ is ``values`` (d,); ``tensors_at`` gives the module's tensors at such numbers."""
    from scipy.special import stdtrit

    count = len(found.pairs)

    def loss(noise: Any) -> float:
        return plain.measure(objective, tensors_at(values + found.sigma * noise)).loss

    def pairs(draw: Callable[[int], Tensor]) -> list[float]:
        noises = [numbers(draw(k)) for k in range(count)]
        return [(loss(noise) + loss(-noise)) / 2 for noise in noises]

    own = pairs(lambda k: noise_of(objective, found.seed, k))
    meaning = (
        "average and standard error at one place against a plain loop over the same noise, relative to F"
    )
    if not math.isfinite(found.loss[place]) or not math.isfinite(sum(own)):
        is_same = math.isfinite(found.loss[place]) == math.isfinite(sum(own))
        return [Check("smoothed loss", 0.0 if is_same else math.inf, checks.rounding(objective), meaning)]
    # Student's quantile over the normal one.
    factor = float(stdtrit(count - 1, 0.975)) / 1.959964
    error = factor * statistics.stdev(own) / math.sqrt(count)
    apart = largest_gap(abs(found.loss[place] - math.fsum(own) / count), abs(found.error[place] - error))
    scale = max(1e-3, max(map(abs, own)))
    proofs = [Check("smoothed loss", float(apart / scale), checks.rounding(objective), meaning)]
    # Self-normalised sums of symmetric terms, as those of two independent sets are, exceed t once in e^(t²/2)/2
    # whatever their law (Efron 1969), and never √n.
    bound = math.sqrt(2 * math.log(2 * ONCE_IN))
    if bound < math.sqrt(count):
        generator = torch.Generator().manual_seed(found.seed)
        others = pairs(lambda _: normal(objective.theta, generator))
        gaps = np.subtract(found.pairs[:, place], others)
        size = float(np.sqrt(np.sum(gaps**2)))
        # Less than rounding of F is no difference.
        ratio = abs(float(gaps.sum())) / max(size, checks.rounding(objective) * scale * count)
        meaning = (
            "the average at one place against other noise, in roots of summed squares of the differences"
        )
        proofs.append(Check("other noise", ratio, bound, meaning))
    return proofs
