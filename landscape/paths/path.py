"""A path through the space of θ: a curve together with the two points it joins."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from landscape.numerics.curves.curves import Curve, bezier, segment_lengths, squared_norms
from landscape.objective.parameters import Point


@dataclass(frozen=True)
class Path:
    """θ(t) from the first of two ``ends`` to the second, by control points (m, d), the ends among them.

    The ends also bring their buffers, which no curve moves.
    """

    ends: tuple[Point, Point]
    curve: Curve
    control: Tensor

    @classmethod
    def chord(cls, first: Point, second: Point) -> "Path":
        """The straight line."""
        return cls((first, second), bezier(0), torch.stack([first.theta, second.theta]))

    def along(self, curve: Curve, control: Tensor | None = None) -> "Path":
        """Another curve between the same ends; without ``control`` it lies on the chord."""
        on_chord = curve.chord(self.ends[0].theta, self.ends[1].theta) if control is None else control
        return replace(self, curve=curve, control=on_chord)

    def to(self, last: Point) -> "Path":
        """The straight line from the same first end to another point."""
        return Path.chord(self.ends[0], last)

    @property
    def is_one_point(self) -> bool:
        """Whether there is nowhere to go."""
        return torch.equal(self.ends[0].theta, self.ends[1].theta)

    @property
    def keeps_its_ends(self) -> bool:
        """Whether the outer control points are the ends, bit for bit."""
        first, last = self.ends
        return torch.equal(self.control[0], first.theta) and torch.equal(self.control[-1], last.theta)

    def points(self, t: np.ndarray) -> Tensor:
        """θ(t) for t (T,): (T, d), the ends bit for bit."""
        return self.curve.points(torch.from_numpy(t), self.control)

    def lengths(self, t: np.ndarray) -> np.ndarray:
        """Of the pieces between neighbours of rising t (T,): (T − 1,)."""
        return segment_lengths(self.curve, t, self.control)

    def squared_norms(self, t: np.ndarray) -> np.ndarray:
        """‖θ(t)‖² for t (T,)."""
        return squared_norms(self.curve, t, self.control)
