"""F averaged over Gaussian noise on θ: what SGD with such noise goes down instead of F (Kleinberg et al. 2018)."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape.numerics.spectra.trace import student_factor
from landscape.numerics.steps.sampling import seed_of_draw
from landscape.numerics.vectors import normal
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.sweep import Sweep


class Smoothed(NamedTuple):
    """E[F(θ + σξ)] at some places, ``loss`` with its standard ``error`` (places,).

    1.96 errors are Student's 95 % interval. ``pairs`` (K, places) are the means over each pair ±ξ, and ``seed`` what
    the ξ follow from.
    """

    loss: np.ndarray
    error: np.ndarray
    pairs: np.ndarray
    sigma: float
    seed: int


def smoothed(
    sweep: Sweep,
    name: str,
    num_places: int,
    fill: Callable[[range, Tensor], object],
    points: Sequence[Point],
    weights_at: Callable[[int], Sequence[float]] | None = None,
    *,
    sigma: float,
    num_pairs: int,
    seed: int,
) -> Smoothed:
    """F averaged over σξ, ξ ~ N(0, I) in every trainable number, by ``num_pairs`` of ±ξ, the same at all places.

    ``fill``, ``points`` and ``weights_at`` as in :meth:`~landscape.objective.sweep.Sweep.measure`. As ξ comes with −ξ,
    what is odd in it adds nothing to the error. Every piece is remembered.
    """
    objective, kept = sweep.objective, dict[int, Tensor]()

    def moved(block: range, thetas: Tensor) -> None:
        start = block.start
        while start < block.stop:
            draw, place = divmod(start, num_places)
            stop = min(block.stop, (draw + 1) * num_places)
            rows = thetas[start - block.start : stop - block.start]
            fill(range(place, place + stop - start), rows)
            if draw // 2 not in kept:
                kept.clear()
                kept[draw // 2] = noise_of(objective, seed, draw // 2).to(thetas)
            rows.add_(kept[draw // 2], alpha=sigma * (1 - 2 * (draw % 2)))
            start = stop

    at = None if weights_at is None else lambda i: weights_at(i % num_places)
    # Of the training loss alone.
    alone = Sweep(objective, None, sweep.batchnorm, sweep.journal, sweep.progress)
    table = alone.measure(f"smoothed {name}", 2 * num_pairs * num_places, moved, points, at)
    pairs = table[:, 0].reshape(num_pairs, 2, num_places).mean(1)
    with np.errstate(invalid="ignore", over="ignore"):
        error = student_factor(num_pairs) * pairs.std(0, ddof=1) / np.sqrt(num_pairs)
        return Smoothed(pairs.mean(0), error, pairs, sigma, seed)


def noise_of(objective: Objective, seed: int, pair: int) -> Tensor:
    """ξ (d,) of a pair, standard normal, float64; on the CPU where it is whole."""
    return normal(objective.theta, torch.Generator().manual_seed(seed_of_draw(seed, pair)))


def smoothed_in_words(found: Smoothed) -> list[str]:
    """How F was averaged, and what its errors are not."""
    count, lost = len(found.pairs), int((~np.isfinite(found.loss)).sum())
    notes = [
        f"averaged over N(0, {found.sigma:g}² I) by {count} pairs ±ξ, the same at all places: they err together there, "
        "so that differences are surer than the standard errors; rare values that no draw met are in neither"
    ]
    if lost:
        notes.append(f"{lost} averages are NaN or infinite, as F is where the noise leads")
    return notes


def fields_of(found: Smoothed | None, shape: Sequence[int]) -> dict[str, Any]:
    """What a result keeps of it, in the shape of its places; nothing where there is none."""
    if found is None:
        return {}
    return {
        "smooth_loss": found.loss.reshape(shape),
        "smooth_loss_error": found.error.reshape(shape),
        "smooth_sigma": found.sigma,
        "smooth_pairs": len(found.pairs),
    }
