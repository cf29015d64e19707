"""The step size of every step as it is meant, by the formula of its schedule: what takes steps again steps by it."""

import math
from collections.abc import Mapping
from typing import Any

from landscape.numerics.steps.schedules import LARGEST, schedule_parameters


def size_of(schedule: str, arguments: Mapping[str, Any], first: float, every: int, step: int) -> float | None:
    """The size of step ``step``, from 0, of a schedule that begins with ``first``; None where it follows the loss."""
    about, k = schedule_parameters(schedule, arguments), step // every
    if schedule == "plateau":
        return None
    if schedule == "piecewise":
        is_large = about["gamma"] > 1 and k * math.log(about["gamma"]) > math.log(LARGEST)
        return LARGEST if is_large else first * about["gamma"] ** k
    if schedule == "exponential":
        # Beyond, nothing is left of it.
        return first / math.exp(about["rate"] * k) if about["rate"] * k < 700 else 0.0
    if schedule == "polynomial":
        return first / (about["beta"] * k + 1) ** about["gamma"]
    return first
