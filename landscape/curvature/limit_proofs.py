"""The proof of the limits of stability along a run: at the stated λ steps on ½λx² neither shrink nor grow."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from landscape.result import Check, largest_gap

# Of Adam's mean of gradients.
FIRST = 0.9


class Stepping(NamedTuple):
    """How a run stepped to a point: its ``step_size`` there, and its rule."""

    step_size: float
    optimizer: str
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0


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
