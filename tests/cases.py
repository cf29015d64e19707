"""The shared list of small problems that every curvature is tried on, each with dense answers by another road.

The dense matrices use ``torch.func.functional_call`` on the module itself, ``torch.autograd.functional``
on θ, and second derivatives of the losses written out by hand; nothing of the objective's chunks,
products or losses.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from landscape import Objective

N = 9


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- modules --------------------------------------------------------------------------------


class Residual(nn.Module):
    """A convolution, one residual block with batch norm, pooling, a linear layer."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 2, 3, padding=1, bias=False), nn.BatchNorm2d(2)
        self.first, self.first_norm = nn.Conv2d(2, 2, 3, padding=1, bias=False), nn.BatchNorm2d(2)
        self.second, self.second_norm = nn.Conv2d(2, 2, 3, padding=1, bias=False), nn.BatchNorm2d(2)
        self.head = nn.Linear(2, 3)

    def forward(self, x):
        x = functional.relu(self.norm(self.stem(x)))
        y = functional.relu(self.first_norm(self.first(x)))
        x = functional.relu(x + self.second_norm(self.second(y)))
        return self.head(x.mean((2, 3)))


class Transformer(nn.Module):
    """A LayerNorm Transformer block (scaled dot product attention inside), averaged over the sequence."""

    def __init__(self):
        super().__init__()
        self.block = nn.TransformerEncoderLayer(4, 2, 3, activation="gelu", batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.block(x).mean(1))


class Attention(nn.Module):
    """Scaled dot product attention called by hand."""

    def __init__(self):
        super().__init__()
        self.project, self.out = nn.Linear(4, 12), nn.Linear(4, 3)

    def forward(self, x):
        q, k, v = (part[:, None] for part in self.project(x).chunk(3, dim=-1))
        return self.out(functional.scaled_dot_product_attention(q, k, v)[:, 0].mean(1))


class Tied(nn.Module):
    """Two layers that share their weight, not their bias."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.head(torch.tanh(self.second(torch.tanh(self.first(x)))))


class Unused(nn.Module):
    """Has a layer that it never calls, and one whose outcome is cut off."""

    def __init__(self):
        super().__init__()
        self.spare, self.layer, self.cut = nn.Linear(2, 2), nn.Linear(4, 3), nn.Linear(4, 3, bias=False)

    def forward(self, x):
        return self.layer(x).tanh() + self.cut(x).detach()


class OneNumber(nn.Module):
    """sin(θ) x: one parameter, at the root."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor([0.4]))

    def forward(self, x):
        return self.factor.sin() * x


class Two(nn.Module):
    """Two outputs, in a tuple."""

    def __init__(self):
        super().__init__()
        self.base, self.left, self.right = nn.Linear(4, 3), nn.Linear(3, 1), nn.Linear(3, 2)

    def forward(self, x):
        x = torch.tanh(self.base(x))
        return self.left(x), self.right(x)


def mlp(outputs: int = 3, activation: type[nn.Module] = nn.Tanh) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), activation(), nn.Linear(5, outputs))


def frozen() -> nn.Module:
    module = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    module[2].requires_grad_(False)
    return module


def cnn() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Softplus(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2, 3))


def with_dropout() -> nn.Module:
    return nn.Sequential(
        nn.Linear(4, 5), nn.BatchNorm1d(5), nn.GELU(), nn.Dropout(0.5), nn.Linear(5, 3)
    ).train()


def embedding() -> nn.Module:
    return nn.Sequential(nn.Embedding(7, 3), nn.Flatten(), nn.Tanh(), nn.Linear(6, 3))


def per_position() -> nn.Module:
    """Classes along axis 1, five positions along axis 2."""
    return nn.Sequential(nn.Conv1d(2, 3, 3, padding=1), nn.Tanh(), nn.Conv1d(3, 3, 1))


# --- losses of one sample, and their second derivatives by hand -----------------------------


def cross_entropy(h: Tensor, y: Tensor) -> Tensor:
    """h (c, ...), y a class per position or probabilities (c, ...)."""
    h = h.reshape(len(h), -1)
    log_p = h - h.logsumexp(0)
    if y.is_floating_point():
        return -(y.reshape(h.shape) * log_p).sum(0).mean()
    return -log_p.gather(0, y.reshape(1, -1)).mean()


def bce(h: Tensor, y: Tensor) -> Tensor:
    h = h.flatten()
    return ((1 + h.exp()).log() - y.reshape(h.shape).double() * h).mean()


def mse(h: Tensor, y: Tensor) -> Tensor:
    h = h.flatten()
    wanted = (
        torch.eye(len(h), dtype=h.dtype)[y] if y.dim() == 0 and not y.is_floating_point() else y.flatten()
    )
    return (h - wanted).square().mean()


def quartic(h: Tensor, y: Tensor) -> Tensor:
    """Not convex: ((h² − 1)²/4 − y h) over the outputs, summed."""
    return ((h.square() - 1).square() / 4 - y * h).sum()


def coupled(h: tuple[Tensor, Tensor], y: Tensor) -> Tensor:
    """exp(a) b₁ + b₀ b₁ − y b₀ for h = (a, (b₀, b₁))."""
    (a,), (b0, b1) = h
    return a.exp() * b1 + b0 * b1 - y.sum() * b0


def curvature(loss: Callable, h: Any, y: Tensor) -> Tensor:
    """∂²ℓ/∂h² of one sample, (m, m)."""
    if loss is coupled:
        (a,), (_, b1) = h
        e, o = a.exp(), torch.zeros((), dtype=a.dtype)
        return torch.stack([torch.stack(row) for row in ((e * b1, o, e), (o, o, o + 1), (e, o + 1, o))])
    m = h.numel()
    if loss is cross_entropy:
        classes, positions = len(h), m // len(h)
        dense = torch.zeros(classes, positions, classes, positions, dtype=h.dtype)
        for t, p in enumerate(h.reshape(classes, positions).softmax(0).T):
            dense[:, t, :, t] = (p.diag() - torch.outer(p, p)) / positions
        return dense.reshape(m, m)
    flat = h.flatten()
    diagonal = {
        bce: lambda: flat.exp() / (1 + flat.exp()).square() / m,
        mse: lambda: torch.full_like(flat, 2 / m),
        quartic: lambda: 3 * flat.square() - 1,
    }
    return diagonal[loss]().diag()


# --- cases ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A module, data and a loss: ``given`` is what Objective gets, ``sample`` the loss of one sample by hand."""

    name: str
    module: Callable[[], nn.Module]
    inputs: Tensor
    targets: Tensor
    given: Any
    sample: Callable[[Any, Tensor], Tensor]
    is_sum: bool = False

    @property
    def divisor(self) -> int:
        """F is the sum of the samples' losses over this."""
        return 1 if self.is_sum else len(self.targets)

    def objective(self, **options: Any) -> Objective:
        """In float64, weights at random, running statistics away from their defaults."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            module = self.module().double()
        generator = torch.Generator().manual_seed(4)
        with torch.no_grad():
            for parameter in module.parameters():
                if parameter.dim() == 1:
                    parameter += 0.3 * torch.randn(
                        parameter.shape, generator=generator, dtype=parameter.dtype
                    )
            for buffer in module.buffers():
                if buffer.is_floating_point():
                    buffer.uniform_(0.5, 1.5, generator=generator)
        return Objective(module, self.given, (self.inputs, self.targets), **options)

    def outputs(self, objective: Objective, theta: Tensor) -> Any:
        """h of all samples as a function of θ, through the module itself."""
        module, tensors, offset = objective.module, {}, 0
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                tensors[name] = theta[offset : offset + parameter.numel()].view(parameter.shape)
                offset += parameter.numel()
        was_training = module.training
        try:
            with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
                return functional_call(module.eval(), tensors, (self.inputs,), tie_weights=True)
        finally:
            module.train(was_training)

    def rows(self, outputs: Any) -> list[Any]:
        """The outputs sample by sample."""
        return list(zip(*outputs, strict=True)) if isinstance(outputs, tuple) else list(outputs)

    def losses(self, objective: Objective, theta: Tensor) -> Tensor:
        """ℓᵢ, (n,)."""
        rows = self.rows(self.outputs(objective, theta))
        return torch.stack([self.sample(h, y).reshape(()) for h, y in zip(rows, self.targets, strict=True)])

    def jacobians(self, objective: Objective, theta: Tensor) -> Tensor:
        """∂hᵢ/∂θ, (n, m, d)."""

        def flat(theta: Tensor) -> Tensor:
            h = self.outputs(objective, theta)
            parts = h if isinstance(h, tuple) else (h,)
            return torch.cat([part.flatten(1) for part in parts], 1)

        return torch.autograd.functional.jacobian(flat, theta)

    def gauss_newton(self, objective: Objective, theta: Tensor) -> Tensor:
        """(1/n) Σ Jᵀ (∂²ℓ/∂h²) J, (d, d)."""
        jacobians = self.jacobians(objective, theta)
        with torch.no_grad():
            rows = self.rows(self.outputs(objective, theta))
            middle = torch.stack(
                [curvature(self.sample, h, y) for h, y in zip(rows, self.targets, strict=True)]
            )
        return torch.einsum("nid,nij,nje->de", jacobians, middle, jacobians) / self.divisor

    def hessian(self, objective: Objective, theta: Tensor) -> Tensor:
        """∂²F/∂θ², (d, d)."""
        return torch.autograd.functional.hessian(
            lambda theta: self.losses(objective, theta).sum() / self.divisor, theta
        )


CLASSES = torch.arange(N) % 3
X = draw(N, 4)
IMAGES = draw(N, 1, 4, 4, seed=1)
SEQUENCES = draw(N, 3, 4, seed=2)
CE = ("cross_entropy", cross_entropy)


def own_quartic(h: Tensor, y: Tensor) -> Tensor:
    """Summed over samples and outputs."""
    return ((h**2 - 1) ** 2 / 4 - y * h).sum()


def own_coupled(h: tuple[Tensor, Tensor], y: Tensor) -> Tensor:
    """A loss per sample, of a pair of outputs."""
    a, b = h
    return a[:, 0].exp() * b[:, 1] + b[:, 0] * b[:, 1] - y[:, 0] * b[:, 0]


CASES = {
    case.name: case
    for case in (
        Case("mlp", mlp, X, CLASSES, *CE),
        Case("mlp, relu, mse", lambda: mlp(2, nn.ReLU), X, draw(N, 2, seed=5), "mse", mse),
        Case("mlp, mse of classes", mlp, X, CLASSES, "mse", mse),
        Case("mlp, bce", lambda: mlp(1), X, CLASSES % 2, "bce", bce),
        Case("mlp, bce of two", lambda: mlp(2), X, (draw(N, 2) > 0).double(), "bce", bce),
        Case("mlp, probabilities", mlp, X, draw(N, 3, seed=6).softmax(1), *CE),
        Case("mlp, sum-reduced", mlp, X, CLASSES, nn.CrossEntropyLoss(reduction="sum"), cross_entropy, True),
        Case("mlp, own loss", mlp, X, draw(N, 3, seed=7), own_quartic, quartic, True),
        Case("two outputs, own loss", Two, X, draw(N, 1, seed=7), own_coupled, coupled),
        Case("cnn", cnn, IMAGES, CLASSES, *CE),
        Case("per position", per_position, draw(N, 2, 5), torch.arange(5 * N).view(N, 5) % 3, *CE),
        Case("batch norm, dropout", with_dropout, X, CLASSES, *CE),
        Case("resnet", Residual, IMAGES, CLASSES, *CE),
        Case("transformer", Transformer, SEQUENCES, CLASSES, *CE),
        Case("attention", Attention, SEQUENCES, CLASSES, *CE),
        Case("tied", Tied, X, CLASSES, *CE),
        Case("frozen", frozen, X, CLASSES, *CE),
        Case("embedding", embedding, torch.arange(2 * N).view(N, 2) % 5, CLASSES, *CE),
        Case("unused", Unused, X, CLASSES, *CE),
        Case("one sample", mlp, X[:1], CLASSES[1:2], *CE),
        Case("one parameter", OneNumber, X[:, :1], draw(N, 1, seed=8), "mse", mse),
        Case("one sample, one parameter", OneNumber, X[:1, :1], X[1:2, :1], "mse", mse),
    )
}
