"""Down a function from many starts at once, each for its own number of steps: points at every height."""

from collections.abc import Callable

import torch
from torch import Tensor

# First step size, and what multiplies it after a step that fell and after one that did not.
FIRST, WIDER, NARROWER = 1.0, 1.2, 0.5


def descended(slopes: Callable[[Tensor], tuple[Tensor, Tensor]], thetas: Tensor, counts: Tensor) -> Tensor:
    """Rows of ``thetas`` (R, d), float64, after ``counts`` (R,) tries of gradient descent each.

    ``slopes`` gives F (R,) and ∇F (R, d) of rows. A step that does not lower F is not taken, and halves the step size
    of its row; so F never rises, and a row where it is not finite stays.
    """
    thetas = thetas.clone()
    sizes = torch.full((len(thetas), 1), FIRST, dtype=thetas.dtype, device=thetas.device)
    values, gradients = slopes(thetas) if bool((counts > 0).any()) else (sizes[:, 0], thetas)
    for step in range(int(counts.max())):
        rows = torch.nonzero(counts > step)[:, 0]
        trial = thetas[rows] - sizes[rows] * gradients[rows]
        new, slope = slopes(trial)
        falls = new < values[rows]
        sizes[rows] *= torch.where(falls[:, None], WIDER * torch.ones_like(sizes[rows]), NARROWER)
        taken = rows[falls]
        thetas[taken], values[taken], gradients[taken] = trial[falls], new[falls], slope[falls]
    return thetas
