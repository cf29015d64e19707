"""Where letters and numbers stand on a panel: beside their places, and on nothing else that is drawn there."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.patheffects import withStroke

from landscape.plots.words import text_inches

# To which side of a place, across and up; the first that is free is taken.
BESIDE = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
AT_CORNERS = ((1, 1), (-1, 1), (1, -1), (-1, -1), (1, 0), (-1, 0))
# Of the height of a letter, in points to the point.
TALL = 0.85
# Points to the inch, and how densely lines are followed, in shares of the panel.
POINTS, STEP = 72.0, 0.005
# Inches that are free around what stands on a line.
AROUND = 0.05


class Box(NamedTuple):
    """A rectangle, in shares of the panel."""

    left: float
    bottom: float
    right: float
    top: float

    def meets(self, other: "Box") -> bool:
        """Whether they have more than an edge in common."""
        across = self.left < other.right and other.left < self.right
        return across and self.bottom < other.top and other.bottom < self.top

    @property
    def is_inside(self) -> bool:
        """Whether the panel holds it, with a margin."""
        return min(self.left, self.bottom) > 0.01 and max(self.right, self.top) < 0.99


class Places:
    """What lies on a panel of so many inches, with linear axes whose limits are settled, and what is written there."""

    def __init__(self, axes: Any, broad: float, high: float):
        self.axes = axes
        self.inches = np.array([broad, high])
        self.taken: list[Box] = []
        self.followed = np.zeros((0, 2))

    def shares(self, x: Any, y: Any) -> np.ndarray:
        """Coordinates as shares of the panel, (count, 2)."""
        low, high = np.transpose([self.axes.get_xlim(), self.axes.get_ylim()])
        return (np.stack([np.atleast_1d(x), np.atleast_1d(y)], axis=1).astype(float) - low) / (high - low)

    def keep_clear(self, x: Any, y: Any, room: float) -> None:
        """Nothing is written nearer to these places than ``room``, in inches."""
        wide, tall = room / self.inches
        for one in self.shares(x, y):
            if np.isfinite(one).all():
                self.taken.append(Box(one[0] - wide, one[1] - tall, one[0] + wide, one[1] + tall))

    def keep_off(self, x: Any, y: Any) -> None:
        """Nothing is written on the line through these places, where that can be."""
        corners = self.shares(x, y)
        corners = np.clip(corners[np.isfinite(corners).all(axis=1)], -1, 2)
        if len(corners) < 2:
            return
        along = np.append(0.0, np.cumsum(np.abs(np.diff(corners, axis=0)).max(axis=1)))
        fine = np.arange(0.0, along[-1] + STEP, STEP)
        line = np.stack([np.interp(fine, along, part) for part in corners.T], axis=1)
        self.followed = np.concatenate([self.followed, line])

    def put(
        self,
        text: str,
        x: float,
        y: float,
        *,
        size: float,
        sides: Sequence[tuple[int, int]] = BESIDE,
        away: float = 0.07,
        must: bool = True,
        **style: Any,
    ) -> bool:
        """Writes beside (x, y), ``away`` inches or twice that, on the first free side; False where none is.

        What ``must`` be written stands where it hides least.
        """
        (place,) = self.shares(x, y)
        wide, tall = np.array([text_inches(text, size), TALL * size / POINTS]) / self.inches
        found = []
        for far, side in itertools.product((1.0, 2.0), sides):
            gap = far * away * (0.6 if all(side) else 1.0) / self.inches
            across, up = place + np.array(side) * (gap + np.array([wide, tall]) / 2)
            box = Box(across - wide / 2, up - tall / 2, across + wide / 2, up + tall / 2)
            found.append((self._hidden(box), box, (across, up)))
        hidden, box, middle = min(found, key=lambda one: one[0])
        if hidden and not must:
            return False
        self.taken.append(box)
        low, high = np.transpose([self.axes.get_xlim(), self.axes.get_ylim()])
        self.axes.annotate(
            text,
            (x, y),
            xytext=tuple(low + np.array(middle) * (high - low)),
            fontsize=size,
            ha="center",
            va="center",
            path_effects=[withStroke(linewidth=size / 4, foreground="white", alpha=0.9)],
            **style,
        )
        return True

    def holds(self, text: Any) -> bool:
        """Whether a text in the middle of its place, turned, lies within the panel and on nothing; kept if so."""
        angle, size = np.deg2rad(text.get_rotation()), text.get_fontsize()
        long, tall = text_inches(text.get_text(), size), TALL * size / POINTS
        turn = np.abs([[np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        wide, high = (turn @ [long, tall] + AROUND) / 2 / self.inches
        (across, up) = self.shares(*text.get_position())[0]
        box = Box(across - wide, up - high, across + wide, up + high)
        if not box.is_inside or any(box.meets(other) for other in self.taken):
            return False
        self.taken.append(box)
        return True

    def _hidden(self, box: Box) -> int:
        """How much of what lies there it would hide; beyond the panel is worst, then on what is to be kept clear."""
        x, y = self.followed.T
        on = (x > box.left) & (x < box.right) & (y > box.bottom) & (y < box.top)
        covered = sum(box.meets(other) for other in self.taken)
        return int(on.sum()) + 1000 * covered + 100_000 * (not box.is_inside)
