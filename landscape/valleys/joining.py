"""The lowest of several constructed paths from one end of descent to the level of the best one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from landscape.errors import BadInput
from landscape.objective.objective import Objective
from landscape.paths.connection import Connector
from landscape.paths.curve_training import Training
from landscape.paths.path import Path
from landscape.symmetry.alignment import aligned
from landscape.valleys.idle import through_idle_units
from landscape.valleys.plateau import walked, way_down
from landscape.valleys.polyline import Polyline, joined, measured
from landscape.valleys.raising import best_last, raised
from landscape.valleys.readout import Readout, readout_of

# What rounding makes of a height, over the height.
ROUNDING = 1e-11
CURVE_POINTS = 41


@dataclass(frozen=True)
class Found:
    """The lowest path found; the rank of the last layer's features, the rounds that raised it, the plateau walked."""

    path: Polyline
    rank: int
    rounds: int
    plateau: float


def never_rises(path: Polyline, value: float) -> bool:
    """Whether a path from where F is ``value`` goes no higher, but for rounding."""
    return path.height <= value + ROUNDING * max(abs(value), 1e-12)


def lowest_path(
    objective: Objective, theta: Tensor, best: Tensor, *, level: float, curve_steps: int, seed: int
) -> Found:
    """The path of least height from ``theta`` (d,) to F ≤ ``level``, the loss of ``best`` (d,) but for rounding.

    Constructions that end above it are gone on from where they end, if they never rose. The straight line to ``best``
    aligned is always one, so there is a path. The first that never rises is taken.
    """
    value = objective.value(theta)
    readout = readout_of(objective, theta)
    rank, rounds, plateau = -1, 0, float("nan")
    start = measured(objective, "itself", theta[None])
    lowest, found = start, []
    if value <= level:
        found.append(start)
    if isinstance(readout, Readout):
        lifted = raised(objective, readout, theta, seed)
        rank, rounds = lifted.rank, lifted.rounds
        nodes = torch.stack([*lifted.nodes, best_last(objective, readout, lifted.nodes[-1])])
        lowest = _lower(lowest, measured(objective, "raised rank" if rounds else "last layer", nodes), value)
    left = walked(objective, theta, seed)
    if left is not None:
        plateau = left.length
        if lowest.end > level:
            down = way_down(objective, theta, left, level)
            lowest = _lower(lowest, down, value)
            if isinstance(readout, Readout):
                end = down.nodes[-1]
                lifted = raised(objective, readout, end, seed)
                nodes = torch.stack([*lifted.nodes, best_last(objective, readout, lifted.nodes[-1])])
                lowest = _lower(lowest, joined(down, measured(objective, "last layer", nodes)), value)
    if lowest.end <= level:
        found.append(lowest)
    if not any(never_rises(one, value) for one in found):
        # From where a path that never rose ended, and from the end itself, which may lie nearer.
        for origin in (lowest, start) if lowest is not start else (start,):
            for path in _to_best(objective, readout, origin, best, curve_steps, seed):
                found.append(path)
                if never_rises(path, value):
                    break
    path = min(found, key=lambda one: one.height)
    return Found(path, rank, rounds, plateau)


def _lower(before: Polyline, path: Polyline, value: float) -> Polyline:
    """``path`` where it never rises and ends lower than ``before``."""
    return path if never_rises(path, value) and path.end < before.end else before


def _to_best(
    objective: Objective, readout: Readout | str, lowest: Polyline, best: Tensor, curve_steps: int, seed: int
) -> Iterator[Polyline]:
    """From the end of a path that never rose to the best end: idle units, the aligned chord, a minmax curve."""

    def after(path: Polyline) -> Polyline:
        return path if len(lowest.nodes) == 1 else joined(lowest, path)

    theta = lowest.nodes[-1]
    if isinstance(readout, Readout):
        nodes = through_idle_units(objective, readout, theta, best)
        if nodes is not None:
            yield after(measured(objective, "idle units", torch.stack(nodes)))
    a, b = objective.as_point(theta), objective.as_point(best)
    try:
        b = aligned(objective, a, b, seed=seed).point
        name = "aligned"
    except BadInput:
        name = "straight"
    yield after(measured(objective, f"{name} line", torch.stack([a.theta, b.theta])))
    if curve_steps:
        training = Training(method="minmax", bends=2, epochs=None, steps=curve_steps, batch_size=10**9)
        connector = Connector(objective, training, batchnorm="frozen", num_points=CURVE_POINTS, seed=seed)
        curve = connector.connected(Path.chord(a, b)).path.path
        nodes = curve.points(np.linspace(0, 1, CURVE_POINTS))
        yield after(measured(objective, f"{name} curve", nodes))
