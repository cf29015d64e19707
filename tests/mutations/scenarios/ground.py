"""The data and modules of small analyses, and the table of these by name."""

from collections.abc import Callable
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from landscape import Objective, Point

SCENARIOS: dict[str, Callable[[], Any]] = {}


def scenario(function: Callable[[], Any]) -> Callable[[], Any]:
    SCENARIOS[function.__name__] = function
    return function


def digits(start: int, stop: int) -> tuple[Tensor, Tensor]:
    """Digits of 4 × 4 pixels, (n, 1, 4, 4) float32, and their labels."""
    images, labels = load_digits(return_X_y=True)
    pixels = torch.from_numpy(images[start:stop] / 16).float().view(-1, 1, 8, 8)
    return functional.avg_pool2d(pixels, 2), torch.from_numpy(labels[start:stop])


def rows(start: int, stop: int) -> tuple[Tensor, Tensor]:
    images, labels = digits(start, stop)
    return images.flatten(1), labels


TRAIN, TEST = (0, 201), (201, 302)


def mlp(activation: type[nn.Module] = nn.Tanh) -> nn.Module:
    return nn.Sequential(nn.Linear(16, 8), activation(), nn.Linear(8, 6), activation(), nn.Linear(6, 10))


def normed() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 10))


def convolutional() -> nn.Module:
    """Filters along axis 0 and along axis 1, and a scale and shift that rest."""
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.ConvTranspose2d(3, 4, 2, stride=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 10),
    )


class Counting(nn.Module):
    """Has a buffer that each call raises, in eval mode too."""

    def __init__(self):
        super().__init__()
        self.inside = mlp()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls.add_(1)
        return self.inside(x)


def trained(build: Callable[[], nn.Module], seed: int, steps: int = 150, images: bool = False) -> nn.Module:
    """A module after plain gradient descent, its layers' names in no alphabetical order."""
    x, y = (digits if images else rows)(*TRAIN)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build().train()
    optimiser = torch.optim.SGD(module.parameters(), lr=0.3, momentum=0.9)
    for _ in range(steps):
        optimiser.zero_grad()
        functional.cross_entropy(module(x), y).backward()
        optimiser.step()
    return module.eval()


def problem(module: nn.Module, images: bool = False, **options: Any) -> tuple[Objective, Objective]:
    objective = Objective(module, "cross_entropy", (digits if images else rows)(*TRAIN), **options)
    return objective, objective.on((digits if images else rows)(*TEST))


def two(
    build: Callable[[], nn.Module], steps: int = 150, **options: Any
) -> tuple[Objective, Objective, Point, Point]:
    """An objective, the same on the test set, and two trained points."""
    first, second = trained(build, 0, steps), trained(build, 1, steps)
    objective, test = problem(first, **options)
    return objective, test, objective.present_point("A"), objective.point(second.state_dict(), "B")
