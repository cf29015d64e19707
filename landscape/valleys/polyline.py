"""A path of straight pieces between points of θ, and how high F goes on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from landscape.objective.objective import Objective

# Points of each piece at which F is taken, its first node among them.
POINTS = 8
# Rounds that look closer around the highest point.
ROUNDS = 4


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
    """F at the nodes and at points between them, closer and closer around the highest; NaN is as high as can be."""
    span = len(nodes) - 1
    s = np.linspace(0, span, POINTS * span + 1)
    values = objective.values(points(nodes, s)).numpy()
    end, step = float(values[-1]), 1 / POINTS
    values = np.where(np.isnan(values), np.inf, values)
    height, top = float(values.max()), float(s[int(values.argmax())])
    for _ in range(ROUNDS if span else 0):
        near = np.clip(np.linspace(top - step, top + step, 2 * POINTS + 1), 0, span)
        values = objective.values(points(nodes, near)).numpy()
        values = np.where(np.isnan(values), np.inf, values)
        if float(values.max()) > height:
            height, top = float(values.max()), float(near[int(values.argmax())])
        step /= POINTS
    return Polyline(made, nodes, height, end, top)


def joined(first: Polyline, second: Polyline) -> Polyline:
    """The second after the first, which ends where it begins."""
    made = first.made if first.made == second.made else f"{first.made}, {second.made}"
    nodes = torch.cat([first.nodes, second.nodes[1:]])
    height, top = max((first.height, first.top), (second.height, len(first.nodes) - 1 + second.top))
    return Polyline(made, nodes, height, second.end, top)
