"""Toy surfaces: modules of two or three scalar parameters whose loss is known in closed form.

Take them with the data ``point``, one sample x = y = 1: the mean squared error is then the surface.
An initial value that is None is drawn from the standard normal distribution. They are float64 until the module is taken
to a dtype, so that a given one is not rounded before.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from landscape.errors import BadInput


class ToySurface(nn.Module):
    """``formula(inputs, *scalars)`` of named 0-d parameters: inputs (n, 1) to outputs (n, 1).

    Raises BadInput for data that are not one number in and one out.
    """

    def __init__(
        self,
        formula: Callable[..., Tensor],
        initial: Mapping[str, float | None],
        input_shape: Sequence[int],
        num_outputs: int,
    ):
        super().__init__()
        if tuple(input_shape) != (1,) or num_outputs != 1:
            raise BadInput(
                f"data with samples of shape {tuple(input_shape)} and {num_outputs} outputs",
                "one number in and one out, as a toy surface has",
                "take `data` point",
            )
        self.formula, self.scalar_names = formula, tuple(initial)
        for name, value in initial.items():
            scalar = torch.randn(()) if value is None else torch.tensor(float(value), dtype=torch.float64)
            self.register_parameter(name, nn.Parameter(scalar.double()))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.formula(inputs, *(getattr(self, name) for name in self.scalar_names))


def toy_product(
    v: float | None = None, w: float | None = None, input_shape: Sequence[int] = (1,), num_outputs: int = 1
) -> ToySurface:
    """h = v w x, so that with target 1 at x = 1 the loss is (1 − v w)²: the smallest deep linear network.

    Its minima are the hyperbola v w = 1; at (1, 1) the Hessian has the eigenvalues 0 and 4, and the
    origin is a saddle (Baldi and Hornik 1989).
    """

    def product(inputs: Tensor, v: Tensor, w: Tensor) -> Tensor:
        return v * w * inputs

    return ToySurface(product, {"v": v, "w": w}, input_shape, num_outputs)


def toy_neuron(
    v: float | None = None, w: float | None = None, input_shape: Sequence[int] = (1,), num_outputs: int = 1
) -> ToySurface:
    """h = v φ(w x) with φ(z) = −(z − 1)²/8: a single smooth neuron, whose loss is (y − v φ(w x))²."""

    def neuron(inputs: Tensor, v: Tensor, w: Tensor) -> Tensor:
        return -v * (w * inputs - 1) ** 2 / 8

    return ToySurface(neuron, {"v": v, "w": w}, input_shape, num_outputs)


def toy_relu_neuron(
    v: float | None = None, w: float | None = None, input_shape: Sequence[int] = (1,), num_outputs: int = 1
) -> ToySurface:
    """h = v max(0, w x): a single ReLU neuron, whose loss is flat where it is dead, w x < 0."""

    def relu_neuron(inputs: Tensor, v: Tensor, w: Tensor) -> Tensor:
        return v * torch.relu(w * inputs)

    return ToySurface(relu_neuron, {"v": v, "w": w}, input_shape, num_outputs)


def toy_saddle(
    v: float | None = None, w: float | None = None, input_shape: Sequence[int] = (1,), num_outputs: int = 1
) -> ToySurface:
    """h = v² − w² whatever the input: the saddle itself, to be taken with the loss ``output``."""

    def saddle(inputs: Tensor, v: Tensor, w: Tensor) -> Tensor:
        return (v**2 - w**2).expand_as(inputs)

    return ToySurface(saddle, {"v": v, "w": w}, input_shape, num_outputs)


def toy_chain(
    x: float | None = None,
    y: float | None = None,
    z: float | None = None,
    input_shape: Sequence[int] = (1,),
    num_outputs: int = 1,
) -> ToySurface:
    """h = x y z · input, so that with target 1 at input 1 the loss is (x y z − 1)².

    At the origin both the gradient and the Hessian vanish, though it is no minimum.
    """

    def chain(inputs: Tensor, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        return x * y * z * inputs

    return ToySurface(chain, {"x": x, "y": y, "z": z}, input_shape, num_outputs)
