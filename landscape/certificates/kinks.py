"""Operations of torch that have a kink: which, where, and the slope below it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten

# Piecewise linear with the one kink at 0.
KINKS = {aten.relu, aten.relu_, aten.leaky_relu, aten.leaky_relu_, aten._prelu_kernel, aten.abs, aten.abs_}
# Kinks, jumps and ties that lie elsewhere and are not followed.
OTHERS = {aten.hardtanh, aten.hardtanh_, aten.hardsigmoid, aten.hardswish, aten.clamp, aten.clamp_}
OTHERS |= {aten.clamp_min, aten.clamp_max, aten.threshold, aten.threshold_, aten.maximum, aten.minimum}
OTHERS |= {
    aten.max,
    aten.min,
    aten.amax,
    aten.amin,
    aten.max_pool2d_with_indices,
    aten.max_pool3d_with_indices,
}
OTHERS |= {aten.adaptive_max_pool2d, aten.sort, aten.topk, aten.round, aten.floor, aten.ceil, aten.sign}
OTHERS |= {aten.where, aten.softshrink, aten.hardshrink, aten.rrelu_with_noise}
OTHERS |= {aten.fmax, aten.fmin, aten.heaviside, aten.sgn, aten.trunc, aten.frac, aten.median, aten.kthvalue}
# With a number that is compared a kink, or a jump, is written out by hand.
COMPARED = {aten.gt, aten.gt_, aten.ge, aten.ge_, aten.lt, aten.lt_, aten.le, aten.le_}


def slope_below(operation: Any, args: Sequence[Any]) -> float:
    """The slope below 0 of an operation with a kink there."""
    if operation in (aten.leaky_relu, aten.leaky_relu_):
        return float(args[1]) if len(args) > 1 else 0.01
    fixed = {aten.relu: 0.0, aten.relu_: 0.0, aten.abs: -1.0, aten.abs_: -1.0}
    return fixed.get(operation, torch.nan)


def is_broken(operation: Any, args: Sequence[Any]) -> bool:
    """Whether numbers are compared, |z| is taken, or exponential units have two slopes at 0, α ≠ 1, as that of SELU."""
    if operation in KINKS and args[0].is_complex():
        return True
    if operation in (aten.elu, aten.elu_):
        alpha, _, inner = (*args[1:], *(1.0, 1.0, 1.0)[len(args) - 1 :])
        return alpha * inner != 1
    return operation in COMPARED and any(
        isinstance(one, Tensor) and one.is_floating_point() for one in args[:2]
    )
