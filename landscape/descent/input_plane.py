"""The plane of a module's two inputs: its outputs on a grid over the data, and the data themselves."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.objective.objective import Objective

GRID = 41
# As many samples as a picture has room for.
DRAWN = 1000


def axes(objective: Objective) -> tuple[np.ndarray, np.ndarray] | None:
    """Axes of a grid over the data, where these are points of the plane and the output is one number."""
    inputs, fixed = objective.samples[0], objective.present_point().fixed
    if (
        len(inputs) != 1
        or not isinstance(inputs[0], Tensor)
        or inputs[0].shape[1:] != (2,)
        or not inputs[0].is_floating_point()
    ):
        return None
    outputs = objective.outputs(objective.theta, fixed, (inputs[0][:1],))
    if not isinstance(outputs, Tensor) or outputs.numel() != 1:
        return None
    low, high = (end.cpu().numpy() for end in torch.aminmax(inputs[0], dim=0))
    return np.linspace(low[0], high[0], GRID), np.linspace(low[1], high[1], GRID)


def outputs(objective: Objective, theta: Tensor, axes: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The output of θ (d,) at the nodes of the grid, (GRID, GRID): rows by the second input."""
    x, y = (torch.from_numpy(axis).to(objective.device, objective.dtype) for axis in axes)
    points = torch.stack([x.repeat(GRID), y.repeat_interleave(GRID)], 1)
    with torch.no_grad():
        found = objective.outputs(theta, objective.present_point().fixed, (points,))
    return found.reshape(GRID, GRID).cpu().numpy()


def samples(objective: Objective) -> dict[str, Any]:
    """The first samples: ``sample`` (k,), ``sample_x``, ``sample_y`` and the first number of their targets."""
    (inputs,), targets = objective.samples
    x, y = inputs[:DRAWN].cpu().numpy().T
    target = targets[:DRAWN].reshape(len(x), -1)[:, 0].cpu().numpy()
    return {"sample": np.arange(len(x)), "sample_x": x, "sample_y": y, "sample_target": target}
