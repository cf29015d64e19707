"""What a slice sums up, from what it states: mean and spread over the draws, and inner products of the directions."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from landscape.objective.objective import Objective
from landscape.objective.row_proofs import by_piece, wide
from landscape.objective.trajectory import Trajectory
from landscape.result import Check

# Sums of a few numbers in float64, of squares, and of d products.
SUMS, PRODUCTS = 1e-12, 1e-10


def draws_check(draws: np.ndarray | None, mean: np.ndarray | None, spread: np.ndarray | None) -> list[Check]:
    """``mean`` and ``spread`` (n − 1) over the losses (draws, …) of every draw, one draw after another."""
    if draws is None or mean is None or spread is None:
        return []
    total, squares = np.zeros(mean.shape), np.zeros(mean.shape)
    with np.errstate(invalid="ignore", over="ignore"):
        for one in draws:
            total = total + one / len(draws)
        for one in draws:
            squares = squares + (one - total) ** 2 / (len(draws) - 1)
        size = np.maximum(np.abs(draws).max(axis=0), 1e-300)
        gaps = np.maximum(np.abs(mean - total), np.abs(spread - np.sqrt(squares))) / size
    known = np.isfinite(draws).all(axis=0)
    lost = known & ~np.isfinite(gaps)
    worst = np.inf if lost.any() else float(gaps[known].max(initial=0.0))
    meaning = (
        "mean and standard deviation (n − 1) over the draws against sums over the stated losses, relative"
    )
    return [Check("draws", worst, SUMS, meaning)]


def products_check(objective: Objective, directions: Any, stated: np.ndarray | None) -> list[Check]:
    """``stated`` (m, m) against sums over the parameters of ``directions`` (m, d), an array or spread."""
    if stated is None:
        return []
    gram = np.zeros(stated.shape)
    for _, part in by_piece(objective, wide(directions)):
        gram += np.einsum("id,jd->ij", part, part)
    lengths = np.sqrt(np.maximum(np.diag(gram), 1e-300))
    worst = float(
        np.nan_to_num(np.abs(stated - gram) / np.outer(lengths, lengths), nan=np.inf).max(initial=0.0)
    )
    return [
        Check(
            "inner products", worst, PRODUCTS, "of the directions, summed over parameters, over their lengths"
        )
    ]


def runs_check(result: Any, runs: Sequence[Trajectory]) -> list[Check]:
    """Of which run each checkpoint is said to be, its epoch, and how far those of a run are off the plane at most."""
    if result.trajectory_run is None:
        return []
    whose, epoch, residual = (
        result.trajectory_run.tolist(),
        result.trajectory_epoch,
        result.trajectory_residual,
    )
    wrong, start = int(len(whose) != sum(len(run.points) for run in runs)), 0
    for number, run in enumerate(runs):
        stop = start + len(run.points)
        wrong += whose[start:stop] != [number] * len(run.points)
        wrong += float(result.run_residual[number]) != max(residual[start:stop].tolist())
        if epoch is not None:
            wanted = [np.nan] * len(run.points) if run.epochs is None else list(run.epochs)
            wrong += not np.array_equal(epoch[start:stop], wanted, equal_nan=True)
        start = stop
    meaning = (
        "runs whose checkpoints, epochs or largest distances from the plane are not as stated (0 = none)"
    )
    return [Check("runs", float(wrong), 0.0, meaning)]
