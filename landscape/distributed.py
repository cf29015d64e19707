"""torch.distributed: rank, size, my share of the data, one sum. Nothing else knows it exists."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from landscape.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor


def is_launched() -> bool:
    """Whether torchrun started this process."""
    # Asked several times a training step, where every look into the environment counts.
    return "RANK" in os.environ and (
        "TORCHELASTIC_RUN_ID" in os.environ or {"WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys()
    )


def start(device_type: str) -> None:
    """Join the process group that torchrun prepared (gloo on the CPU, nccl on CUDA)."""
    import torch.distributed

    torch.distributed.init_process_group("nccl" if device_type == "cuda" else "gloo")


def stop() -> None:
    if _is_active():
        import torch.distributed

        torch.distributed.destroy_process_group()


def rank() -> int:
    if not _is_active():
        return 0
    import torch.distributed

    return torch.distributed.get_rank()


def num_processes() -> int:
    if not _is_active():
        return 1
    import torch.distributed

    return torch.distributed.get_world_size()


def share(num_samples: int) -> slice:
    """The contiguous samples of this process."""
    size, mine = num_processes(), rank()
    return slice(num_samples * mine // size, num_samples * (mine + 1) // size)


def require_one_process(what: str) -> None:
    """Raises BadInput where there are several: ``what`` needs all samples in one place."""
    if num_processes() > 1:
        raise BadInput(f"{what} in {num_processes()} processes", "one process", "leave torchrun away")


def total(tensor: Tensor) -> Tensor:
    """The sum of ``tensor`` over all processes; the tensor itself where there is one."""
    if num_processes() == 1:
        return tensor
    import torch.distributed

    tensor = tensor.contiguous().clone()
    torch.distributed.all_reduce(tensor)
    return tensor


def _is_active() -> bool:
    # Without torchrun the module is not even imported.
    if not is_launched():
        return False
    import torch.distributed

    return torch.distributed.is_available() and torch.distributed.is_initialized()
