"""What the tests of certificates share: the theory's small problems, and others of the same kinds."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from landscape import Objective


def exact(*rows) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


K_X = exact((1, 0), (0, 1), (1, 1), (2, -1))
K_Y = exact(1, 0, -1, 2)[:, None]
K_W = exact((1, 1), (1, -2), (-1, 2), (2, 1), (-1, -1))
K_V = exact((1, -1, 2, 1, 1))
# Columns are samples in the theory, rows here.
BH_X = exact((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1))
BH_Y = exact((3, 0, 1), (0, 2, 0), (0, 0, 1), (1, -1, 0))


class Functions(nn.Module):
    """max(0, x Wᵀ) v with parameters of its own and no layer."""

    def __init__(self, w: Tensor, v: Tensor):
        super().__init__()
        self.w, self.v = nn.Parameter(w.clone()), nn.Parameter(v.clone())

    def forward(self, x: Tensor) -> Tensor:
        return (torch.relu(x @ self.w.T) @ self.v)[:, None]


class Sum(Functions):
    """The same as a sum over units."""

    def forward(self, x: Tensor) -> Tensor:
        return (self.v * torch.relu(torch.nn.functional.linear(x, self.w))).sum(1, keepdim=True)


def chain(weights: list[Tensor], activation=None, biases: list[Tensor] | None = None) -> nn.Sequential:
    """Layers of given weights, an activation between them."""
    layers: list[nn.Module] = []
    for number, weight in enumerate(weights):
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=biases is not None).double()
        with torch.no_grad():
            layer.weight.copy_(weight)
            if biases is not None:
                layer.bias.copy_(biases[number])
        layers.append(layer)
        if activation is not None and number < len(weights) - 1:
            layers.append(activation())
    return nn.Sequential(*layers)


def kernel_net(form: str = "layers") -> Objective:
    """The two-layer ReLU net of the theory's kernel."""
    if form == "layers":
        module: nn.Module = chain([K_W, K_V], nn.ReLU)
    else:
        module = (Functions if form == "functions" else Sum)(K_W, K_V[0])
    return Objective(module, "mse", (K_X, K_Y))


def two_layer(inputs, hidden, outputs, samples, biases, activation, seed: int = 0, loss="mse") -> Objective:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = nn.Sequential(
            nn.Linear(inputs, hidden, bias=biases[0]), activation, nn.Linear(hidden, outputs, bias=biases[1])
        ).double()
    targets = draw(samples, outputs, seed=seed + 1)
    return Objective(module, loss, (draw(samples, inputs, seed=seed + 2), targets))


def linear_objective(x: Tensor, y: Tensor, widths, *, bias: bool = False, seed: int = 0) -> Objective:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [nn.Linear(a, b, bias=bias) for a, b in pairwise(widths)]
        return Objective(nn.Sequential(*layers).double(), "mse", (x, y))


def weighted(x: Tensor, y: Tensor, weights: list[Tensor], activation=None) -> Objective:
    return Objective(chain(weights, activation), "mse", (x, y))
