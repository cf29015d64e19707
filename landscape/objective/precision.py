"""The same objective in float64, where rounding has to be ruled out."""

import torch

from landscape.errors import BadInput
from landscape.objective.objective import Objective


def in_float64(objective: Objective, few: int | None = None) -> Objective:
    """``objective`` in float64, of all its samples or the first ``few``; on the CPU where the device has no float64.

    In its own dtypes where several meet in the module, and it takes no others.
    """
    data = objective.samples if few is None else objective.samples.few(few)
    device = "cpu" if objective.device.type == "mps" else None
    try:
        return objective.varied(data=data, dtype=torch.float64, device=device, is_part=device is None)
    except BadInput:
        if not objective.is_mixed:
            raise
        return objective.on(data)
