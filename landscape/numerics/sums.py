"""Sums over the entries of long vectors in float32: one after the other, on one thread, they lose what they tell.

At d = 1e7 a product of a basis with a vector is off by 2e-3 of its scale, and a norm by 4e-4; in blocks that are added
in float64 products are right to 1e-6, for a third of their time more, and norms to rounding.
"""

import torch
from torch import Tensor

# Entries up to which a sum is right to 2e-6 as it is, and those of a block where there are more.
SHORT, BLOCK = 2**16, 2**14


def product(one: Tensor, other: Tensor) -> Tensor:
    """``one @ other`` for (d,) or (m, d) and (d,) or (d, n), in the dtype of ``one``.

    >>> drawn = torch.randn(2**22, generator=torch.Generator().manual_seed(0))
    >>> abs(float(product(drawn, drawn)) / float(drawn.double() @ drawn.double()) - 1) < 1e-6
    True
    """
    size = one.shape[-1]
    # Other devices add in trees, and take a start for every block.
    if one.dtype == torch.float64 or size <= SHORT or one.device.type != "cpu":
        return one @ other
    parts = (one[..., at : at + BLOCK] @ other[at : at + BLOCK] for at in range(0, size, BLOCK))
    total = next(parts).double()
    for part in parts:
        total += part
    return total.to(one.dtype)


def gram(rows: Tensor, others: Tensor) -> Tensor:
    """``rows @ others.T`` (m, n) of (m, d) and (n, d), in float64, of which no more than a block is made.

    >>> drawn = torch.randn(3, 2**17, generator=torch.Generator().manual_seed(0))
    >>> torch.allclose(gram(drawn, drawn[:2]), drawn.double() @ drawn[:2].double().T, rtol=1e-12)
    True
    """
    total = torch.zeros(len(rows), len(others), dtype=torch.float64, device=rows.device)
    for one, other in zip(rows.split(BLOCK, 1), others.split(BLOCK, 1), strict=True):
        total += one.double() @ other.double().T
    return total


def turn(rows: Tensor, by: Tensor) -> None:
    """``by @ rows`` in the place of ``rows`` (m, d), in float64, block by block."""
    for part in rows.split(BLOCK, 1):
        part.copy_(by @ part.double())


def turned(rows: Tensor, images: Tensor, by: Tensor, factors: Tensor) -> Tensor:
    """As :func:`turn`, and ‖by · images − factors · by · rows‖ (m,) of each row, before they are rounded."""
    squares = torch.zeros(len(rows), dtype=torch.float64, device=rows.device)
    for part, its in zip(rows.split(BLOCK, 1), images.split(BLOCK, 1), strict=True):
        wide = by @ part.double()
        squares += (by @ its.double() - factors[:, None] * wide).square().sum(1)
        part.copy_(wide)
    return squares.sqrt()


def norms(rows: Tensor) -> Tensor:
    """The norms (…) of ``rows`` (…, d), in float64.

    >>> tenths = torch.full((2**22,), 0.1)
    >>> abs(float(norms(tenths)) / (2**11 * float(tenths[0])) - 1) < 1e-12
    True
    """
    if rows.dtype == torch.float64 or rows.shape[-1] <= SHORT or rows.device.type != "cpu":
        return torch.linalg.vector_norm(rows, dim=-1, dtype=torch.float64)
    squares = torch.zeros(rows.shape[:-1], dtype=torch.float64, device=rows.device)
    for part in rows.split(BLOCK, dim=-1):
        squares += part.double().square().sum(-1)
    return squares.sqrt()
