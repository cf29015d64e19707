"""What moves F and yet has no gradient: behind a detach or torch.no_grad, or the padding row of an embedding."""

from typing import Any

import torch
from torch import Tensor

from landscape import distributed
from landscape.objective.tables import SAME, Tables, losses_of, said_of, slopes_of
from landscape.objective.trial import Trial
from landscape.objective.uses import listed


def constants(trial: Trial, given: Any, rows: Tensor | None) -> tuple[list[str], list[str]]:
    """Notes on what moves the loss of some samples without a derivative of it, and those of the parameters.

    A derivative takes them as constants; a slice, noise or a step with weight decay does not, so that the numbers of
    one result are of two functions. With several processes nothing is looked for, as each has other samples.
    """
    if distributed.num_processes() > 1:
        return [], []
    subject, tables = trial.subject, Tables()
    slopes = slopes_of(trial, given, rows, tables.seen)
    apart = [piece for piece in subject.pieces if piece.size and slopes.get(piece.name, 0) is None]
    padded = [*_hooked(trial), *said_of(tables, trial, given, rows, slopes)]
    if not apart:
        return padded, []
    here = _value(trial, given, rows, trial.theta)

    def moves(*spans: slice) -> bool:
        theta = trial.theta.clone()
        for span in spans:
            theta[span] = trial.aside[span]
        there = _value(trial, given, rows, theta)
        return abs(there - here) > SAME * max(abs(here), abs(there))

    some_move = moves(*(piece.span for piece in apart))
    blocked = [piece.name for piece in apart if some_move and moves(piece.span)]
    notes = []
    if blocked:
        notes.append(
            f"F moves with {listed(blocked)}, of which there is no gradient (behind a detach, torch.no_grad or an "
            "argmax): derivatives take that for constant, slices, noise and weight decay do not; requires_grad_(False) "
            "makes it a fixed part of the point"
        )
    return [*notes, *padded], blocked


def _hooked(trial: Trial) -> list[str]:
    """A note on parameters whose gradients a hook of the user's changes, as one that masks some rows."""
    own = dict(trial.subject.module.named_parameters())
    hooked = [one.name for one in trial.subject.pieces if getattr(own.get(one.name), "_backward_hooks", None)]
    if not hooked:
        return []
    return [
        f"the gradient of {listed(hooked)} goes through a hook (register_hook) in a loop of your own: here ∇F, Hv "
        "and steps are those of F without it, and checks against the module itself may fail; a mask inside of the "
        "forward, or requires_grad_(False), holds everywhere"
    ]


def _value(trial: Trial, given: Any, rows: Tensor | None, theta: Tensor) -> float:
    with trial.subject.standing(theta, trial.copies()), torch.set_grad_enabled(trial.needs_gradients):
        return float(sum(one.double().sum() for one in losses_of(trial, given, rows)))
