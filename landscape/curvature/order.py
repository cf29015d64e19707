"""What the loss does where the Hessian leaves it open: the order test at a degenerate point."""

import numpy as np
import torch
from torch import Tensor

from landscape import distributed
from landscape.numerics.spectra.inertia import STATIONARY, Inertia
from landscape.numerics.spectra.valley import valley
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.stacked import Derivatives


def order_test(
    objective: Objective, point: Point, matrix: Tensor, counted: Inertia, gradient_norm: float
) -> str | None:
    """The verdict of :func:`~landscape.numerics.spectra.valley.valley` at a point whose dense Hessian is ``matrix``.

    None where the second order decides, where the point is not critical, and where it would not be told from
    rounding or takes too long: in less than float64, by several processes, and for modules that take no stack of θ.
    """
    is_open = not counted.num_negative and counted.num_zero and gradient_norm <= STATIONARY
    if not is_open or matrix.dtype != torch.float64 or distributed.num_processes() > 1:
        return None
    theta, fixed = objective.brought(point)
    derivatives = Derivatives(objective, fixed)
    derivatives.slopes(theta[None])
    if theta.dtype != torch.float64 or not derivatives.is_stacked:
        return None
    values, vectors = np.linalg.eigh(matrix.cpu().numpy())
    values, vectors = (torch.from_numpy(one).to(theta.device) for one in (values, vectors))
    return valley(derivatives.slopes, theta, values, vectors, counted.threshold).verdict
