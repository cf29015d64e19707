"""What moves F and yet has no gradient: behind a detach or torch.no_grad, or the padding row of an embedding."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from landscape import distributed
from landscape.objective import trees
from landscape.objective.calling import called
from landscape.objective.trial import Trial, callable_of
from landscape.objective.uses import listed

# Two values at one point agree to rounding; this is above it, and below what a move of 0.1 ‖θ‖ brings.
SAME = 1e-5


def constants(trial: Trial, given: Any, rows: Tensor | None) -> tuple[list[str], list[str]]:
    """Notes on what moves the loss of some samples without a derivative of it, and those of the parameters.

    A derivative takes them as constants; a slice, noise or a step with weight decay does not, so that the numbers of
    one result are of two functions. With several processes nothing is looked for, as each has other samples.
    """
    if distributed.num_processes() > 1:
        return [], []
    subject, slopes = trial.subject, _slopes(trial, given, rows)
    apart = [piece for piece in subject.pieces if piece.size and slopes.get(piece.name, 0) is None]
    padded = _padded(trial, given, rows, slopes)
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


def _value(trial: Trial, given: Any, rows: Tensor | None, theta: Tensor) -> float:
    with trial.subject.standing(theta, trial.copies()), torch.set_grad_enabled(trial.needs_gradients):
        return float(sum(one.double().sum() for one in _losses(trial, given, rows)))


def _slopes(trial: Trial, given: Any, rows: Tensor | None) -> dict[str, Tensor | None]:
    """By name, the gradient; None for a parameter that the graph does not reach. Empty where it reaches none."""
    subject, leaf = trial.subject, trial.theta.detach().clone().requires_grad_()
    with subject.standing(leaf, trial.copies()), torch.enable_grad():
        own = {piece.name: subject.now(piece.name) for piece in subject.pieces}
        ends = [one.sum() for one in _losses(trial, given, rows) if one.requires_grad]
        if not ends:
            return {}
        try:
            slopes = torch.autograd.grad(ends, list(own.values()), allow_unused=True)
        except RuntimeError:
            # No derivative, which is said where one is asked for.
            return {}
    return dict(zip(own, slopes, strict=True))


def _losses(trial: Trial, given: Any, rows: Tensor | None) -> list[Tensor]:
    """What the loss gives where the module stands."""
    inputs, targets = trial.rows(rows)
    outputs = called(trial.subject, inputs)
    return trees.tensors(callable_of(given, outputs)(outputs, targets))


def _padded(trial: Trial, given: Any, rows: Tensor | None, slopes: dict[str, Tensor | None]) -> list[str]:
    """The note on rows of embeddings whose gradient leaves out what they are looked up for, as that of padding does."""
    module = trial.subject.module
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    # A weight that is tied has the name that it has first.
    layers = [
        (name, layer)
        for layer in module.modules()
        if isinstance(layer, nn.Embedding) and layer.padding_idx is not None
        if (name := names.get(id(layer.weight))) is not None and slopes.get(name) is not None
    ]
    if not layers:
        return []
    with _no_padding([layer for _, layer in layers]):
        whole = _slopes(trial, given, rows)
    found = []
    for name, layer in layers:
        row, without, slope = layer.padding_idx, slopes[name], whole.get(name)
        if without is None or slope is None:
            continue
        if float((slope[row] - without[row]).abs().max()) > SAME * float(slope.abs().max()):
            found.append(f"row {row} of {name}, its padding_idx")
    if not found:
        return []
    return [
        f"F moves with {listed(found)}, where it is looked up, of which there is no gradient: derivatives take that "
        "for constant, slices and noise do not; with padding_idx=None, or padding that is masked, F is one function"
    ]


@contextmanager
def _no_padding(layers: list[nn.Embedding]) -> Iterator[None]:
    rows = [layer.padding_idx for layer in layers]
    try:
        for layer in layers:
            layer.padding_idx = None
        yield
    finally:
        for layer, row in zip(layers, rows, strict=True):
            layer.padding_idx = row
