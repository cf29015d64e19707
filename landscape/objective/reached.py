"""Are the parameters read where the module holds them? Told before anything is measured, by a plain call."""

from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from landscape.errors import BadInput, loss_failed
from landscape.objective import trees
from landscape.objective.calling import called
from landscape.objective.losses import name_of
from landscape.objective.parameters import split
from landscape.objective.trial import SAME, Trial, callable_of


def require_reached(trial: Trial, given: Any, rows: Tensor | None) -> None:
    """Every parameter is read where the module holds it, by stand-ins that are leaves where others are not read.

    Raises BadInput where one is not.
    """
    subject = trial.subject
    try:
        _require_reached(trial, given, rows)
    except BadInput:
        if subject.stands_as_leaves:
            raise
        subject.stands_as_leaves = True
        with suppress(BadInput):
            return _require_reached(trial, given, rows)
        subject.stands_as_leaves = False
        raise


def _require_reached(trial: Trial, given: Any, rows: Tensor | None) -> None:
    """Raises BadInput naming the parameters that are read elsewhere than where the module holds them.

    Told by a plain call with the numbers of a point beside the present one written into the parameters themselves.
    """
    subject, targets = trial.subject, trial.samples.picked(rows)[1]
    rtol = {torch.float64: 1e-8, torch.float32: 1e-5}.get(subject.dtype, SAME / 10)

    def value(outputs: Any) -> Tensor:
        found = callable_of(given, outputs)(outputs, targets)
        parts = found if isinstance(found, tuple) else (found,)
        return torch.stack([torch.as_tensor(part).detach().double().sum() for part in parts])

    def gap(theta: Tensor) -> bool:
        parts = split(theta, subject.pieces)
        for name, part in parts.items() if not subject.is_sharded else ():
            # As it lies in the module, in memory of its own.
            own = torch.empty_like(subject.now(name), dtype=part.dtype, device=part.device)
            parts[name] = own.detach().copy_(part)
        tensors = {**parts, **trial.fixed}
        # As gradients are taken too: a penalty of those alone that are leaves is another one of parts of a leaf.
        roads = [
            (trial.needs_gradients, subject.standing(theta, trial.copies())),
            (trial.needs_gradients, subject.written(tensors)),
            (True, trial.recorded(theta)),
            (True, subject.written(tensors)),
        ]
        found = []
        for records, standing in roads:
            with torch.set_grad_enabled(records), standing:
                inputs, _ = trial.rows(rows)
                found.append(value(called(subject, inputs)))
        pairs = ((found[0], found[1]), (found[2], found[3]))
        return not all(torch.allclose(one, other, rtol, 1e-20, equal_nan=True) for one, other in pairs)

    names = _still_read(trial, given, rows)
    if not names and not gap(trial.aside):
        return
    for piece in subject.pieces if not names else ():
        theta = trial.theta.clone()
        theta[piece.span] = trial.aside[piece.span]
        if gap(theta):
            names.append(piece.name)
    raise BadInput(
        f"{', '.join(names) or 'the parameters'} of {type(subject.module).__name__} do not move F where other tensors "
        "stand in for them",
        "parameters that are read from where the module holds them",
        "are they kept in a list, told by their ids, or was something computed from them and kept? take them anew at "
        "every call, by name, as module.named_parameters() gives them",
    )


def _still_read(trial: Trial, given: Any, rows: Tensor | None) -> list[str]:
    """The parameters that the loss depends on where other tensors stand in for all of them."""
    subject = trial.subject
    own = [subject.now(piece.name) for piece in subject.pieces]
    inputs, targets = trial.rows(rows)
    fixed = trial.copies()
    with subject.standing(trial.theta, fixed), torch.enable_grad():
        outputs = called(subject, inputs)
        found = callable_of(given, outputs)(outputs, targets)
        ends = [one.sum() for one in trees.tensors(found) if one.requires_grad]
        if not ends:
            return []
        try:
            # A graph that the module keeps is its own.
            slopes = torch.autograd.grad(ends, own, allow_unused=True, retain_graph=True)
        except RuntimeError as error:
            if "dtype" in str(error):
                # Some losses take targets of another dtype than the outputs, and have no derivative then.
                raise loss_failed(
                    name_of(given), outputs, trees.described(outputs), targets, error
                ) from error
            # No derivative, which is said where one is asked for.
            return []
    return [piece.name for piece, slope in zip(subject.pieces, slopes, strict=True) if slope is not None]
