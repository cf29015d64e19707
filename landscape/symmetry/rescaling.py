"""Positive rescalings of units that leave the function of a module as it is (Dinh et al. 2017).

Between two Linear or convolutional layers with only positively homogeneous layers between (ReLU, leaky
ReLU, pooling), a unit's incoming weights and bias times c and its outgoing weights over c cancel.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from landscape import distributed
from landscape.numerics.pieces import Piece
from landscape.numerics.vectors import portion
from landscape.objective import trees
from landscape.objective.arguments import call
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.sharded import type_of

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
# f(c x) = c f(x) for c > 0, unit by unit (dropout is the identity in eval mode).
HOMOGENEOUS = (nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.Identity)
HOMOGENEOUS += (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
# The same, channel by channel, after a convolution.
POOLINGS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
POOLINGS += (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
POOLINGS += (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)
# f(−x) = −f(x), unit by unit.
ODD = (nn.Tanh, nn.Identity, nn.Hardtanh, nn.Softsign, nn.Tanhshrink, nn.Hardshrink, nn.Softshrink)
ODD += (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
ODD_POOLINGS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
ODD_POOLINGS += (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
# Powers of two multiply and divide without rounding, so the function stays itself bit for bit.
LARGEST_POWER = 2


@dataclass(frozen=True)
class Junction:
    """Units that can be rescaled: rows of ``incoming`` times c, columns of ``outgoing`` over c.

    ``block``: columns of ``outgoing`` per unit (more than one after a flattened image).
    """

    num_units: int
    incoming: tuple[Piece, ...]
    outgoing: Piece
    block: int = 1


class Rescaled(NamedTuple):
    """A point of the same function, ‖Δh‖/‖h‖ of its outputs h on the data; or None, and why.

    ``alone``: where there are several groups, points moved by one of them alone, by what it is called; ``gap`` is the
    largest of all these points.
    """

    point: Point | None
    num_units: int = 0
    gap: float = 0.0
    reason: str = ""
    alone: Mapping[str, Point] = {}


def rescaled(objective: Objective, point: Point, *, per: str, seed: int, tolerance: float) -> Rescaled:
    """``point`` with its hidden units rescaled at random, if the outputs on the data stay within ``tolerance``.

    ``per``: ``unit`` or ``layer``, see :func:`factors`.
    """
    found = junctions(objective.module, objective.pieces)
    if not found:
        return Rescaled(
            None,
            reason="not rescaled: no two Linear or convolutional layers follow each other in an nn.Sequential "
            "with only ReLU-like layers between; `rescaling` all looks for what moves by a trace of the module",
        )
    generator = torch.Generator().manual_seed(seed)
    theta = point.theta.double().clone()
    for piece, by in factors(found, per=per, generator=generator):
        own, its = portion(theta, piece.span, by.to(theta.device))
        own *= its
    moved = Point(theta.to(point.theta.dtype), point.fixed, "rescaled")
    gap = function_gap(objective, point, moved)
    if not gap <= tolerance:
        return Rescaled(None, gap=gap, reason=f"not rescaled: the outputs would change by {gap:.2g} relative")
    return Rescaled(moved, sum(one.num_units for one in found), gap)


def junctions(
    module: nn.Module, pieces: Sequence[Piece], *, odd: bool = False, between: Sequence[type] | None = None
) -> list[Junction]:
    """Every junction that the structure shows: in ``nn.Sequential`` alone, whose order is that of the function.

    Those of ReLU-like layers, c > 0, or of ``odd`` ones like tanh, where c = −1 cancels as well; or of layers of the
    types ``between``, whatever these do.
    Batch norm with trainable scale and shift takes the place of the layer before it, as its statistics
    do not follow a rescaling. Layers with frozen or tied parameters are left out, subclasses too, as
    their ``forward`` may be another. What was found must still be tried on the data.
    """
    times_used = Counter(id(p) for _, p in module.named_parameters(remove_duplicate=False))
    by_name = {piece.name: piece for piece in pieces}
    free = {
        id(p): by_name[name]
        for name, p in module.named_parameters()
        if name in by_name and times_used[id(p)] == 1
    }
    usual, poolings = (ODD, ODD_POOLINGS) if odd else (HOMOGENEOUS, POOLINGS)
    kinds = usual if between is None else between
    return [found for chain in _chains(module) for found in _along(chain, free, kinds, poolings)]


def factors(
    found: Sequence[Junction], *, per: str, generator: torch.Generator
) -> Iterator[tuple[Piece, Tensor]]:
    """Pieces of θ, some of them twice, and what to multiply each by, (size,) float64.

    Random c ∈ {¼, ½, 2, 4} for each unit, or, ``per='layer'``, junction. The draw is on the CPU, so one seed gives one
    rescaling on every device.
    """
    for one in found:
        count = one.num_units if per == "unit" else 1
        powers = torch.randint(1, LARGEST_POWER + 1, (count,), generator=generator)
        signs = 2 * torch.randint(2, (count,), generator=generator) - 1
        yield from _multiples(one, (2.0 ** (powers * signs).double()).expand(one.num_units))


def _multiples(one: Junction, c: Tensor) -> Iterator[tuple[Piece, Tensor]]:
    """The units' incoming weights times c, their outgoing ones over c."""
    for piece in one.incoming:
        yield piece, c.repeat_interleave(piece.size // one.num_units)
    out, columns = one.outgoing.shape[0], c.repeat_interleave(one.block)
    each = one.outgoing.size // (out * len(columns))
    yield one.outgoing, (1 / columns).repeat_interleave(each).repeat(out)


def _chains(module: nn.Module) -> Iterator[list[nn.Module]]:
    """The layers of every outermost ``nn.Sequential``, those of nested ones in their place."""
    if type_of(module) is nn.Sequential:
        layers = list(_flat(module))
        yield layers
        inside = [layer for layer in layers if next(layer.children(), None) is not None]
    else:
        inside = list(module.children())
    for child in inside:
        yield from _chains(child)


def _flat(chain: nn.Module) -> Iterator[nn.Module]:
    assert isinstance(chain, nn.Sequential)
    for layer in chain:
        if type_of(layer) is nn.Sequential:
            yield from _flat(layer)
        else:
            yield layer


def _along(
    chain: Sequence[Any], free: dict[int, Piece], between: Sequence[type], poolings: Sequence[type]
) -> Iterator[Junction]:
    incoming: tuple[Piece, ...] = ()
    num_units, is_image, is_flat = 0, False, False
    for layer in chain:
        kind = type_of(layer)
        if kind is nn.Linear or kind in CONVOLUTIONS:
            weight = _pieces(layer, free, "weight")
            if incoming and weight:
                columns = weight[0].shape[1]
                fits = columns == num_units and is_image == (kind in CONVOLUTIONS)
                unrolled = kind is nn.Linear and is_image and is_flat and columns % num_units == 0
                if unrolled or (fits and not is_flat) or (fits and not is_image):
                    yield Junction(num_units, incoming, weight[0], columns // num_units)
            incoming = _pieces(layer, free, "weight", "bias")
            num_units = layer.weight.shape[0]
            # A layer of no units, as a narrow tail of an adaptive softmax, has nothing to rescale.
            incoming = incoming if num_units else ()
            is_image, is_flat = kind in CONVOLUTIONS, False
        elif kind in NORMS and incoming and layer.num_features == num_units and not is_flat:
            incoming = _pieces(layer, free, "weight", "bias") if layer.affine else ()
        elif kind is nn.Flatten and layer.start_dim == 1 and layer.end_dim == -1:
            is_flat = True
        elif kind not in between and not (kind in poolings and is_image and not is_flat):
            incoming = ()


def _pieces(layer: nn.Module, free: dict[int, Piece], *names: str) -> tuple[Piece, ...]:
    """The layer's pieces of θ, or none where one of them cannot be moved alone."""
    parameters = [p for name in names if (p := getattr(layer, name)) is not None]
    can_move = all(id(p) in free for p in parameters)
    return tuple(free[id(p)] for p in parameters) if can_move else ()


def function_gap(objective: Objective, point: Point, other: Point) -> float:
    """‖h(·; θ′) − h(·; θ)‖ / ‖h(·; θ)‖ over the data, by plain copies of the module; by itself where it is in parts."""
    points = (point, other)
    modules = [] if objective.is_sharded else [objective.module_at(one) for one in points]

    def outputs(inputs: Any) -> Iterator[list[Tensor]]:
        for m in modules:
            yield list(trees.tensors(call(m, trees.mapped(torch.clone, inputs))))
        for one in () if modules else points:
            with objective.passed(one.theta, one.fixed, inputs) as found:
                yield [part.clone() for part in trees.tensors(found)]

    sums = torch.zeros(2, dtype=torch.float64, device=objective.device)
    with torch.no_grad():
        for inputs, _ in objective.chunks():
            before, after = outputs(inputs)
            for a, b in zip(before, after, strict=True):
                sums[0] += (b.double() - a.double()).square().sum()
                sums[1] += a.double().square().sum()
    difference, size = distributed.total(sums).sqrt().tolist()
    return difference / size if size else difference
