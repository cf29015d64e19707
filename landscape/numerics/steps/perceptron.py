"""Many multilayer perceptrons of one shape at once: their losses and gradients by batched matrix products.

Activations stand with features before samples, (R, features, n), so that the weights of R nets multiply
from the left as they lie in θ, and every layer is one product forward and two back.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

Derivative = Callable[[Tensor, Tensor, Tensor], Tensor]
Head = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Activation(NamedTuple):
    """σ, and (∂/∂σ(z), z, σ(z)) ↦ ∂/∂z."""

    forward: Callable[[Tensor], Tensor]
    backward: Derivative


class Layer(NamedTuple):
    """z = W a + b, then the activation; ``weight`` and ``bias`` are where W and b lie in θ, one after the other."""

    num_inputs: int
    num_outputs: int
    weight: slice
    bias: slice | None
    activation: Activation | None


def losses_and_gradients(
    layers: Sequence[Layer], head: Head, thetas: Tensor, inputs: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean losses (R,) float64 and their gradients (R, d) at ``thetas`` (R, d).

    ``inputs`` (n, k) and ``targets`` (n, m) are the same for all R nets, or (R, n, k) and (R, n, m) each net's
    own; ``head`` is one of HEADS. Common inputs are best stored features first: ``inputs.T.contiguous().T``.
    """
    count, num_samples, is_shared = len(thetas), inputs.shape[-2], inputs.dim() == 2
    columns = inputs.transpose(-1, -2)
    weights = [thetas[:, layer.weight].view(count, layer.num_outputs, layer.num_inputs) for layer in layers]
    befores, afters = [], [columns.expand(count, *columns.shape) if is_shared else columns]
    for layer, weight in zip(layers, weights, strict=True):
        if layer.bias is None:
            befores.append(torch.bmm(weight, afters[-1]))
        else:
            befores.append(torch.baddbmm(thetas[:, layer.bias].unsqueeze(2), weight, afters[-1]))
        afters.append(layer.activation.forward(befores[-1]) if layer.activation else befores[-1])
    each, slope = head(afters[-1], targets.transpose(-1, -2))
    slope = slope / num_samples
    gradients: list[Tensor] = []
    for i in reversed(range(len(layers))):
        layer = layers[i]
        if layer.activation:
            slope = layer.activation.backward(slope, befores[i], afters[i + 1])
        if layer.bias is not None:
            gradients.append(slope.sum(2))
        if i == 0 and is_shared:
            # One product with the common inputs instead of R, and with the few inputs on the left: a product
            # over all samples takes up to six times as long where its right factor is narrow.
            by_weight = (columns @ slope.reshape(-1, num_samples).T).T
        else:
            by_weight = torch.bmm(slope, afters[i].transpose(1, 2))
        gradients.append(by_weight.reshape(count, -1))
        if i:
            # A product over one term is an outer product, for which elementwise multiplication is faster.
            back = weights[i].transpose(1, 2)
            slope = back * slope if layer.num_outputs == 1 else torch.bmm(back, slope)
    return each.double().mean(1), torch.cat(gradients[::-1], 1)


def logistic(outputs: Tensor, signs: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`bce` of one logit (R, 1, n) and labels as ``signs`` ±1, in half the operations."""
    margins = outputs * signs
    each = functional.logsigmoid(margins).neg_()
    return each.squeeze(1), margins.neg_().sigmoid_().mul_(signs).neg_()


def bce(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross entropy of logits (R, m, n): the loss of each sample (R, n), and ∂/∂outputs of their sum."""
    targets = targets.expand_as(outputs)
    each = functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none").mean(1)
    # Not σ(h) − y, which is zero long before the loss is.
    slope = torch.sigmoid(outputs).mul_(1 - targets).sub_(torch.sigmoid(-outputs).mul_(targets))
    return each, slope if outputs.shape[1] == 1 else slope / outputs.shape[1]


def cross_entropy(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Cross entropy of logits (R, m, n) against probabilities of the m classes; see :func:`bce`."""
    logarithms = functional.log_softmax(outputs, 1)
    targets = targets.expand_as(outputs)
    return -(logarithms * targets).sum(1), logarithms.exp() * targets.sum(1, keepdim=True) - targets


def mse(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The mean square over m outputs (R, m, n); see :func:`bce`."""
    gap = outputs - targets
    return gap.square().mean(1), gap * (2 / outputs.shape[1])


HEADS: dict[str, Head] = {"bce": bce, "cross_entropy": cross_entropy, "mse": mse}

RELU = Activation(torch.relu, lambda g, z, a: torch.ops.aten.threshold_backward(g, a, 0))
TANH = Activation(torch.tanh, lambda g, z, a: torch.ops.aten.tanh_backward(g, a))
SIGMOID = Activation(torch.sigmoid, lambda g, z, a: torch.ops.aten.sigmoid_backward(g, a))
SILU = Activation(functional.silu, lambda g, z, a: torch.ops.aten.silu_backward(g, z))


def leaky_relu(slope: float) -> Activation:
    """max(z, 0) + ``slope`` min(z, 0)."""
    return Activation(
        lambda z: functional.leaky_relu(z, slope),
        lambda g, z, a: torch.ops.aten.leaky_relu_backward(g, z, slope, False),
    )


def elu(alpha: float) -> Activation:
    """z where positive, else ``alpha`` (eᶻ − 1)."""
    return Activation(
        lambda z: functional.elu(z, alpha),
        lambda g, z, a: torch.ops.aten.elu_backward(g, alpha, 1, 1, False, z),
    )


def gelu(approximate: str) -> Activation:
    """z Φ(z), Φ the normal distribution function, or its ``tanh`` approximation."""
    return Activation(
        lambda z: functional.gelu(z, approximate=approximate),
        lambda g, z, a: torch.ops.aten.gelu_backward(g, z, approximate=approximate),
    )


def softplus(beta: float, threshold: float) -> Activation:
    """log(1 + e^{βz})/β, and z itself where βz > ``threshold``."""
    return Activation(
        lambda z: functional.softplus(z, beta, threshold),
        lambda g, z, a: torch.ops.aten.softplus_backward(g, z, beta, threshold),
    )
