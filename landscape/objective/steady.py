"""Whether a loss gives the same value for the same outputs and targets: else there is no function to look at."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from landscape.errors import BadInput
from landscape.objective import trees
from landscape.objective.closures import seeded
from landscape.objective.hosted import on_host_first
from landscape.objective.losses import Loss, name_of
from landscape.objective.trial import Trial, callable_of

# Two values of the same numbers differ by no more than this where nothing is drawn.
SAME = 1e-5
# States of the generators of random numbers; the first one twice, so that a draw is told from a count.
SEEDS = (1, 1, 2, 3, 4, 5, 6)


def require_one_loss(trial: Trial, given: Any, rows: Tensor | None, outputs: Any) -> None:
    """Raises BadInput for a loss that draws, or that moves from call to call, on ``outputs`` of some samples."""
    if isinstance(given, Loss):
        return
    function = on_host_first(callable_of(given, outputs), trial.subject.device)
    values = []
    for seed in SEEDS:
        # The loss may write into what it is given.
        with _outputs_again(trial, rows, outputs) as (own, targets), seeded(seed):
            values.append(_numbers(function(own, targets)))
    first, second = values[:2]
    other = next((one for one in values if _differ(first, one)), None)
    if other is None:
        return
    name = name_of(given)
    if _differ(first, second):
        said = f"the loss {name} is not the same function at every call"
        stop = (
            "do so where self.training is true, and call eval() on it"
            if isinstance(given, nn.Module)
            else "leave it out"
        )
        remedy = f"does it count its calls, or keep an average? {stop}"
    else:
        said = f"the loss {name} draws at random"
        remedy = "draw what it needs once, outside of it, or inside from a torch.Generator().manual_seed(0) made there"
    a, b = next(pair for pair in zip(first, other, strict=True) if _differ([pair[0]], [pair[1]]))
    raise BadInput(
        f"{said}: {a:.6g}, then {b:.6g} for the same outputs",
        "a function of outputs and targets alone",
        remedy,
    )


def reads_the_call(trial: Trial, given: Any, rows: Tensor | None) -> bool:
    """Whether a loss reads, beside outputs, what a call leaves in the module, as the balance of experts."""
    if trial.subject.leaves_nothing(training=False):
        return False
    with trial.passed(rows, trial.aside) as (outputs, targets):
        function = on_host_first(callable_of(given, outputs), trial.subject.device)
        own = trees.mapped(torch.clone, outputs)
        there = _numbers(function(outputs, targets))
    try:
        # What stands in the module is of another call, or of none.
        with trial.ready(trial.aside):
            return _differ(there, _numbers(function(own, targets)))
    except Exception:
        return True


@contextmanager
def _outputs_again(trial: Trial, rows: Tensor | None, outputs: Any) -> Iterator[tuple[Any, Tensor]]:
    """(outputs, targets) to write into, inside which the loss can be called: of a call, where that leaves something.

    So of a call where the loss may take derivatives by the parameters.
    """
    if trial.subject.leaves_nothing(training=False) and not trial.subject.stands_as_leaves:
        with trial.ready():
            yield trees.mapped(torch.clone, outputs), trial.rows(rows)[1]
        return
    with trial.passed(rows) as pair:
        yield pair


def _numbers(found: Any) -> list[float]:
    return [float(one.detach().double().sum()) for one in trees.tensors(found)]


def _differ(some: list[float], others: list[float]) -> bool:
    return any(abs(a - b) > SAME * max(abs(a), abs(b)) for a, b in zip(some, others, strict=True))
