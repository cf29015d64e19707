"""What certificates say of a run from its first point on: how far θ and K went, and what the linearised model says."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from landscape.certificates.survey import Survey
from landscape.objective import checks
from landscape.objective.row_proofs import numbers
from landscape.result import Check, largest_gap

# What terms that cancel leave in float64, and what sums taken in another order do.
CANCELLED, SUMS = 1e-9, 1e-12
# Exponents whose powers of e are numbers.
FAR = 500.0
# Entries of a row that are no numbers of its point.
ONCE = {"checks", "claims", "layer", "is_converged", "num_outputs"}


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
    first, gaps = numbers(survey.points[0].theta), [_by_spectra(result)]
    for point, said in zip(survey.points, result.weight_change.tolist(), strict=True):
        gaps.append(_apart(said, _relative(numbers(point.theta), first)))
    last, begun = (survey.seen.get(k) for k in (len(survey.points) - 1, 0))
    if last is not None and begun is not None and last.matrix is not None and begun.matrix is not None:
        before, after = (one.double().cpu().numpy() for one in (begun.matrix, last.matrix))
        gaps.append(_apart(float(result.kernel_change[-1]), _relative(after, before)))
    objective = survey.objective
    if begun is not None and objective.is_mean and result.linear_loss is not None:
        gaps += _linear_gaps(survey, begun.structure.outputs, result.linear_loss.tolist())
    meaning = (
        "changes of θ, of K at the last point and within what eigenvalues allow at all, and the linearised loss, "
        "written out, relative, from 1e-12 on"
    )
    bound = CANCELLED if objective.is_double else checks.rounding(objective)
    return [Check("changes", largest_gap(*(0.0 if one <= SUMS else one for one in gaps)), bound, meaning)]


def _linear_gaps(survey: Survey, outputs: torch.Tensor, stated: Sequence[float]) -> list[float]:
    """Of every point the loss of ``outputs`` of the first, moved as the linearised model does, by the module's loss."""
    objective, gaps = survey.objective, list[float]()
    if outputs.dim() != 2 or objective.loss.has_price or not objective.loss.is_of_outputs:
        return gaps
    first, targets = survey.points[0], objective.samples.picked(None)[1]
    for point, said in zip(survey.points, stated, strict=True):
        there = outputs + survey.from_first(point.theta - first.theta).reshape(outputs.shape)
        grads = torch.set_grad_enabled(objective.needs_gradients)
        with grads, objective.written({**first.fixed}):
            wanted = float(objective.loss.each(there.to(objective.dtype), targets).mean())
        gaps.append(_apart(said, wanted, 1e-3))
    return gaps


def rows_check(survey: Survey, result: Any) -> list[Check]:
    """Numbers and words of several points, each of which has to stand at the name of its own."""
    if len(survey.points) < 2:
        return []
    wrong = 0
    for i, point in enumerate(survey.points):
        row = survey.row(i, i)
        wrong += str(result.point[i]) != (point.label.rpartition("@")[2] or f"point {i}")
        for name, wanted in row.items():
            said = getattr(result, name, None)
            # What not every point has is left out, and what is one for all stands once.
            if name in ONCE or said is None or np.ndim(said) == 0:
                continue
            same = np.array_equal(said[i], wanted, equal_nan=np.asarray(wanted).dtype.kind == "f")
            wrong += not same
    meaning = "numbers and words of a point that stand at the name of another (0 = none)"
    return [Check("places", float(wrong), 0.0, meaning)]


def _by_spectra(result: Any) -> float:
    """By how much a change of K is less than that of its eigenvalues, or more than where ⟨K, K₀⟩ = 0."""
    spectra, worst = result.ntk_spectrum, 0.0
    if spectra is None or not np.isfinite(spectra).all():
        return worst
    # Hoffman and Wielandt 1953; a product of matrices with no negative eigenvalues has no negative trace.
    size = float(np.linalg.norm(spectra[0]))
    if not size:
        # From nothing there is no change by parts.
        return worst
    for values, said in zip(spectra, result.kernel_change.tolist(), strict=True):
        least = float(np.linalg.norm(values - spectra[0])) / size
        most = math.hypot(float(np.linalg.norm(values)) / size, 1.0)
        room = CANCELLED * max(1.0, most)
        worst = largest_gap(worst, least - room - said, said - most - room)
    return worst


def _relative(after: Any, before: Any) -> float:
    """‖after − before‖ / ‖before‖, by sums; of nothing but zeros infinite, or NaN where they stay."""
    moved, size = (float((one**2).sum()) for one in (after - before, before))
    return math.sqrt(moved / size) if size else math.inf if moved else math.nan


def _apart(said: float, wanted: float, least: float = 1e-300) -> float:
    """How far numbers are apart, relative; those that are the same infinite one, or both NaN, are not."""
    is_same = said == wanted or (math.isnan(said) and math.isnan(wanted))
    return 0.0 if is_same else abs(said - wanted) / max(abs(wanted), least)
