"""What a run says of its points: the limits of stability, by steps on ½λx² at the stated λ, and P at each of them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from landscape.curvature.places import Survey
from landscape.objective.objective import Objective
from landscape.result import Check, largest_gap

# Of Adam's mean of gradients.
FIRST = 0.9


class Stepping(NamedTuple):
    """How a run stepped to a point: its ``step_size`` there, its rule, and P (d,), what it divided by, if anything."""

    step_size: float
    optimizer: str
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    divisor: np.ndarray | None = None


def limits_check(result: Any, steppings: Mapping[str, Stepping]) -> list[Check]:
    """The limits of a ``result`` at its points, as far as their ``steppings`` are known, by label.

    A step is linear in (x, v), v what the rule remembers; where it begins to grow one eigenvalue of it is −1.
    """
    if result.stability_limit is None or result.point is None:
        return []
    limits = result.stability_limit.tolist()
    labels = [label.rpartition("@")[2] for label in result.point.tolist()]
    gaps = [
        float(np.abs(np.linalg.eigvals(_step(steppings[label], limit)) + 1).min())
        for limit, label in zip(limits, labels, strict=True)
        if label in steppings
    ]
    if not gaps:
        return []
    meaning = (
        "how far the eigenvalues of one step on ½λx² are from −1 at the stated λ, by the schedule's step size"
    )
    return [Check("stability limit", largest_gap(*gaps), 1e-9, meaning)]


def divisors_check(objective: Objective, survey: Survey, steppings: Mapping[str, Stepping]) -> list[Check]:
    """That at every place of a run the matrix is divided by what the run's file has beside the name of that point."""
    gaps = []
    for place in survey.places[: len(survey.found)]:
        # The layers of one point are called by their own names.
        label = next(iter(steppings), "") if survey.per_layer else place.label.rpartition("@")[2]
        how = steppings.get(label)
        taken = place.objective.preconditioner
        if how is None or how.divisor is None or taken is None:
            continue
        for piece in place.objective.pieces:
            (span,) = (one.span for one in objective.pieces if one.name == piece.name)
            own = taken[piece.name].double().cpu().numpy().ravel()
            gaps.append(float(np.abs(own - how.divisor[span]).max(initial=0.0)))
    if not gaps:
        return []
    meaning = "what the matrix is divided by at each point, against P beside the name of the point in the run's file"
    return [Check("divisors", largest_gap(*gaps), 0.0, meaning)]


def _step(how: Stepping, curvature: float) -> np.ndarray:
    """(x, v) ↦ (x, v) after a step, as a matrix, by its words."""
    columns = []
    for x, v in np.eye(2).tolist():
        slope = curvature * x
        if how.optimizer == "adamw":
            mean = FIRST * v + (1 - FIRST) * slope
            columns.append((x - how.step_size * how.weight_decay * x - how.step_size * mean, mean))
            continue
        slope += how.weight_decay * x
        if how.optimizer == "adam":
            v = FIRST * v + (1 - FIRST) * slope
        else:
            v = how.momentum * v + slope
        taken = slope + how.momentum * v if how.nesterov else v
        columns.append((x - how.step_size * taken, v))
    return np.array(columns).T
