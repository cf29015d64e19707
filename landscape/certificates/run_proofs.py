"""What certificates say of a run from its first point on: how far θ and K went, and what the linearised model says."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from landscape.certificates.survey import Survey
from landscape.objective import checks
from landscape.objective.row_proofs import numbers
from landscape.result import Check, largest_gap

# What terms that cancel leave in float64, and what sums taken in another order do.
CANCELLED, SUMS = 1e-9, 1e-12
# Exponents whose powers of e are numbers.
FAR = 500.0


def decay_check(result: Any, descent: Sequence[tuple[float, float]]) -> list[Check]:
    """The logarithm of the bound along a run against the least λ_min(K) and the times of ``descent`` (points, 2)."""
    if result.decay_bound is None:
        return []
    least, first, gaps = min(result.ntk_smallest.tolist()), float(result.loss[0]), [0.0]
    for (time, _), bound in zip(descent, result.decay_bound.tolist(), strict=True):
        wanted = 4 * least * (time - descent[0][0]) / int(result.num_outputs)
        # Beyond some hundreds the bound is no number.
        if first > 0 and wanted < FAR:
            gaps.append(abs(math.log(first) - math.log(bound) - wanted) if bound > 0 else math.inf)
    meaning = "logarithm of the bound along the run against c, the least λ_min(K), and the times of the steps"
    return [Check("decay", largest_gap(*gaps), CANCELLED, meaning)]


def run_check(survey: Survey, result: Any) -> list[Check]:
    """How far weights have gone, of all points, and the kernel and the linearised loss at the last, written out."""
    if len(survey.points) < 2:
        return []
    first, gaps = numbers(survey.points[0].theta), [0.0]
    for point, said in zip(survey.points, result.weight_change.tolist(), strict=True):
        gaps.append(_apart(said, _relative(numbers(point.theta), first)))
    last, begun = (survey.seen.get(k) for k in (len(survey.points) - 1, 0))
    if last is not None and begun is not None and last.matrix is not None and begun.matrix is not None:
        before, after = (one.double().cpu().numpy() for one in (begun.matrix, last.matrix))
        gaps.append(_apart(float(result.kernel_change[-1]), _relative(after, before)))
    objective = survey.objective
    if begun is not None and objective.is_mean:
        moved = survey.from_first(survey.points[-1].theta - survey.points[0].theta)
        outputs = begun.structure.outputs + moved.reshape(begun.structure.outputs.shape)
        targets = objective.samples.picked(None)[1]
        if outputs.dim() == 2 and not objective.loss.has_price and objective.loss.is_of_outputs:
            grads = torch.set_grad_enabled(objective.needs_gradients)
            with grads, objective.written({**survey.points[0].fixed}):
                wanted = float(objective.loss.each(outputs.to(objective.dtype), targets).mean())
            gaps.append(_apart(float(result.linear_loss[-1]), wanted, 1e-3))
    meaning = "changes of θ, and of K and the linearised loss at the last point, written out, relative, from 1e-12 on"
    bound = CANCELLED if objective.is_double else checks.rounding(objective)
    return [Check("changes", largest_gap(*(0.0 if one <= SUMS else one for one in gaps)), bound, meaning)]


def _relative(after: Any, before: Any) -> float:
    """‖after − before‖ / ‖before‖, by sums; of nothing but zeros infinite, or NaN where they stay."""
    moved, size = (float((one**2).sum()) for one in (after - before, before))
    return math.sqrt(moved / size) if size else math.inf if moved else math.nan


def _apart(said: float, wanted: float, least: float = 1e-300) -> float:
    """How far numbers are apart, relative; those that are the same infinite one, or both NaN, are not."""
    is_same = said == wanted or (math.isnan(said) and math.isnan(wanted))
    return 0.0 if is_same else abs(said - wanted) / max(abs(wanted), least)
