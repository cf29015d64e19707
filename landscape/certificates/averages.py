"""F averaged over noise on θ at the points of a survey."""

from typing import Any

import numpy as np
from torch import Tensor

from landscape.certificates.survey import Survey
from landscape.objective.row_proofs import numbers, stated
from landscape.objective.smoothing import Smoothed, fields_of, smoothed, smoothed_in_words
from landscape.objective.smoothing_proofs import smoothing_checks
from landscape.objective.sweep import Sweep
from landscape.result import Check


def averages(
    survey: Survey, shape: tuple[int, ...], *, sigma: float, num_pairs: int
) -> tuple[dict[str, Any], list[Check], list[str]]:
    """What a result keeps of them, of ``shape``, the checks at the last point, and notes."""
    sweep = Sweep(survey.objective, None, "frozen", survey.journal, survey.progress)
    each = []
    for number, point in enumerate(survey.points):

        def fill(block: range, thetas: Tensor, theta: Tensor = point.theta) -> None:
            thetas.copy_(theta.expand_as(thetas))

        about: dict[str, Any] = {"sigma": sigma, "num_pairs": num_pairs, "seed": survey.seed}
        each.append(smoothed(sweep, f"point {number}", 1, fill, [point], **about))
    loss, error, pairs = (np.concatenate([one[i] for one in each], axis=-1) for i in range(3))
    found, last = Smoothed(loss, error, pairs, sigma, survey.seed), survey.points[-1]
    proofs = smoothing_checks(
        survey.objective,
        found,
        len(each) - 1,
        numbers(last.theta),
        lambda theta: {**stated(survey.objective, theta), **last.fixed},
    )
    return fields_of(found, shape), proofs, smoothed_in_words(found)
