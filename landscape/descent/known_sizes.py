"""Step sizes that are known before a run: a schedule that does not look at the loss."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from landscape.errors import BadInput
from landscape.numerics.steps.robbins_monro import StepSums, step_sums
from landscape.numerics.steps.schedules import schedule_parameters, step_size


class KnownSizes(NamedTuple):
    """A schedule of :mod:`landscape.numerics.steps.schedules` but the plateau; its period ``every``, by default 1.

    The period is in steps, as that of a :class:`~landscape.numerics.steps.replicas.Plan`.
    """

    schedule: str = "constant"
    arguments: Mapping[str, Any] = {}

    @property
    def every(self) -> int:
        return int(self.arguments.get("every", 1))

    def check(self) -> None:
        """Raises BadInput for what no schedule has, and for one that follows the loss."""
        schedule_parameters(self.schedule, self.arguments)
        if self.every < 1:
            raise BadInput(f"the schedule's period every={self.every}", "at least one step")
        if self.schedule == "plateau":
            raise BadInput("steps that follow the loss", "a schedule that is known beforehand")

    def factors(self, num_steps: int) -> np.ndarray | None:
        """α_k/α₁ of every step (K,); None where all are 1."""
        if self.schedule == "constant":
            return None
        parameters = schedule_parameters(self.schedule, self.arguments)
        periods = range(-(-num_steps // self.every))
        each = np.array([step_size(self.schedule, parameters, 1.0, k) for k in periods])
        return each.repeat(self.every)[:num_steps]

    def sizes(self, first: float, num_steps: int) -> np.ndarray:
        """α_k of every step (K,), from ``first`` on."""
        factors = self.factors(num_steps)
        return np.full(num_steps, first) if factors is None else first * factors

    def sums(self, first: float) -> StepSums:
        """Σα and Σα² for ever, and whether they are those of Robbins and Monro."""
        return step_sums(self.schedule, schedule_parameters(self.schedule, self.arguments), first, self.every)


FIXED = KnownSizes()
