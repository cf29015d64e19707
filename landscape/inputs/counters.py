"""When a checkpoint was saved, as it says of itself: epoch and step, as training scripts put them beside weights."""

import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from landscape.inputs.checkpoints.harmless import HARMLESS

# By unit, what training scripts call it.
CALLED = {"epoch": ("epoch", "epochs"), "step": ("global_step", "step", "iteration", "iter", "iterations")}


def counters(path: Path) -> dict[str, int]:
    """``{"epoch": 3, "step": 1200}``, as far as a pickle of torch or the metadata of a ``.safetensors`` say so.

    Only whole numbers count. Nothing of the file is run, and its weights stay on the disk where they can; of a file
    that cannot be read nothing is said here, as reading its weights will.
    """
    try:
        found = _beside(path) or (_metadata(path) if path.suffix == ".safetensors" else _pickled(path))
    except Exception:
        return {}
    if not isinstance(found, Mapping):
        return {}
    said = {
        unit: [number for name in names if (number := _whole(found.get(name))) is not None]
        for unit, names in CALLED.items()
    }
    return {unit: numbers[0] for unit, numbers in said.items() if numbers}


def _pickled(path: Path) -> Any:
    # What stands beside the numbers must not hide them.
    with warnings.catch_warnings(), torch.serialization.safe_globals(HARMLESS):
        warnings.simplefilter("ignore")
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except (RuntimeError, ValueError):
            # The format of old, which cannot be mapped.
            return torch.load(path, map_location="cpu", weights_only=True)


def _beside(path: Path) -> Any:
    """What a trainer that keeps a folder for each checkpoint writes into it."""
    state = (path if path.is_dir() else path.parent) / "trainer_state.json"
    return json.loads(state.read_text()) if state.is_file() else {}


def _metadata(path: Path) -> Any:
    # The header of the format: its length in eight bytes, then JSON.
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            return {}
        return json.loads(file.read(length)).get("__metadata__", {})


def _whole(value: Any) -> int | None:
    """A whole number, also one spelled as a text or as a tensor of one element."""
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        value = value.item()
    if isinstance(value, bool | None.__class__):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return int(number) if math.isfinite(number) and number.is_integer() and number >= 0 else None
