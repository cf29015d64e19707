"""The most bytes of tensors alive at a time, beside those that were there before."""

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from landscape.inputs.sharded import here
from landscape.numerics.spread import Spread, local


class Peak(TorchDispatchMode):
    """Inside, every memory that an operation makes counts from its first tensor to the death of its last."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.bytes = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._meet((args, kwargs), counts=False)
        if any(isinstance(one, Spread) for one in tree_leaves((args, kwargs))):
            with self:  # what is made of the parts on the way counts
                results = Spread.__torch_dispatch__(func, types, args, kwargs)
        else:
            results = func(*args, **(kwargs or {}))
        self._meet(results, counts=True)
        return results

    def _meet(self, tree: Any, *, counts: bool) -> None:
        for tensor in tree_leaves(tree):
            if isinstance(tensor, torch.Tensor):
                # Of one in parts what lies here.
                storage = local(here(tensor)).untyped_storage()
                if storage._cdata not in self._known:
                    size = storage.nbytes() if counts else 0
                    self._known.add(storage._cdata)
                    self.now += size
                    self.bytes = max(self.bytes, self.now)
                    weakref.finalize(storage, self._gone, storage._cdata, size)

    def _gone(self, place: int, size: int) -> None:
        self._known.discard(place)
        self.now -= size
