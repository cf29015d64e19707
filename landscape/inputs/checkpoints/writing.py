"""A module's weights written for elsewhere, and a module in another dtype."""

import errno
import os
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from landscape.errors import BadInput

SUFFIXES = (".safetensors", ".pt", ".pth")
# Bytes below which a disk counts as full where a writer failed.
LITTLE_ROOM = 2**20


def in_dtype(module: nn.Module, dtype: torch.dtype | None) -> nn.Module:
    """``module`` with its real floating-point parameters and buffers in ``dtype``; all others stay as they are.

    For None all of them do.
    """
    if dtype is None:
        return module
    return module._apply(lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor)


def write(module: nn.Module, path: Path, source: str) -> None:
    """The module's state_dict as ``.safetensors`` or ``.pt``; ``source`` is kept in the former's metadata.

    Raises BadInput for another suffix or a folder that cannot be written.
    """
    if path.suffix not in SUFFIXES:
        raise BadInput(f"{path} ends in {path.suffix or 'nothing'!r}", f"one of {', '.join(SUFFIXES)}")
    # Tied weights are stored under each of their names, as safetensors knows no sharing.
    tensors = {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}
    temporary = path.with_name(path.name + ".tmp")
    try:
        if path.suffix == ".safetensors":
            save_file(tensors, temporary, {"format": "pt", "source": source})
        else:
            torch.save(tensors, temporary)
        temporary.replace(path)
    except (OSError, RuntimeError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        if _is_full(error, path.parent):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from None
        raise BadInput(f"{path} cannot be written ({_first_line(error)})", "a folder to write to") from None


def _is_full(error: Exception, folder: Path) -> bool:
    """Whether a writer failed for want of room, which torch and safetensors do not say by a number."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    if "os error 28" in str(error) or "No space left" in str(error):
        return True
    try:
        return shutil.disk_usage(folder).free < LITTLE_ROOM
    except OSError:
        return False


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0].rstrip(".")
