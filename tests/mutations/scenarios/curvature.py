"""Spectra, traces and sharpness."""

import tempfile
from pathlib import Path
from typing import Any

import torch
from mutations.scenarios.ground import TRAIN, mlp, problem, rows, scenario, trained
from torch import nn
from torch.nn import functional

import landscape
from landscape import Objective


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


@scenario
def sharpness_further() -> Any:
    """Along the gradient, on the test data too, and what rescalings leave; a net without biases is homogeneous."""

    def module() -> nn.Module:
        return nn.Sequential(nn.Linear(16, 8, bias=False), nn.ReLU(), nn.Linear(8, 10, bias=False))

    objective, test = problem(trained(module, 0, steps=5))
    return landscape.sharpness(
        objective,
        objective.present_point(),
        sigmas=(0.05,),
        num_draws=2,
        ascent_steps=1,
        rescaling="none",
        critical=True,
        fisher_rao=True,
        relative_flatness=True,
        test=test,
    )


@scenario
def sharpness_hooked() -> Any:
    """A hook on the ReLU keeps the function from what the structure shows."""
    module = trained(lambda: mlp(nn.ReLU), 0, steps=60)
    relu = next(layer for layer in module.modules() if isinstance(layer, nn.ReLU))
    relu.register_forward_hook(lambda layer, args, out: out + 1)
    objective, _ = problem(module)
    return landscape.sharpness(
        objective, objective.present_point(), sigmas=(0.01, 0.05), num_draws=4, ascent_steps=5
    )


@scenario
def sharpness_points() -> Any:
    """At two points side by side."""
    objective, _ = problem(trained(mlp, 0, steps=40))
    points = [landscape.Point(scale * objective.theta, {}, f"at {scale}") for scale in (0.9, 1.0)]
    return landscape.sharpness(
        objective, points, sigmas=(0.01, 0.05), num_draws=3, ascent_steps=3, rescaling="none"
    )


@scenario
def sharpness_moved() -> Any:
    """By all symmetries, and by each kind of them alone."""
    objective, _ = problem(trained(lambda: mlp(nn.ReLU), 0, steps=60))
    return landscape.sharpness(
        objective,
        objective.present_point(),
        sigmas=(0.01, 0.05),
        num_draws=3,
        ascent_steps=3,
        rescaling="all",
    )


@scenario
def hessian_preconditioned() -> Any:
    """As a method meets it that divides its steps by a diagonal."""
    objective, _ = problem(trained(mlp, 0, steps=40))
    divisor = torch.rand(objective.num_parameters, generator=torch.Generator().manual_seed(0)) + 0.5
    return landscape.hessian(
        objective,
        objective.present_point(),
        operator="preconditioned",
        preconditioners=[divisor],
        top_k=2,
        trace=True,
    )


@scenario
def compare() -> Any:
    """Two points of one net with rectified units, one of them nearer to zero."""
    objective, test = problem(trained(lambda: mlp(nn.ReLU), 0, steps=60))
    points = [objective.theta, 0.9 * objective.theta]
    return landscape.compare(
        objective, points, test=test, draws=2, num_points=5, noise_draws=3, ascent_steps=3, line_points=5
    )


@scenario
def hessian_subsets() -> Any:
    """On three parts of the samples."""
    module = trained(mlp, 0, steps=40)
    parts = [Objective(module, "cross_entropy", rows(67 * i, 67 * (i + 1))) for i in range(3)]
    return landscape.hessian(parts[0], parts[0].present_point(), others=parts[1:], top_k=2)


@scenario
def hessian_points() -> Any:
    """Between which the spaces turn."""
    objective, _ = problem(trained(mlp, 0, steps=40))
    other = objective.point(trained(mlp, 0, steps=20).state_dict(), "before")
    return landscape.hessian(objective, [objective.present_point(), other], top_k=2)


@scenario
def hessian_run() -> Any:
    """At every point of a run whose step size falls, as its file has them."""
    with tempfile.TemporaryDirectory() as folder:
        run, found = (Path(folder) / f"{name}.h5" for name in ("run", "found"))
        steps = {"epochs": 2, "lr": 0.1, "momentum": 0.9, "schedule": "exponential", "checkpoint_every": 1}
        landscape.measure(None, "train", output=run, model="mlp", data="digits", subset=100, **steps)
        return landscape.measure(run, "hessian", output=found, at="all", top_k=1)


@scenario
def hessian_adam() -> Any:
    """As Adam meets it at every point of a run."""
    with tempfile.TemporaryDirectory() as folder:
        run, found = (Path(folder) / f"{name}.h5" for name in ("run", "found"))
        steps = {"epochs": 2, "lr": 0.01, "optimizer": "adam", "checkpoint_every": 1}
        landscape.measure(
            None, "train", output=run, model="mlp", model_arg={"widths": 4}, data="digits", subset=60, **steps
        )
        return landscape.measure(run, "hessian", output=found, at="all", operator="preconditioned", top_k=1)


@scenario
def hessian_layers() -> Any:
    objective, _ = problem(trained(mlp, 0, steps=40))
    return landscape.hessian(objective, objective.present_point(), top_k=1, per_layer=True)


@scenario
def hessian_sampled() -> Any:
    """With a trace of random probes, not of all unit vectors."""
    return _hessian(problem(trained(mlp, 0, steps=40))[0], density=False, trace_error=0.2)
