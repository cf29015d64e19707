"""A kink is an end only where F falls no further: the gradients around one of them, by the user's own module."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from landscape.numerics.spectra.inertia import STATIONARY
from landscape.numerics.steps.kinks import MOST_DRAWN, RADIUS
from landscape.objective import plain
from landscape.objective.objective import Objective
from landscape.result import Check

# Parameters up to which the linear program takes no time of a command.
MOST_PARAMETERS = 500
# What other draws may find more of than those of the search.
BOUND = 10.0


def kink_checks(
    wide: Objective,
    thetas: Tensor,
    rows: Mapping[str, np.ndarray],
    kept: np.ndarray,
    draws: np.random.Generator,
) -> list[Check]:
    """Of one of the ends ``thetas`` (R, d) at kinks: how steeply F still falls along a direction that all agree on.

    By linear programming, the dual of what the search goes by: the largest τ of max τ over |v_i| ≤ 1 with g·v ≤ −τ for
    every gradient g around, at twice as many places as the search draws; τ/√d is no more than the shortest vector that
    these g combine to.
    """
    ends = kept[rows["end_status"][kept] == "kink"]
    if not len(ends) or wide.num_parameters > MOST_PARAMETERS or wide.doubts:
        return []
    theta = thetas[int(draws.choice(ends))]
    count = min(4 * len(theta), 2 * MOST_DRAWN)
    lengths = RADIUS * max(1.0, float(theta.norm())) * 10 ** draws.uniform(-1, 1, count)
    slopes = []
    with plain.proving(gradients=count):
        for length in lengths:
            way = torch.from_numpy(draws.normal(size=len(theta))).to(theta)
            there = wide.as_point(theta + length / way.norm() * way)
            slopes.append(plain.gradient(wide, plain.by_name(wide, there)).double().cpu().numpy())
    found = np.array(slopes)
    allowed = STATIONARY * max(1.0, float(np.linalg.norm(found, axis=1).max()))
    meaning = (
        f"how steeply F falls from one of them along a direction in which {count} gradients around it, of the module "
        f"itself, all agree, over {STATIONARY:g} of the longest of them, or of 1"
    )
    return [Check("kinks among the ends", _agreed(found) / allowed, BOUND, meaning)]


def _agreed(slopes: np.ndarray) -> float:
    """The steepest fall, of |v| = √d, that every row of ``slopes`` (k, d) has along one v with |v_i| ≤ 1, over √d."""
    from scipy.optimize import linprog

    count, d = slopes.shape
    scale = max(float(np.abs(slopes).max()), 1e-300)
    found = linprog(
        np.append(np.zeros(d), -1.0),
        A_ub=np.column_stack([slopes / scale, np.ones(count)]),
        b_ub=np.zeros(count),
        bounds=[(-1, 1)] * d + [(0, None)],
    )
    return -float(found.fun) * scale / d**0.5 if found.status == 0 else float("nan")
