"""Weights that a run begins with: a checkpoint from elsewhere, or a point saved without saying of what module."""

import json
from pathlib import Path

import torch
from torch import Tensor

from landscape.inputs import checkpoints
from landscape.runs import store


def weights(path: Path, *, verify: bool = True) -> dict[str, Tensor]:
    """The tensors of a checkpoint, or of the last point in a file that was saved from Python. Raises BadInput."""
    if not is_bare(path, verify):
        return checkpoints.read(path)
    labels = store.point_labels(path, verify=False)
    state = store.read_state(path, labels[-1], verify=False) if labels else {}
    return {name: torch.from_numpy(values) for name, values in state.items()} or checkpoints.read(path)


def dtype_of(path: Path) -> str:
    """The dtype that F had where a point was saved from Python: float64 or float32, which is that of all else too."""
    if not is_bare(path, False):
        return "float32"
    found = {tensor.dtype for tensor in weights(path, verify=False).values() if tensor.is_floating_point()}
    return "float64" if torch.float64 in found else "float32"


def is_bare(path: Path, verify: bool) -> bool:
    """Whether a file is one of our results that holds no recipe."""
    return store.is_ours(path) and "recipe" not in json.loads(store.header(path, verify=verify)["config"])
