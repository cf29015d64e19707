"""The plain road: the user's own module with numbers written into it by name, the user's loss, a loop.

Nothing of the flat vector, of functional calls, kept graphs or chunks is used, so that what proves a number does not
go the way that the number went. The module is put back bit for bit. What proofs cost is counted.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from landscape import distributed
from landscape.inputs.sharded import here
from landscape.objective import trees
from landscape.objective.losses import LOSSES, Loss, of_probabilities
from landscape.objective.objective import Measurement, Objective
from landscape.objective.parameters import Point
from landscape.objective.samples import Chunk
from landscape.objective.sharded_slopes import filled, slopes
from landscape.objective.undefined import undefined

BATCH, NAN = 256, float("nan")


@dataclass
class Cost:
    """What proofs took: evaluations of F and gradients over all of the data, and the seconds of all."""

    evaluations: float = 0.0
    gradients: float = 0.0
    seconds: float = 0.0


class Errors(NamedTuple):
    """Standard errors of a loss and an accuracy over samples; the first is known to the rounding of ``size``."""

    loss: float
    accuracy: float
    size: float


_cost: ContextVar[Cost | None] = ContextVar("cost", default=None)
_is_proving: ContextVar[bool] = ContextVar("is_proving", default=False)


@contextmanager
def counted() -> Iterator[Cost]:
    """Inside, what proofs cost is added up."""
    token = _cost.set(Cost())
    try:
        cost = _cost.get()
        assert cost is not None
        yield cost
    finally:
        _cost.reset(token)


@contextmanager
def proving(*, evaluations: float = 0.0, gradients: float = 0.0) -> Iterator[None]:
    """What is inside is a proof, and takes so many evaluations of F and gradients besides those of this module."""
    cost, is_inner = _cost.get(), _is_proving.get()
    token, start = _is_proving.set(True), time.perf_counter()
    try:
        yield
    finally:
        _is_proving.reset(token)
        if cost is not None:
            cost.evaluations += evaluations
            cost.gradients += gradients
            cost.seconds += 0.0 if is_inner else time.perf_counter() - start


def by_name(objective: Objective, point: Point) -> dict[str, Tensor]:
    """The numbers of a point under the names of the module's tensors."""
    pieces = {piece.name: point.theta[piece.span].reshape(piece.shape) for piece in objective.pieces}
    return {**pieces, **point.fixed}


def measure(
    objective: Objective, tensors: Mapping[str, Tensor], batches: Sequence[Tensor] | None = None
) -> Measurement:
    """F and the accuracy where the module's tensors hold ``tensors``: ``loss(module(x), y)`` over ``batches``.

    ``batches`` are rows of this process's samples, in order and by 256 or a chunk where not given. Built-in losses are
    those of ``torch.nn.functional``. The accuracy is NaN where it has no meaning. One evaluation.
    """
    sums = torch.zeros(4, dtype=torch.float64, device=objective.device)
    with proving(evaluations=1), torch.set_grad_enabled(objective.needs_gradients):
        for inputs, targets in _batches(objective, batches, BATCH):
            share, right = _Share(NAN, 1, len(targets)), (NAN, NAN)
            # Anew for every batch, as a call may write into a buffer.
            with undefined(objective, inputs, targets), objective.written(tensors):
                outputs = objective.called(trees.mapped(torch.clone, inputs))
                share = _share(objective, outputs, targets)
                right = _right(objective, outputs, targets)
            sums += torch.tensor(
                [float(torch.as_tensor(share.value).detach()) * share.times, share.weight, *right],
                dtype=torch.float64,
            ).to(sums)
    value, weight, right, counted = distributed.total(sums).tolist()
    weight = _divisor(objective, weight)
    loss = (value / weight if weight else float("nan")) + _penalty(objective, tensors)
    return Measurement(loss, right / counted if counted else float("nan"))


def errors(objective: Objective, tensors: Mapping[str, Tensor]) -> Errors:
    """The standard errors over the samples of what :func:`measure` gives, from each sample alone. One evaluation.

    The objective must tell its samples apart. The spread of a loss is that of n − 1, of an accuracy that of n.
    """
    parts: list[Tensor] = []
    with proving(evaluations=1), torch.set_grad_enabled(objective.needs_gradients):
        for inputs, targets in _batches(objective, None, BATCH):
            part = torch.full((3, len(targets)), NAN, dtype=torch.float64, device=objective.device)
            with undefined(objective, inputs, targets), objective.written(tensors):
                outputs = objective.called(trees.mapped(torch.clone, inputs))
                right, counted = _labels(objective, outputs, targets)
                marks = [one.double().reshape(len(targets), -1).mean(1) for one in (right, counted)]
                part = torch.stack([_each(objective, outputs, targets).to(marks[0]), *marks]).detach()
            parts.append(part)
    here = torch.cat(parts, 1) if parts else torch.zeros(3, 0, dtype=torch.float64, device=objective.device)
    n = objective.num_samples
    divisor = objective.divisor / objective.num_copies
    means = objective.over_samples(here.sum(1)) / n
    squares = objective.over_samples((here - means[:, None]).square().sum(1)).tolist()
    size = float(objective.over_samples(here[0].square().sum())) ** 0.5 / divisor
    counted = float(means[2])
    accuracy = squares[1] ** 0.5 / n / counted if counted else float("nan")
    return Errors((squares[0] * n / (n - 1)) ** 0.5 / divisor, accuracy, size)


def gradient(objective: Objective, tensors: Mapping[str, Tensor]) -> Tensor:
    """∇F, (d,) float64, where the module's tensors hold ``tensors``, by autograd on its own parameters."""
    return measure_with_gradient(objective, tensors)[1]


def measure_with_gradient(objective: Objective, tensors: Mapping[str, Tensor]) -> tuple[Measurement, Tensor]:
    """What :func:`measure` and :func:`gradient` give, from one pass. One gradient."""
    names = [piece.name for piece in objective.pieces]
    flat = _flat(objective, [tensors[name] for name in names]).zero_()
    sums = torch.zeros(4, dtype=torch.float64, device=objective.device)
    with proving(gradients=1), torch.enable_grad():
        own = [objective.now(name) for name in names]
        for inputs, targets in _batches(objective, None, objective.derivative_chunk()):
            share, right = _Share(NAN, 1, len(targets)), (NAN, NAN)
            value = torch.tensor(NAN)
            with undefined(objective, inputs, targets, derives=True) as said, objective.written(tensors):
                outputs = objective.called(trees.mapped(torch.clone, inputs))
                share = _share(objective, outputs, targets)
                right = _right(objective, outputs, targets)
                value = torch.as_tensor(share.value)
                if value.requires_grad:
                    parts = _derivatives(value * share.times, own, objective.module)
                    _add(objective, flat, parts)
            if said:
                flat.fill_(NAN)
            found = [float(value.detach()) * share.times, share.weight, *right]
            sums += torch.tensor(found, dtype=torch.float64).to(sums)
    total, weight, right, counted = distributed.total(sums).tolist()
    # Of a sharded module every process has its own part of the sum.
    flat = flat if objective.is_sharded else distributed.total(flat)
    divisor = _divisor(objective, weight)
    if objective.l2:
        _add(objective, flat, (divisor * objective.l2 * tensors[name].double() for name in names))
    loss = (total / divisor if divisor else float("nan")) + _penalty(objective, tensors)
    return Measurement(loss, right / counted if counted else float("nan")), flat.div_(divisor)


def _flat(objective: Objective, tensors: Sequence[Tensor]) -> Tensor:
    """(d,) float64 of tensors shaped like the parameters; where they are whole, by nothing of the objective's."""
    if objective.is_sharded:
        return objective.flat([tensor.detach().double() for tensor in tensors])
    return torch.cat([tensor.detach().reshape(-1).double() for tensor in tensors])


def _add(objective: Objective, flat: Tensor, tensors: Iterable[Tensor]) -> None:
    """Adds tensors shaped like the parameters to ``flat`` (d,), one by one where they are whole."""
    if objective.is_sharded:
        flat += _flat(objective, list(tensors)).to(flat)
        return
    place = 0
    for tensor in tensors:
        flat[place : place + tensor.numel()] += tensor.detach().reshape(-1)
        place += tensor.numel()


def _derivatives(scalar: Any, own: list[Tensor], module: nn.Module) -> list[Tensor]:
    """By each of a module's own parameters, zeros for one that the graph does not reach."""
    found = _reached(scalar, own, module)
    return [torch.zeros_like(tensor) if one is None else one for one, tensor in zip(found, own, strict=True)]


def _reached(scalar: Any, own: list[Tensor], module: nn.Module) -> list[Tensor | None]:
    """By each of a module's own parameters, with what a function of it accumulates in them inside its backward.

    Their ``grad`` is as it was afterwards. None for one that the graph does not reach, unless it lies in parts.
    """
    if any(here(tensor) is not tensor for tensor in own):
        return list(filled(slopes(scalar, own, module), own))
    before = [tensor.grad for tensor in own]
    try:
        for tensor in own:
            tensor.grad = None
        found = torch.autograd.grad(scalar, own, allow_unused=True)
        inside = [tensor.grad for tensor in own]
        return [
            one if more is None else more if one is None else one + more
            for one, more in zip(found, inside, strict=True)
        ]
    finally:
        for tensor, kept in zip(own, before, strict=True):
            tensor.grad = kept


def batch_loss(objective: Objective, rows: Tensor | None) -> Tensor:
    """What the loss says of the samples ``rows`` (None: all) of this process as one batch, where the module stands now.

    Differentiable. The penalty is left out; what it costs the caller counts.
    """
    inputs, targets = objective.samples.picked(rows)
    share = _share(objective, objective.called(trees.mapped(torch.clone, inputs)), targets)
    return torch.as_tensor(share.value) * (share.times / _divisor(objective, share.weight))


def batch_gradient(objective: Objective, rows: Tensor) -> tuple[float, dict[str, Tensor], set[str]]:
    """:func:`batch_loss` over all processes, whose samples ``rows`` number; its gradient by name, what it reaches."""
    samples, names = objective.samples, [piece.name for piece in objective.pieces]
    own = [objective.now(name) for name in names]
    here = rows[(rows >= samples.share.start) & (rows < samples.share.stop)] - samples.share.start
    share = _Share(0.0, 0.0, 0.0)
    if len(here):
        inputs, targets = samples.picked(here)
        share = _share(objective, objective.called(trees.mapped(torch.clone, inputs)), targets)
    found: list[Tensor | None] = [None] * len(own)
    if isinstance(share.value, Tensor) and share.value.requires_grad:
        found = _reached(share.value, own, objective.module)
    parts = [torch.zeros_like(like) if one is None else one for one, like in zip(found, own, strict=True)]
    times = distributed.total(torch.tensor([float(one is not None) for one in found]).to(objective.device))
    value = float(torch.as_tensor(share.value).detach()) * share.times
    sums = torch.tensor([value, share.weight], dtype=torch.float64)
    value, weight = distributed.total(sums.to(objective.device)).tolist()
    divisor = _divisor(objective, weight)
    slopes = {
        name: distributed.total(part.detach() * (share.times / divisor))
        for name, part in zip(names, parts, strict=True)
    }
    return value / divisor, slopes, {name for name, count in zip(names, times.tolist(), strict=True) if count}


def loss_of_outputs(objective: Objective, outputs: Any, targets: Tensor) -> float:
    """What the loss says of ``outputs`` for ``targets`` as one batch, whatever made them. The penalty is left out."""
    share = _share(objective, outputs, targets)
    return float(torch.as_tensor(share.value).detach()) * share.times / (share.weight or 1.0)


class _Share(NamedTuple):
    """What a batch adds to the loss: ``value``, ``times`` over; and its weight."""

    value: Tensor | float
    times: float
    weight: float


def _batches(objective: Objective, given: Sequence[Tensor] | None, least: int) -> Iterator[Chunk]:
    samples = objective.samples
    every = torch.arange(samples.count_here)
    if objective.is_whole:
        yield samples.picked(every)
    elif samples.head.count_here < samples.count_here:
        # Of a stream no rows can be had, but other cuts.
        size = max(least, objective.chunk_size)
        yield from samples.chunks(size) if given is None else samples.recut().chunks(size)
    else:
        rows = every.split(max(least, objective.chunk_size)) if given is None else given
        yield from (samples.picked(part) for part in rows)


def _divisor(objective: Objective, weight: float) -> float:
    if objective.loss.over == "one":
        return objective.num_copies
    return weight


def _penalty(objective: Objective, tensors: Mapping[str, Tensor]) -> float:
    if not objective.l2:
        return 0.0
    return (
        0.5 * objective.l2 * sum(float(tensors[one.name].double().square().sum()) for one in objective.pieces)
    )


def _share(objective: Objective, outputs: Any, targets: Tensor) -> _Share:
    given, count = objective.given, len(targets)
    if given is LOSSES["cross_entropy"]:
        return _Share(functional.cross_entropy(outputs, targets), count, count)
    if given is LOSSES["bce"]:
        wanted = targets.to(outputs.dtype).reshape(outputs.shape)
        return _Share(functional.binary_cross_entropy_with_logits(outputs, wanted), count, count)
    if given is LOSSES["mse"] and targets.is_floating_point():
        return _Share(functional.mse_loss(outputs, targets.reshape(outputs.shape)), count, count)
    if isinstance(given, Loss):
        return _Share(objective.loss.total(outputs, targets), 1, count)
    said = given(outputs, targets)
    if isinstance(said, tuple):
        total, weight = said
        return _Share(total / weight, 1, 1) if objective.is_whole else _Share(total, 1, float(weight))
    value = said.double().mean() if said.numel() else 0.0
    if objective.loss.over == "samples":
        return _Share(value, count, count)
    if objective.loss.over == "weight" and objective.loss.weight is not None:
        weight = float(objective.loss.weight(outputs, targets))
        return _Share(value if weight else 0.0, weight, weight)
    return _Share(value, 1, 1)


def _right(objective: Objective, outputs: Any, targets: Tensor) -> tuple[float, float]:
    """How many labels of a batch are told right, and of how many."""
    right, counted = _labels(objective, outputs, targets)
    return float(right.sum()), float(counted.sum())


def _labels(objective: Objective, outputs: Any, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Which labels of a batch are told right, and which count; none where there is no accuracy."""
    if objective.loss.correct is None:
        none = torch.zeros(len(targets), dtype=torch.bool, device=targets.device)
        return none, none
    if objective.loss.has_price:
        outputs = outputs[:, :-1]
    if not objective.loss.of_classes:
        edge = 0.5 if of_probabilities(objective.given) else 0.0
        right = (outputs > edge) == (targets.reshape(outputs.shape) > 0.5)
        return right, torch.ones_like(right)
    given = objective.given
    classes = targets.argmax(1) if targets.is_floating_point() else targets
    ignored = given.ignore_index if isinstance(given, nn.CrossEntropyLoss | nn.NLLLoss) else None
    counted = torch.ones_like(classes, dtype=torch.bool) if ignored is None else classes != ignored
    return (outputs.argmax(1) == classes) & counted, counted


def _each(objective: Objective, outputs: Any, targets: Tensor) -> Tensor:
    """The loss of every sample, float64 (n,): by torch's own where it is one of those."""
    given = objective.given
    if given is LOSSES["cross_entropy"]:
        found = functional.cross_entropy(outputs, targets, reduction="none")
    elif given is LOSSES["bce"]:
        wanted = targets.to(outputs.dtype).reshape(outputs.shape)
        found = functional.binary_cross_entropy_with_logits(outputs, wanted, reduction="none")
    elif given is LOSSES["mse"] and targets.is_floating_point():
        found = functional.mse_loss(outputs, targets.reshape(outputs.shape), reduction="none")
    else:
        return objective.loss.each(outputs, targets)
    return found.double().reshape(len(targets), -1).mean(1)
