"""What the tests of slices and paths share: models copied and evaluated the plain way."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from landscape import Objective
from landscape.inputs.models import toy
from landscape.objective.parameters import Point


def plain_loss(
    objective: Objective, theta: Tensor, fixed=None, loss: Callable[..., Tensor] = functional.cross_entropy
) -> float:
    """F at θ by ``load_state_dict`` and ``model.eval()``; θ is cut in the order of ``parameters()``."""
    module = plain_module(objective, theta, fixed)
    (x,), y = objective.samples
    with torch.no_grad():
        return float(loss(module(x), y))


def plain_module(objective: Objective, theta: Tensor, fixed=None) -> nn.Module:
    module = copy.deepcopy(objective.module).eval()
    names = [name for name, _ in module.named_parameters()]
    sizes = [parameter.numel() for parameter in module.parameters()]
    parts = dict(zip(names, theta.split(sizes), strict=True))
    state = module.state_dict()
    module.load_state_dict(
        state | {name: part.view_as(state[name]) for name, part in parts.items()} | dict(fixed or {})
    )
    return module


def another(objective: Objective, seed: int, batches: int = 3) -> Point:
    """A point elsewhere, with batch-norm statistics of its own from a few training passes."""
    module = copy.deepcopy(objective.module).train()
    (x,), _ = objective.samples
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter))
        for _ in range(batches):
            module(x + torch.randn_like(x))
    return objective.point(module.state_dict(), f"seed {seed}")


def toy_product(v: float = 1.0, w: float = 1.0) -> Objective:
    """(1 − vw)²."""
    one = torch.ones(1, 1, dtype=torch.float64)
    return Objective(toy.toy_product(v, w).double(), "mse", (one, one))


class Bowl(nn.Module):
    """a u² + b v² + c u v + u as a function of (u, v), the same for every input."""

    def __init__(self, a: float = 2.0, b: float = 0.5, c: float = 0.3):
        super().__init__()
        self.a, self.b, self.c = a, b, c
        self.u = nn.Parameter(torch.tensor([0.2], dtype=torch.float64))
        self.v = nn.Parameter(torch.tensor([-0.1], dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.height(self.u, self.v).expand(len(x), 1)

    def height(self, u, v):
        return self.a * u**2 + self.b * v**2 + self.c * u * v + u


def bowl() -> Objective:
    return Objective(Bowl(), "output", (torch.zeros(3, 1, dtype=torch.float64), torch.zeros(3, 1)))


class Quadratic(nn.Module):
    """2 + (θ − shift)ᵀ A (θ − shift)/2, the same for every input."""

    def __init__(self, matrix: Tensor, shift: Tensor):
        super().__init__()
        self.matrix, self.shift = matrix, shift
        self.theta = nn.Parameter(torch.zeros_like(shift))

    def forward(self, x: Tensor) -> Tensor:
        offset = self.theta - self.shift.to(self.theta)
        return (2 + offset @ self.matrix.to(self.theta) @ offset / 2).expand(len(x), 1)


def quadratic(dtype: torch.dtype, spectrum: Tensor | None = None):
    """A quadratic with known eigenvalues (largest at 3, then 7), its axes in rows, and its stationary point."""
    generator = torch.Generator().manual_seed(4)
    if spectrum is None:
        spectrum = torch.tensor([0.1, -1.5, 0.3, 4.0, 0.0, 1.0, -0.2, 2.5, 0.7, 1.9])
    spectrum = spectrum.double()
    size = len(spectrum)
    axes = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64)).Q.T
    shift = torch.randn(size, generator=generator, dtype=torch.float64)
    module = Quadratic(axes.T @ torch.diag(spectrum) @ axes, shift)
    data = (torch.zeros(3, 1, dtype=dtype), torch.zeros(3, 1))
    return Objective(module, "output", data, dtype=dtype), spectrum.numpy(), axes.numpy(), shift.to(dtype)


def functional_loss(objective: Objective, theta: Tensor, fixed) -> Tensor:
    """Cross entropy at θ by ``functional_call`` on a copy in eval mode, for derivatives of any order."""
    module = copy.deepcopy(objective.module).eval()
    names = [name for name, _ in module.named_parameters()]
    sizes = [parameter.numel() for parameter in module.parameters()]
    shapes = [parameter.shape for parameter in module.parameters()]
    parts = {n: p.view(s) for n, p, s in zip(names, theta.split(sizes), shapes, strict=True)}
    (x,), y = objective.samples
    return functional.cross_entropy(torch.func.functional_call(module, {**parts, **dict(fixed)}, (x,)), y)


def named(result) -> dict:
    """The checks of a result by name."""
    return {check.name: check for check in result.checks}


def killed_at(number: int):
    """A progress callback that is Ctrl-C at its so-and-so-many-th unit."""

    def progress(done: int, total: int, what: str) -> None:
        if done == number:
            raise KeyboardInterrupt

    return progress
