"""The same objective and point in float64, where rounding has to be ruled out."""

import torch
from torch import Tensor

from landscape.objective.objective import Objective
from landscape.objective.parameters import Point


def in_float64(objective: Objective, few: slice | None = None) -> Objective:
    """``objective`` in float64, of all its samples or ``few``; on the CPU where the device has no float64."""
    inputs, targets = objective.samples
    part = slice(None) if few is None else few
    data = tuple(one[part] for one in inputs), targets[part]
    device = "cpu" if objective.device.type == "mps" else None
    return objective.varied(data=data, dtype=torch.float64, device=device)


def widened(point: Point, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
    """θ and what stands beside it, in float64 on ``device``."""
    fixed = {n: t.to(device, torch.float64) if t.is_floating_point() else t for n, t in point.fixed.items()}
    return point.theta.to(device, torch.float64), fixed
