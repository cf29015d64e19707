"""Fully connected networks."""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from landscape.errors import BadInput

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "identity": nn.Identity,
}

WITH_NUMBER: dict[str, Callable[[float], nn.Module]] = {
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "softplus": nn.Softplus,
}
INITS = ("torch", "glorot")


def mlp(
    input_shape: Sequence[int],
    num_outputs: int,
    widths: int | Sequence[int] = (128, 128),
    activation: str = "relu",
    bias: bool = True,
    batchnorm: bool = False,
    dropout: float = 0.0,
    width: int | None = None,
    depth: int | None = None,
    init: str = "torch",
) -> nn.Sequential:
    """A multilayer perceptron: inputs (n, *input_shape) to outputs (n, num_outputs).

    Each hidden layer is linear, batch norm (Ioffe and Szegedy 2015), activation, dropout; the two
    optional ones only where asked for. ``widths`` may be one integer, or () for no hidden layer; ``width``
    and ``depth`` (1 where not given) say instead so many layers of one width.
    Its parameters are called ``hidden1.weight``, ..., ``output.bias``.

    ``init`` is PyTorch's own, or ``glorot``: weights uniform in ±√(6/(inputs + outputs)) of each layer, zero
    biases (Glorot and Bengio 2010).

    Raises BadInput for an unknown activation or init, a width below 1, a depth without a width or a dropout outside
    [0, 1).
    """
    if init not in INITS:
        raise BadInput(f"init={init!r}", f"one of {', '.join(INITS)}")
    widths = hidden_widths(widths, width, depth)
    if not 0 <= dropout < 1:
        raise BadInput(f"dropout={dropout}", "a probability in [0, 1)")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if len(input_shape) != 1:
        layers["flatten"] = nn.Flatten()
    num_inputs = math.prod(input_shape)
    for i, width in enumerate(widths, start=1):
        # Batch norm subtracts any bias again, which would leave a direction of zero curvature.
        layers[f"hidden{i}"] = nn.Linear(num_inputs, width, bias=bias and not batchnorm)
        if batchnorm:
            layers[f"batchnorm{i}"] = nn.BatchNorm1d(width)
        layers[f"activation{i}"] = activation_named(activation)
        if dropout:
            layers[f"dropout{i}"] = nn.Dropout(dropout)
        num_inputs = width
    layers["output"] = nn.Linear(num_inputs, num_outputs, bias=bias)
    if init == "glorot":
        for layer in layers.values():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
    return nn.Sequential(layers)


def activation_named(name: str) -> nn.Module:
    """A new module for the activation ``name``, a number after a colon its first argument (``leaky_relu:0.1``).

    BadInput lists the known ones.
    """
    kind, _, number = name.partition(":")
    if kind not in ACTIVATIONS:
        raise BadInput(f"unknown activation {kind!r}", f"one of {', '.join(ACTIVATIONS)}")
    if not number:
        return ACTIVATIONS[kind]()
    if kind not in WITH_NUMBER:
        raise BadInput(f"activation {name!r}", f"a number with {', '.join(WITH_NUMBER)} only")
    try:
        return WITH_NUMBER[kind](float(number))
    except ValueError:
        raise BadInput(f"activation {name!r}", "a number after the colon") from None


def hidden_widths(widths: Any, width: int | None, depth: int | None) -> tuple[int, ...]:
    """``widths``, or ``depth`` (1 where not given) layers of ``width``; BadInput for a depth alone.

    >>> hidden_widths((64,), 5, 2), hidden_widths(8, None, None)
    ((5, 5), (8,))
    """
    if width is not None:
        return (
            positive_integers("width", width) * positive_integers("depth", 1 if depth is None else depth)[0]
        )
    if depth is not None:
        raise BadInput(f"depth={depth!r} without a width", "both", "write for example width=20 depth=2")
    return positive_integers("widths", widths)


def positive_integers(name: str, value: Any) -> tuple[int, ...]:
    """``value``, one integer or a sequence of them, as a tuple; BadInput names the argument if it is neither.

    >>> positive_integers("widths", 100)
    (100,)
    """
    several: tuple[Any, ...] = tuple(value) if isinstance(value, tuple | list) else (value,)
    if not all(isinstance(one, int) and not isinstance(one, bool) and one >= 1 for one in several):
        raise BadInput(f"{name}={value!r}", "positive integers", f"write for example {name}=100,50")
    return several
