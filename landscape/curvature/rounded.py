"""What products are known to where F is next to nothing, and what is left of the Hessian is as small."""

from typing import NamedTuple

import torch
from torch import Tensor

from landscape.curvature.preconditioned import Preconditioned, scale
from landscape.numerics.spectra.lanczos import Eigenpairs
from landscape.objective.cancelled import TIMES, curvature_elsewhere
from landscape.objective.differences import Differences
from landscape.objective.objective import Objective
from landscape.objective.parameters import Point
from landscape.objective.products import Product

# Of the error of a product its asymmetry shows a half, in each of two vectors.
SHOWN = 4.0
# An asymmetry of so many ε of the largest |λ| is more than the rounding of sums.
NOTICED = 50.0


class Cancelled(NamedTuple):
    """The size of H elsewhere, 0 where that was not asked, and what it makes of products with unit vectors.

    ``bound``: how large their asymmetry may be by such rounding. ``error``: what they are off by; 0 where their
    asymmetry is no more than rounding of sums, or is larger than the bound.
    """

    bend: float = 0.0
    bound: float = 0.0
    error: float = 0.0


def cancelled(
    objective: Objective,
    point: Point,
    product: Product | Differences | Preconditioned,
    pairs: Eigenpairs,
) -> Cancelled:
    """The rounding of terms that cancel, asked where ``pairs`` of ``product`` are less symmetric than the largest |λ|.

    A symmetric error, which no comparison shows, is as large, and ε over F where nothing is left but rounding. Six
    gradients, where it is asked.
    """
    shown, eps = pairs.asymmetry, torch.finfo(objective.coarsest).eps
    if isinstance(product, Differences) or not len(pairs.vectors) or not shown > NOTICED * eps * pairs.scale:
        return Cancelled()
    theta, fixed = objective.brought(point)
    unit = scale(objective) if isinstance(product, Preconditioned) else None

    def gradient(place: Tensor) -> Tensor:
        slope = objective.gradient(place, fixed)
        return slope if unit is None else unit * slope

    axis = pairs.vectors[0].to(theta)
    bend = curvature_elsewhere(gradient, theta, axis if unit is None else unit * axis)
    rounding = eps * bend
    is_rounding = shown <= TIMES * rounding
    return Cancelled(bend, TIMES * rounding, max(rounding, SHOWN * shown) if is_rounding else 0.0)
