"""The same objective and point in float64, where rounding has to be ruled out."""

import torch
from torch import Tensor

from landscape.objective.objective import Objective
from landscape.objective.parameters import Point


def in_float64(objective: Objective, few: int | None = None) -> Objective:
    """``objective`` in float64, of all its samples or the first ``few``; on the CPU where the device has no float64."""
    data = objective.samples if few is None else objective.samples.few(few)
    device = "cpu" if objective.device.type == "mps" else None
    return objective.varied(data=data, dtype=torch.float64, device=device)


def widened(point: Point, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
    """θ and what stands beside it, in float64 on ``device``."""
    fixed = {n: t.to(device, torch.float64) if t.is_floating_point() else t for n, t in point.fixed.items()}
    return point.theta.to(device, torch.float64), fixed
