"""Whether a hidden unit without weights can be woken so that F falls: then its point is no local minimum."""

from typing import NamedTuple

import torch
from torch import Tensor

from landscape.certificates.structure import Structure
from landscape.certificates.two_layer import TwoLayers
from landscape.objective.objective import Objective

# Directions to climb from, beside the samples themselves, and steps of each.
STARTS, STEPS = 64, 30


class Woken(NamedTuple):
    """The ``unit`` without weights, given ε·``incoming`` (its bias last) and ε·``outgoing`` (k,), both of length 1.

    F then changes by −ε² · ``fall`` to ε⁴. A ``fall`` of no more than ``rounding`` is 0.
    """

    unit: int
    incoming: Tensor
    outgoing: Tensor
    fall: float
    rounding: float


def woken(objective: Objective, structure: Structure, two: TwoLayers, slopes: Tensor) -> Woken | None:
    """The steepest fall by a unit without weights, max ‖Σᵢ Eᵢ φ(a·xᵢ)‖ over unit vectors a, E = ∂F/∂h,
    ``slopes`` over what F divides its sums by.

    φ is positively homogeneous, so that the outputs change by ε² (Haeffele and Vidal 2017). Above rounding it proves
    that there is no local minimum; 0 proves nothing, as a search has not tried every a. None where no unit is without
    weights, its weights are not trained, or φ is not one piecewise linear function of every sample.
    """
    first, second = two.first, two.second
    own = {name for layer in (first, second) for name in (layer.name, layer.bias_name) if name}
    needed = own - {second.bias_name}
    is_one = two.factor is None and two.below == two.below
    if not structure.num_inactive or not is_one or not needed <= {one.name for one in objective.pieces}:
        return None
    assert first.weight is not None
    still = (first.weight == 0).all(1) & (two.outgoing == 0).all(0)
    x = first.features
    if first.bias is not None:
        still &= first.bias == 0
    if first.bias_name:
        x = torch.cat([x, x.new_ones(len(x), 1)], 1)
    e = slopes / objective.divisor
    a, sums = _climbed(x, e, two.below)
    fall = float(sums.norm())
    lengths, outputs = x.norm(dim=1), structure.outputs.norm(dim=1)
    rounding = 100 * torch.finfo(objective.coarsest).eps * float(lengths @ (e.norm(dim=1) + outputs / len(x)))
    return Woken(int(still.nonzero()[0]), a, -sums / (fall or 1.0), fall, rounding)


def _climbed(x: Tensor, e: Tensor, below: float) -> tuple[Tensor, Tensor]:
    """The unit vector a of the largest ‖eᵀφ(xa)‖ that was met, and eᵀφ(xa): the power method on each piece of φ."""
    drawn = torch.randn(
        STARTS, x.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64
    ).to(x)
    a = torch.cat([drawn, x, -x])
    best, sums = drawn[0] / drawn[0].norm(), torch.zeros_like(e[0])
    for _ in range(STEPS):
        length = a.norm(dim=1, keepdim=True)
        a = (a / length)[length[:, 0] > 0]
        if not len(a):
            break
        made = a @ x.T
        slopes = torch.where(made > 0, torch.ones_like(made), torch.full_like(made, below))
        moved = (slopes * made) @ e
        top = int(moved.norm(dim=1).argmax())
        if moved[top].norm() > sums.norm():
            best, sums = a[top], moved[top]
        a = (slopes * (moved @ e.T)) @ x
    return best, sums
