"""The samples that a loss is taken over: checked once, before anything is measured."""

from typing import Any

import torch
from torch import Tensor

from landscape.errors import BadInput
from landscape.objective.fit import Fit


def checked_data(data: Any) -> tuple[tuple[Tensor, ...], Tensor]:
    """(inputs as a tuple of tensors, targets), as many of each and all finite. Raises BadInput."""
    try:
        inputs, targets = data
    except (TypeError, ValueError):
        raise BadInput(f"the data are a {type(data).__name__}", "a pair (inputs, targets)") from None
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    parts = [*(("inputs", part) for part in inputs), ("targets", targets)]
    for name, part in parts:
        if not isinstance(part, Tensor):
            raise BadInput(f"the {name} are a {type(part).__name__}", "torch tensors")
        if part.dim() == 0:
            raise BadInput(f"the {name} are a single number", "one entry per sample along axis 0")
    if not inputs or len(targets) == 0:
        raise BadInput("the data are empty", "at least one sample")
    for part in inputs:
        if len(part) != len(targets):
            raise BadInput(f"{len(part)} inputs and {len(targets)} targets", "as many of each")
    for name, part in parts:
        if part.is_floating_point() and not bool(torch.isfinite(part).all()):
            count = int((~torch.isfinite(part)).sum())
            raise BadInput(f"{count} NaN or infinite numbers in the {name}", "finite data")
    return inputs, targets


def check_cuts(fit: Fit, num_samples: int, chunk_size: int | None, num_processes: int) -> None:
    """Raises BadInput where the data cannot be cut into the chunks and shares asked for."""
    if num_samples < num_processes:
        raise BadInput(f"{num_samples} samples for {num_processes} processes", "a sample each or more")
    if fit.mixes_samples and (num_processes > 1 or (chunk_size or num_samples) < num_samples):
        raise BadInput(
            "the module computes a sample's output from the others of its chunk",
            "a module that takes each sample by itself in eval mode",
            "keep running statistics in batch norm, or let all samples be one chunk in one process",
        )
