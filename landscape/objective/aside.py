"""The point of a trial beside the present one, where module and loss are defined."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from landscape.objective.trial import Trial, callable_of

# So often it is brought to a quarter of its distance.
HALVINGS = 30


def come_nearer(trial: Trial, call: Callable[[Tensor], Any]) -> None:
    """Brings ``trial.aside`` towards θ until ``call`` raises nothing there, as a scale may be no longer positive.

    Where it raises something at θ as well, that is told by what tries it there.
    """
    for number in range(HALVINGS):
        with suppress(Exception):
            call(trial.aside)
            return
        if number == 0 and _raises(call, trial.theta):
            return
        trial.aside = torch.lerp(trial.theta, trial.aside, 0.25)


def loss_at(trial: Trial, given: Any, rows: Tensor | None) -> Callable[[Tensor], Any]:
    """θ ↦ what the loss says of some samples."""

    def call(theta: Tensor) -> Any:
        with trial.passed(rows, theta) as (outputs, targets):
            return callable_of(given, outputs)(outputs, targets)

    return call


def _raises(call: Callable[[Tensor], Any], theta: Tensor) -> bool:
    try:
        call(theta)
    except Exception:
        return True
    return False
