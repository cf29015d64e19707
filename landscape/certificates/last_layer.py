"""The path of the last layer alone: a straight line on which the square loss never rises, in closed form."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape.certificates.measured import Measured
from landscape.numerics.arrays import array_of
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point, split

# Positions on the line at which F is taken.
POINTS = 21


class LastLayerPath(NamedTuple):
    """F at θ + s(θ* − θ), ``loss`` (T,) at ``t`` (T,), beside ``law``, F* + (1 − s)²(F − F*).

    ``ends`` (2, d): θ, and θ* with the last layer of least squares, whose loss is ``floor``; 0 where its features have
    rank n. ``terms``: the mean square of outputs that nothing cancels in, Σ|z||v|, which rounding is a part of.
    """

    t: np.ndarray
    loss: np.ndarray
    law: np.ndarray
    ends: Tensor
    floor: float
    terms: float


def last_layer_path(objective: Objective, seen: Measured) -> LastLayerPath | str:
    """The line from the point to the best last layer; why there is none, where there is none.

    The outputs are linear in the last layer, so that F is a parabola on the line, with its end at the bottom (Nguyen
    2019; Li, Ding and Sun 2018).
    """
    if not seen.meaning.is_square:
        return f"no path of the last layer: its closed form is that of the square loss, not of {seen.meaning.name}"
    layer, spans = seen.structure.last, {piece.name: piece for piece in objective.pieces}
    if layer is None or seen.last is None:
        return "no path of the last layer: the outputs are not its product with features alone"
    features, targets = layer.features, seen.structure.outputs - seen.errors
    moves_bias = layer.bias_name in spans
    if layer.bias is not None and not moves_bias:
        targets = targets - layer.bias
    if moves_bias:
        features = torch.cat([features, features.new_ones(len(features), 1)], 1)
    u, values, vh = torch.linalg.svd(features, full_matrices=False)
    kept = values > seen.last.threshold
    best = (vh[kept].T / values[kept]) @ (u[:, kept].T @ targets)
    end = seen.point.theta.clone()
    piece, width = spans[layer.name], layer.features.shape[1]
    end[piece.span] = (
        best[:width].T.reshape(-1) if piece.size == best[:width].numel() else best[:width].reshape(-1)
    )
    if moves_bias:
        end[spans[layer.bias_name].span] = best[width]
    t = np.linspace(0.0, 1.0, POINTS)
    ends = torch.stack([seen.point.theta, end])
    line = torch.lerp(ends[0], ends[1], torch.from_numpy(t).to(end)[:, None])
    loss = objective.values(line, seen.point.fixed).numpy()
    lowest = float((features @ best - targets).square().mean())
    law = lowest + (1 - t) ** 2 * (seen.loss - lowest)
    terms = max(
        float((features.abs() @ best.abs()).square().mean()),
        float(seen.structure.outputs.square().mean()),
        float(targets.square().mean()),
    )
    return LastLayerPath(t, loss, law, ends, lowest, terms)


def states_of(objective: Objective, point: Point, path: LastLayerPath) -> dict[str, dict[str, np.ndarray]]:
    """The ends of the path as a run file keeps points: ``init`` and ``final``, each by the names of its tensors."""
    named = [split(end, objective.pieces) | dict(point.fixed) for end in path.ends]
    return {
        label: {name: array_of(tensor) for name, tensor in tensors.items()}
        for label, tensors in zip(("init", "final"), named, strict=True)
    }
