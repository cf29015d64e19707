"""The first steps of training a curve against the same steps written out; gradients of batches are given to both."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.numerics.steps.sampling import Sampler, isolated_rng
from landscape.objective import checks, plain
from landscape.objective.objective import Objective
from landscape.objective.row_proofs import length, numbers, stacked
from landscape.paths.curve_training import Training, first_steps
from landscape.paths.path import Path
from landscape.result import Check

# The second step is the first that momentum carries.
NUM_STEPS = 2
GOLDEN = (5**0.5 - 1) / 2
# Vectors as :func:`~landscape.objective.row_proofs.numbers` are, one or a list of them.
Gradient = Callable[[Any, Tensor], tuple[float, Any]]


def steps_check(objective: Objective, chord: Path, training: Training, seed: int) -> Check | None:
    """Control points after two steps from the chord, against heavy ball or a loop over pivots.

    None where there is nothing to train, or the loss is not finite.
    """
    if not length(numbers(chord.ends[1].theta) - numbers(chord.ends[0].theta)):
        return None
    num_pivots = training.bends if training.method == "neb" else 1
    share = min(1.0, training.batch_size / objective.num_samples)
    with plain.proving(gradients=2 * NUM_STEPS * num_pivots * share):
        moved = numbers(first_steps(objective, chord, training, seed, NUM_STEPS))
        wanted = _written_out(objective, chord, training, seed)
    start = stacked(_on_chord(chord, training.bends + 2))
    way, size = length(wanted - start), length(wanted)
    if not np.isfinite([way, size]).all():
        return None
    eps = torch.finfo(objective.dtype).eps
    bound = 100 * checks.rounding(objective) + 8 * eps * size / max(way, 1e-300)
    meaning = f"control points after {NUM_STEPS} steps against these written out, over the way they went"
    # Of one point nothing is trained, which these are not.
    gap = np.inf if chord.is_one_point else length(moved - wanted) / max(way, 1e-300)
    if gap > bound:
        # Where a slope is another one an ε further, as that of a logarithm near its clamp, so may the steps be.
        with plain.proving(gradients=NUM_STEPS * num_pivots * share):
            beside = _written_out(objective, chord, training, seed, 1 + 2 * eps)
        off = 10 * length(beside - wanted) / max(way, 1e-300)
        bound += off if np.isfinite(off) else 0.0
    return Check("curve steps", gap, bound, meaning)


def _written_out(
    objective: Objective, chord: Path, training: Training, seed: int, factor: float = 1.0
) -> Any:
    """Control points after the steps; with slopes at ``factor`` times where they are."""
    steps = _band if training.method == "neb" else _bend
    with isolated_rng(seed, objective.device):
        return stacked(steps(objective, chord, training, seed, factor))


def _on_chord(chord: Path, count: int) -> list[Any]:
    """Equal steps from the first end to the second."""
    first, last = (numbers(one.theta) for one in chord.ends)
    inside = [first + share * (last - first) for share in np.linspace(0, 1, count)[1:-1].tolist()]
    return [first, *inside, last]


def _gradient(objective: Objective, chord: Path, factor: float) -> Gradient:
    fixed = {name: tensor.clone() for name, tensor in chord.ends[0].fixed.items()}

    def of(values: Any, batch: Tensor) -> tuple[float, Any]:
        # The objective puts vectors where it wants them.
        values = torch.as_tensor(values if factor == 1 else factor * values)
        theta = objective.as_point(values.to(objective.device, objective.dtype)).theta
        loss, slope = objective.batch_gradient(theta, batch, fixed, training=True)
        return float(loss), numbers(slope)

    return of


def _batches(objective: Objective, training: Training, seed: int) -> list[Tensor]:
    sampler = Sampler("reshuffle", objective.num_samples, training.batch_size, seed)
    return [sampler.next() for _ in range(NUM_STEPS)]


def _weights(t: float, count: int, *, is_chain: bool) -> np.ndarray:
    """What each control point counts at t: corner cutting of the unit vectors, or the hats of a chain."""
    if is_chain:
        return np.maximum(0.0, 1 - np.abs(t * (count - 1) - np.arange(count)))
    rows = np.eye(count)
    while len(rows) > 1:
        rows = (1 - t) * rows[:-1] + t * rows[1:]
    return rows[0]


def _bend(objective: Objective, chord: Path, training: Training, seed: int, factor: float) -> list[Any]:
    count, is_chain = training.bends + 2, training.method == "chain"
    control = _on_chord(chord, count)
    velocity = [0.0 * one for one in control]
    at = [*np.linspace(0, 1, 1001), *(np.linspace(0, 1, count) if is_chain else [])]
    most = max(float((_weights(t, count, is_chain=is_chain)[1:-1] ** 2).sum()) for t in at)
    offset = float(torch.rand((), generator=torch.Generator().manual_seed(seed + 1)))
    gradient = _gradient(objective, chord, factor)
    for k, batch in enumerate(_batches(objective, training, seed)):
        weights = _weights((offset + k * GOLDEN) % 1, count, is_chain=is_chain)
        _, slope = gradient(sum(w * one for w, one in zip(weights.tolist(), control, strict=True)), batch)
        for i in range(1, count - 1):
            velocity[i] = training.momentum * velocity[i] + float(weights[i]) * slope
            control[i] = control[i] - training.lr / most * velocity[i]
    return control


def _band(objective: Objective, chord: Path, training: Training, seed: int, factor: float) -> list[Any]:
    count = training.bends + 2
    bare = objective.varied(l2=0.0)
    first, last = (bare.value(one.theta, one.fixed) for one in chord.ends)
    pivots = _on_chord(chord, count)
    velocity, gradient = [0.0 * one for one in pivots], _gradient(objective, chord, factor)
    for batch in _batches(objective, training, seed):
        found = [gradient(one, batch) for one in pivots[1:-1]]
        heights = [first, *(loss for loss, _ in found), last]
        for i, (_, slope) in enumerate(found, start=1):
            way = _tangent(pivots[i - 1 : i + 2], heights[i - 1 : i + 2])
            velocity[i] = training.momentum * velocity[i] + slope - float(slope @ way) * way
        pivots = [one - training.lr * speed for one, speed in zip(pivots, velocity, strict=True)]
        gaps = [length(after - before) for before, after in pairwise(pivots)]
        along = np.concatenate([[0.0], np.cumsum(gaps)])
        if not np.isfinite(along[-1]):
            return [math.nan * one for one in pivots]
        # Where each pivot should be, counted in pivots as they are.
        place = np.interp(np.linspace(0, along[-1], count), along, np.arange(count))
        left = np.minimum(place.astype(int), count - 2)
        pivots = [
            (1 - share) * pivots[i] + share * pivots[i + 1]
            for i, share in zip(left.tolist(), (place - left).tolist(), strict=True)
        ]
    return pivots


def _tangent(points: list[Any], heights: list[float]) -> Any:
    """The improved tangent of Henkelman and Jónsson (2000) at the middle one of three points, case by case."""
    before, here, after = heights
    back, forward = points[1] - points[0], points[2] - points[1]
    if after > here > before:
        way = forward
    elif after < here < before:
        way = back
    else:
        large, small = max(abs(after - here), abs(before - here)), min(abs(after - here), abs(before - here))
        large, small = (1.0, 1.0) if large == 0 else (large, small)
        way = large * forward + small * back if after > before else small * forward + large * back
    size = length(way)
    return way / size if size else way
