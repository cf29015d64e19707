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
from landscape.valleys.exchange import exchanged
from landscape.valleys.idle import through_idle_units
from landscape.valleys.plateau import FEW, fallen, walked, way_down
from landscape.valleys.polyline import Polyline, joined, measured
from landscape.valleys.raising import best_last, freed, raised
from landscape.valleys.readout import Readout, readout_of

# What rounding makes of a height, over the height.
ROUNDING = 1e-11
CURVE_POINTS = 41
# Places of a unit that is freed from which F is followed down, and the steps of that.
PLACES, STEPS = 8, 25


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
    if lowest.end <= level:
        found.append(lowest)
    if not found and isinstance(readout, Readout):
        found += _until_flat(_exchanged(objective, readout, start, best), value)
    is_joined = any(never_rises(one, value) for one in found)
    # Where it is cheap the plateau is walked even where another path never rises already.
    left = walked(objective, theta, seed) if not is_joined or len(theta) <= FEW else None
    if left is not None:
        plateau = left.length
        if not is_joined:
            down = way_down(objective, theta, left, level)
            lowest = _lower(lowest, down, value)
            if isinstance(readout, Readout):
                end = down.nodes[-1]
                lifted = raised(objective, readout, end, seed)
                nodes = torch.stack([*lifted.nodes, best_last(objective, readout, lifted.nodes[-1])])
                lowest = _lower(lowest, joined(down, measured(objective, "last layer", nodes)), value)
    if not is_joined:
        if lowest.end <= level:
            found.append(lowest)
        more = _to_best(objective, readout, start, lowest, best, level, curve_steps, seed)
        found += _until_flat(more, value) if lowest.end > level else []
    path = min(found, key=lambda one: one.height)
    return Found(path, rank, rounds, plateau)


def _until_flat(paths: Iterator[Polyline], value: float) -> Iterator[Polyline]:
    """As many as it takes to one that never rises."""
    for path in paths:
        yield path
        if never_rises(path, value):
            return


def _lower(before: Polyline, path: Polyline, value: float) -> Polyline:
    """``path`` where it never rises and ends lower than ``before``."""
    return path if never_rises(path, value) and path.end < before.end else before


def _exchanged(objective: Objective, readout: Readout, origin: Polyline, best: Tensor) -> Iterator[Polyline]:
    """From the end of ``origin`` on to the best end through exchanged and through idle units."""
    for made, one in (("exchanged units", exchanged), ("idle units", through_idle_units)):
        nodes = one(objective, readout, origin.nodes[-1], best)
        if nodes is not None:
            yield _after(origin, measured(objective, made, torch.stack(nodes)))


def _after(origin: Polyline, path: Polyline) -> Polyline:
    return path if len(origin.nodes) == 1 else joined(origin, path)


def _to_best(
    objective: Objective,
    readout: Readout | str,
    start: Polyline,
    lowest: Polyline,
    best: Tensor,
    level: float,
    curve_steps: int,
    seed: int,
) -> Iterator[Polyline]:
    """To the best end, from where a path that never rose ended and from the start itself, the cheapest first.

    Units exchanged or idle, ways down from places of a freed one, the aligned chord, and a minmax curve.
    """
    if isinstance(readout, Readout):
        if lowest is not start:
            yield from _exchanged(objective, readout, lowest, best)
        for nodes in freed(objective, readout, start.nodes[0], seed, PLACES):
            down = fallen(objective, nodes[-1], level, STEPS)
            path = measured(objective, "freed unit", torch.stack([*nodes, *down[1:]]))
            yield from [path] if path.end <= level else _exchanged(objective, readout, path, best)
    origins = (start,) if lowest is start else (lowest, start)
    chords = []
    for origin in origins:
        a, b = objective.as_point(origin.nodes[-1]), objective.as_point(best)
        try:
            b = aligned(objective, a, b, seed=seed).point
            name = "aligned"
        except BadInput:
            name = "straight"
        yield _after(origin, measured(objective, f"{name} line", torch.stack([a.theta, b.theta])))
        chords.append((origin, Path.chord(a, b), name))
    training = Training(method="minmax", bends=2, epochs=None, steps=curve_steps, batch_size=10**9)
    for origin, chord, name in chords if curve_steps else ():
        connector = Connector(objective, training, batchnorm="frozen", num_points=CURVE_POINTS, seed=seed)
        curve = connector.connected(chord).path.path
        nodes = curve.points(np.linspace(0, 1, CURVE_POINTS))
        yield _after(origin, measured(objective, f"{name} curve", nodes))
