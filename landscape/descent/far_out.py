"""Searches that run to infinity: how far they came, how ‖∇F‖ falls with ‖θ‖, and what a closed form says of F there."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.descent.seeking import INFINITE
from landscape.numerics.arrays import array_of
from landscape.objective import checks, plain
from landscape.objective.losses import LOSSES
from landscape.objective.objective import Objective
from landscape.objective.stacked import Derivatives
from landscape.result import Check

# Sizes at which a closed form is drawn, and ends that are proven.
PLACES, MOST = 101, 20
# Sums of squares in float64.
SUMS = 1e-12


def far_out(
    derivatives: Derivatives, starts: Tensor, found: Mapping[str, np.ndarray]
) -> tuple[dict[str, Any], list[Check], list[str]]:
    """Fields, checks and notes of searches from ``starts`` (R, d) of which some run to infinity; empty where none does.

    A module says F far out by a method ``loss_far_out(sizes)``, for the mean squared error.
    """
    runs = found["status"] == INFINITE
    if not runs.any():
        return {}, [], []
    values, _ = derivatives.slopes(starts)
    sizes = np.linalg.norm(found["theta"], axis=1)
    fields: dict[str, Any] = {
        "norm": sizes,
        "exponent": np.where(runs, found["exponent"], math.nan),
        "start_norm": array_of(torch.linalg.vector_norm(starts, dim=1)),
        "start_loss": array_of(values),
    }
    objective = derivatives.objective
    ends = torch.from_numpy(found["theta"]).to(starts)
    begun = fields["start_norm"][runs], fields["start_loss"][runs]
    proofs = [_fall_check(objective, starts[runs], ends[runs], *begun)]
    low, high = np.nanmin(fields["exponent"][runs]), np.nanmax(fields["exponent"][runs])
    notes = [
        f"{int(runs.sum())} searches run to infinity: ‖∇F‖ falls like ‖θ‖ to the power {low:.4g}"
        + (f" to {high:.4g}" if high - low > 1e-3 * abs(high) else "")
        + " over the last steps: a small ‖∇F‖ alone makes no critical point there"
    ]
    say = getattr(objective.module, "loss_far_out", None)
    if say is not None and objective.given is LOSSES["mse"] and not objective.l2:
        first, last = (float(one) for one in (fields["start_norm"][runs].min(), sizes[runs].max()))
        fields["known_norm"] = np.geomspace(first, last, PLACES)
        fields["known_far_loss"] = array_of(say(torch.from_numpy(fields["known_norm"])))
        wanted = array_of(say(torch.from_numpy(sizes[runs])))
        gap = float(np.abs(found["loss"][runs] / wanted - 1).max())
        proofs.append(
            Check("loss far out", gap, 1e-12, "F where searches ran to against a closed form, relative")
        )
        notes.append(f"a closed form says what F is on the way, up to ‖θ‖ = {last:.3g}")
    return fields, proofs, notes


def _fall_check(
    objective: Objective, starts: Tensor, ends: Tensor, norms: np.ndarray, losses: np.ndarray
) -> Check:
    """That of the module itself ‖∇F‖ is less at ends than at starts (R, d), and ‖θ‖ larger, at the first few.

    And that ‖θ‖ (R,) and F (R,) of the starts are as stated, by a sum and a plain loop.
    """

    def size(theta: Tensor) -> float:
        return float(plain.gradient(objective, plain.by_name(objective, objective.as_point(theta))).norm())

    pairs = list(zip(starts[:MOST], ends[:MOST], strict=True))
    wrong = sum(not size(end) < size(start) or not end.norm() > start.norm() for start, end in pairs)
    for start, norm, loss in zip(starts[:MOST], norms, losses, strict=False):
        length = math.sqrt(math.fsum(one * one for one in start.tolist()))
        seen = plain.measure(objective, plain.by_name(objective, objective.as_point(start))).loss
        wrong += not abs(norm - length) <= SUMS * length
        wrong += not abs(loss - seen) <= checks.rounding(objective) * max(abs(seen), 1e-3)
    meaning = (
        f"of {len(pairs)} ends, where ‖∇F‖ of the module itself is no less than at the start, or ‖θ‖ no larger, or F "
        "or ‖θ‖ of the start another"
    )
    return Check("falls far out", float(wrong), 0.0, meaning)
