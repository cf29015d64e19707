"""v ↦ A v as a sum over chunks of the data, whose graphs are kept from one product to the next."""

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor

from landscape import distributed
from landscape.errors import BadInput, NotFinite
from landscape.numerics.pieces import Piece
from landscape.objective import trees
from landscape.objective.derivatives import divided, is_finite, nodes_of
from landscape.objective.kernels import exact
from landscape.objective.samples import Chunk, Samples

# What a process holds for a graph over what its nodes have saved, on a CPU: 1.25 measured, and some room.
SLACK = 1.4


class Part(NamedTuple):
    """One chunk: the tensors its graph ends in, and (v, keep) ↦ Aᵢv on it; ``keep`` leaves the graph standing.

    Aᵢv comes in pieces (dᵢ,), in order.

    ``within``: where the graph is to be read, as what was checkpointed is computed again then.
    """

    roots: Sequence[Tensor]
    image: Callable[[Tensor, bool], list[Tensor]]
    within: Callable[[], AbstractContextManager[None]] = nullcontext


class Product:
    """v ↦ Σᵢ Aᵢ v / ``divisor`` + l2·v for vectors (d,), over chunks i of the samples, added in float64.

    ``part`` makes the graph of a chunk, which is the costly half of a product. Graphs are kept for the
    next one as long as they, and the work on one of them, fit into ``memory_limit`` bytes (measured on
    the first: what its nodes have saved, and as much again to work); those of further chunks are recomputed each time.
    The values are the same either way. ``pieces`` are what θ is made of.

    A call raises BadInput for another shape, NotDifferentiable, and NotFinite naming parameter and chunk.
    """

    # What is known of the error of the last product, and of the largest along a unit vector: nothing beyond rounding.
    error, largest_error = 0.0, 0.0

    def __init__(
        self,
        samples: Samples,
        chunk_size: int,
        leaf: Tensor,
        part: Callable[[Any, Tensor], Part],
        *,
        divisor: float,
        l2: float,
        pieces: Sequence[Piece],
        num_products: int,
        memory_limit: float,
    ):
        self._samples, self._chunk_size, self._leaf, self._part = samples, chunk_size, leaf, part
        self._divisor, self._l2, self._pieces = divisor, l2, pieces
        self._room = memory_limit if num_products > 1 else 0.0
        self._part_bytes: int | None = None
        self._kept_bytes: int | None = None
        self._kept: list[Part] = []
        self.num_chunks = 0

    @property
    def num_kept(self) -> int:
        """Chunks whose graph is kept, of ``num_chunks``; both are known after the first product."""
        return len(self._kept)

    @property
    def kept_bytes(self) -> int:
        """What the kept graphs hold, in that process where it is most; known after the first product."""
        return self._kept_bytes or 0

    def __call__(self, v: Tensor) -> Tensor:
        leaf = self._leaf
        if v.shape != leaf.shape:
            raise BadInput(f"a vector of shape {tuple(v.shape)}", f"{tuple(leaf.shape)}")
        v = v.detach().to(leaf.device)
        # A narrower one is widened where it enters, piece by piece.
        v = v.to(leaf.dtype) if v.element_size() > leaf.element_size() or not v.is_floating_point() else v

        def summed() -> Tensor:
            # The image of a single chunk is the sum. For a second one it is widened before that has an image, and
            # copied, as it may lie where v does.
            result = None
            for number, chunk in enumerate(self._samples.chunks(self._chunk_size)):
                if number == 1 and result is not None:
                    result = result.to(torch.float64, copy=True)
                result = _added(result, self._image(number, chunk, v))
            return torch.zeros_like(leaf) if result is None else result

        with exact(leaf.device.type):
            result = divided(distributed.summed(summed, len(leaf), leaf.device), self._divisor, v)
        if self._kept_bytes is None:
            self._kept_bytes = int(distributed.largest(self.num_kept * (self._part_bytes or 0))[0])
        if self._l2:
            result.add_(v, alpha=self._l2)
        if not is_finite(result):
            raise self._not_finite(result, v)
        return result.to(leaf.dtype)

    def _image(self, number: int, chunk: Chunk, v: Tensor) -> list[Tensor]:
        if number < len(self._kept):
            kept = self._kept[number]
            with kept.within():
                return kept.image(v, True)
        self.num_chunks = max(self.num_chunks, number + 1)
        inputs, targets = chunk
        part = self._part(inputs, targets)
        with part.within():
            has_room = number == len(self._kept) and self._has_room(part, inputs)
            image = part.image(v, has_room)
        if has_room:
            self._kept.append(part)
        return image

    def _has_room(self, part: Part, inputs: Any) -> bool:
        if not self._room:
            return False
        if self._part_bytes is None:
            self._part_bytes = int(SLACK * saved_bytes(part.roots, [self._leaf, *trees.tensors(inputs)]))
        return (len(self._kept) + 2) * self._part_bytes <= self._room

    def _not_finite(self, result: Tensor, v: Tensor) -> NotFinite:
        row = int((~torch.isfinite(result)).nonzero()[0])
        name = next(piece.name for piece in self._pieces if row < piece.span.stop)
        chunks = enumerate(self._samples.chunks(self._chunk_size))
        where = [n + 1 for n, chunk in chunks if not all(map(is_finite, self._image(n, chunk, v)))]
        return NotFinite(
            f"the product is not finite in {name}"
            + (f", first in chunk {where[0]} of {self.num_chunks}" if where else ""),
            "finite second derivatives",
            "is the loss finite at this point?",
        )


def _added(total: Tensor | None, pieces: list[Tensor]) -> Tensor:
    """``total`` (d,) with ``pieces`` (dᵢ,) added, each in its place; where there is none, these as one vector."""
    if total is None:
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)
    for place, piece in zip(total.split([len(piece) for piece in pieces]), pieces, strict=True):
        place.add_(piece)
    return total


def saved_bytes(roots: Collection[Tensor], outside: Iterable[Tensor]) -> int:
    """Bytes of ``roots`` and of what the graphs behind them keep for a backward pass, but for those ``outside``."""
    known = {tensor.untyped_storage().data_ptr() for tensor in outside}
    sizes = {root.untyped_storage().data_ptr(): root.untyped_storage().nbytes() for root in roots}
    for node in nodes_of(roots):
        for saved in (getattr(node, name) for name in _names_of_saved(type(node))):
            for tensor in saved if isinstance(saved, list | tuple) else [saved]:
                # What torch.func wraps has no storage of its own, and a tangent of zeros and what is sparse none.
                if isinstance(tensor, Tensor) and not _is_bare(tensor):
                    storage = tensor.untyped_storage()
                    sizes[storage.data_ptr()] = storage.nbytes()
    return sum(size for pointer, size in sizes.items() if pointer not in known)


def _is_bare(tensor: Tensor) -> bool:
    return tensor.layout != torch.strided or is_functorch_wrapped_tensor(tensor) or tensor._is_zerotensor()


@lru_cache(maxsize=1024)
def _names_of_saved(kind: type) -> list[str]:
    """Where nodes of a ``kind`` hold what they keep: those written in Python in one place, the others by names.

    Asked once of a kind: to list the names of a node takes longer than its work where the graph has many small ones.
    """
    names = [name for name in dir(kind) if name.startswith("_saved_") or name == "saved_tensors"]
    return [name for name in names if not name.endswith(("_sym_sizes", "_sym_strides"))]
