"""What a run went through: its points in their order, and how far it had come at each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from landscape.objective.parameters import Point


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The points of one run; ``epochs`` (T,) says how many passes it had made at each, NaN where nobody knows."""

    points: Sequence[Point]
    name: str = ""
    epochs: np.ndarray | None = None
