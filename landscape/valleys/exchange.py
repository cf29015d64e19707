"""A path from one net of one hidden layer to another that exchanges its units one by one, the last layer at its best.

With V at its least squares F hangs on the features alone, so that a path is one of incoming weights. Each unit goes to
a unit of the other net with V fitted on the way, or idle: its outgoing weights fade while the others take its place,
which costs nothing where the features are dependent, and then it may go anywhere. Which unit goes where, and how, is
chosen by the least height, several orders at a time. Square loss without penalty alone: there V is a closed form.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from landscape.objective.losses import LOSSES, wanted
from landscape.objective.objective import Objective
from landscape.valleys.readout import Readout, seen, with_ones

# Pieces of the way of a unit, and the units up to which every one of the other net is tried for each.
PIECES = 16
ALL_PAIRS = 10
MOST_UNITS = 64
# Orders of exchange that are followed at a time.
ORDERS = 8
# Singular values below this share of the largest are none: V would explode between two nodes.
CUTS = (1e-10, 1e-6, 1e-3)


class Move(NamedTuple):
    """Unit ``source`` goes to the other net's ``target``, idle or along a line with V fitted up to ``cut``."""

    source: int
    target: int
    cut: float | None


class Order(NamedTuple):
    """Moves so far, how high F gets, what it is then, and the features (n, D) there."""

    height: float
    after: float
    moves: tuple[Move, ...]
    features: Tensor


def exchanged(objective: Objective, readout: Readout, theta: Tensor, best: Tensor) -> list[Tensor] | None:
    """Nodes from ``theta`` (d,) to ``best`` (d,) but for the order of its units.

    None for a net of more than one hidden layer, or of very many units, and for other losses than the mean square.
    """
    is_square = objective.given is LOSSES["mse"] and not objective.l2
    if not (readout.is_shallow and is_square and readout.width <= MOST_UNITS):
        return None
    here = seen(objective, theta)
    offset = here.outputs - with_ones(readout, here.features) @ readout.last(theta).T
    fitted = _Fitted(readout, wanted(here.outputs, objective.samples[1]) - offset)
    ways = _ways(objective, readout, theta, best)
    orders = [Order(0.0, 0.0, (), here.features)]
    for _ in range(readout.width):
        more = [one for order in orders for one in _longer(fitted, order, ways)]
        orders = sorted(more, key=lambda one: (one.height, one.after))[:ORDERS]
    return _walked(readout, fitted, theta, best, orders[0].moves, ways, here.features.clone())


def _walked(
    readout: Readout,
    fitted: _Fitted,
    theta: Tensor,
    best: Tensor,
    moves: tuple[Move, ...],
    ways: dict[tuple[int, int], Tensor],
    features: Tensor,
) -> list[Tensor]:
    """The nodes of an order of moves."""
    last = fitted.nearest(features, readout.last(theta), CUTS[0])
    nodes = [theta, readout.with_last(theta, last)]
    for i, j, cut in moves:
        begin, row = readout.unit(theta, i), readout.unit(best, j)
        if cut is None:
            last = fitted.without(features, last, i)
            nodes.append(readout.with_last(nodes[-1], last))
            nodes.append(readout.with_unit(nodes[-1], i, row))
            cut, pieces = CUTS[0], 0
        else:
            pieces = PIECES
        for k in range(1, pieces + 1):
            features[:, i] = ways[i, j][2 * k]
            last = fitted.nearest(features, last, cut)
            there = readout.with_unit(nodes[-1], i, _between(begin, row, k / PIECES))
            nodes.append(readout.with_last(there, last))
        features[:, i] = ways[i, j][-1]
        last = fitted.nearest(features, last, CUTS[0])
        nodes.append(readout.with_last(nodes[-1], last))
    # Least squares leave out what is too small to tell; the other net's own V does not.
    last = readout.last(best).clone()
    for i, j, _ in moves:
        last[:, i] = readout.last(best)[:, j]
    return [*nodes, readout.with_last(nodes[-1], last)]


def _between(begin: Tensor, end: Tensor, s: float) -> Tensor:
    """Weights on the way: straight where they are small, by even factors where they are large."""
    if s == 1:
        return end
    return torch.sinh((1 - s) * torch.asinh(begin) + s * torch.asinh(end))


class _Fitted:
    """Last layers V (k, D) or (k, D + 1) by least squares on features, and F there."""

    def __init__(self, readout: Readout, targets: Tensor):
        self.readout, self.targets = readout, targets

    def value(self, features: Tensor, last: Tensor) -> Tensor:
        """F (…) of features (…, n, D) and last layers (…, k, D)."""
        return (self._whole(features) @ last.mT - self.targets).square().mean((-2, -1))

    def nearest(self, features: Tensor, last: Tensor, cut: float) -> Tensor:
        """Of the last layers that are best the nearest to ``last``, for features (…, n, D)."""
        whole = self._whole(features)
        gap = self.targets - whole @ last.mT
        return last + (torch.linalg.pinv(whole, rtol=cut) @ gap).mT

    def without(self, features: Tensor, last: Tensor, unit: int) -> Tensor:
        """The nearest of the best that do not use ``unit``."""
        blind, unused = features.clone(), last.clone()
        blind[..., unit], unused[..., unit] = 0.0, 0.0
        found = self.nearest(blind, unused, CUTS[0])
        found[..., unit] = 0.0
        return found

    def zero(self, features: Tensor) -> Tensor:
        """V = 0 (k, D) or (k, D + 1)."""
        return torch.zeros_like(self.targets.T @ self._whole(features))

    def _whole(self, features: Tensor) -> Tensor:
        ones = torch.ones_like(features[..., :1])
        return features if self.readout.bias is None else torch.cat([features, ones], dim=-1)


def _ways(
    objective: Objective, readout: Readout, theta: Tensor, best: Tensor
) -> dict[tuple[int, int], Tensor]:
    """Features (2 PIECES + 1, n) of unit i on its way to unit j of the other net, a call for as many as there are."""
    width, found = readout.width, {}
    begins, ends = ([readout.unit(one, i) for i in range(width)] for one in (theta, best))
    for shift in range(width if width <= ALL_PAIRS else 1):
        pairs = [(i, (i + shift) % width) for i in range(width)]
        columns = []
        for s in torch.linspace(0, 1, 2 * PIECES + 1, dtype=torch.float64).tolist():
            there = theta
            for i, j in pairs:
                there = readout.with_unit(there, i, _between(begins[i], ends[j], s))
            columns.append(seen(objective, there).features)
        stacked = torch.stack(columns)
        found |= {(i, j): stacked[:, :, i] for i, j in pairs}
    return found


def _longer(fitted: _Fitted, order: Order, ways: dict[tuple[int, int], Tensor]) -> list[Order]:
    """An order with each unit that has not moved next, to each place that is free, in each way."""
    features = order.features
    last = fitted.nearest(features, fitted.zero(features), CUTS[0])
    height = max(order.height, float(fitted.value(features, last)))
    moved, taken = ({move[k] for move in order.moves} for k in range(2))
    units = sorted({i for i, _ in ways} - moved)
    idle = {i: float(fitted.value(features, fitted.without(features, last, i))) for i in units}
    found = []
    for i, j in ((i, j) for i, j in ways if i in idle and j not in taken):
        way = features.expand(2 * PIECES + 1, *features.shape).clone()
        way[:, :, i] = ways[i, j]
        after = float(fitted.value(way[-1], fitted.nearest(way[-1], last, CUTS[0])))
        tried: list[tuple[float, float | None]] = [(idle[i], None)]
        for cut in CUTS:
            # At the nodes V is fitted; between them it is their mean.
            at = fitted.nearest(way[::2], last, cut)
            between = fitted.value(way[1::2], (at[1:] + at[:-1]) / 2)
            tried.append((float(torch.cat([fitted.value(way[::2], at), between]).max()), cut))
        highest, cut = min(tried, key=lambda one: one[0])
        found.append(Order(max(height, highest), after, (*order.moves, Move(i, j, cut)), way[-1]))
    return found
