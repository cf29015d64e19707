"""The straight lines between every two of several points."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from landscape.objective.parameters import Point
from landscape.objective.sweep import Sweep
from landscape.paths.path import Path
from landscape.paths.profile import PathLoss, refine


def straight_lines(
    sweep: Sweep, points: Sequence[Point], num_points: int, tolerance: float
) -> dict[tuple[int, int], PathLoss]:
    """By the numbers of both ends: F at so many places of the line, refined to ``tolerance``."""
    found = {}
    for i, j in combinations(range(len(points)), 2):
        line = PathLoss(sweep, f"line {i} {j}", Path.chord(points[i], points[j]))
        line.measure(np.linspace(0, 1, num_points))
        refine([line], tolerance)
        found[i, j] = line
    return found
