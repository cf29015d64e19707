"""The data of the toy surfaces: one sample, or the few that were typed."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from landscape.inputs.data.dataset import DataSet, data_set


def point(x: float | Sequence[Any] = 1.0, y: float | Sequence[Any] = 1.0) -> DataSet:
    """The samples (x, y), for regression: inputs (n, 1) and targets (n, 1); n = 1 for numbers.

    Each sample may be several numbers: rows (n, k). Raises BadInput where ``x`` and ``y`` are not as many.
    """
    inputs, targets = (_rows(torch.tensor(value, dtype=torch.float64)) for value in (x, y))
    return data_set("point", inputs, targets, task="regression")


def _rows(values: Tensor) -> Tensor:
    return values if values.dim() == 2 else values.reshape(-1, 1)
