"""Linear nets: the product of their weights, and the lowest square loss that any product of its rank has."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from landscape.certificates.structure import SAME, Layer, Structure, near
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point


@dataclass(frozen=True)
class LinearNet:
    """W_L … W_1 = ``product`` (k, d₀), widths d₀, …, d_L from the inputs (n, d₀) on, and where biases are added.

    ``is_free``: every factor and bias is trained, and each is a parameter of its own.
    """

    inputs: Tensor
    product: Tensor
    widths: tuple[int, ...]
    has_hidden_bias: bool
    has_last_bias: bool
    is_free: bool = True

    @property
    def has_bias(self) -> bool:
        """Whether any layer adds one."""
        return self.has_hidden_bias or self.has_last_bias

    @property
    def thinnest(self) -> int:
        """p = minᵢ dᵢ, which the rank of the product cannot exceed."""
        return min(self.widths)


def linear_net(structure: Structure, objective: Objective, point: Point) -> LinearNet | None:
    """The chain of products that the module is; None where it is something else, as tried on inputs at random."""
    layers = structure.layers
    if not layers or structure.last is None or structure.kinks or structure.unfollowed:
        return None
    if structure.elsewhere is not None:
        # Where weights are 0, much agrees with a product that is none.
        moved = near(point, layers)
        if linear_net(structure.elsewhere, objective, moved) is None:
            return None
    weights = [layer.weight for layer in layers if layer.weight is not None]
    chained = all(a.target == b.source for a, b in pairwise(layers))
    if len(weights) < len(layers) or not chained:
        return None
    product, shift = weights[0], _bias(layers[0].bias, weights[0])
    for layer, weight in zip(layers[1:], weights[1:], strict=True):
        product, shift = weight @ product, weight @ shift + _bias(layer.bias, weight)
    if layers[0].features.shape != structure.inputs.shape or not _is(objective, point, product, shift):
        return None
    return LinearNet(
        structure.inputs,
        product,
        (weights[0].shape[1], *(weight.shape[0] for weight in weights)),
        any(layer.bias is not None for layer in layers[:-1]),
        layers[-1].bias is not None,
        _is_free(layers, objective),
    )


def _is_free(layers: Sequence[Layer], objective: Objective) -> bool:
    names = [layer.name for layer in layers] + [one.bias_name for one in layers if one.bias is not None]
    return len(set(names)) == len(names) and set(names) <= {piece.name for piece in objective.pieces}


def _bias(bias: Tensor | None, weight: Tensor) -> Tensor:
    return weight.new_zeros(len(weight)) if bias is None else bias


def _is(objective: Objective, point: Point, product: Tensor, shift: Tensor) -> bool:
    """Whether the module gives product · x + shift, on the data's first inputs and on some at random."""
    (first, *others), _ = objective.samples.picked(torch.arange(min(4, objective.num_samples)))
    if others or not isinstance(first, Tensor) or not first.is_floating_point():
        return False
    noise = torch.randn(first.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for x in (first, noise.to(first), -5 * noise.to(first)):
        with torch.no_grad(), objective.passed(point.theta, point.fixed, (x,)) as outputs:
            wanted = x.flatten(1) @ product.T + shift
            if outputs.numel() != wanted.numel():
                return False
            gap = float((outputs.reshape(wanted.shape) - wanted).abs().max())
        if not gap <= SAME * max(1.0, float(wanted.abs().max())):
            return False
    return True


def floor(net: LinearNet, targets: Tensor) -> float | None:
    """min ‖Y − RX‖² over rank R ≤ p, over n·k: no net of these widths has a lower square loss (Eckart and Young 1936).

    ``targets`` (n, k). With a bias in the last layer that of centred data; None where only hidden layers have one.
    """
    x, y = net.inputs, targets
    if net.has_last_bias:
        x, y = x - x.mean(0), y - y.mean(0)
    elif net.has_hidden_bias:
        return None
    seen = fitted(x, y)
    rest = float((y - seen).square().sum())
    missed = torch.linalg.svdvals(seen)[net.thinnest :]
    return (rest + float(missed.square().sum())) / y.numel()


def fitted(x: Tensor, y: Tensor) -> Tensor:
    """YX⁺X, (n, k): the least squares fit of ``y`` (n, k) by ``x`` (n, d)."""
    u, values, _ = torch.linalg.svd(x, full_matrices=False)
    kept = values > max(x.shape) * torch.finfo(x.dtype).eps * values.max() if len(values) else values > 0
    return u[:, kept] @ (u[:, kept].T @ y)
