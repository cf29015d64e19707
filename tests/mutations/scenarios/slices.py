"""Slices and straight lines."""

from typing import Any
from unittest.mock import patch

from mutations.scenarios.ground import Counting, convolutional, mlp, normed, problem, scenario, trained, two
from torch import nn

import landscape
from landscape import Objective, Point
from landscape.objective.trajectory import Trajectory


@scenario
def slice1d() -> Any:
    objective, test = problem(trained(mlp, 0))
    return landscape.slice1d(objective, objective.present_point(), test=test, num_points=11, draws=2)


@scenario
def slice1d_smooth() -> Any:
    objective, _ = problem(trained(mlp, 0, steps=20))
    return landscape.slice1d(objective, objective.present_point(), num_points=3, smooth=0.3)


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
def slice2d_runs() -> Any:
    """Two runs, and a point of a third."""
    objective, _ = problem(trained(mlp, 0))
    second = [objective.point(trained(mlp, 1, steps=k).state_dict(), f"B {k}") for k in (0, 30, 60)]
    return landscape.slice2d(
        objective,
        [objective.present_point(), second[-1]],
        directions="pca",
        trajectories=lambda: [Trajectory(_trajectory(objective), "A"), Trajectory(second, "B")],
        marks=[objective.point(trained(mlp, 2, steps=20).state_dict(), "C")],
        show_trajectory=True,
        num_points=5,
    )


@scenario
def slice2d_block() -> Any:
    objective, _ = problem(trained(mlp, 0))
    return landscape.slice2d(objective, objective.present_point(), block="2", num_points=5)


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


@scenario
def slice2d_curvature() -> Any:
    objective, _ = problem(trained(mlp, 0, steps=20))
    return landscape.slice2d(objective, objective.present_point(), num_points=3, curvature=True)
