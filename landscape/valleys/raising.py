"""Paths that move the last layer alone, or raise the rank of its features first: F constant, then a straight fall.

Where the features Z of the last hidden layer have rank n, a loss convex in the outputs falls along the straight line to
any better outputs; square loss exactly as (1 − s)² F. Where they have less, units can be freed without a change of the
function and given other incoming weights until they have (Nguyen 2019; Li, Ding and Sun 2018).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape.numerics.steps.polish import polished
from landscape.objective.losses import LOSSES, wanted
from landscape.objective.objective import Objective
from landscape.valleys.readout import Readout, seen, with_ones

DRAWS = 200
# A smallest singular value below this share of the largest makes V explode, and is no certificate.
FULL = 1e-8


class Raised(NamedTuple):
    """The nodes (m, d) of a path along which the function stays, the rank it ends at, and how often units moved."""

    nodes: list[Tensor]
    rank: int
    rounds: int


def rank_of(features: Tensor) -> int:
    """The numerical rank, by what rounding makes of singular values: max(n, D) ε σ_max, times ten."""
    values = torch.linalg.svdvals(features)
    threshold = 10 * max(features.shape) * torch.finfo(features.dtype).eps * values[0]
    return int((values > threshold).sum())


def best_last(objective: Objective, readout: Readout, theta: Tensor) -> Tensor:
    """``theta`` with the last layer at its best for the features there: least squares, or L-BFGS for other losses."""
    here = seen(objective, theta)
    if objective.given is LOSSES["mse"] and not objective.l2:
        gap = wanted(here.outputs, objective.samples[1]) - here.outputs
        # By the pseudo-inverse: the least change of V where there are many.
        values = with_ones(readout, here.features).cpu().numpy()
        change = np.linalg.lstsq(values, gap.cpu().numpy(), rcond=None)[0]
        return readout.with_last(theta, readout.last(theta) + torch.from_numpy(change.T).to(theta))
    pieces = [readout.weight, *([readout.bias] if readout.bias else [])]
    index = torch.cat([torch.arange(one.span.start, one.span.stop) for one in pieces]).to(theta.device)

    def value_and_gradient(last: Tensor) -> tuple[float, Tensor]:
        value, slope = objective.value_and_gradient(theta.index_copy(0, index, last))
        return value, slope[index]

    return theta.index_copy(0, index, polished(value_and_gradient, None, theta[index]).theta)


def raised(
    objective: Objective, readout: Readout, theta: Tensor, seed: int, num_draws: int = DRAWS
) -> Raised:
    """From ``theta`` (d,) on until Z has rank n, or as far as it goes; the function is the same at all nodes."""
    nodes, rounds = [theta], 0
    whole = with_ones(readout, seen(objective, theta).features)
    rank, (count, size) = rank_of(whole), whole.shape
    generator = torch.Generator().manual_seed(seed)
    while rank < count <= size and readout.incoming:
        freed, unit = _freed(readout, nodes[-1], whole, rank)
        moved = _moved(objective, readout, freed, unit, rank, num_draws, generator)
        whole = with_ones(readout, seen(objective, moved).features)
        before, rank = rank, rank_of(whole)
        if rank <= before:
            rank = before
            break
        nodes += [freed, moved]
        rounds += 1
    return Raised(nodes, rank, rounds)


def freed(
    objective: Objective, readout: Readout, theta: Tensor, seed: int, number: int
) -> Iterator[list[Tensor]]:
    """Ways of ``number`` from ``theta`` (d,) to a unit freed, moved and of use, where the features are dependent.

    Its places are of those drawn the best, the worst and others between them, by F there. For the mean square alone.
    """
    whole = with_ones(readout, seen(objective, theta).features)
    rank = rank_of(whole)
    is_square = objective.given is LOSSES["mse"] and not objective.l2
    if rank == min(whole.shape) or not readout.incoming or not is_square:
        return
    start, unit = _freed(readout, theta, whole, rank)
    rows = _drawn(objective, readout, theta, unit, DRAWS, torch.Generator().manual_seed(seed))
    columns = _columns(objective, readout, start, rows)
    tried = whole.expand(len(rows), *whole.shape).clone()
    tried[:, :, unit] = columns
    here = seen(objective, theta)
    gap = wanted(here.outputs, objective.samples[1]) - here.outputs
    left = (gap - tried @ (torch.linalg.pinv(tried, rtol=FULL) @ gap)).square().sum((1, 2))
    order = torch.argsort(left, stable=True)
    for k in np.linspace(0, len(order) - 1, number).round().astype(int).tolist():
        moved = readout.with_unit(start, unit, rows[order[k]])
        yield [theta, start, moved, best_last(objective, readout, moved)]


def is_full(objective: Objective, readout: Readout, theta: Tensor) -> bool:
    """Whether Z has rank n there, and by a margin that makes use of it."""
    whole = with_ones(readout, seen(objective, theta).features)
    values = torch.linalg.svdvals(whole)
    return rank_of(whole) == len(whole) and float(values[-1]) > FULL * float(values[0])


def _freed(readout: Readout, theta: Tensor, whole: Tensor, rank: int) -> tuple[Tensor, int]:
    """``theta`` with the outgoing weights of one unit 0, the others in its place: the same outputs on the data."""
    null = torch.linalg.svd(whole, full_matrices=True)[2][rank:]
    lengths = torch.linalg.vector_norm(null[:, : readout.width], dim=0)
    unit = int(lengths.argmax())
    # Of all c with Zc = 0 and c = 1 at the unit the shortest.
    c = null.T @ null[:, unit] / lengths[unit] ** 2
    last = readout.last(theta)
    last = last - torch.outer(last[:, unit], c)
    last[:, unit] = 0.0
    return readout.with_last(theta, last), unit


def _moved(
    objective: Objective,
    readout: Readout,
    theta: Tensor,
    unit: int,
    rank: int,
    num_draws: int,
    generator: torch.Generator,
) -> Tensor:
    """``theta`` with incoming weights of an idle unit that raise σ of the next rank most, of so many drawn."""
    rows = _drawn(objective, readout, theta, unit, num_draws, generator)
    whole = with_ones(readout, seen(objective, theta).features)
    tried = whole.expand(len(rows), *whole.shape).clone()
    tried[:, :, unit] = _columns(objective, readout, theta, rows)
    found = torch.linalg.svdvals(tried)[:, rank]
    return readout.with_unit(theta, unit, rows[int(found.argmax())])


def _drawn(
    objective: Objective, readout: Readout, theta: Tensor, unit: int, number: int, generator: torch.Generator
) -> Tensor:
    """Incoming weights (number, m) of a unit at random, of several sizes for the inputs it has."""
    here = seen(objective, theta)
    size = float(here.before.square().mean().sqrt()) if here.before is not None else 1.0
    rows = torch.randn(number, len(readout.unit(theta, unit)), generator=generator, dtype=torch.float64)
    scales = 4 ** torch.empty(number, 1, dtype=torch.float64).uniform_(-0.5, 1.5, generator=generator)
    inputs = readout.incoming[0].shape[1] if len(readout.incoming[0].shape) > 1 else 1
    rows *= scales
    rows[:, :inputs] /= max(size, 1e-12) * inputs**0.5
    return rows.to(theta)


def _columns(objective: Objective, readout: Readout, theta: Tensor, rows: Tensor) -> Tensor:
    """Features (number, n) of units with these incoming weights, in one call as many as there are units."""
    found = []
    for begin in range(0, len(rows), readout.width):
        tried, part = theta, rows[begin : begin + readout.width]
        for j, row in enumerate(part):
            tried = readout.with_unit(tried, j, row)
        found.append(seen(objective, tried).features[:, : len(part)].T)
    return torch.cat(found)
