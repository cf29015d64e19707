"""What rounding leaves of second derivatives where terms cancel, as p − 1 of an output that is sure: ε of the terms.

They are seen elsewhere, where outputs are not sure of themselves. A net that fits its classes to F = 10⁻⁶ has a
Hessian that is as small, known to ε over that.
"""

import math
from collections.abc import Callable
from contextlib import suppress

import torch
from torch import Tensor

from landscape.errors import NotFinite
from landscape.numerics.vectors import normal, typical_share

Vector = Callable[[Tensor], Tensor]

# Shares of θ at which a function of few layers, or of many, is not sure.
SHARES = (0.5, 0.25)
# A step over ‖θ‖ that tells the size of a derivative, and no more.
STEP = 1e-4
# Rounding of a product is a sum of many: so many times ε at most.
TIMES = 30.0


def elsewhere(theta: Tensor) -> list[Tensor]:
    """Shares of θ (d,), and θ moved at random by as much as it is long."""
    noise = normal(theta, torch.Generator().manual_seed(0))
    noise *= _norm(theta) * typical_share(theta) / _norm(noise)
    return [share * theta for share in SHARES] + [theta + noise.to(theta)]


def curvature_elsewhere(gradient: Vector, theta: Tensor, axis: Tensor) -> float:
    """The largest ‖Hv‖ for ``axis`` v (d,) elsewhere, by differences of ``gradient``, which is ∇F; six of them.

    0 where none is finite.
    """
    found, length = 0.0, _norm(axis)
    for place in elsewhere(theta):
        step = STEP * (_norm(place) or 1.0)
        way = (step / length) * axis.to(place)
        with suppress(NotFinite):
            bend = _norm(gradient(place + way) - gradient(place - way)) / (2 * step)
            found = max(found, bend) if math.isfinite(bend) else found
    return found * length


def gradient_elsewhere(gradient: Vector, theta: Tensor) -> float:
    """The largest ‖∇F‖ elsewhere; three gradients. 0 where none is finite."""
    found = 0.0
    for place in elsewhere(theta):
        with suppress(NotFinite):
            size = _norm(gradient(place))
            found = max(found, size) if math.isfinite(size) else found
    return found


def _norm(vector: Tensor) -> float:
    return float(torch.linalg.vector_norm(vector.double()))
