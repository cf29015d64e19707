"""Which values of a function of two coordinates get a colour of their own, so that its shape is seen."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import MaxNLocator

NUM_LEVELS = 15
# No more of the plane than this has one colour, unless there are so few colours that it must.
LARGEST_SHARE = 0.25

# Ten round numbers to a decade, about as far apart as one another on a logarithmic scale, and how few are too few.
TENTHS, FEWEST = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8), 9


class Range(NamedTuple):
    """Values between which at least so many levels must lie, or something would not be seen."""

    low: float
    high: float
    least: int


class Scale(NamedTuple):
    """The levels, in increasing order, and how they are spaced: ``linear``, ``log`` or ``quantile``."""

    spacing: str
    levels: np.ndarray

    @property
    def norm(self) -> Normalize:
        """Where in the map of colours a value lies."""
        ends = float(self.levels[0]), float(self.levels[-1])
        if self.spacing == "quantile":
            return ByLevels(self.levels)
        return LogNorm(*ends) if self.spacing == "log" else Normalize(*ends)


class ByLevels(Normalize):
    """As much of the map of colours between any two neighbouring levels, evenly within."""

    def __init__(self, levels: np.ndarray):
        super().__init__(float(levels[0]), float(levels[-1]))
        self.levels = np.asarray(levels, dtype=float)

    def __call__(self, value: Any, clip: bool | None = None) -> Any:
        shares = np.linspace(0, 1, len(self.levels))
        values = np.ma.asarray(value, dtype=float)
        return np.ma.masked_array(
            np.interp(values.filled(np.nan), self.levels, shares), np.ma.getmaskarray(values)
        )

    def inverse(self, value: Any) -> Any:
        """The value of a place in the map of colours."""
        return np.interp(value, np.linspace(0, 1, len(self.levels)), self.levels)


def scale_for(
    values: np.ndarray, count: int = NUM_LEVELS, needs: Sequence[Range] = (), spacing: str = "auto"
) -> Scale:
    """About ``count`` levels over finite ``values``: the plainest spacing in which the shape is seen.

    ``auto`` tries linear, logarithmic (where all values are positive) and quantiles, in this order, and takes
    the first in which no two neighbouring levels hold more than ``LARGEST_SHARE`` of the values and every
    range of ``needs`` has its least number of levels strictly inside. Quantiles hold 1/count each, but for
    ties; where even they leave a need unmet, levels equally spaced stand inside that range in place of theirs.

    >>> scale_for(np.arange(100.0), 5).levels.tolist()
    [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]
    >>> scale_for(np.logspace(0, 3, 100)).spacing
    'log'
    """
    values = np.asarray(values, dtype=float).ravel()
    low, high = float(values.min()), float(values.max())
    for name in ("linear", "log") if spacing == "auto" else (spacing,):
        if name == "quantile" or (name == "log" and low <= 0):
            continue
        levels = levels_between(low, high, count, name == "log")
        if spacing != "auto" or shows(values, levels, needs):
            return Scale(name, levels)
    levels = quantiles(values, count)
    for need in needs if spacing == "auto" else ():
        if num_inside(levels, need) < need.least:
            # In place of those inside, not beside them: two levels that nearly touch are one thick line.
            others = levels[(levels <= need.low) | (levels >= need.high)]
            added = np.linspace(need.low, need.high, need.least + 2)[1:-1]
            room = (need.high - need.low) / (need.least + 1) / 4
            levels = np.union1d(others, [roundest(one, room) for one in added])
    return Scale("quantile", levels)


def shows(values: np.ndarray, levels: np.ndarray, needs: Sequence[Range]) -> bool:
    """Whether no colour holds too much of the values, and every need is met."""
    bound = max(LARGEST_SHARE, 2 / (len(levels) - 1))
    return largest_share(values, levels) <= bound and all(
        num_inside(levels, need) >= need.least for need in needs
    )


def largest_share(values: np.ndarray, levels: np.ndarray) -> float:
    """Of the values, that between the two neighbouring levels that hold the most."""
    return float(np.histogram(values, levels)[0].max() / np.size(values))


def num_inside(levels: np.ndarray, need: Range) -> int:
    """How many levels lie strictly within a range."""
    return int(((levels > need.low) & (levels < need.high)).sum())


def quantiles(values: np.ndarray, count: int) -> np.ndarray:
    """Levels that share the values equally, from the least to the largest, each as round as it can be.

    >>> quantiles(np.arange(1001.0) ** 2, 5).tolist()
    [0.0, 50000.0, 250000.0, 500000.0, 1000000.0]
    """
    exact = np.unique(np.quantile(values, np.linspace(0, 1, count)))
    found = exact.copy()
    for i in range(1, len(exact) - 1):
        # Rounded, a level may move a quarter of the way to its neighbour; the ends cover all there is.
        found[i] = roundest(exact[i], min(exact[i] - exact[i - 1], exact[i + 1] - exact[i]) / 4)
    if len(exact) > 1:
        for i, way, gap in ((0, math.floor, exact[1] - exact[0]), (-1, math.ceil, exact[-1] - exact[-2])):
            found[i] = roundest(exact[i], gap / 4, way)
    return found


def roundest(value: float, room: float, way: Callable[[float], int] = round) -> float:
    """The multiple of the largest 1, 2 or 5 times a power of ten that lies within ``room`` of a value, that ``way``.

    >>> roundest(0.1652, 0.01), roundest(0.1652, 0.001), roundest(3.31, 0.3, math.ceil)
    (0.16, 0.165, 3.5)
    """
    if not room > 0:
        return float(value)
    power = math.ceil(math.log10(max(abs(value), room)))
    for exponent in range(power, power - 18, -1):
        for part in (1, 0.5, 0.2):
            step = part * 10.0**exponent
            found = float(f"{way(value / step) * step:.15g}")
            if abs(found - value) <= room:
                return found
    return float(value)


def barrier_range(x: np.ndarray, y: np.ndarray, values: Any, ends: np.ndarray) -> list[Range]:
    """What the straight line between two places must cross to be seen as a barrier: two levels above the worse end.

    ``ends`` are (2, 2): a row for each place. None where the line does not rise, or where too little is known.
    """
    t = np.linspace(0, 1, 101)[:, np.newaxis]
    line = sampled(x, y, values, (1 - t) * ends[0] + t * ends[1])
    if not np.isfinite(line).all():
        return []
    worse, top = float(max(line[0], line[-1])), float(line.max())
    return [Range(worse, top, 2)] if top > worse + 1e-3 * np.ptp(line) else []


def valley_range(x: np.ndarray, y: np.ndarray, values: Any, place: tuple[float, float]) -> list[Range]:
    """What must be seen of a valley: two levels from its bottom to the median on a ring at 0.7 of the way to the frame.

    On a bowl that is a quarter of what there is from the bottom to the corners.

    None where something on that ring lies lower than the place, which is then in no valley of this size.
    """
    angle = np.linspace(0, 2 * math.pi, 73)[:-1]
    radii = [0.7 * np.abs(np.asarray(axis) - at).max() for axis, at in zip((x, y), place, strict=True)]
    ring = sampled(x, y, values, np.array(place) + np.stack([np.cos(angle), np.sin(angle)], 1) * radii)
    bottom = float(sampled(x, y, values, np.array([place]))[0])
    ring = ring[np.isfinite(ring)]
    return [Range(bottom, float(np.median(ring)), 2)] if len(ring) and ring.min() > bottom else []


def sampled(x: np.ndarray, y: np.ndarray, values: Any, places: np.ndarray) -> np.ndarray:
    """Values, (len(y), len(x)), interpolated bilinearly at ``places``, (count, 2); NaN outside and beside gaps."""
    known = np.ma.filled(np.ma.asarray(values, dtype=float), np.nan)
    found = np.full(len(places), np.nan)
    if min(known.shape) < 2:
        return found
    inside = np.ones(len(places), dtype=bool)
    corners, shares = [], []
    for axis, at in zip((x, y), places.T, strict=True):
        inside &= (at >= axis[0]) & (at <= axis[-1])
        left = np.clip(np.searchsorted(axis, at, side="right") - 1, 0, len(axis) - 2)
        corners.append(left)
        shares.append((at - axis[left]) / (axis[left + 1] - axis[left]))
    (i, j), (u, v) = corners, shares
    low, high = ((1 - u) * known[k, i] + u * known[k, i + 1] for k in (j, j + 1))
    return np.where(inside, (1 - v) * low + v * high, found)


def levels_between(low: float, high: float, count: int, log: bool) -> np.ndarray:
    """About ``count`` round numbers that cover [low, high], equally or logarithmically spaced."""
    locator = MaxNLocator(count, steps=[1, 2, 2.5, 5, 10], min_n_ticks=1)
    equal = np.asarray(locator.tick_values(low, high), dtype=float)
    # A tick within rounding of an end covers it for an axis, and leaves a hole in a surface.
    equal[0], equal[-1] = min(equal[0], low), max(equal[-1], high)
    if not log:
        return equal
    found = np.zeros(0)
    for digits in (TENTHS, (1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        found = _cover(low, high, digits, 1)
        if len(found) <= count + 1:
            break
    else:
        found = _cover(low, high, (1,), math.ceil((len(found) - 1) / max(1, count - 1)))
    # Within a part of a decade equal steps show more.
    return equal if len(found) < FEWEST and high < 10 * low and equal[0] > 0 else found


def _cover(low: float, high: float, digits: tuple[float, ...], stride: int) -> np.ndarray:
    first = math.floor(math.log10(low)) - stride  # the logarithm may have been rounded up
    last = math.ceil(math.log10(high)) + stride
    all_levels = np.array([digit * 10.0**power for power in range(first, last, stride) for digit in digits])
    start = max(0, int(np.searchsorted(all_levels, low, side="right")) - 1)
    return all_levels[start : int(np.searchsorted(all_levels, high)) + 1]
