"""Tensors as NumPy has them, which knows fewer dtypes."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.numerics.spread import Spread, local


def brought(tensor: Tensor, device: torch.device) -> Tensor:
    """``tensor`` on ``device``; a GPU takes it from the CPU without being waited for."""
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def array_of(tensor: Tensor) -> np.ndarray:
    """A copy of ``tensor`` as an array, in the least dtype of NumPy's that holds its numbers: of bfloat16, float32."""
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.complex32:
        tensor = tensor.to(torch.complex64)
    elif tensor.is_floating_point() and tensor.dtype not in (torch.float16, torch.float32, torch.float64):
        tensor = tensor.float()
    return tensor.numpy().copy()


def array_here(tensor: Tensor) -> np.ndarray:
    """:func:`array_of` what of ``tensor`` lies in this process, which :func:`back` makes one of all again."""
    return array_of(local(tensor))


def back(array: np.ndarray, like: Tensor) -> Tensor:
    """What :func:`array_here` kept of a vector, or several, that lie as ``like`` does."""
    kept = torch.from_numpy(np.array(array))
    return Spread(kept.to(like.device), like.held, like.axis) if isinstance(like, Spread) else kept


def array_or_note(vectors: Tensor, what: str, notes: list[str]) -> np.ndarray | None:
    """:func:`array_of` for a result; None for vectors of which every process has a part, which ``notes`` then say."""
    if not isinstance(vectors, Spread):
        return array_of(vectors)
    notes.append(f"the {what} are spread over the processes and not stored: the same call makes them again")
    return None


def farthest(said: Any, wanted: Any, least: float) -> float:
    """The largest |said − wanted| of numbers or arrays over |wanted|, or over ``least`` where that is more.

    NaN is to be NaN; infinite for other shapes.
    """
    said, wanted = np.asarray(said, dtype=float), np.asarray(wanted, dtype=float)
    if said.shape != wanted.shape:
        return float("inf")
    same = (said == wanted) | (np.isnan(said) & np.isnan(wanted))
    with np.errstate(invalid="ignore"):
        gap = np.abs(said - wanted) / np.maximum(least, np.abs(wanted))
    return float(np.nan_to_num(np.where(same, 0.0, gap), nan=np.inf).max(initial=0.0))
