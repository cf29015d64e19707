"""A walk along the null space of the Hessian at a point where no eigenvalue is negative, until one is: then down.

The loss stays what it was, for the walk is brought back to the valley where the null space bends, and where it stops
being one the walk ends. Where an eigenvalue turns negative is found by bisection.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape.numerics.spectra.inertia import Inertia, inertia
from landscape.objective.objective import Objective
from landscape.objective.stacked import Derivatives
from landscape.objective.zeros import zero_threshold
from landscape.valleys.polyline import Polyline, measured, points

# Beyond so many null directions the first ones alone are walked, and beside them as many at random.
DIRECTIONS = 6
# Of more parameters than FEW, whose Hessian takes its time, a part of that.
FEW, PART = 128, 6
LENGTHS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
BISECTIONS = 45
# How well the edge of a plateau is known, over the length of the walk to it.
EDGE = 1e-10
FALLS = 100
# What rounding makes of F on a plateau, over F.
FLAT = 1e-11


class Local(NamedTuple):
    """F, ∇F, eigenvalues (d,) ascending and eigenvectors (d, d) in columns, and the signs of the eigenvalues."""

    value: float
    gradient: Tensor
    eigenvalues: Tensor
    vectors: Tensor
    signs: Inertia


class Left(NamedTuple):
    """Where a plateau is left: the nodes (m, d) to there, how long that is, and the point a little further on."""

    nodes: list[Tensor]
    length: float
    beyond: Tensor


def local(objective: Objective, theta: Tensor) -> Local:
    """The second-order picture at ``theta`` (d,), zeros by the rule for critical points."""
    value, gradient, dense = Derivatives(objective).dense(theta)
    values, vectors = torch.linalg.eigh(dense.matrix)
    error = zero_threshold(objective, theta, dense, values, vectors, gradient)
    return Local(value, gradient, values, vectors, inertia(values.cpu().numpy(), error))


def walked(objective: Objective, theta: Tensor, seed: int) -> Left | None:
    """The shortest walk found along a null direction at ``theta`` (d,) to where an eigenvalue turns negative."""
    here = local(objective, theta)
    if here.signs.num_negative or not here.signs.num_zero:
        return None
    null = here.vectors[:, here.eigenvalues.abs() <= here.signs.threshold]
    found: Left | None = None
    for way in _directions(null, seed):
        left = _along(objective, theta, way, here, found.length if found else math.inf)
        if left is not None and (found is None or left.length < found.length):
            found = left
    return found


def _directions(null: Tensor, seed: int) -> list[Tensor]:
    """Axes of θ seen in the null space, longest first, and some at random, each both ways."""
    seen = null @ null.T
    lengths = torch.linalg.vector_norm(seen, dim=0)
    order = torch.argsort(lengths, descending=True, stable=True)[: _part(DIRECTIONS, seen)]
    draw = torch.randn((null.shape[1], 2), generator=torch.Generator().manual_seed(seed), dtype=null.dtype)
    ways = [seen[:, k] for k in order] + list((null @ draw.to(null)).T)
    found: list[Tensor] = []
    for way in (way / way.norm() for way in ways if float(way.norm()) > 1e-8):
        if all(abs(float(way @ other)) < 1 - 1e-9 for other in found):
            found.append(way)
    return [sign * way for way in found for sign in (1.0, -1.0)]


def _along(objective: Objective, theta: Tensor, way: Tensor, here: Local, limit: float) -> Left | None:
    """Step by step along ``way``; None where the plateau ends, or is as long as ``limit``, before it is left."""
    scale = max(1.0, float(theta.abs().max()))
    flat = FLAT * max(abs(here.value), 1e-12)
    nodes, at = [theta], 0.0

    def stands(t: float) -> Tensor | None:
        point = _brought_back(objective, theta + t * way, here.value, flat)
        path = torch.stack([nodes[-1], point])
        ends = objective.values(points(path, np.linspace(0, 1, 5)))
        return point if float((ends - here.value).abs().max()) <= flat else None

    for length in LENGTHS:
        t = length * scale
        if at >= limit:
            return None
        point = stands(t)
        if point is None:
            return None
        beyond = local(objective, point)
        if not beyond.signs.num_negative:
            nodes.append(point)
            at = t
            continue
        low, high = at, t
        # Beyond the edge the eigenvalue falls from 0 evenly: where it did is soon found by a line through two of them.
        seen = [(t, float(beyond.eigenvalues[0]))]
        for count in range(_part(BISECTIONS, theta)):
            middle = (low + high) / 2
            if len(seen) > 1 and count % 3:
                (t1, value1), (t2, value2) = seen[-2:]
                guess = t2 - value2 * (t2 - t1) / (value2 - value1) if value1 != value2 else middle
                # A little to the other side of it each time.
                guess += (1 if count % 3 == 1 else -1) * 1e-3 * (high - guess) * (guess < high)
                middle = guess if low < guess < high else middle
            between = stands(middle)
            if between is None or not low < middle < high or high - low <= EDGE * high:
                break
            there = local(objective, between)
            if not there.signs.num_negative:
                low = middle
                if low >= limit:
                    return None
            else:
                high = middle
                seen.append((middle, float(there.eigenvalues[0])))
        edge = stands(high)
        return Left([*nodes, point if edge is None else edge], high, point)
    return None


def _part(number: int, theta: Tensor) -> int:
    """Of a number of Hessians as many as are taken of so many parameters."""
    return number if theta.shape[-1] <= FEW else max(1, number // PART)


def _brought_back(objective: Objective, theta: Tensor, value: float, flat: float) -> Tensor:
    """``theta`` where F is ``value`` already, else after two steps of Newton's method across the valley."""
    for _ in range(2):
        if abs(objective.value(theta) - value) <= flat:
            return theta
        _, gradient, dense = Derivatives(objective).dense(theta)
        values, vectors = torch.linalg.eigh(dense.matrix)
        is_steep = values > 1e-3 * values.abs().max()
        across = vectors[:, is_steep]
        theta = theta - across @ ((across.T @ gradient) / values[is_steep])
    return theta


def fallen(objective: Objective, theta: Tensor, level: float, most: int | None = None) -> list[Tensor]:
    """Nodes of a way down from ``theta`` (d,) on which F nowhere rises, as far as ``level``, or ``most`` steps.

    Steps of Newton's method with the eigenvalues taken by size, which leave saddles, along the most negative one where
    the gradient does not see it; each is taken only where F falls on all of it.
    """
    nodes = [theta]
    for _ in range(most or _part(FALLS, theta)):
        here = local(objective, nodes[-1])
        if here.value <= level:
            break
        turned = here.vectors.T @ here.gradient
        steps = []
        if here.signs.num_negative:
            lowest = here.vectors[:, 0] * (1.0 if float(turned[0]) <= 0 else -1.0)
            steps += [size * lowest for size in (1.0, 0.3, 0.1, 0.03, 0.01)]
        for k in range(12):
            shift = 10.0 ** (k - 6) + here.signs.threshold
            steps.append(-here.vectors @ (turned / (here.eigenvalues.abs() + shift)))
        part = torch.linspace(0, 1, 5, dtype=torch.float64)[1:].to(theta)
        tried = (nodes[-1] + part[None, :, None] * torch.stack(steps)[:, None]).reshape(-1, len(theta))
        values = objective.values(tried).numpy().reshape(len(steps), -1)
        falls = (np.diff(values, axis=1, prepend=here.value) <= 0).all(axis=1)
        ends = np.where(falls, values[:, -1], np.inf)
        best = int(ends.argmin())
        if not here.value - ends[best] > 1e-14 * abs(here.value):
            break
        nodes.append(nodes[-1] + steps[best])
    return nodes


def way_down(objective: Objective, theta: Tensor, left: Left, level: float) -> Polyline:
    """The walk to where the plateau is left, on to a point where it falls off, and down from there."""
    nodes = [*left.nodes, left.beyond]
    down = fallen(objective, left.beyond, level)
    return measured(objective, "plateau", torch.stack([*nodes, *down[1:]]))
