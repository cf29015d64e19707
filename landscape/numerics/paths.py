"""What a loss along a path tells: barriers, and whether it is monotone."""

from typing import NamedTuple

import numpy as np


class Barriers(NamedTuple):
    """Two definitions of the height between two ends, and where along the path each is attained."""

    chord: float
    ends: float
    at_chord: float
    at_ends: float


class Bumps(NamedTuple):
    """Every rise of a loss on its way from the worse end to the better one."""

    at: np.ndarray
    heights: np.ndarray


def barriers(t: np.ndarray, loss: np.ndarray) -> Barriers:
    """Barrier over the chord and over the worse end, for t within [0, 1] including both ends.

    chord: max_t F(γ(t)) − [(1−t)F(A) + tF(B)] (Frankle et al. 2020; Entezari et al. 2022);
    ends: max_t F(γ(t)) − max(F(A), F(B)). Points outside [0, 1] do not count. NaN on the way, or an
    infinite end, gives NaN.

    >>> barriers(np.array([0, .5, 1]), np.array([0., 3., 2.]))
    Barriers(chord=2.0, ends=1.0, at_chord=0.5, at_ends=0.5)
    """
    inside = (t >= 0) & (t <= 1)
    t, loss = t[inside], loss[inside]
    if t[0] != 0 or t[-1] != 1:
        raise ValueError("a barrier needs both ends, t = 0 and t = 1, on the grid")
    if np.isnan(loss).any() or np.isinf(loss[[0, -1]]).any():
        return Barriers(np.nan, np.nan, np.nan, np.nan)
    over_chord = loss - ((1 - t) * loss[0] + t * loss[-1])
    over_ends = loss - max(loss[0], loss[-1])
    first, second = int(np.argmax(over_chord)), int(np.argmax(over_ends))
    return Barriers(float(over_chord[first]), float(over_ends[second]), float(t[first]), float(t[second]))


def bumps(t: np.ndarray, loss: np.ndarray, floor: float = 0.0) -> Bumps:
    """The rises of a loss within [0, 1], walking from the worse end to the better.

    A path is monotone in the sense of Goodfellow et al. (2015) when there is none. A bump's height is
    the local maximum minus the local minimum before it; rises and falls of at most ``floor`` count as
    rounding. A loss that is NaN somewhere is not known to be monotone: it has one bump there, of NaN.

    >>> bumps(np.array([0, .25, .5, .75, 1]), np.array([4., 2., 3., 1., 0.]))
    Bumps(at=array([0.5]), heights=array([1.]))
    """
    inside = (t >= 0) & (t <= 1)
    t, loss = t[inside], loss[inside]
    if loss[-1] > loss[0]:
        t, loss = t[::-1], loss[::-1]
    if np.isnan(loss).any():
        return Bumps(t[np.isnan(loss)][:1], np.array([np.nan]))
    at, heights = [], []
    low = high = 0
    for i in range(1, len(loss) + 1):
        is_end = i == len(loss)
        if is_end or loss[i] < loss[high] - floor:
            if loss[high] > loss[low] + floor:
                at.append(t[high])
                heights.append(loss[high] - loss[low])
            low = high = i
        elif loss[i] < loss[low]:
            low = high = i
        elif loss[i] > loss[high]:
            high = i
    return Bumps(np.array(at), np.array(heights))


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
