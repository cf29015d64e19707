"""The same objective in float64, where rounding has to be ruled out."""

import torch

from landscape.errors import BadInput
from landscape.objective.objective import Objective


def in_float64(objective: Objective, few: int | None = None) -> Objective:
    """``objective`` in float64, of all its samples or the first ``few``; on the CPU where the device has no float64.

    In its own dtypes where the module takes no others, as one that calls ``.float()`` on what it is given.
    """
    data = objective.samples if few is None else objective.samples.few(few)
    device = "cpu" if objective.device.type == "mps" else None
    try:
        return objective.varied(data=data, dtype=torch.float64, device=device, is_part=device is None)
    except BadInput:
        return objective.on(data)


def required_in_float64(objective: Objective, what: str) -> Objective:
    """``objective`` with θ in float64, without which there is no ``what``. Raises BadInput."""
    wide = in_float64(objective)
    if wide.dtype != torch.float64:
        raise BadInput(
            f"{what} of {type(wide.module).__name__}, which does not take float64",
            "a module that does",
            "write `x.to(weight.dtype)` in the place of `x.float()`",
        )
    return wide


def told(wide: Objective) -> list[str]:
    """What a reader should know of numbers that :func:`in_float64` was to be for, where it is not in float64."""
    if wide.is_double:
        return []
    dtype = str(wide.coarsest).removeprefix("torch.")
    return [
        f"in {dtype}, not in float64, which {type(wide.module).__name__} does not take "
        "(`x.to(weight.dtype)` in the place of `x.float()` would)"
    ]
