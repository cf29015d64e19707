"""A point as a result or a file stores it, by the names of its tensors, and what is said of it."""

import numpy as np
import torch
from torch import Tensor

from landscape.objective import checks, plain
from landscape.objective.accuracy import accuracy_check
from landscape.objective.objective import Measurement, Objective
from landscape.objective.samples import converted
from landscape.result import Check, Result


def same(one: Tensor, other: Tensor) -> bool:
    """Whether the numbers are the same, in the dtype of ``one``, NaN as well."""
    other = other.to(one.device, one.dtype)
    return one.shape == other.shape and bool(((one == other) | ((one != one) & (other != other))).all())


def point_checks(
    name: str,
    objective: Objective,
    tensors: dict[str, Tensor],
    loss: float,
    accuracy: float | None,
    meaning: str,
    seen: Measurement | None = None,
) -> list[Check]:
    """Loss and, where there is one, accuracy that a result says of a point. One evaluation, unless it was ``seen``."""
    seen = seen or plain.measure(objective, tensors)
    word = f"{name} " if name else ""
    found = [checks.close(f"{word}loss", loss, seen.loss, checks.rounding(objective), f"loss {meaning}")]
    if accuracy is not None or not np.isnan(seen.accuracy):
        found.append(
            accuracy_check(f"{word}accuracy", objective, accuracy, seen.accuracy, f"accuracy {meaning}")
        )
    return found


def state_of(objective: Objective, result: Result, label: str) -> dict[str, Tensor]:
    """The tensors of a stored point, by name, with the numbers that are stored, in the objective's dtype."""
    state = {name: torch.from_numpy(value) for name, value in result.states[label].items()}
    return {name: converted(one, objective.device, objective.dtype) for name, one in state.items()}
