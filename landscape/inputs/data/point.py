"""The data of the toy surfaces: one sample, or the few that were typed."""

from collections.abc import Sequence

import torch

from landscape.inputs.data.dataset import DataSet, data_set


def point(x: float | Sequence[float] = 1.0, y: float | Sequence[float] = 1.0) -> DataSet:
    """The samples (x, y), for regression: inputs (n, 1) and targets (n, 1); n = 1 for numbers.

    Raises BadInput where ``x`` and ``y`` are not as many.
    """
    inputs, targets = (torch.tensor(value, dtype=torch.float64).reshape(-1, 1) for value in (x, y))
    return data_set("point", inputs, targets)
