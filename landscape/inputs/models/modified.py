"""Changed modules: a classifier with an exponential neuron added, quadratic rectified units with a price, noisy slopes.

The first two put the regulariser R(θ) behind their outputs as one more column, the same for every sample, which
:func:`landscape.objective.penalised.penalised` adds to the loss: so it is counted once however the data are cut. The
last has no price (:data:`PRICED`), and is told the number of every sample beside it (:data:`NUMBERED`).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from landscape import specs
from landscape.errors import BadInput
from landscape.inputs.models import global_state_kept
from landscape.inputs.models.slope_noise import SlopeNoise

# Whose last column of outputs is R(θ), and whose module takes (inputs, number of the sample).
PRICED, NUMBERED = ("exponential", "requ"), ("noise",)


class Exponential(nn.Module):
    """f̃ₖ(x) = fₖ(x) + aₖ exp(wₖ·x + bₖ), R = λa²/2 for one output, λ‖a‖² for several.

    Liang, Sun, Lee and Srikant 2018; for several outputs Kawaguchi and Kaelbling 2020. ``base`` maps (n, …) to
    (n, k); inputs are flattened for w. At every θ, and for every loss that is differentiable in the outputs,
    aₖ ∂F/∂aₖ − ∂F/∂bₖ = λaₖ² (2λaₖ² for several outputs), so that a = 0 at each critical point. Starts at small
    random a and w, b = 0. The price of a neuron that does its part falls as b grows: where descent has only a bad
    minimum of the base to go to, it goes to infinity instead. Raises BadInput for λ that is no positive number.
    """

    is_unbounded = True

    def __init__(self, base: nn.Module, num_inputs: int, num_outputs: int, regulariser: float = 0.1):
        super().__init__()
        self.base, self.regulariser = base, _positive(regulariser)
        self.a = nn.Parameter(0.1 * torch.randn(num_outputs))
        self.w = nn.Parameter(torch.randn(num_outputs, num_inputs) / math.sqrt(num_inputs))
        self.b = nn.Parameter(torch.zeros(num_outputs))

    def forward(self, inputs: Tensor) -> Tensor:
        found = self.base(inputs)
        if found.dim() != 2 or found.shape[1] != len(self.a):
            raise BadInput(
                f"outputs of shape {tuple(found.shape)} for `modify` exponential",
                f"shape (n, {len(self.a)}): one neuron is added to every output",
            )
        added = self.a * torch.exp(inputs.flatten(1) @ self.w.T + self.b)
        return torch.cat([found + added, self.price().expand(len(found), 1)], 1)

    @property
    def share(self) -> float:
        """R is this times ‖a‖²."""
        return self.regulariser * (0.5 if len(self.a) == 1 else 1.0)

    def price(self) -> Tensor:
        """R(θ)."""
        return self.share * self.a.square().sum()

    def identity(self, slopes: dict[str, Tensor], values: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Both sides of aₖ ∂F/∂aₖ − ∂F/∂bₖ = 2 share aₖ², (k,) each, for ∇F and θ by name."""
        a = values["a"]
        return a * slopes["a"] - slopes["b"], 2 * self.share * a.square()


class ReQU(nn.Module):
    """f(x) = Σⱼ aⱼ max(0, wⱼ·x + bⱼ)² of one output, R = ⅓ Σⱼ λⱼ (|aⱼ|³ + 2(‖wⱼ‖² + bⱼ²)^(3/2)).

    Liang, Sun, Lee and Srikant 2018. F is coercive for every λ > 0; that each local minimum is global holds for m > n
    units, small λ, and outside a null set of λ that equal λⱼ belong to: so they are drawn between λ and 2λ, unless
    ``regulariser`` gives one for each. At every θ (wⱼ, bⱼ)·∂F/∂(wⱼ, bⱼ) − 2aⱼ ∂F/∂aⱼ = 2λⱼ(Nⱼ³ − |aⱼ|³).
    """

    strengths: Tensor

    def __init__(self, num_inputs: int, width: int = 20, regulariser: float | Sequence[float] = 0.01):
        super().__init__()
        if not isinstance(width, int) or width < 1:
            raise BadInput(f"{width!r} units for `modify` requ", "at least one")
        if isinstance(regulariser, Sequence):
            if isinstance(regulariser, str) or len(regulariser) != width:
                raise BadInput(f"regulariser {regulariser!r} for {width} units", "one number, or one a unit")
            strengths = torch.tensor([_positive(one) for one in regulariser], dtype=torch.float64)
        else:
            strengths = _positive(regulariser) * (1 + torch.rand(width).double())
        # In float64 until the module is taken to a dtype: 0.1 is another number after float32.
        self.register_buffer("strengths", strengths)
        self.a = nn.Parameter(torch.randn(width) / width)
        self.w = nn.Parameter(torch.randn(width, num_inputs) / math.sqrt(num_inputs))
        self.b = nn.Parameter(torch.zeros(width))

    def forward(self, inputs: Tensor) -> Tensor:
        units = torch.relu(inputs.flatten(1) @ self.w.T + self.b).square()
        found = units @ self.a[:, None]
        return torch.cat([found, self.price().expand(len(found), 1)], 1)

    def price(self) -> Tensor:
        """R(θ), which autograd differentiates twice at 0 as well."""
        return (self.strengths * (cube(self.a.square()) + 2 * cube(self._squares()))).sum() / 3

    def _squares(self) -> Tensor:
        return self.w.square().sum(1) + self.b.square()

    def identity(self, slopes: dict[str, Tensor], values: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Both sides of (wⱼ, bⱼ)·∂F/∂(wⱼ, bⱼ) − 2aⱼ ∂F/∂aⱼ = 2λⱼ(Nⱼ³ − |aⱼ|³), (m,) each."""
        a, w, b = (values[name] for name in "awb")
        left = (w * slopes["w"]).sum(1) + b * slopes["b"] - 2 * a * slopes["a"]
        norms = (w.square().sum(1) + b.square()) ** 1.5
        return left, 2 * self.strengths.to(a) * (norms - a.abs() ** 3)


def cube(square: Tensor) -> Tensor:
    """s^(3/2), whose first derivatives in x, s = ‖x‖², are 0 at 0 and not NaN, and so are the second ones.

    A root has an infinite derivative at 0, and infinity times 0 is NaN: there the root is taken of 1 instead.
    """
    is_zero = square == 0
    return torch.where(is_zero, torch.zeros_like(square), torch.where(is_zero, 1.0, square) ** 1.5)


def modified(
    name: str,
    arguments: Mapping[str, Any],
    seed: int,
    module: nn.Module,
    *,
    input_shape: Sequence[int],
    num_outputs: int,
    num_samples: int = 0,
) -> nn.Module:
    """``module`` changed as ``name`` says, drawn by ``seed``: ``requ`` in its place, the others around it.

    ``num_samples``: for how many samples ``noise`` is drawn. Raises BadInput for an unknown name, arguments it does not
    take, several outputs for ``requ``, and a module without ReLU-like layers for ``noise``.
    """
    num_inputs = math.prod(input_shape)

    def exponential(regulariser: float = 0.1) -> nn.Module:
        return Exponential(module, num_inputs, num_outputs, regulariser)

    def requ(width: int = 20, regulariser: float | Sequence[float] = 0.01) -> nn.Module:
        if num_outputs != 1:
            raise BadInput(f"{num_outputs} outputs for `modify` requ", "one, as binary labels have")
        return ReQU(num_inputs, width, regulariser)

    def noise(mean: float = 0.0, deviation: float = 1.0, values: Sequence[float] | None = None) -> nn.Module:
        return SlopeNoise(module, input_shape, num_samples, seed, mean, deviation, values)

    makers: dict[str, Callable[..., nn.Module]] = {"exponential": exponential, "requ": requ, "noise": noise}
    if name not in makers:
        raise BadInput(f"unknown `modify` {name!r}", f"one of {', '.join(makers)}")
    with global_state_kept():
        torch.default_generator.manual_seed(seed)
        return specs.call(makers[name], arguments, f"modify {name}")


def _positive(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise BadInput(f"regulariser {value!r}", "a positive number")
    return float(value)
