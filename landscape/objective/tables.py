"""Embeddings whose gradient is not the derivative of F: that of a row of padding is left out, others are scaled."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from landscape.objective import trees
from landscape.objective.calling import called
from landscape.objective.derivatives import nodes_of
from landscape.objective.trial import Trial, callable_of
from landscape.objective.uses import listed

# Two values at one point agree to rounding; this is above it, and below what a move of 0.1 ‖θ‖ brings.
SAME = 1e-5

# What is done with the parts of the loss before they are differentiated.
Look = Callable[[list[Tensor]], None]


@dataclass
class Tables:
    """What is seen of tables that are looked up: the rows of padding, and whether gradients are scaled."""

    padding: set[int] = field(default_factory=set)
    is_scaled: bool = False

    def seen(self, ends: list[Tensor]) -> None:
        """Looks at the graph of some losses."""
        for node in _lookups(ends):
            self.is_scaled |= node._saved_scale_grad_by_freq
            self.padding |= {row for row in [_padding(node)] if row is not None}


def slopes_of(trial: Trial, given: Any, rows: Tensor | None, look: Look) -> dict[str, Tensor | None]:
    """By name, the gradient; None for a parameter that the graph does not reach. Empty where it reaches none."""
    subject = trial.subject
    with trial.recorded():
        own = {piece.name: subject.now(piece.name) for piece in subject.pieces}
        ends = [one.sum() for one in losses_of(trial, given, rows) if one.requires_grad]
        if not ends:
            return {}
        look(ends)
        try:
            slopes = torch.autograd.grad(ends, list(own.values()), allow_unused=True)
        except RuntimeError:
            # No derivative, which is said where one is asked for.
            return {}
    return dict(zip(own, slopes, strict=True))


def losses_of(trial: Trial, given: Any, rows: Tensor | None) -> list[Tensor]:
    """What the loss gives where the module stands."""
    inputs, targets = trial.rows(rows)
    outputs = called(trial.subject, inputs)
    return trees.tensors(callable_of(given, outputs)(outputs, targets))


def said_of(
    tables: Tables, trial: Trial, given: Any, rows: Tensor | None, slopes: dict[str, Tensor | None]
) -> list[str]:
    """Notes on tables whose gradient is not the derivative of F, by other gradients of them.

    ``slopes`` are those in whose graph the ``tables`` were seen.
    """
    found, layers = [], _padded_layers(trial.subject.module)
    if tables.padding or layers:
        with _no_padding(list(layers)):
            whole = slopes_of(trial, given, rows, _with_padding)
        among = tables.padding | set(layers.values())
        padded = [part for name, one in slopes.items() if (part := _part(name, one, whole.get(name), among))]
        if padded:
            found.append(
                f"F moves with {listed(padded)}, where it is looked up, of which there is no gradient: derivatives "
                "take that for constant, slices and noise do not; with padding_idx=None, or padding that is masked, F "
                "is one function"
            )
    if tables.is_scaled:
        twice = slopes_of(trial, given, rows, _doubled)
        scaled = [name for name, one in slopes.items() if _moves(one, twice.get(name))]
        if scaled:
            found.append(
                f"the gradient of {listed(scaled)} is divided by how often a row is looked up in a call "
                "(scale_grad_by_freq): where that is more than once it is not the derivative of F; with "
                "scale_grad_by_freq=False it is"
            )
    return found


def _lookups(ends: list[Tensor]) -> Iterator[Any]:
    return (node for node in nodes_of(ends) if hasattr(node, "_saved_scale_grad_by_freq"))


def _padding(node: Any) -> int | None:
    """The row of which a lookup gives no gradient; None where it gives all."""
    # A bag leaves out the row itself, and its gradient is the derivative.
    if not hasattr(node, "_saved_padding_idx") or hasattr(node, "_saved_offsets"):
        return None
    return node._saved_padding_idx if node._saved_padding_idx < node._saved_weight_sym_argsize_0 else None


def _with_padding(ends: list[Tensor]) -> None:
    """From here on, the gradient of a table has that of its row of padding."""
    for node in _lookups(ends):
        if _padding(node) is not None and not node._saved_sparse:
            node.register_hook(_whole(node))


def _whole(node: Any) -> Callable[..., tuple[Tensor]]:
    indices, count, scales = (
        node._saved_indices,
        node._saved_weight_sym_argsize_0,
        node._saved_scale_grad_by_freq,
    )

    def hook(found: Any, slopes: tuple[Tensor]) -> tuple[Tensor]:
        return (torch.ops.aten.embedding_dense_backward(slopes[0], indices, count, -1, scales),)

    return hook


def _doubled(ends: list[Tensor]) -> None:
    """From here on, the gradient of a table that is scaled is twice as large: what it comes to is told by that."""
    for node in _lookups(ends):
        if node._saved_scale_grad_by_freq:
            node.register_hook(lambda found, slopes: (2 * found[0], *found[1:]))


def _moves(slope: Tensor | None, other: Tensor | None) -> bool:
    if slope is None or other is None:
        return False
    return float((other - slope).abs().max()) > SAME * float(other.abs().max())


def _part(name: str, slope: Tensor | None, whole: Tensor | None, among: set[int]) -> str:
    """What of a parameter has another gradient where padding has its own, in words; '' for nothing."""
    if slope is None or whole is None or not slope.numel() or not _moves(slope, whole):
        return ""
    far = (whole - slope).abs() > SAME * whole.abs().max()
    rows = far.flatten(1).any(1).nonzero().flatten().tolist() if far.dim() > 1 else []
    if rows and set(rows) <= among:
        return " and ".join(f"row {row} of {name}, its padding_idx" for row in rows)
    return f"{name}, by a padding_idx"


def _padded_layers(module: nn.Module) -> dict[nn.Embedding, int]:
    """Layers that leave a gradient out, in whose graph that is not seen where they are computed again or compiled."""
    return {
        layer: layer.padding_idx
        for layer in module.modules()
        if isinstance(layer, nn.Embedding) and layer.padding_idx is not None
    }


@contextmanager
def _no_padding(layers: list[nn.Embedding]) -> Iterator[None]:
    rows = [layer.padding_idx for layer in layers]
    try:
        for layer in layers:
            layer.padding_idx = None
        yield
    finally:
        for layer, row in zip(layers, rows, strict=True):
            layer.padding_idx = row
