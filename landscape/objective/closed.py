"""Is a loss of the module alone one function of its parameters? Found out once, before anything is measured."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape.errors import BadInput, LandscapeError, raised_at
from landscape.objective.aside import come_nearer
from landscape.objective.closures import Closure, seeded, states
from landscape.objective.constants import constants
from landscape.objective.fit import Fit
from landscape.objective.losses import Loss
from landscape.objective.pairs import tell_pairs
from landscape.objective.parameters import split
from landscape.objective.parametrised import Parametrised
from landscape.objective.reached import require_reached
from landscape.objective.samples import Samples
from landscape.objective.tracing import uses_in
from landscape.objective.trial import Trial, watched
from landscape.objective.uses import listed, told

# Two calls differ by no more than this where nothing is drawn, by the dtype of F.
SAME = {torch.float64: 1e-10, torch.float32: 1e-5}
SEEDS = (1, 2, 3, 4)
# Parameters named in a sentence about some of them.
MOST_NAMED = 5


def closed(subject: Parametrised, given: Closure, samples: Samples, *, watches: bool) -> Fit:
    """What a closure was seen to do with the module of ``subject``; with ``watches`` how it uses the parameters.

    Module and generators of random numbers are left as they were. Raises BadInput for a closure that raises, returns no
    scalar, changes the module, is not the same at every call, has no gradient, or does not depend on the parameters.
    """
    with seeded(0), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trial = Trial(subject, samples)
        value = _first(trial, given)
        tell_pairs(trial, lambda theta: _standing(trial, given, theta))
        trial.needs_gradients = _needs_gradients(trial, given, value)
        _require_one_value(trial, given, value)
        come_nearer(trial, lambda theta: _standing(trial, given, theta))
        unused = _unused(trial, given)
        require_reached(trial, given, None)
        seen = watched(trial, given, None)
        loss = Loss(given.__name__, lambda value, _: value, over="one")
        found = Fit(loss, seen, is_whole=True, needs_gradients=trial.needs_gradients)
        notes, blocked = constants(trial, given, None)
        found.notes += notes
        if unused := [name for name in unused if name not in blocked]:
            found.notes.append(
                f"the loss {given.__name__} does not depend on {listed(unused, MOST_NAMED)}: ∇F is 0 there"
            )
        if watches:
            found.pieces = told(subject.pieces, uses_in(trial, None))
        return found


def _first(trial: Trial, given: Closure) -> Tensor:
    """Its value, of a call with numbers written into the module's own tensors, which shows what it changes."""
    subject, name = trial.subject, given.__name__
    tensors = {**split(trial.theta.clone(), subject.pieces), **trial.copies()}
    layers = dict(subject.module.named_modules())
    with subject.written(tensors), torch.enable_grad():
        own = _tensors(subject.module)
        with _as_before(own):
            before = {key: one.detach().clone() for key, one in own.items()}
            slopes = {key: one.grad for key, one in own.items()}
            wanted = {key: one.requires_grad for key, one in own.items()}
            modes = {key: layer.training for key, layer in layers.items()}
            value = _called(trial, given)
            now = _tensors(subject.module)
            moved = [key for key, was in before.items() if key not in now or not _equal(now[key], was)]
            stayed = [key for key in own if key in now]
            learned = [
                key for key in stayed if now[key].grad is not None and now[key].grad is not slopes[key]
            ]
            frozen = [key for key in stayed if now[key].requires_grad is not wanted[key]]
            switched = [
                key or type(subject.module).__name__
                for key in layers
                if layers[key].training is not modes[key]
            ]
    buffers = {key for key, one in own.items() if not isinstance(one, nn.Parameter)}
    if subject.training:
        # There statistics move with every call, and are put back.
        moved = [key for key in moved if key not in buffers]
    sentences = [
        (switched, "switches the mode of {} (train or eval)", "call the module as it is given"),
        (moved, "changes {} of the module", "leave the steps of an optimiser, and what writes into it, out"),
        (learned, "leaves a gradient in {}", "return the loss and leave out backward()"),
        (frozen, "changes requires_grad of {}", "call the module as it is given"),
    ]
    for names, said, remedy in sentences:
        if names:
            raise BadInput(
                f"the loss {name} {said.format(listed(names, MOST_NAMED))}",
                "one that leaves the module as it is",
                remedy,
            )
    return _scalar(given, value)


def _scalar(given: Closure, value: Any) -> Tensor:
    name, wanted = given.__name__, "one number, as a tensor of no axes"
    if isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex():
        return value.detach()
    if isinstance(value, Tensor):
        kind = "a complex tensor" if value.is_complex() else "a tensor"
        remedy = "take its real part" if value.is_complex() else "take its mean or its sum"
        raise BadInput(f"the loss {name} returned {kind} of shape {tuple(value.shape)}", wanted, remedy)
    if isinstance(value, bool | int | float | np.generic | np.ndarray):
        raise BadInput(
            f"the loss {name} returned a {type(value).__name__}, which has no gradient",
            wanted,
            "leave out item(), float() and numpy()",
        )
    remedy = "end it with return" if value is None else "return the loss alone"
    raise BadInput(
        f"the loss {name} returned {'None' if value is None else f'a {type(value).__name__}'}", wanted, remedy
    )


def _needs_gradients(trial: Trial, given: Closure, value: Tensor) -> bool:
    """Whether F is had, and is the same, only where gradients are recorded."""
    # With stand-ins that are leaves it may be had without: a penalty of those that require_grad.
    for trial.subject.stands_as_leaves in (False, True):
        with suppress(BadInput):
            if _agree(trial, _standing(trial, given), value):
                return False
    trial.needs_gradients, trial.subject.stands_as_leaves = True, False
    try:
        _standing(trial, given)
    except BadInput:
        # Not by other inputs of its own, but by the parameters.
        trial.subject.stands_as_leaves = True
    return True


def _require_one_value(trial: Trial, given: Closure, value: Tensor) -> None:
    """Raises BadInput where two calls differ, at the same or at other states of the generators of random numbers."""
    found, given.draws = [], False
    for seed in (SEEDS[0], *SEEDS):
        with seeded(seed):
            before = states()
            found.append(_standing(trial, given))
            given.draws |= before != states()
    # What is called below must begin where these calls did: seeds are changed inside of ``seeded`` alone.
    draws, given.draws = given.draws, False
    differ = [one for one in found if not _agree(trial, one, found[0])]
    if differ or not _agree(trial, value, found[0]):
        other = differ[0] if differ else value
        why = "draws at random" if draws else "is not the same function at every call"
        raise BadInput(
            f"the loss {given.__name__} {why}: {float(found[0]):.6g}, then {float(other):.6g} at the same parameters",
            "a function of the parameters alone",
            "draw what it needs once, outside of it, or inside from a torch.Generator().manual_seed(0) made there",
        )
    given.draws = draws


def _unused(trial: Trial, given: Closure) -> list[str]:
    """The parameters without influence. Raises BadInput where there is no gradient, or none has any."""
    subject, name = trial.subject, given.__name__
    leaf = trial.theta.detach().clone().requires_grad_()
    with subject.standing(leaf, trial.copies()), torch.enable_grad():
        value = _called(trial, given)
        own = [subject.now(piece.name) for piece in subject.pieces]
        if not value.requires_grad:
            aside = _standing(trial, given, trial.aside)
            if _agree(trial, aside, value.detach()):
                raise _independent(name, subject)
            raise BadInput(
                f"the loss {name} moves with the parameters but has no gradient with respect to them",
                "a value that autograd can differentiate",
                "is there a detach, an item, an argmax, a torch.no_grad or NumPy in the way?",
            )
        try:
            slopes = torch.autograd.grad(value, own, allow_unused=True)
        except RuntimeError as error:
            raise BadInput(
                f"the loss {name} has no gradient ({str(error).splitlines()[0]})",
                "a value that autograd can differentiate",
                "return the loss before any backward()",
            ) from error
    unused = [piece.name for piece, slope in zip(subject.pieces, slopes, strict=True) if slope is None]
    if len(unused) == len(subject.pieces):
        raise _independent(name, subject)
    return unused


def _independent(name: str, subject: Parametrised) -> BadInput:
    return BadInput(
        f"the loss {name} does not depend on the parameters of {type(subject.module).__name__}",
        "a function of the module that it is given",
        "does it call another module, or a copy, instead of its argument?",
    )


def _standing(trial: Trial, given: Closure, theta: Tensor | None = None) -> Tensor:
    point = trial.theta if theta is None else theta
    with trial.subject.standing(point, trial.copies()), torch.set_grad_enabled(trial.needs_gradients):
        return _scalar(given, _called(trial, given)).clone()


def _called(trial: Trial, given: Closure) -> Any:
    """What it returns. Raises BadInput for what it raises."""
    try:
        return given.of(trial.subject.module)
    except LandscapeError:
        raise
    except Exception as error:
        dtypes = ", ".join(sorted({str(one.dtype) for one in trial.subject.module.parameters()}))
        is_dtype = "dtype" in str(error) or "expected scalar type" in str(error)
        raise BadInput(
            f"the loss {given.__name__} raised {type(error).__name__}: {error}{raised_at(error)}",
            "a function that takes the module alone and returns its loss",
            f"the parameters are {dtypes}: make what it computes with in the dtype of next(module.parameters())"
            if is_dtype
            else "",
        ) from error


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


@contextmanager
def _as_before(own: dict[str, Tensor]) -> Iterator[None]:
    """Afterwards gradients and requires_grad are what they were."""
    kept = [(one, one.grad, one.requires_grad) for one in own.values()]
    try:
        yield
    finally:
        for one, slope, wants in kept:
            one.grad = slope
            if one.is_leaf:
                one.requires_grad_(wants)


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one.detach(), other, rtol=0, atol=0, equal_nan=True)


def _agree(trial: Trial, one: Tensor, other: Tensor) -> bool:
    tolerance = SAME.get(torch.promote_types(one.dtype, trial.subject.dtype), 2e-2)
    tolerance = max(tolerance, SAME.get(one.dtype, 2e-2))
    return torch.allclose(
        one.double().reshape(()), other.double().reshape(()), tolerance, 1e-30, equal_nan=True
    )
