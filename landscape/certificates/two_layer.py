"""Nets with one hidden layer of piecewise linear units: their kernel and the matrix of their pattern, closed."""

from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.certificates.structure import Layer, Structure, same
from landscape.objective.objective import Objective


@dataclass(frozen=True)
class TwoLayers:
    """h = V φ(W x + b) + c: the layers, and the slopes (n, p) of φ at the data.

    ``below``: the slope of φ under 0; ``factor`` (n, p): what the slopes are multiplied by, the same at every θ, and
    hold; ``has_all``: the weights and biases are all of θ.
    """

    first: Layer
    second: Layer
    slopes: Tensor
    has_all: bool
    below: float
    factor: Tensor | None

    @property
    def outgoing(self) -> Tensor:
        """V (k, p)."""
        assert self.second.weight is not None
        return self.second.weight


def two_layers(structure: Structure, objective: Objective) -> TwoLayers | None:
    """The two layers that a module is, where every parameter is theirs; None for anything else."""
    layers, last = structure.layers, structure.last
    if len(layers) != 2 or len(structure.kinks) != 1 or last is None or structure.unfollowed:
        return None
    first, kink = layers[0], structure.kinks[0]
    joined = first.target == kink.source and kink.target == last.source
    if first.weight is None or not joined or kink.slopes.shape != (len(first.features), len(first.weight)):
        return None
    if first.features.shape != structure.inputs.shape:
        return None
    if structure.elsewhere is not None and not _are_all(structure.elsewhere, kink.factor):
        return None
    own = {one for layer in layers for one in (layer.name, layer.bias_name) if one}
    has_all = {piece.name for piece in objective.pieces} == own
    return TwoLayers(first, last, kink.slopes, has_all, kink.below, kink.factor)


def _are_all(seen: Structure, factor: Tensor | None) -> bool:
    """Whether the outputs are V (slopes ∘ (W x + b)) + c of the first layer, the kink and the last."""
    first, kink, last = seen.layers[0], seen.kinks[0], seen.last
    if last is None or first.weight is None or last.weight is None:
        return False
    made = first.features @ first.weight.T + (0.0 if first.bias is None else first.bias)
    if kink.slopes.shape != made.shape or (factor is None) != (kink.factor is None):
        return False
    if factor is not None and kink.factor is not None and not torch.equal(factor, kink.factor):
        return False
    outputs = (kink.slopes * made) @ last.weight.T + (0.0 if last.bias is None else last.bias)
    return same(outputs, seen.outputs)


def closed_kernel(net: TwoLayers) -> Tensor:
    """K = ZZᵀ ⊗ I + (XXᵀ) ∘ (slopes, outgoing weights), (nk, nk); a trained bias adds one to its layer's XXᵀ."""
    z, x, v = net.second.features, net.first.features, net.outgoing
    features, inputs = z @ z.T, x @ x.T
    if net.second.bias_name:
        features = features + 1
    if net.first.bias_name:
        inputs = inputs + 1
    n, k = len(z), len(v)
    # (i, a), (j, b): Σ_h A_ih A_jh V_ah V_bh.
    weighted = net.slopes[:, None, :] * v[None]
    hidden = torch.einsum("iah,jbh->iajb", weighted, weighted) * inputs[:, None, :, None]
    same = torch.eye(k, dtype=z.dtype, device=z.device)
    return (hidden + features[:, None, :, None] * same[None, :, None, :]).reshape(n * k, n * k)


def pattern_matrix(net: TwoLayers) -> Tensor:
    """M (n, p·d₀), rows aᵢ ⊗ xᵢ: on this pattern the outputs are M β, β_h = v_h w_h (Soudry and Carmon 2016)."""
    x = net.first.features
    return (net.slopes[:, :, None] * x[:, None, :]).flatten(1)


def arc_cosine_kernel(x: Tensor) -> Tensor:
    """The limit (n, n) of K at infinite width of h = p^(−1/2) Σ vⱼ max(0, wⱼ·x), v and w standard normal.

    ‖x‖‖z‖(sin t + (π − t) cos t)/2π + x·z (π − t)/2π, t the angle between x and z (Cho and Saul 2009; Jacot et al.
    2018): by 2 atan2(‖u − v‖, ‖u + v‖) of the unit vectors, since acos loses half of the digits near 0.

    >>> arc_cosine_kernel(torch.eye(2, dtype=torch.float64)).mul(2 * torch.pi).round(decimals=12).tolist()
    [[6.28318530718, 1.0], [1.0, 6.28318530718]]
    """
    length = torch.linalg.vector_norm(x, dim=1)
    unit = x / torch.where(length > 0, length, 1.0)[:, None]
    apart = torch.linalg.vector_norm(unit[:, None] - unit[None], dim=2)
    together = torch.linalg.vector_norm(unit[:, None] + unit[None], dim=2)
    t = 2 * torch.atan2(apart, together)
    rest = torch.pi - t
    first = torch.outer(length, length) * (torch.sin(t) + rest * torch.cos(t))
    return (first + (x @ x.T) * rest) / (2 * torch.pi)
