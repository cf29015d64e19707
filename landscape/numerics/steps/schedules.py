"""Step-size schedules of gradient methods, by their standard formulas."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import exp, inf
from typing import Any

import torch
from torch import Tensor

from landscape.errors import BadInput

Rule = Callable[[int], float]

# Each rule's parameters with their defaults; k counts periods of ``every`` steps.
PARAMETERS: dict[str, dict[str, float]] = {
    "constant": {},
    "piecewise": {"gamma": 0.5},
    "exponential": {"rate": 0.2},
    "polynomial": {"beta": 1.0, "gamma": 0.5},
    "plateau": {"factor": 0.5, "threshold": 1e-4, "cooldown": 0, "patience": 1, "floor": 0.0},
}
# Step sizes grow no further: long before, nothing that was finite is left in float32.
LARGEST = 1e30


def schedule_parameters(name: str, given: Mapping[str, Any]) -> dict[str, float]:
    """Defaults of the schedule ``name`` overridden by ``given``. Raises BadInput for an unknown one."""
    if name not in PARAMETERS:
        raise BadInput(f"unknown schedule {name!r}", f"one of {', '.join(PARAMETERS)}")
    known = PARAMETERS[name]
    for key, value in given.items():
        if key not in known and key != "every":
            raise BadInput(
                f"the schedule {name} has no {key!r}", f"some of every, {', '.join(known)}".rstrip(", ")
            )
        if not isinstance(value, int | float) or not 0 <= value < inf:
            raise BadInput(f"{key}={value!r} of the schedule", "a number of at least 0")
    return {**known, **{key: value for key, value in given.items() if key != "every"}}


def step_size(name: str, parameters: Mapping[str, float], first: float, k: int) -> float:
    """The step size of period k = 0, 1, … of a schedule that does not look at the loss.

    constant α₁; piecewise α₁γᵏ, at most LARGEST; exponential α₁e^{−λk} (``rate`` is λ); polynomial α₁(βk + 1)^{−γ}.

    >>> step_size("piecewise", {"gamma": 0.5}, 0.1, 2)
    0.025
    """
    if name == "piecewise":
        try:
            return min(LARGEST, first * parameters["gamma"] ** k)
        except OverflowError:
            return LARGEST
    if name == "exponential":
        return first * exp(-parameters["rate"] * k)
    if name == "polynomial":
        return first * (parameters["beta"] * k + 1) ** -parameters["gamma"]
    return first


@dataclass
class Plateau:
    """Multiply the step by ``factor`` when ``patience`` periods in a row bring less than ``threshold``.

    A period improves when it lowers the loss by more than ``threshold`` below that of the last one that did, so
    that small gains add up, as in torch.optim.lr_scheduler.ReduceLROnPlateau; after a cut, ``cooldown``
    periods pass unjudged; the step never falls below ``floor``. The state is three numbers, so that a
    stopped run can go on.
    """

    step: float
    parameters: Mapping[str, float]
    best: float = field(default=float("inf"))
    waited: int = 0
    cooling: int = 0

    def observe(self, loss: float) -> float:
        """The step size after a period that ended at ``loss``."""
        if loss < self.best - self.parameters["threshold"]:
            self.best, self.waited = loss, 0
        elif self.cooling == 0:
            self.waited += 1
        self.cooling = max(0, self.cooling - 1)
        if self.waited >= max(1, self.parameters["patience"]):
            self.step = min(LARGEST, max(self.parameters["floor"], self.step * self.parameters["factor"]))
            self.waited, self.cooling = 0, int(self.parameters["cooldown"])
        return self.step


class Stall:
    """:class:`Plateau`'s judgement of many replicas at once: ``patience`` observations in a row without progress.

    ``threshold``, ``patience`` and ``cooldown`` are (R,), float64. ``memory`` holds what a resumed run needs.
    """

    def __init__(self, threshold: Tensor, patience: Tensor, cooldown: Tensor):
        self.threshold, self.patience, self.cooldown = threshold, patience.clamp_min(1), cooldown
        self.memory = {
            "best": torch.full_like(threshold, inf),
            "waited": torch.zeros_like(threshold),
            "cooling": torch.zeros_like(threshold),
        }

    def observe(self, losses: Tensor, due: Tensor | None = None) -> Tensor:
        """Which replicas have just run out of patience, (R,); only those ``due`` (R,) are observed."""
        best, waited, cooling = (self.memory[name] for name in ("best", "waited", "cooling"))
        is_better = losses < best - self.threshold
        waited = torch.where(is_better, 0.0, waited + (cooling == 0))
        best, cooling = torch.where(is_better, losses, best), (cooling - 1).clamp_min_(0)
        is_out = waited >= self.patience
        if due is not None:
            is_out = is_out & due
        if bool(is_out.any()):
            waited = waited.masked_fill(is_out, 0.0)
            cooling = torch.where(is_out, self.cooldown, cooling)
        found = {"best": best, "waited": waited, "cooling": cooling}
        if due is not None:
            found = {name: torch.where(due, value, self.memory[name]) for name, value in found.items()}
        self.memory = found
        return is_out

    def keep(self, mask: Tensor) -> None:
        """Forget the replicas that ``mask`` (R,) leaves out."""
        self.threshold, self.patience, self.cooldown = (
            one[mask] for one in (self.threshold, self.patience, self.cooldown)
        )
        self.memory = {name: value[mask] for name, value in self.memory.items()}
