"""A fault below the objective fails a check of every kind: losses off by a millionth, or by 1e-4 in float32."""

from collections.abc import Callable
from contextlib import contextmanager

import pytest
import torch
from torch import nn

import landscape
from landscape import Objective
from landscape.analyses import FUNCTIONS

FAULTS = {torch.float64: 1e-6, torch.float32: 1e-4}
X = torch.randn(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def net(dtype: torch.dtype, width: int = 4, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 2)).to(dtype)


def problem(dtype: torch.dtype, width: int = 4, seed: int = 0) -> Objective:
    return Objective(net(dtype, width, seed), "mse", (X.to(dtype), torch.sin(X[:, :2]).to(dtype)))


def minima(objective: Objective):
    build = lambda width, depth, seed: problem(objective.dtype, width, seed)  # noqa: E731
    return landscape.minima(build, widths=[2], restarts=[2], steps=5, max_steps=5)


def basins(objective: Objective):
    build = lambda width, depth, seed: problem(objective.dtype, width, seed)  # noqa: E731
    return landscape.basins(build, widths=[2], restarts=2, steps=5, curve_steps=0)


BUDGET = {"steps": 3, "num_points": 3, "batch_size": 8}
KINDS: dict[str, Callable] = {
    "train": lambda f: landscape.train(f, steps=4, batch_size=8),
    "import": lambda f: landscape.import_point(f, f.present_point()),
    "hessian": lambda f: landscape.hessian(f, f.theta, top_k=1),
    "sharpness": lambda f: landscape.sharpness(f, f.theta, num_draws=2, ascent_steps=1),
    "compare": lambda f: landscape.compare(
        f, [f.theta, -f.theta], draws=2, num_points=3, noise_draws=2, ascent_steps=1, line_points=3
    ),
    "certify": lambda f: landscape.certify(f, f.theta),
    "slice1d": lambda f: landscape.slice1d(f, f.theta, num_points=3),
    "slice2d": lambda f: landscape.slice2d(f, f.theta, num_points=3),
    "interpolate": lambda f: landscape.interpolate(f, f.theta, -f.theta, num_points=3),
    "align": lambda f: landscape.align(f, f.theta, problem(f.dtype, seed=1).theta),
    "merge": lambda f: landscape.merge(f, [f.theta, problem(f.dtype, seed=1).theta]),
    "connect": lambda f: landscape.connect(f, f.theta, -f.theta, **BUDGET),
    "modes": lambda f: landscape.modes(f, [f.theta, -f.theta, 2 * f.theta], **BUDGET),
    "noise": lambda f: landscape.noise(f, f.theta, step_sizes=[0.01], batch_sizes=[4], num_steps=40),
    "escape": lambda f: landscape.escape(f, f.theta, num_seeds=2, max_steps=20, directions=9),
    "minima": minima,
    "basins": basins,
    "critical": lambda f: landscape.critical(f, f.theta, begin="points", max_steps=5),
    "efficiency": lambda f: landscape.efficiency(
        f, [f.theta], sizes=[16], methods=["gd"], step_sizes=[0.1, 0.2]
    ),
}


def off(monkeypatch, by: float) -> None:
    """Values and gradients of F, over all of the data, too large by one in so many."""
    sums, summed = Objective._sums, Objective._summed

    def wrong(self, theta, fixed):
        return sums(self, theta, fixed) * (1 + by)

    def both(self, theta, fixed):
        value, slope = summed(self, theta, fixed)
        return value * (1 + by), slope * (1 + by)

    monkeypatch.setattr(Objective, "_sums", wrong)
    monkeypatch.setattr(Objective, "_summed", both)


def test_every_kind_is_here():
    assert KINDS.keys() == FUNCTIONS.keys()


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("dtype", FAULTS, ids=["float64", "float32"])
def test_a_fault_below_the_objective_fails_every_kind(monkeypatch, kind, dtype):
    off(monkeypatch, FAULTS[dtype])
    result = KINDS[kind](problem(dtype))
    assert [check.name for check in result.checks if not check.passed]


class Counting(nn.Module):
    """Has a buffer that each call raises, in eval mode too."""

    def __init__(self):
        super().__init__()
        self.inside = net(torch.float64)
        self.register_buffer("calls", torch.zeros((), dtype=torch.float64))

    def forward(self, x):
        self.calls.add_(1)
        return self.inside(x)


@pytest.mark.parametrize("kind", ["slice1d", "slice2d", "hessian", "import"])
def test_points_that_an_analysis_moves_fail_module_untouched(monkeypatch, kind):
    def with_the_point_itself(self, theta, fixed, inputs, training=False):
        return kept(self, theta, fixed, inputs, True) if training else moving(self, theta, fixed, inputs)

    @contextmanager
    def moving(self, theta, fixed, inputs):
        with self.standing(theta, fixed):
            yield self.module(*inputs)

    def failed() -> bool:
        f = Objective(Counting(), "mse", (X, torch.sin(X[:, :2])))
        point = f.present_point()
        analyse = {
            "slice1d": lambda: landscape.slice1d(f, point, num_points=3),
            "slice2d": lambda: landscape.slice2d(f, point, num_points=3),
            "hessian": lambda: landscape.hessian(f, point, top_k=1),
            "import": lambda: landscape.import_point(f, point),
        }[kind]
        return any(one.name == "module untouched" and not one.passed for one in analyse().checks)

    assert not failed()
    kept = Objective.passed
    monkeypatch.setattr(Objective, "passed", with_the_point_itself)
    assert failed()
