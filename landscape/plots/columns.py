"""How the panels of a page stand: below one another in a column of a paper, beside one another on what is broader."""

import math
from collections.abc import Sequence
from itertools import combinations, pairwise

WIDTH = 3.5  # inches, one column of a paper
# Height over width of a page that is broader than that, at most, where its panels can be so low.
SLIDE = 9 / 16
# The narrowest of several columns, and the broadest where there could be one more, in inches; and how narrow they may
# be, to that, where all panels show the same.
NARROWEST, BROADEST, ALIKE = 3.3, 7.0, 0.7
LABELS, ABOVE = 0.25, 0.3  # inches that a panel needs for labels of its own, and a page for its title


def columns(
    heights: Sequence[float], width: float, shared: bool, alike: bool
) -> tuple[list[Sequence[float]], float]:
    """The ``heights`` of panels in as few columns as make the page a slide, in order, and its height, in inches.

    One column where they have a common horizontal axis; columns of as many each where they are ``alike``.

    >>> columns([2.1, 2.4, 1.0], 3.5, shared=False, alike=False)
    ([[2.1, 2.4, 1.0]], 6.55)
    >>> columns([2.1, 2.4, 1.0], 10, shared=False, alike=False)
    ([[2.1], [2.4, 1.0]], 5.625)
    """
    narrowest = NARROWEST * (ALIKE if alike else 1)
    most = 1 if shared else max(1, min(len(heights), int(width / narrowest)))
    counts = range(min(most, math.ceil(width / BROADEST)), most + 1)
    ways = [_parts(heights, n) for n in counts if not alike or len(heights) % n == 0] or [[heights]]
    pages = [(parts, _needed(parts, 0 if shared else LABELS)) for parts in ways]
    parts, needed = next((one for one in pages if one[1] <= SLIDE * width), pages[-1])
    # In proportion to their breadth, so long as that is no higher than a slide.
    grown = needed + max(map(sum, parts)) * (width / len(parts) / WIDTH - 1)
    return parts, min(grown, max(needed, SLIDE * width))


def _parts(heights: Sequence[float], count: int) -> list[Sequence[float]]:
    """In so many columns, the highest of them as low as can be."""
    cuts = [(0, *inner, len(heights)) for inner in combinations(range(1, len(heights)), count - 1)]
    ways = [[heights[i:j] for i, j in pairwise(cut)] for cut in cuts]
    return min(ways, key=lambda parts: _needed(parts, LABELS))


def _needed(parts: Sequence[Sequence[float]], labels: float) -> float:
    return max(sum(part) + labels * len(part) for part in parts) + ABOVE
