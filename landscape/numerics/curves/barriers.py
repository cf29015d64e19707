"""What a loss along a path tells: barriers, and whether it is monotone."""

import math
from typing import NamedTuple

import numpy as np

# A height of so many standard errors is more than chance in the data.
BEYOND = 2.0
# The relative error of a standard error from R resamples is about 1/√(2R): 3.5 %.
RESAMPLES = 400


class Barriers(NamedTuple):
    """Every definition of the height between two ends, and where along the path each is attained.

    ``mean`` is over the mean of the ends, ``top`` the largest loss itself.
    """

    chord: float
    ends: float
    at_chord: float
    at_ends: float
    mean: float
    top: float


class Bumps(NamedTuple):
    """Every rise of a loss on its way from the worse end to the better one."""

    at: np.ndarray
    heights: np.ndarray


def barriers(t: np.ndarray, loss: np.ndarray) -> Barriers:
    """The barrier by each of its definitions, for t within [0, 1] including both ends.

    chord: max_t F(γ(t)) − [(1−t)F(A) + tF(B)] (Entezari et al. 2022); ends: max_t F(γ(t)) − max(F(A), F(B));
    mean: max_t F(γ(t)) − (F(A) + F(B))/2 (Frankle et al. 2020). Points outside [0, 1] do not count. NaN
    on the way, or an infinite end, gives NaN.

    >>> barriers(np.array([0, .5, 1]), np.array([0., 3., 2.]))
    Barriers(chord=2.0, ends=1.0, at_chord=0.5, at_ends=0.5, mean=2.0, top=3.0)
    """
    inside = (t >= 0) & (t <= 1)
    t, loss = t[inside], loss[inside]
    if t[0] != 0 or t[-1] != 1:
        raise ValueError("a barrier needs both ends, t = 0 and t = 1, on the grid")
    if np.isnan(loss).any() or np.isinf(loss[[0, -1]]).any():
        return Barriers(np.nan, np.nan, np.nan, np.nan, np.nan, np.nan)
    over_chord = above_chord(t, loss)
    over_ends = loss - max(loss[0], loss[-1])
    first, second = int(np.argmax(over_chord)), int(np.argmax(over_ends))
    top = float(loss[second])
    return Barriers(
        float(over_chord[first]),
        float(over_ends[second]),
        float(t[first]),
        float(t[second]),
        top - float(loss[0] + loss[-1]) / 2,
        top,
    )


def above_chord(t: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """F(γ(t)) − [(1−t)F(A) + tF(B)], in the form in which nothing rounds at the ends, nor where the loss is level."""
    return (1 - t) * (loss - loss[0]) + t * (loss - loss[-1])


def is_below_its_error(height: float, error: float | None) -> bool:
    """Whether a barrier, with its standard error where there is one, is none that the data show."""
    return error is not None and height < BEYOND * error


def or_none(error: float) -> float | None:
    """None where there is no error to give: a single sample, or losses that are not finite."""
    return None if math.isnan(error) else error


def finer(t: np.ndarray, at: float) -> np.ndarray:
    """The middles of the gaps beside ``at``, a value of the rising ``t``: two of them, at an end one.

    >>> finer(np.array([0, .5, 1]), 0.5)
    array([0.25, 0.75])
    """
    i = int(np.searchsorted(t, at))
    near = t[max(0, i - 1) : i + 2]
    return (near[:-1] + near[1:]) / 2


def unseen_rises(t: np.ndarray, values: np.ndarray) -> np.ndarray:
    """How far above the highest of ``values`` each of the gaps (T − 1,) may rise between its ends, for finite values.

    It would, if the values went on across the gap as they come to one of its ends from outside: a bound where they are
    concave. A peak that begins and ends within a gap is not seen, and of a kink within one a part may not be.

    >>> t = np.array([0, .3, .5, 1])
    >>> unseen_rises(t, t * (.9 - t)).round(12).tolist()  # 0.2 at 0.5 and 0.2025 at 0.45
    [-0.02, 0.12, 0.05]
    """
    gaps = np.diff(t)
    slopes = np.diff(values) / gaps
    from_left = values[:-1] + gaps * np.maximum(0, np.append(0, slopes[:-1]))
    from_right = values[1:] + gaps * np.maximum(0, -np.append(slopes[1:], 0))
    return np.maximum(from_left, from_right) - values.max()


def mean_weights(t: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
    """Weights (T,) of the trapezoidal mean over t, or over arc length with the ``lengths`` (T − 1,) of its gaps."""
    gaps = np.diff(t) if lengths is None else lengths
    weights = np.zeros(len(t))
    weights[:-1] += gaps / 2
    weights[1:] += gaps / 2
    return weights / gaps.sum() if gaps.sum() > 0 else np.full(len(t), 1 / len(t))


def mean_error(weights: np.ndarray, losses: np.ndarray) -> float:
    """Standard error, from the data, of Σₜ weightsₜ F(t) for per-sample ``losses`` (T, n): exact, as it is a mean."""
    values = weights @ losses
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else math.nan


def barrier_errors(
    t: np.ndarray, losses: np.ndarray, *, seed: int, num_resamples: int = RESAMPLES
) -> Barriers:
    """Standard errors of every barrier, and of where it is attained, from per-sample ``losses`` (T, n).

    The bootstrap of Efron (1979): samples drawn with replacement, the whole path evaluated on the same
    draw, so what its points share cancels as it does in the barrier. What is not finite gives NaN.
    """
    if losses.shape[1] < 2 or not np.isfinite(losses).all():
        return Barriers(*[math.nan] * 6)
    generator, size = np.random.default_rng(seed), losses.shape[1]
    found = []
    for _ in range(num_resamples):
        counts = np.bincount(generator.integers(size, size=size), minlength=size)
        found.append(barriers(t, losses @ (counts / size)))
    return Barriers(*np.std(np.array(found), axis=0, ddof=1).tolist())


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


def spanning_tree(barriers: np.ndarray) -> np.ndarray:
    """Edges (m − 1, 2) of the minimum spanning tree of a symmetric matrix (m, m), lowest first; NaN counts as highest.

    >>> spanning_tree(np.array([[0, 1, 5], [1, 0, 0.], [5, 0, 0]])).tolist()
    [[1, 2], [0, 1]]
    """
    # Slow to import, and of no use to the barriers that every picture of a path asks for.
    from scipy.sparse.csgraph import minimum_spanning_tree

    above = np.triu_indices(len(barriers), 1)
    # A tree depends on the order alone, and csgraph takes a weight of zero for no edge.
    ranks = np.zeros(barriers.shape)
    ranks[above] = 1 + np.argsort(np.argsort(barriers[above], kind="stable"), kind="stable")
    rows, columns = minimum_spanning_tree(ranks).nonzero()
    order = np.argsort(ranks[rows, columns])
    return np.stack([rows, columns], axis=1)[order].astype(int)
