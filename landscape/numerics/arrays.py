"""Tensors as NumPy has them, which knows fewer dtypes."""

import numpy as np
import torch
from torch import Tensor


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
