"""Grids that contain what they must exactly: 0, 1, the ends, the middle."""

import numpy as np


def grid(low: float, high: float, num_points: int) -> np.ndarray:
    """``num_points`` equal steps from ``low`` to ``high``, with 0 and 1 exactly on the grid where they lie within.

    A linspace would miss them by rounding, or by a cell. Where no equal steps meet both, the nearest
    grid points are moved onto them; the labels are always the coordinates evaluated.

    >>> grid(-0.25, 1.25, 7).tolist()
    [-0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25]
    """
    values = np.linspace(low, high, num_points)
    taken: list[int] = []
    for exact in (0.0, 1.0):
        if low <= exact <= high:
            distance = np.abs(values - exact)
            distance[taken] = np.inf
            taken.append(int(np.argmin(distance)))
            values[taken[-1]] = exact
    return np.sort(values)


def symmetric_grid(span: float, num_points: int) -> np.ndarray:
    """An odd number of equal steps over [−span, span], exactly antisymmetric, with exactly 0 in the middle."""
    half = num_points // 2
    positive = span * (np.arange(1, half + 1) / half)
    return np.concatenate([-positive[::-1], [0.0], positive])


def grid_around(values: np.ndarray, num_points: int, margin: float = 0.2) -> np.ndarray:
    """Equal steps that cover ``values`` with a margin on both sides and contain 0 exactly.

    The step is the wanted width over ``num_points`` − 1, and every grid point a whole multiple of it.
    """
    low, high = min(0.0, values.min()), max(0.0, values.max())
    width = (high - low) or 1.0
    step = width * (1 + 2 * margin) / (num_points - 2)
    first = int(np.floor((low - margin * width) / step))
    return step * np.arange(first, first + num_points)
