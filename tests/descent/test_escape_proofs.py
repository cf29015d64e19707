"""Every proof of an escape sees the fault that it is for: one number broken at a time."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from surfaces import surface
from torch import nn

import landscape
from landscape import Objective
from landscape.descent import escape as wing
from landscape.descent.escape_proofs import _curvature, largest_checks
from landscape.numerics import decades
from landscape.numerics.steps import kicks
from landscape.result import Result


def measured(noise: str = "sphere", max_steps: int = 2000) -> Result:
    objective = surface(lambda t: (t[0] ** 2 + t[1] ** 2 - t[2] ** 2) / 2, 3)
    return landscape.escape(
        objective,
        torch.zeros(3, dtype=torch.float64),
        noise=noise,
        amplitudes=(0.1, 0.01),
        num_seeds=3,
        drop=0.1,
        max_steps=max_steps,
    )


def failed(result: Result) -> set[str]:
    return {check.name for check in result.checks if not check.passed}


def test_losses_that_are_nan_in_places_and_tiny_curvatures_are_no_faults():
    start, few = (
        torch.tensor([1e-4, 0.5], dtype=torch.float64),
        {"num_seeds": 2, "max_steps": 20, "further": 2},
    )
    edge = surface(lambda t: (t[0].log() * 0.01 + t[1]).square(), 2)
    assert (
        failed(landscape.escape(edge, start, amplitudes=(1e-5, 1e-6), lr=1e-9, radius=1e-2, **few)) == set()
    )
    flat = surface(lambda t: 1 + 1e-9 * (t[0] ** 2 - t[1] ** 2), 2)
    assert failed(landscape.escape(flat, 0 * start, amplitudes=(0.1, 0.01), drop=1.0, **few)) == set()


@pytest.mark.parametrize("noise", ["none", "sphere", "ball", "gaussian", "sgd"])
def test_right_numbers_pass(noise):
    assert failed(measured(noise)) == set()


class Coarse(nn.Module):
    """A net that takes no float64."""

    def __init__(self, dtype):
        super().__init__()
        torch.manual_seed(0)
        self.net, self.dtype = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).to(dtype), dtype

    def forward(self, x):
        return self.net(x.to(self.dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_right_numbers_pass_where_the_module_takes_nothing_finer(dtype):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(26, 4, generator=generator), torch.randint(3, (26,), generator=generator)
    objective = Objective(Coarse(dtype), "cross_entropy", (x, y))
    about = {"num_seeds": 2, "amplitudes": (1e-2, 1e-3), "max_steps": 40, "further": 5, "directions": 10}
    assert failed(landscape.escape(objective, objective.theta, **about)) == set()
    found = landscape.critical(objective, [objective.theta], starts=2, max_steps=20)
    assert failed(found) == set()
    steps = {"step_sizes": (1e-3, 1e-2), "batch_sizes": (4,), "num_steps": 9, "num_seeds": 2}
    assert failed(landscape.noise(objective, objective.theta, num_probes=1, **steps)) == set()


def test_noise_outside_the_step_is_seen(monkeypatch):
    source = wing._of_a_law

    def outside(objective, asked, seeds):
        inner = source(objective, asked, seeds)
        return lambda *where: inner(*where) / asked.step_size

    monkeypatch.setattr(wing, "_of_a_law", outside)
    assert failed(measured()) == {"noisy step"}


@pytest.mark.parametrize("law", ["sphere", "ball", "gaussian"])
def test_the_noise_of_another_step_is_seen(monkeypatch, law):
    at = kicks.Kicks.at
    monkeypatch.setattr(kicks.Kicks, "at", lambda self, step: at(self, step + 1))
    assert "noisy step" in failed(measured(law))


def test_an_exit_that_is_told_a_step_early_is_seen(monkeypatch):
    said = wing._said

    def early(stack, watched):
        found = said(stack, watched)
        return {**found, "exits": found["entries"]}

    monkeypatch.setattr(wing, "_said", early)
    assert "exit step" in failed(measured())


def test_an_eigenvalue_that_is_a_hundredth_off_is_seen(monkeypatch):
    curvature_at = wing.curvature_at

    def off(*args):
        found = curvature_at(*args)
        return found._replace(smallest=1.01 * found.smallest)

    monkeypatch.setattr(wing, "curvature_at", off)
    assert failed(measured()) == {"lowest curvature"}


def test_a_share_of_the_directions_that_rise_is_seen(monkeypatch):
    share = wing.falling_share_of
    monkeypatch.setattr(wing, "falling_share_of", lambda values: 1 - share(values))
    assert failed(measured()) == {"falling share"}


def test_a_line_through_natural_logarithms_is_seen(monkeypatch):
    fit = decades.fit_decades

    def natural(amplitude, steps):
        found = fit(amplitude, steps)
        return found._replace(per_decade=found.per_decade / np.log(10))

    monkeypatch.setattr(decades, "fit_decades", natural)
    assert failed(measured()) == {"table"}


def test_kinks_beside_do_not_count():
    """Of 20000 samples and 400 units some kinks lie within 1e-6 of θ, in proportion; within 1e-8 hardly one."""
    generator = torch.Generator().manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 400), nn.ReLU(), nn.Linear(400, 1)).double()
    x = torch.randn(20000, 3, generator=generator, dtype=torch.float64)
    wide = Objective(module, "mse", (x, x.prod(1, keepdim=True)))
    theta = torch.randn(len(wide.theta), generator=generator, dtype=torch.float64)
    vector = torch.zeros_like(theta)
    vector[1200:1600] = 0.05  # the shifts of all units
    curvature = float(vector @ wide.hvp(theta, vector))
    bottom = SimpleNamespace(vectors=vector.numpy()[None], smallest=curvature, largest=abs(curvature))
    assert _curvature(wide, theta, bottom).passed  # pyright: ignore[reportArgumentType]
    wrong = SimpleNamespace(vectors=bottom.vectors, smallest=1.001 * curvature, largest=abs(curvature))
    assert not _curvature(wide, theta, wrong).passed  # pyright: ignore[reportArgumentType]


def test_terms_that_cancel_in_every_half_are_no_certainty():
    """At θ = 0 all classes are alike, and so they are in both halves of twelve samples: ∇F is 0 but for rounding."""
    x = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
    objective = Objective(nn.Linear(4, 3), "cross_entropy", (x - x.mean(0), torch.arange(12) % 3))
    start = torch.zeros_like(objective.theta)
    result = landscape.escape(objective, start, amplitudes=(0.1, 0.01), num_seeds=2, drop=0.1, max_steps=20)
    assert failed(result) == set()


def test_a_kink_beside_the_less_steep_point_is_not_taken_for_curvature_beyond_the_largest():
    relu = torch.relu
    objective = surface(lambda t: (t**2 + relu(t - 0.5) ** 2 + 5.8e-4 * relu(t - 5e-5)).sum(), 1)
    places = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)

    def values(stated: float, *largest: float) -> list[bool]:
        ends = [
            (at, SimpleNamespace(steepest=np.ones(1), largest=one))
            for at, one in zip(places, largest, strict=True)
        ]
        return [one.passed for one in largest_checks(objective, stated, ends)]

    assert values(4.0, 2.0, 4.0) == [True]
    assert values(2.0, 2.0, 4.0) == values(4.0, 2.1, 4.0) == values(4.1, 2.0, 4.1) == [False]
