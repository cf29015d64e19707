"""Curves and alignments."""

from typing import Any

from mutations.scenarios.ground import mlp, normed, scenario, trained, two
from torch import nn

import landscape
from landscape import Objective, Point


def _connect(objective: Objective, a: Point, b: Point, **options: Any) -> Any:
    usual = {"epochs": 6, "batch_size": 42, "lr": 0.1, "num_points": 9, "tolerance": 1e-2, "seed": 1}
    return landscape.connect(objective, a, b, **{**usual, **options})


@scenario
def connect() -> Any:
    objective, test, a, b = two(mlp)
    return _connect(objective, a, b, test=test, restarts=2)


@scenario
def connect_aligned() -> Any:
    objective, _, a, b = two(mlp)
    return _connect(objective, a, b, align=True, epochs=2)


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
def align_all() -> Any:
    """By all symmetries, the signs of odd units among them."""
    objective, _, a, b = two(mlp)
    return landscape.align(objective, a, b, num_points=5, match="activations", symmetry="all")


@scenario
def align_rescaled() -> Any:
    objective, _, a, b = two(lambda: mlp(nn.ReLU))
    return landscape.align(objective, a, b, num_points=9, symmetry="scaling")


@scenario
def align_refined() -> Any:
    objective, _, a, b = two(lambda: mlp(nn.ReLU), steps=20)
    return landscape.align(objective, a, b, num_points=9, refine=20)


@scenario
def merge() -> Any:
    objective, test, a, b = two(mlp)
    points = [a, b, objective.point(trained(mlp, 2).state_dict(), "C")]
    return landscape.merge(objective, points, test=test, restarts=1)


@scenario
def merge_normed() -> Any:
    """Whose statistics are the mean of all."""
    objective, _, a, b = two(normed)
    return landscape.merge(objective, [a, b], restarts=1, batchnorm="frozen")


@scenario
def modes() -> Any:
    objective, _, a, b = two(mlp)
    points = [a, b, objective.point(trained(mlp, 2).state_dict(), "C")]
    return landscape.modes(
        objective, points, align=True, epochs=3, batch_size=42, num_points=9, tolerance=1e-2
    )
