"""A path of straight pieces between points of θ, and how high F goes on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from landscape.numerics.curves.barriers import unseen_rises
from landscape.objective.objective import Objective

# Points of each piece at which F is taken, its first node among them.
POINTS = 8
# How often a piece between two points is halved at most, and what of the height is not looked for.
HALVINGS, NEAR = 16, 1e-6


@dataclass(frozen=True)
class Polyline:
    """A path by its ``nodes`` (m, d), how it was made, F at its last node, and the highest F that was found on it.

    ``top``: the place of that, as :meth:`at` takes it.
    """

    made: str
    nodes: Tensor
    height: float
    end: float
    top: float

    def at(self, s: np.ndarray) -> Tensor:
        """θ at s (k,) in [0, m − 1], whole numbers being nodes."""
        return points(self.nodes, s)


def points(nodes: Tensor, s: np.ndarray) -> Tensor:
    """θ at s (k,): s = i is node i, between them it is linear."""
    first = np.minimum(s.astype(int), len(nodes) - 2) if len(nodes) > 1 else np.zeros(len(s), dtype=int)
    if len(nodes) == 1:
        return nodes[first]
    part = torch.from_numpy(s - first).to(nodes)[:, None]
    return (1 - part) * nodes[first] + part * nodes[first + 1]


def measured(objective: Objective, made: str, nodes: Tensor) -> Polyline:
    """F at the nodes and at points between them; NaN is as high as can be.

    Halves again and again every piece between two points in which F would be the highest yet, if it went on as it comes
    to one of its ends from outside.
    """

    def taken(s: np.ndarray) -> np.ndarray:
        values = objective.values(points(nodes, s)).numpy()
        return np.where(np.isnan(values), np.inf, values)

    span = len(nodes) - 1
    s = np.linspace(0, span, POINTS * span + 1)
    values = taken(s)
    end = float(objective.value(nodes[-1])) if np.isinf(values[-1]) else float(values[-1])
    for _ in range(HALVINGS if span and len(s) > 1 else 0):
        height = float(values.max())
        if not np.isfinite(np.diff(values)).all():
            break
        is_open = unseen_rises(s, values) > NEAR * abs(height)
        if not is_open.any():
            break
        between = (s[:-1] + np.diff(s) / 2)[is_open]
        s, values = np.append(s, between), np.append(values, taken(between))
        order = np.argsort(s, kind="stable")
        s, values = s[order], values[order]
    top = int(values.argmax())
    return Polyline(made, nodes, float(values[top]), end, float(s[top]))


def joined(first: Polyline, second: Polyline) -> Polyline:
    """The second after the first, which ends where it begins."""
    made = first.made if first.made == second.made else f"{first.made}, {second.made}"
    nodes = torch.cat([first.nodes, second.nodes[1:]])
    height, top = max((first.height, first.top), (second.height, len(first.nodes) - 1 + second.top))
    return Polyline(made, nodes, height, second.end, top)
