"""A path to infinity: (xyz − 1)² has no bad minimum, and yet falls to 1 along (−1/k, √k, 1/k) (Sun et al. 2020)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from landscape.errors import BadInput


class ToyPath(nn.Module):
    """h = xyz · input at x = −1/k, y = √k, z = 1/k, of which the number k alone is trained: h = −k^(−3/2) · input.

    With the data ``point`` and the mean squared error F = (1 + k^(−3/2))², which falls to 1 as k → ∞ and has no
    critical point: dF/dk = −3 k^(−5/2) (1 + k^(−3/2)). Where x, y and z are free, as in ``toy-chain``, searches leave
    the path for a critical point (0, y, 0), F = 1, of index 1.
    """

    def __init__(self, k: float | None, input_shape: Sequence[int], num_outputs: int):
        super().__init__()
        if tuple(input_shape) != (1,) or num_outputs != 1:
            raise BadInput(
                f"data with samples of shape {tuple(input_shape)} and {num_outputs} outputs",
                "one number in and one out, as a toy surface has",
                "take `data` point",
            )
        if k is not None and not k > 0:
            raise BadInput(f"k = {k}", "above 0")
        drawn = 10 ** torch.rand((), dtype=torch.float64) if k is None else torch.tensor(float(k)).double()
        self.k = nn.Parameter(drawn)

    def forward(self, inputs: Tensor) -> Tensor:
        x, y, z = -1 / self.k, self.k.sqrt(), 1 / self.k
        return x * y * z * inputs

    @staticmethod
    def loss_far_out(sizes: Tensor) -> Tensor:
        """F at ‖θ‖ = k = ``sizes`` in closed form, of the data ``point`` and the mean squared error."""
        return (1 + sizes**-1.5) ** 2


def toy_path(k: float | None = None, input_shape: Sequence[int] = (1,), num_outputs: int = 1) -> ToyPath:
    """(xyz − 1)² along the path (−1/k, √k, 1/k), where ‖∇F‖ → 0 and nothing is critical; k by default from 1 to 10."""
    return ToyPath(k, input_shape, num_outputs)
