"""Modules whose parameters lie in parts in several processes, told without importing what shards them."""

import sys
from typing import Any

from torch import Tensor, nn

from landscape.errors import BadInput


def is_fully_sharded(module: nn.Module) -> bool:
    """Whether ``fully_shard`` (FSDP2) was called on the module itself."""
    kind: Any = getattr(sys.modules.get("torch.distributed.fsdp"), "FSDPModule", ())
    return isinstance(module, kind)


def here(tensor: Tensor) -> Tensor:
    """What of a module's tensor lies in this process."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor  # pyright: ignore[reportAttributeAccessIssue]


def require_whole(module: nn.Module) -> None:
    """BadInput for a module of which this process has a part: one sharded by FSDP, by tensors or by DeepSpeed.

    To be called in every process, as putting the parts together waits for all of them.
    """
    found = _sharded(module)
    if found:
        raise BadInput(
            f"{type(module).__name__} is sharded ({found}): this process has a part of its parameters",
            "a module that is whole",
            "gather it in every process by torch.distributed.checkpoint.state_dict.get_model_state_dict(module, "
            "options=StateDictOptions(full_state_dict=True)), save that in the first one by torch.save, and import "
            "the file",
        )


def _sharded(module: nn.Module) -> str:
    """What has sharded it, '' where nothing has."""
    shards: Any = getattr(sys.modules.get("torch.distributed.fsdp"), "FullyShardedDataParallel", ())
    for layer in module.modules():
        # Alone it holds everything.
        if isinstance(layer, shards) and getattr(layer, "world_size", 1) > 1:
            return "FullyShardedDataParallel"
    kind: Any = getattr(sys.modules.get("torch.distributed.tensor"), "DTensor", ())
    tensors: list[Any] = [*module.parameters(), *module.buffers()]
    if any(isinstance(one, kind) for one in tensors):
        return "DTensor"
    return "DeepSpeed" if any(hasattr(one, "ds_shape") for one in tensors) else ""
