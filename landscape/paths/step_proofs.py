"""The first steps of training a curve against the same steps written out; gradients of batches are given to both."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from landscape.numerics.steps.sampling import Sampler, isolated_rng
from landscape.objective import checks, plain
from landscape.objective.objective import Objective
from landscape.objective.row_proofs import numbers
from landscape.paths.curve_training import Training, first_steps
from landscape.paths.path import Path
from landscape.result import Check

# The second step is the first that momentum carries.
NUM_STEPS = 2
GOLDEN = (5**0.5 - 1) / 2
Gradient = Callable[[np.ndarray, Tensor], tuple[float, np.ndarray]]


def steps_check(objective: Objective, chord: Path, training: Training, seed: int) -> Check | None:
    """Control points after two steps from the chord, against heavy ball or a loop over pivots.

    None where there is nothing to train, or the loss is not finite.
    """
    if chord.is_one_point:
        return None
    num_pivots = training.bends if training.method == "neb" else 1
    share = min(1.0, training.batch_size / objective.num_samples)
    with plain.proving(gradients=2 * NUM_STEPS * num_pivots * share):
        moved = numbers(first_steps(objective, chord, training, seed, NUM_STEPS))
        with isolated_rng(seed, objective.device):
            wanted = (_band if training.method == "neb" else _bend)(objective, chord, training, seed)
    start = _on_chord(chord, training.bends + 2)
    way, size = float(np.linalg.norm(wanted - start)), float(np.linalg.norm(wanted))
    if not np.isfinite([way, size]).all():
        return None
    eps = torch.finfo(objective.dtype).eps
    bound = 100 * checks.rounding(objective) + 8 * eps * size / max(way, 1e-300)
    meaning = f"control points after {NUM_STEPS} steps against these written out, over the way they went"
    gap = float(np.linalg.norm(moved - wanted)) / max(way, 1e-300)
    return Check("curve steps", gap, bound, meaning)


def _on_chord(chord: Path, count: int) -> np.ndarray:
    """Equal steps from the first end to the second, (count, d)."""
    return np.linspace(numbers(chord.ends[0].theta), numbers(chord.ends[1].theta), count)


def _gradient(objective: Objective, chord: Path) -> Gradient:
    fixed = {name: tensor.clone() for name, tensor in chord.ends[0].fixed.items()}

    def of(values: np.ndarray, batch: Tensor) -> tuple[float, np.ndarray]:
        theta = torch.from_numpy(values).to(objective.device, objective.dtype)
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


def _bend(objective: Objective, chord: Path, training: Training, seed: int) -> np.ndarray:
    count, is_chain = training.bends + 2, training.method == "chain"
    control = _on_chord(chord, count)
    velocity = np.zeros_like(control)
    at = [*np.linspace(0, 1, 1001), *(np.linspace(0, 1, count) if is_chain else [])]
    most = max(float((_weights(t, count, is_chain=is_chain)[1:-1] ** 2).sum()) for t in at)
    offset = float(torch.rand((), generator=torch.Generator().manual_seed(seed + 1)))
    gradient = _gradient(objective, chord)
    for k, batch in enumerate(_batches(objective, training, seed)):
        weights = _weights((offset + k * GOLDEN) % 1, count, is_chain=is_chain)
        _, slope = gradient(weights @ control, batch)
        free = weights.copy()
        free[[0, -1]] = 0
        velocity = training.momentum * velocity + np.outer(free, slope)
        control = control - training.lr / most * velocity
    return control


def _band(objective: Objective, chord: Path, training: Training, seed: int) -> np.ndarray:
    count = training.bends + 2
    bare = objective.varied(l2=0.0)
    first, last = (bare.value(one.theta, one.fixed) for one in chord.ends)
    pivots = _on_chord(chord, count)
    velocity, gradient = np.zeros_like(pivots), _gradient(objective, chord)
    for batch in _batches(objective, training, seed):
        found = [gradient(one, batch) for one in pivots[1:-1]]
        heights = [first, *(loss for loss, _ in found), last]
        for i, (_, slope) in enumerate(found, start=1):
            way = _tangent(pivots[i - 1 : i + 2], heights[i - 1 : i + 2])
            velocity[i] = training.momentum * velocity[i] + slope - (slope @ way) * way
        pivots = pivots - training.lr * velocity
        gaps = np.linalg.norm(np.diff(pivots, axis=0), axis=1)
        along = np.concatenate([[0.0], np.cumsum(gaps)])
        # Where each pivot should be, counted in pivots as they are.
        place = np.interp(np.linspace(0, along[-1], count), along, np.arange(count))
        left = np.minimum(place.astype(int), count - 2)
        share = (place - left)[:, None]
        pivots = (1 - share) * pivots[left] + share * pivots[left + 1]
    return pivots


def _tangent(points: np.ndarray, heights: list[float]) -> np.ndarray:
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
    length = np.linalg.norm(way)
    return way / length if length else way
