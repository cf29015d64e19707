"""To a saddle of a given index: the lowest eigenvectors of the Hessian reflected."""

from collections.abc import Callable

import torch
from torch import Tensor

from landscape.numerics.steps.newton import Local

# Longest step over ‖θ‖, and ‖∇F‖ over that of the start at which Newton's steps take over.
LONGEST, NEAR = 0.1, 1e-6
# Of the largest |λ|: below this an eigenvalue divides no step, and above minus this it is not negative.
LEAST, ROUNDED = 1e-3, 1e-9


def followed(
    local: Callable[[Tensor], Local],
    thetas: Tensor,
    index: int | None,
    *,
    num_steps: int = 500,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Tensor:
    """Rows of ``thetas`` (R, d), float64, led up the ``index`` lowest eigenvectors of H and down the others.

    None is the index of H at the start of each row, its eigenvalues below −1e-9 of the largest.

    High-index saddle dynamics (Yin, Zhang and Zhang 2019): θ′ = −(I − 2 Σ vᵢvᵢᵀ) ∇F over the ``index`` lowest
    eigenvectors, each component divided by its |λ| (Cerjan and Miller 1981), in steps of at most a tenth of ‖θ‖. It
    is stable at saddles of that index alone. A row ends where ‖∇F‖ is a millionth of what it was, or not finite.
    """
    thetas = thetas.clone()
    first: Tensor | None = None
    up: Tensor | None = None
    active = torch.arange(len(thetas), device=thetas.device)
    for number in range(num_steps):
        here = local(thetas[active])
        norms = torch.linalg.vector_norm(here.slopes, dim=1)
        first = norms if first is None else first
        goes_on = torch.isfinite(here.matrices).all(2).all(1) & (norms > NEAR * first[active])
        active, slopes, matrices = active[goes_on], here.slopes[goes_on], here.matrices[goes_on]
        if not len(active):
            break
        values, vectors = torch.linalg.eigh(matrices)
        turned = torch.einsum("rji,rj->ri", vectors, slopes)
        floor = (LEAST * values.abs().amax(1, keepdim=True)).clamp_min(1e-300)
        part = turned / values.abs().maximum(floor)
        if up is None:
            # Rows that are not finite have left; their counts are never read.
            up = torch.full((len(thetas), 1), 0 if index is None else index, device=thetas.device)
            if index is None:
                scale = values.abs().amax(1, keepdim=True)
                up[active] = (values < -ROUNDED * scale).sum(1, keepdim=True)
        part = torch.where(torch.arange(part.shape[1], device=part.device) < up[active], -part, part)
        step = -torch.einsum("rij,rj->ri", vectors, part)
        length = torch.linalg.vector_norm(step, dim=1)
        sizes = torch.linalg.vector_norm(thetas[active], dim=1)
        most = LONGEST * torch.where(sizes > 1e-6, sizes, 1.0)
        thetas[active] += step * (most / length.clamp_min(1e-300)).clamp_max(1.0)[:, None]
        report(number + 1, num_steps)
    return thetas
