"""The last layer of a module: its features on the data, and units given new incoming weights.

Nothing is believed of how a module is built. Its linear layers are watched during a call, and what is used of the last
and of the one before is tried: that the outputs follow the last layer's weights as features say, and that a unit's
features hang on its own incoming weights alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from landscape.numerics.pieces import Piece
from landscape.objective import plain, trees
from landscape.objective.objective import Objective

# What two evaluations of the same outputs may differ by, relative to the largest.
SAME = 1e-10


class Readout(NamedTuple):
    """Where the last layer's weights V (k, D) and biases stand in θ, and the incoming weights of its D units.

    ``incoming`` is empty where a unit's features hang on more than one row of the layer before. ``is_shallow``:
    beside these θ holds nothing.
    """

    weight: Piece
    bias: Piece | None
    incoming: tuple[Piece, ...]
    is_shallow: bool

    @property
    def width(self) -> int:
        """Units D of the last hidden layer."""
        return self.weight.shape[1]

    def last(self, theta: Tensor) -> Tensor:
        """V of ``theta`` (d,), with the biases as its last column: (k, D) or (k, D + 1)."""
        weight = theta[self.weight.span].reshape(self.weight.shape)
        return weight if self.bias is None else torch.cat([weight, theta[self.bias.span][:, None]], dim=1)

    def with_last(self, theta: Tensor, last: Tensor) -> Tensor:
        """``theta`` with another V (k, D) or (k, D + 1)."""
        found = theta.clone()
        found[self.weight.span] = last[:, : self.width].reshape(-1)
        if self.bias is not None:
            found[self.bias.span] = last[:, self.width]
        return found

    def unit(self, theta: Tensor, j: int) -> Tensor:
        """The incoming weights of unit j, its bias last."""
        return torch.cat([theta[one.span].reshape(one.shape)[j].reshape(-1) for one in self.incoming])

    def with_unit(self, theta: Tensor, j: int, row: Tensor) -> Tensor:
        """``theta`` with other incoming weights of unit j."""
        found, begin = theta.clone(), 0
        for one in self.incoming:
            size = found[one.span].reshape(one.shape)[j].numel()
            found[one.span].reshape(one.shape)[j] = row[begin : begin + size].reshape(one.shape[1:])
            begin += size
        return found


class Seen(NamedTuple):
    """One call on all of the data: outputs (n, k), features Z (n, D), and the inputs of the layer before (n, m)."""

    outputs: Tensor
    features: Tensor
    before: Tensor | None


class Layers(NamedTuple):
    """Of every linear layer that was called, in order: its name, inputs and outputs."""

    outputs: Tensor
    names: list[str]
    inputs: list[Tensor]


def called(objective: Objective, theta: Tensor) -> Layers | None:
    """What the linear layers of the module were given at ``theta`` (d,); None where outputs are no (n, k)."""
    names: list[str] = []
    given: list[Tensor] = []
    hooks = []
    for name, layer in objective.module.named_modules():
        if isinstance(layer, nn.Linear):

            def hook(
                _: nn.Module, inputs: tuple[Tensor, ...], named: dict[str, Any], name: str = name
            ) -> None:
                names.append(name)
                given.append((inputs[0] if inputs else named["input"]).detach().clone())

            hooks.append(layer.register_forward_pre_hook(hook, with_kwargs=True))
    tensors = plain.by_name(objective, objective.as_point(theta))
    try:
        with torch.no_grad(), objective.written(tensors):
            outputs = trees.mapped(
                Tensor.detach, objective.called(trees.mapped(torch.clone, objective.samples[0]))
            )
    finally:
        for one in hooks:
            one.remove()
    if not isinstance(outputs, Tensor) or outputs.dim() > 2:
        return None
    rows = outputs.clone().reshape(len(outputs), -1)
    return Layers(rows, names, given)


def seen(objective: Objective, theta: Tensor) -> Seen:
    """Features and outputs at ``theta`` (d,), for a module of which :func:`readout_of` found the last layer."""
    found = called(objective, theta)
    assert found is not None
    return Seen(found.outputs, found.inputs[-1], found.inputs[-2] if len(found.inputs) > 1 else None)


def readout_of(objective: Objective, theta: Tensor) -> Readout | str:
    """The last layer, tried at ``theta`` (d,); in words why there is none that can be used."""
    found = called(objective, theta)
    pieces = {piece.name: piece for piece in objective.pieces}
    if found is None or not found.names or found.inputs[-1].dim() != 2:
        return "the module ends in no linear layer"
    name = found.names[-1]
    weight, bias = pieces.get(f"{name}.weight"), pieces.get(f"{name}.bias")
    if weight is None or found.names.count(name) > 1:
        return "the weights of the last layer are fixed, or used more than once"
    known = Readout(weight, bias, (), False)
    draw = torch.Generator().manual_seed(0)
    last = known.last(theta)
    moved = last + torch.randn(last.shape, generator=draw, dtype=torch.float64).to(last)
    there = called(objective, known.with_last(theta, moved))
    assert there is not None
    change = with_ones(known, found.inputs[-1]) @ (moved - last).T
    size = max(1.0, float(change.abs().max()))
    if (
        change.shape != found.outputs.shape
        or float((there.outputs - found.outputs - change).abs().max()) > SAME * size
    ):
        return "the outputs do not follow the weights of the last layer linearly"
    incoming = _incoming(objective, theta, found, pieces)
    names = {weight.name, bias.name if bias else "", *(one.name for one in incoming)}
    return Readout(weight, bias, incoming, bool(incoming) and set(pieces) <= names)


def _incoming(
    objective: Objective, theta: Tensor, found: Layers, pieces: dict[str, Piece]
) -> tuple[Piece, ...]:
    """The rows of the layer before the last, where a row decides the features of its unit and of no other."""
    if len(found.names) < 2 or found.names.count(found.names[-2]) > 1:
        return ()
    both = (pieces.get(f"{found.names[-2]}.weight"), pieces.get(f"{found.names[-2]}.bias"))
    incoming = tuple(one for one in both if one is not None)
    width = found.inputs[-1].shape[1]
    if both[0] is None or any(one.shape[0] != width for one in incoming):
        return ()
    tried = Readout(incoming[0], None, incoming, False)
    row = tried.unit(theta, width // 2)
    there = called(objective, tried.with_unit(theta, width // 2, row + 0.5))
    assert there is not None
    moved = (there.inputs[-1] - found.inputs[-1]).abs().amax(0) > 0
    moved[width // 2] = False
    return () if bool(moved.any()) else incoming


def with_ones(readout: Readout, features: Tensor) -> Tensor:
    """Z, and a column of ones for the biases where there are any: what V is multiplied by."""
    ones = torch.ones_like(features[:, :1])
    return features if readout.bias is None else torch.cat([features, ones], dim=1)
