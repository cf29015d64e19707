"""The checks every Result carries: an independent evaluation, an untouched module, finite values."""

import copy
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from landscape import distributed
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.result import Check

INDEPENDENT_BATCH = 256


def independent_loss(objective: Objective, point: Point) -> float:
    """F at a point, computed independently: a fresh copy of the module, ``load_state_dict``, a plain loop.

    Built-in losses are the ones of ``torch.nn.functional``; nothing of the objective's flat vector,
    functional calls or chunks is used.
    """
    module = copy.deepcopy(objective.module).to(objective.device, objective.dtype)
    tensors = {piece.name: point.theta[piece.span].reshape(piece.shape) for piece in objective.pieces}
    module.load_state_dict({**tensors, **point.fixed}, strict=False)
    module.eval()
    inputs, targets = objective.samples
    size = max(INDEPENDENT_BATCH, objective.chunk_size)
    total = torch.zeros((), dtype=torch.float64, device=objective.device)
    with torch.no_grad():
        for start in range(0, len(targets), size):
            batch = slice(start, start + size)
            outputs = module(*(part[batch].clone() for part in inputs))
            total += _plain_loss(objective, outputs, targets[batch]) * len(targets[batch])
    penalty = 0.5 * objective.l2 * sum(float(t.double().square().sum()) for t in tensors.values())
    return float(distributed.total(total)) / objective.num_samples + penalty


def agreement(name: str, objective: Objective, value: float, point: Point, meaning: str) -> Check:
    """A loss against the independent one at the same point, relative to rounding of the dtype."""
    return close(name, value, independent_loss(objective, point), rounding(objective), meaning)


def close(name: str, value: float, reference: float, tolerance: float, meaning: str) -> Check:
    """|value − reference| / max(1e-3, |reference|) against ``tolerance``; two NaNs or equal infinities agree."""
    if value == reference or (np.isnan(value) and np.isnan(reference)):
        return Check(name, 0.0, tolerance, meaning)
    difference = abs(value - reference) / max(1e-3, abs(reference))
    return Check(name, float(np.nan_to_num(difference, nan=np.inf)), tolerance, meaning)


def rounding(objective: Objective) -> float:
    """What two correct evaluations may differ by, relative: float64 1e-12, float32 2e-5, half types 5e-2.

    A forward pass of L layers over width w accumulates about √(L w) roundings of the dtype's
    epsilon; a hundred epsilons (float32: 1.2e-5) covers the nets measured here with some room.
    """
    return {torch.float64: 1e-12, torch.float32: 2e-5}.get(objective.dtype, 5e-2)


def finite(values: np.ndarray, name: str = "not finite") -> Check:
    """The number of NaN and infinite values among ``values``."""
    return Check(
        name, float((~np.isfinite(values)).sum()), 0.0, "values that are NaN or infinite (kept as they are)"
    )


@contextmanager
def untouched(objective: Objective, checks: list[Check]) -> Iterator[None]:
    """Adds the check that parameters, buffers, modes and requires_grad are bit for bit what they were."""
    before = fingerprint(objective.module)
    yield
    moved = float(fingerprint(objective.module) != before)
    checks.append(
        Check(
            "module untouched",
            moved,
            0.0,
            "parameters, buffers, modes and requires_grad, bit for bit (0 = same)",
        )
    )


def fingerprint(module: nn.Module) -> str:
    """A sha256 over everything an analysis could have moved in a module."""
    digest = hashlib.sha256()
    tensors: list[tuple[str, Tensor]] = [*module.named_parameters(), *module.named_buffers()]
    for name, tensor in tensors:
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} {tensor.requires_grad}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    digest.update(str([layer.training for layer in module.modules()]).encode())
    return digest.hexdigest()


def _plain_loss(objective: Objective, outputs: Tensor, targets: Tensor) -> float:
    loss = objective.loss.name
    if loss == "cross_entropy":
        return float(functional.cross_entropy(outputs, targets))
    if loss == "bce":
        wanted = targets.to(outputs.dtype).reshape(outputs.shape)
        return float(functional.binary_cross_entropy_with_logits(outputs, wanted))
    if loss == "mse" and targets.is_floating_point():
        return float(functional.mse_loss(outputs, targets.reshape(outputs.shape)))
    return float(objective.loss.total(outputs, targets)) / len(targets)
