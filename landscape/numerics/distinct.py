"""How many different things there are among many, to a tolerance."""

import numpy as np


def num_distinct_values(values: np.ndarray, tolerance: float) -> int:
    """Groups of numbers (k,), split where neighbours differ by more than ``tolerance``, relative beyond 1.

    >>> num_distinct_values(np.array([0.5, 0.5 + 1e-9, 0.7]), 1e-6)
    2
    """
    if len(values) == 0:
        return 0
    ordered = np.sort(values)
    return 1 + int((np.diff(ordered) > tolerance * np.maximum(1.0, np.abs(ordered[1:]))).sum())


def num_distinct_rows(rows: np.ndarray, tolerance: float) -> int:
    """How many groups of :func:`groups_of_rows` there are.

    >>> num_distinct_rows(np.array([[0.0, 1.0], [0.0, 1.0], [3.0, 1.0]]), 1e-6)
    2
    """
    return len(np.unique(groups_of_rows(rows, tolerance)))


def groups_of_rows(rows: np.ndarray, tolerance: float) -> np.ndarray:
    """The group (k,) of vectors (k, m); those of one are joined by steps of at most ``tolerance`` max(1, max|row|)."""
    group = np.arange(len(rows))
    sizes = np.maximum(1.0, np.abs(rows).max(axis=1, initial=0.0))
    for i, row in enumerate(rows):
        near = np.abs(rows[:i] - row).max(axis=1, initial=0.0) <= tolerance * np.maximum(sizes[:i], sizes[i])
        for other in np.unique(group[:i][near]):
            group[group == other] = group[i]
    return group
