"""Ends of descents by width: what is said of all of them, by one another, and the Hessian of one on the module."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.descent.critical import POLISHED
from landscape.descent.proofs import on_the_way, plain_hessian
from landscape.numerics.spectra.inertia import STATIONARY
from landscape.objective.cancelled import TIMES, curvature_elsewhere, gradient_elsewhere
from landscape.objective.objective import Objective
from landscape.result import Check, largest_gap
from landscape.valleys.readout import Readout, called, readout_of

# Parameters up to which the Hessian is had once more, row by row; what its eigenvalues are known to, over the largest.
MOST_ROWS, KNOWN = 300, 1e-9
# Either of two Hessians has the rounding of its terms, of a bend that is seen elsewhere.
OF_BOTH = 10.0
# Sums of many terms are known to so much of these.
CANCELLED = 1e3 * float(np.finfo(float).eps)
# An eigenvalue that is surely negative, over the largest.
SURELY = 1e-3
# How far a singular value is from what counts as zero where it surely does not, or surely does.
CLEARLY = 1e3
RANKS = "singular values of the features at an end, by NumPy, and the rounds that raised them, that the rank leaves out"


def end_check(objective: Objective, theta: Tensor, said: Mapping[str, Any]) -> list[Check]:
    """Eigenvalues, index and nullity at one end, of a second backward pass on the module; none of many parameters."""
    if objective.num_parameters > MOST_ROWS or not objective.is_mean or objective.doubts:
        return []
    norm, matrix = plain_hessian(objective, theta)
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    scale = max(float(np.abs(values).max()), 1e-300)
    gaps = [abs(said["smallest_eigenvalue"] - values[0]), abs(said["largest_eigenvalue"] - values[-1])]
    # Terms that cancel are as large as ‖H‖ ‖θ‖ and √(F ‖H‖).
    terms = scale * float(theta.norm()) + math.sqrt(abs(float(said["loss"])) * scale)
    off, allowed = abs(said["gradient_norm"] - norm), KNOWN * norm + CANCELLED * terms
    if not off <= allowed:
        # Where F is next to nothing so is ∇F, but for the terms that cancel in it.
        allowed += CANCELLED * gradient_elsewhere(lambda x: objective.gradient(x), theta)
    gap, bound = largest_gap(*gaps) / scale, KNOWN
    if not gap <= bound:
        # Where F is next to nothing so is H, but for the rounding of terms that cancel in it.
        axis = torch.from_numpy(vectors[:, np.abs(values).argmax()]).to(theta)
        bend = curvature_elsewhere(lambda x: objective.gradient(x), theta, axis)
        bound += OF_BOTH * TIMES * float(np.finfo(float).eps) * bend / scale
    # At a critical point ‖∇F‖ counts as zero.
    surely = max(SURELY * scale, 2 * norm if norm <= STATIONARY else 0.0)
    wrong = _miscounted(values, surely, said)
    if wrong and norm <= STATIONARY:
        # So does what reaches zero further on, as at an infimum that lies at infinity.
        wrong = _miscounted(values, max(surely, 2 * on_the_way(objective, theta, matrix)), said)
    meaning = "smallest and largest of an end, over max |λ|, by a second backward pass on the module"
    about = "eigenvalues of that matrix below zero, or zero, that are counted otherwise (0 = none)"
    slope = (
        "‖∇F‖ of an end against autograd on the module, over what rounding allows of the terms that cancel"
    )
    return [
        Check("eigenvalues of an end", float(gap), bound, meaning),
        Check("index of an end", float(wrong), 0.0, about),
        Check("gradient norm of an end", float(off) / max(allowed, 1e-300), 1.0, slope),
    ]


def _miscounted(values: np.ndarray, surely: float, said: Mapping[str, Any]) -> int:
    """How many of ``values`` (d,) that are zero, or are not, by more than ``surely``, index and nullity have wrong."""
    fewest, most = int((values < -surely).sum()), int((values < 0).sum())
    index, nullity = int(said["index"]), int(said["nullity"])
    return max(fewest - index, index - most, index + nullity - int((values < surely).sum()), 0)


def rank_check(objective: Objective, theta: Tensor, said: Mapping[str, Any]) -> list[Check]:
    """The stated rank of the last layer's features against that at the end ``theta``, which every round raises."""
    readout = readout_of(objective, theta)
    if not isinstance(readout, Readout):
        return [Check("feature rank", float(said["feature_rank"] != -1), 0.0, RANKS)]
    features = called(objective, theta).inputs[-1].double().cpu().numpy()  # type: ignore[union-attr]
    if readout.bias is not None:
        features = np.column_stack([features, np.ones(len(features))])
    values = np.linalg.svd(features, compute_uv=False)
    zero = 10 * max(features.shape) * np.finfo(float).eps * values[0]
    rank, rounds = int(said["feature_rank"]), int(said["num_rounds"])
    fewest, most = int((values > CLEARLY * zero).sum()), int((values > zero / CLEARLY).sum())
    wrong = max(0, fewest + rounds - rank, rank - min(features.shape), 0 if rounds else rank - most)
    return [Check("feature rank", float(wrong), 0.0, RANKS)]


def shares_check(rows: Mapping[str, Any], counted: int, rounding: float) -> Check:
    """``rows``: the fields of a result by name; of every width the best loss, the share that is joined, strict ends.

    And restarts and samples, which are as many as were ``counted``.
    """
    best, share = rows["best_loss"], rows["share_joined"]
    wrong = int(rows["num_samples"] != counted) + int(
        rows["restart"].tolist() != [*range(rows["loss"].shape[1])]
    )
    for i, losses in enumerate(rows["loss"].tolist()):
        ends = [
            (loss, height)
            for loss, height in zip(losses, rows["path_height"][i].tolist(), strict=True)
            if loss == loss
        ]
        lowest = min((loss for loss, _ in ends), default=math.nan)
        joined = sum(height <= loss + rounding * max(abs(loss), 1e-12) for loss, height in ends)
        if not ends:
            wrong += not (math.isnan(best[i]) and math.isnan(share[i]))
            continue
        wrong += best[i] != lowest or not abs(share[i] - joined / len(ends)) <= 1e-12
    is_still = (rows["gradient_norm"] <= POLISHED) & (rows["index"] == 0) & (rows["nullity"] == 0)
    wrong += int((is_still != rows["is_strict"]).sum())
    meaning = (
        "the lowest loss, the share with a path that never rises, strict minima, restarts and samples, that the ends "
        "and the data say otherwise"
    )
    return Check("ends by width", float(wrong), 0.0, meaning)
