"""The spin glass with a quartic wall, whose critical points are known one by one."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from landscape.errors import BadInput


class Spin(nn.Module):
    """F(w) = ‖w‖⁴/4 − wᵀAw/2 whatever the inputs, (n, …) to (n, 1); to be taken with the loss ``output``.

    Its critical points are 0 and ±√λᵢ uᵢ for the positive eigenvalues λᵢ of A with unit vectors uᵢ, of the
    loss −λᵢ²/4 and the index #{λⱼ > λᵢ}.
    """

    def __init__(self, matrix: Tensor, scale: float):
        super().__init__()
        self.matrix: Tensor
        self.register_buffer("matrix", matrix)
        # Any direction, and any length up to that of the outermost critical points: half of all normal draws in
        # twenty dimensions would begin beyond these, where every way leads to the lowest.
        way = torch.randn(len(matrix), dtype=matrix.dtype)
        length = scale * torch.rand((), dtype=matrix.dtype) * torch.linalg.matrix_norm(matrix, 2).sqrt()
        self.w = nn.Parameter(way * (length / torch.linalg.vector_norm(way)))

    def forward(self, inputs: Tensor) -> Tensor:
        square = (self.w * self.w).sum()
        energy = square * square / 4 - (self.w * (self.matrix @ self.w)).sum() / 2
        return energy.expand(len(inputs), 1)

    def critical_kinds(self) -> tuple[Tensor, Tensor, Tensor]:
        """Losses, indices and nullities of its critical points, ±w being one, for simple eigenvalues of A."""
        values = torch.linalg.eigvalsh(self.matrix.double()).flip(0)
        positive = values[values > 0]
        loss = torch.cat([-(positive**2) / 4, torch.zeros(1, dtype=torch.float64)])
        nullity = torch.zeros(len(loss), dtype=torch.int64)
        nullity[-1] = int((values == 0).sum())
        return loss, torch.arange(len(loss)), nullity


def spin(
    size: int = 20,
    matrix: Sequence[Sequence[float]] | None = None,
    matrix_seed: int = 0,
    scale: float = 1.0,
) -> Spin:
    """:class:`Spin` with the matrix A given, or drawn from the Gaussian orthogonal ensemble.

    That is (G + Gᵀ)/√(2d) of d = ``size`` standard normal rows and columns, drawn by ``matrix_seed``. The initial w
    points anywhere, its length uniform up to ``scale`` times √‖A‖. Raises BadInput for a matrix that is not symmetric.
    """
    if matrix is None:
        if not isinstance(size, int) or size < 1:
            raise BadInput(f"size={size!r}", "a positive integer")
        draw = torch.randn(
            size, size, generator=torch.Generator().manual_seed(matrix_seed), dtype=torch.float64
        )
        return Spin((draw + draw.T) / (2 * size) ** 0.5, scale)
    try:
        given = torch.tensor(matrix, dtype=torch.float64)
    except (TypeError, ValueError):
        given = torch.zeros(0)
    if (
        given.dim() != 2
        or not given.numel()
        or given.shape[0] != given.shape[1]
        or bool((given != given.T).any())
    ):
        raise BadInput(f"matrix={matrix!r}", "rows of a symmetric matrix", "as in matrix=[[2,1],[1,0]]")
    return Spin(given, scale)
