"""Small analyses of every kind, as a user would ask for them: whether their own checks see a fault in the library.

``python -m mutations.scenarios NAME …`` prints as JSON, by name, the status of each, the checks that failed, every
number as text, or the refusal.
"""

import copy
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

import landscape
from landscape import Objective, Point
from landscape.errors import LandscapeError

SCENARIOS: dict[str, Callable[[], Any]] = {}


def scenario(function: Callable[[], Any]) -> Callable[[], Any]:
    SCENARIOS[function.__name__] = function
    return function


# --- data and modules -----------------------------------------------------------------------


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


# --- train ----------------------------------------------------------------------------------


def _train(module: nn.Module | None = None, data: dict[str, Any] | None = None, **options: Any) -> Any:
    objective, test = problem(module or trained(mlp, 0, steps=2), **(data or {}))
    usual = {"epochs": 4, "batch_size": 32, "lr": 0.2, "momentum": 0.9, "seed": 3, "test": test}
    return landscape.train(objective, **{**usual, **options})


@scenario
def train() -> Any:
    return _train(schedule="exponential", schedule_arguments={"every": 3}, checkpoint_every=1)


@scenario
def train_bn() -> Any:
    return _train(trained(normed, 0, steps=2))


@scenario
def train_l2() -> Any:
    return _train(data={"l2": 0.01})


@scenario
def train_chunk() -> Any:
    return _train(data={"chunk_size": 50})


@scenario
def train_adam() -> Any:
    return _train(optimizer="adam", lr=0.01, momentum=0.0)


@scenario
def train_plain() -> Any:
    return _train(method="gd", epochs=None, steps=20, momentum=0.0, schedule="polynomial", lr=0.5)


@scenario
def train_uniform() -> Any:
    return _train(sampling="uniform", nesterov=True)


@scenario
def train_resumed() -> Any:
    """Stopped after seven steps, with its state kept at each, and gone on."""
    journal: dict[str, Any] = {}
    with patch("landscape.progress.SAVE_SECONDS", -1.0):
        with suppress(KeyboardInterrupt):
            _train(journal=journal, progress=_stopping(7))
        return _train(journal=journal)


@scenario
def train_saved() -> Any:
    """As it comes back from its file."""
    result = _train(data={"dtype": torch.float64})
    with tempfile.TemporaryDirectory() as folder:
        result.save(Path(folder) / "run.h5")
        return landscape.load(Path(folder) / "run.h5")


def _stopping(number: int) -> Callable[[int, int, str], None]:
    def progress(done: int, total: int, what: str) -> None:
        if done == number:
            raise KeyboardInterrupt

    return progress


# --- slices and lines -----------------------------------------------------------------------


@scenario
def slice1d() -> Any:
    objective, test = problem(trained(mlp, 0))
    return landscape.slice1d(objective, objective.present_point(), test=test, num_points=11, draws=2)


@scenario
def slice2d() -> Any:
    objective, test = problem(trained(mlp, 0))
    return landscape.slice2d(objective, objective.present_point(), test=test, num_points=7, draws=3)


@scenario
def slice2d_layer() -> Any:
    objective, _ = problem(trained(mlp, 0), l2=0.01, chunk_size=64)
    return landscape.slice2d(
        objective, objective.present_point(), num_points=5, norm="layer", ignore=(), orthogonal=True
    )


@scenario
def slice2d_blocks() -> Any:
    """In two blocks, as a large net has them, θ* in the first."""
    objective, _ = problem(trained(mlp, 0))
    with patch("landscape.objective.sweep.BLOCK_POINTS", 30):
        return landscape.slice2d(objective, objective.present_point(), num_points=7)


@scenario
def slice2d_bn() -> Any:
    objective, _ = problem(trained(normed, 0), chunk_size=60)
    return landscape.slice2d(objective, objective.present_point(), num_points=5, batchnorm="recalibrate")


@scenario
def slice2d_conv() -> Any:
    objective, _ = problem(trained(convolutional, 0, steps=20, images=True), images=True)
    return landscape.slice2d(objective, objective.present_point(), num_points=5)


@scenario
def slice2d_counting() -> Any:
    objective, _ = problem(trained(Counting, 0, steps=20))
    return landscape.slice2d(objective, objective.present_point(), num_points=5)


def _trajectory(objective: Objective) -> list[Point]:
    return [
        objective.point(trained(mlp, 0, steps=k).state_dict(), f"step={k}") for k in (0, 20, 60, 100, 150)
    ]


@scenario
def slice2d_pca() -> Any:
    objective, _ = problem(trained(mlp, 0))
    return landscape.slice2d(
        objective,
        objective.present_point(),
        directions="pca",
        trajectory=_trajectory(objective),
        show_trajectory=True,
        num_points=7,
    )


@scenario
def slice2d_plane() -> Any:
    objective, _, a, b = two(mlp)
    c = objective.point(trained(mlp, 2).state_dict(), "C")
    return landscape.slice2d(objective, [a, b, c], num_points=7)


@scenario
def slice2d_eigen() -> Any:
    objective, _ = problem(trained(mlp, 0))
    return landscape.slice2d(objective, objective.present_point(), directions="eigen", num_points=5)


@scenario
def interpolate() -> Any:
    objective, test, a, b = two(mlp)
    return landscape.interpolate(objective, a, b, test=test, num_points=10)


@scenario
def interpolate_frozen() -> Any:
    objective, test, a, b = two(normed)
    return landscape.interpolate(objective, a, b, test=test, num_points=11)


@scenario
def interpolate_recalibrated() -> Any:
    objective, test, a, b = two(normed, chunk_size=60)
    return landscape.interpolate(objective, a, b, test=test, num_points=11, batchnorm="recalibrate")


@scenario
def interpolate_repaired() -> Any:
    objective, _, a, b = two(lambda: mlp(nn.ReLU))
    return landscape.interpolate(objective, a, b, num_points=11, batchnorm="repair")


# --- curves and symmetries ------------------------------------------------------------------


def _connect(objective: Objective, a: Point, b: Point, **options: Any) -> Any:
    usual = {"epochs": 6, "batch_size": 42, "lr": 0.1, "num_points": 9, "tolerance": 1e-2, "seed": 1}
    return landscape.connect(objective, a, b, **{**usual, **options})


@scenario
def connect() -> Any:
    objective, test, a, b = two(mlp)
    return _connect(objective, a, b, test=test, restarts=2)


@scenario
def connect_bends() -> Any:
    objective, _, a, b = two(mlp)
    return _connect(objective, a, b, bends=2)


@scenario
def connect_bn() -> Any:
    objective, _, a, b = two(normed)
    return _connect(objective, a, b, plane=True, plane_points=5)


@scenario
def connect_l2() -> Any:
    objective, _, a, b = two(mlp, l2=0.01)
    return _connect(objective, a, b)


@scenario
def connect_neb() -> Any:
    objective, _, a, b = two(mlp)
    return _connect(objective, a, b, method="neb", bends=3)


@scenario
def connect_diverging() -> Any:
    """Its second pass is not finite."""
    objective, _, a, b = two(lambda: mlp(nn.ReLU))
    return _connect(objective, a, b, schedule="piecewise", schedule_arguments={"gamma": 1e12}, epochs=4)


@scenario
def align() -> Any:
    objective, _, a, b = two(mlp)
    return landscape.align(objective, a, b, num_points=9)


@scenario
def align_rescaled() -> Any:
    objective, _, a, b = two(lambda: mlp(nn.ReLU))
    return landscape.align(objective, a, b, num_points=9, rescale=True)


@scenario
def align_refined() -> Any:
    objective, _, a, b = two(lambda: mlp(nn.ReLU), steps=20)
    return landscape.align(objective, a, b, num_points=9, refine=20)


# --- curvature ------------------------------------------------------------------------------


def _hessian(objective: Objective, **options: Any) -> Any:
    usual = {"top_k": 5, "bottom_k": 2, "trace": True, "density": True, "num_probes": 3}
    return landscape.hessian(objective, objective.present_point(), **{**usual, **options})


def regression(**options: Any) -> Objective:
    """A linear model with square loss and three outputs."""
    inputs, labels = rows(*TRAIN)
    wanted = functional.one_hot(labels, 10)[:, :3].double()
    module = nn.Sequential(nn.Linear(16, 3, bias=False)).double()
    nn.init.constant_(module[0].weight, 0.1)
    return Objective(module, "mse", (inputs.double(), wanted), **options)


@scenario
def hessian() -> Any:
    return _hessian(problem(trained(mlp, 0, steps=40))[0], num_steps=20)


@scenario
def hessian_exact() -> Any:
    return _hessian(problem(trained(mlp, 0, steps=40))[0], num_steps=20, exact=True)


@scenario
def hessian_l2() -> Any:
    return _hessian(problem(trained(mlp, 0, steps=40), l2=0.05)[0], num_steps=10)


@scenario
def hessian_chunk() -> Any:
    return _hessian(problem(trained(mlp, 0, steps=40), chunk_size=50)[0], num_steps=10)


@scenario
def hessian_restarted() -> Any:
    """With room for a basis of few vectors, restarted many times."""
    objective = regression(chunk_size=201)
    room = 9 * 8 * objective.num_parameters
    options = {"trace": False, "density": False, "search": False, "memory_limit": room}
    return _hessian(objective, top_k=2, bottom_k=3, **options)


@scenario
def hessian_copies() -> Any:
    """Every eigenvalue is there once for each output."""
    return _hessian(regression(), top_k=4, bottom_k=0, num_steps=10, exact=True)


@scenario
def hessian_magnitude() -> Any:
    objective, _ = problem(trained(mlp, 0, steps=5))
    return _hessian(objective, which="magnitude", bottom_k=0, trace=False, density=False)


@scenario
def hessian_fisher() -> Any:
    objective, _ = problem(trained(mlp, 0, steps=40))
    return _hessian(objective, operator="empirical-fisher", density=False)


@scenario
def hessian_split() -> Any:
    objective, _ = problem(trained(mlp, 0, steps=40))
    return _hessian(objective, split=True, trace=False, density=False)


@scenario
def sharpness() -> Any:
    objective, _ = problem(trained(lambda: mlp(nn.ReLU), 0, steps=60))
    return landscape.sharpness(
        objective, objective.present_point(), sigmas=(0.01, 0.05), num_draws=4, ascent_steps=5
    )


# --- many descents --------------------------------------------------------------------------


def half_moons(count: int = 60) -> tuple[Tensor, Tensor]:
    """Two noisy half circles in the plane, and their labels (n, 1)."""
    draws = np.random.default_rng(0)
    angle, label = draws.uniform(0, np.pi, count), np.arange(count) % 2
    sign = 1 - 2 * label
    points = np.stack([np.cos(angle) * sign + label, np.sin(angle) * sign + 0.5 * label], 1)
    noisy = points + draws.normal(0, 0.2, points.shape)
    return torch.from_numpy(noisy), torch.from_numpy(label.astype(float))[:, None]


def circle_net(width: int, depth: int, seed: int, loss: str = "bce") -> Objective:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for size in [2] + [width] * (depth - 1):
            layers += [nn.Linear(size, width), nn.Tanh()]
        module = nn.Sequential(*layers, nn.Linear(width, 1)).double()
    return Objective(module, loss, half_moons())


@scenario
def noise() -> Any:
    objective = circle_net(4, 1, 0)
    return landscape.noise(
        objective,
        objective.present_point(),
        step_sizes=(0.02, 0.05, 0.1),
        batch_sizes=(1, 4),
        num_steps=60,
        num_seeds=3,
        measure_every=10,
        num_probes=2,
    )


@scenario
def noise_at_random() -> Any:
    objective = circle_net(4, 1, 0)
    return landscape.noise(
        objective,
        objective.present_point(),
        step_sizes=(0.02, 0.05, 0.1),
        batch_sizes=(1, 4),
        num_steps=60,
        num_seeds=2,
        num_probes=2,
        descent_steps=20,
    )


def _minima(loss: str = "bce", **options: Any) -> Any:
    usual = {"widths": (1, 2), "restarts": (4,), "lr": (0.3,), "steps": 150, "max_steps": 250}
    return landscape.minima(
        lambda width, depth, seed: circle_net(width, depth, seed, loss), **{**usual, **options}
    )


@scenario
def minima() -> Any:
    return _minima()


@scenario
def minima_polished() -> Any:
    return _minima("mse", polish=True)


class Flat(nn.Module):
    """2u² + v²/2 − 1e-12 w²: an eigenvalue that is twenty times its error, and no more."""

    def __init__(self, seed: int):
        super().__init__()
        self.place = nn.Parameter(torch.tensor([0.1 * seed, -0.1, 0.2], dtype=torch.float64))
        self.register_buffer("bends", torch.tensor([2.0, 0.5, -1e-12], dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return (self.bends * self.place.square()).sum() + 0 * x


@scenario
def minima_flat() -> Any:
    data = (torch.zeros(3, 1, dtype=torch.float64), torch.zeros(3, 1))
    return landscape.minima(
        lambda width, depth, seed: Objective(Flat(seed), "output", data),
        widths=(1,),
        restarts=(2,),
        lr=(0.2,),
        steps=400,
        max_steps=400,
    )


@scenario
def efficiency() -> Any:
    objective = circle_net(3, 1, 0)
    other = objective.point(copy.deepcopy(circle_net(3, 1, 1).module).state_dict(), "other")
    return landscape.efficiency(
        objective,
        [objective.present_point(), other],
        sizes=(30, 60),
        step_sizes=(1e308, 0.5, 0.1),  # of the first nothing is left
        batch_size=7,
        observations_per_sample=4,
        num_records=4,
    )


# --- what they say --------------------------------------------------------------------------


def said(name: str) -> dict[str, Any]:
    """Status, the checks that failed, and every number, or the refusal."""
    try:
        result = SCENARIOS[name]()
    except LandscapeError as error:
        return {"status": "refused", "failed": [], "refused": str(error), "numbers": {}}
    except Exception as error:  # a fault may break anything, and that is seen as well
        return {"status": "raised", "failed": [], "refused": repr(error), "numbers": {}}
    numbers = {one: repr(value) for one, value in result.scalars().items()}
    numbers |= {one.name: _digest(one.values) for one in result.arrays()}
    numbers |= {
        f"{label} {one}": _digest(value)
        for label, state in result.states.items()
        for one, value in state.items()
    }
    failed = {check.name: [check.value, check.bound] for check in result.checks if not check.passed}
    checks = [check.name for check in result.checks]
    return {"status": result.status, "failed": failed, "refused": "", "numbers": numbers, "checks": checks}


def _digest(values: Any) -> str:
    values = np.asarray(values)
    text = str(values.tolist()) if values.dtype.hasobject else values.tobytes()
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()[:12]


if __name__ == "__main__":
    torch.set_num_threads(1)
    # On a line of its own: libraries of linear algebra print their complaints.
    print(f"\n{json.dumps({name: said(name) for name in sys.argv[1:] or SCENARIOS})}")
