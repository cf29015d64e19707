"""A loss whose two arguments stand the other way round: seen where it takes them so alone, or by their names."""

import inspect
import warnings
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from landscape.errors import BadInput
from landscape.objective import trees

# What the two arguments of a loss are called; `x` or `a` say nothing.
OUTPUTS = "input output outputs out pred preds prediction predictions predicted y_pred ypred y_hat yhat logits scores"
TARGETS = "target targets label labels y_true ytrue truth ground_truth gt y"
# Two values that differ by no more, relative, are the same whichever way round.
SAME = 1e-6


def hint(name: str, function: Callable[..., Any], outputs: Any, targets: Tensor) -> str:
    """What to give where ``function``, which has raised, takes (targets, outputs); '' where it does not."""
    return "" if _swapped(function, outputs, targets) is None else _remedy(name)


def require_in_order(
    name: str, given: Any, function: Callable[..., Any], outputs: Any, targets: Tensor
) -> None:
    """Raises BadInput for a loss whose arguments are called (targets, outputs), where that makes a difference."""
    called = _names(given)
    if (
        len(called) < 2
        or called[0].lower() not in TARGETS.split()
        or called[1].lower() not in OUTPUTS.split()
    ):
        return
    other = _swapped(function, outputs, targets)
    if other is not None and not trees.agree(other, function(outputs, targets), SAME):
        raise BadInput(
            f"the loss {name} has the arguments ({called[0]}, {called[1]}) and is given the outputs first",
            "a loss of (outputs, targets)",
            _remedy(name),
        )


def _swapped(function: Callable[..., Any], outputs: Any, targets: Tensor) -> Any:
    """What it says of (targets, outputs), None where it does not take them."""
    if not isinstance(outputs, Tensor):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = function(targets, outputs)
    except Exception:
        return None
    return found if trees.tensors(found) else None


def _remedy(name: str) -> str:
    called = name if name.isidentifier() else "f"
    return (
        f"swap its arguments: lambda outputs, targets: {called}(targets, outputs), or a function that does so"
    )


def _names(given: Any) -> list[str]:
    try:
        known = inspect.signature(
            given.forward if isinstance(given, nn.Module) else given
        ).parameters.values()
    except (TypeError, ValueError):
        return []
    return [one.name for one in known if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
