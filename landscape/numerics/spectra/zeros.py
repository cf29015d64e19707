"""Which eigenvalues of a Hessian count as zero near a critical point: one rule, at many points at once."""

from collections.abc import Callable

import torch
from torch import Tensor

from landscape.numerics.spectra.inertia import STATIONARY

# Steps of Newton's that the rest of a way is long, where it converges linearly.
REMAINING = 10.0
# Steps (R, d) ↦ ‖∇F‖ (R,) and the eigenvalues (R, d), ascending, at the points so far on.
Beyond = Callable[[Tensor], tuple[Tensor, Tensor]]


def zero_thresholds(
    values: Tensor,
    vectors: Tensor | None,
    slopes: Tensor,
    stated: Tensor,
    beyond: Beyond | None,
    tolerance: float = STATIONARY,
) -> Tensor:
    """|λ| (R,) below which an eigenvalue of H is zero at the critical point that each of R points is near.

    ``values`` (R, d), ascending, and ``vectors`` (R, d, d), one a column, are those of H, ``slopes`` (R, d) is ∇F and
    ``stated`` (R,) the error of H by rounding (:func:`~landscape.numerics.spectra.inertia.stated_error`). Three terms:

    the stated error; ‖∇F‖, for F is constant along the orbit of a symmetry θ(t), so θ̇ᵀHθ̇ = −∇F·θ̈, and a flat
    direction bends by as much; and where H itself vanishes at the critical point, so that ∇F is of second order in the
    distance to it, what is left of H at that distance: the largest eigenvalue that reaches zero if it moves on as in
    one more step of Newton's, ten times as far, and ‖∇F‖ falls in that step.

    Without ``vectors`` or ``beyond`` it is the first two. Where ‖∇F‖ > ``tolerance`` no point is critical, and the
    signs are those of the matrix alone.
    """
    norms = torch.linalg.vector_norm(slopes, dim=1)
    is_near = (norms > 0) & (norms <= tolerance)
    known = stated + torch.where(is_near, norms, 0.0)
    if vectors is None or beyond is None or not bool(is_near.any()):
        return known
    turned = torch.einsum("rji,rj->ri", vectors, slopes)
    part = torch.where(is_near[:, None] & (values.abs() > stated[:, None]), turned / values, 0.0)
    there_norms, there_values = beyond(-torch.einsum("rij,rj->ri", vectors, part))
    at_rest = values + REMAINING * (torch.nan_to_num(there_values) - values)
    # Towards zero, and as far as it or beyond.
    in_doubt = at_rest * values.sign() <= known[:, None]
    in_doubt &= (is_near & (there_norms < norms))[:, None]
    return known + torch.where(in_doubt, values.abs(), 0.0).amax(1)
