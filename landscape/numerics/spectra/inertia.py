"""The whole spectrum where d is small: the dense matrix, its eigenvalues, and how many lie below, at and above zero."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape.errors import BadInput
from landscape.numerics.spectra.krylov import Operator

BLOCK = 256
# ‖∇F‖ above this is no critical point, and its index means little.
STATIONARY = 1e-4


class Dense(NamedTuple):
    """The symmetric part of H (d, d), and how far H, as the products gave it, was from symmetric.

    asymmetry       the largest entry of |H − Hᵀ|
    rounding        estimate of ‖(H − Hᵀ)/2‖₂, the error of H that its asymmetry shows
    product_error   bound on ‖δH‖₂ by what is known of the errors of the products
    """

    matrix: Tensor
    asymmetry: float
    rounding: float
    product_error: float = 0.0


class Spectrum(NamedTuple):
    """All eigenvalues (d,), ascending, and where wanted the eigenvectors (d, d), one a row."""

    values: np.ndarray
    vectors: Tensor | None


class Inertia(NamedTuple):
    """How many eigenvalues are negative, zero and positive, zero meaning |λ| ≤ ``threshold``.

    ``just_below`` and ``just_above`` are the same three counts at a tenth of the threshold and at ten
    times: where they differ, the counts hang on the threshold.
    """

    num_negative: int
    num_zero: int
    num_positive: int
    threshold: float
    just_below: tuple[int, int, int]
    just_above: tuple[int, int, int]

    @property
    def is_robust(self) -> bool:
        """Whether the counts are the same at a tenth and at ten times the threshold."""
        return self.just_below == self.just_above


def memory_needed(dimension: int, *, with_vectors: bool = False) -> int:
    """Bytes that the dense matrix and its eigenvalues take in float64: two matrices, with vectors five.

    These are the matrix, LAPACK's copy, and for the vectors twice a matrix of work and a result.
    """
    return (5 if with_vectors else 2) * 8 * dimension**2


def require_memory(dimension: int, limit: float, *, with_vectors: bool = False) -> None:
    """Raises BadInput when the exact spectrum of d parameters needs more than ``limit`` bytes."""
    needed = memory_needed(dimension, with_vectors=with_vectors)
    if needed > limit:
        largest = int((limit / memory_needed(1, with_vectors=with_vectors)) ** 0.5)
        raise BadInput(
            f"the exact spectrum of d = {dimension} parameters needs {needed / 2**30:.3g} GiB",
            f"at most {limit / 2**30:.3g} GiB, d = {largest}",
            "raise the memory limit, take one block of the parameters, or estimate the spectral density instead",
        )


def dense_rows(
    operator: Operator,
    dimension: int,
    start: int,
    stop: int,
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Tensor:
    """Rows ``start`` to ``stop`` of H, (stop − start, d), by a product with one unit vector each.

    For work that is shared out or remembered block by block; ``progress`` counts rows of d.
    """
    rows = torch.empty((stop - start, dimension), dtype=dtype, device=device)
    axis = torch.zeros(dimension, dtype=dtype, device=device)
    for i in range(start, stop):
        axis[i] = 1
        rows[i - start] = operator(axis)
        axis[i] = 0
        progress(i + 1, dimension)
    return rows


def dense_matrix(
    operator: Operator,
    dimension: int,
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
    memory_limit: float = 2**34,
    product_error: Callable[[], float] = lambda: 0.0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Dense:
    """H (d, d) from d products with unit vectors, made symmetric; the asymmetry it had is kept as evidence.

    ``operator`` maps (d,) to (d,), and may work in a lower precision than ``dtype``, that of the matrix;
    ``product_error`` gives the norm of what its last product may be off by.
    Raises BadInput where matrix and eigenvalues would take more than ``memory_limit`` bytes.
    """
    require_memory(dimension, memory_limit)
    matrix = torch.empty((dimension, dimension), dtype=dtype, device=device)
    squares = 0.0

    def product(v: Tensor) -> Tensor:
        nonlocal squares
        image = operator(v)
        squares += product_error() ** 2
        return image

    for start in range(0, dimension, BLOCK):
        stop = min(start + BLOCK, dimension)
        matrix[start:stop] = dense_rows(
            product, dimension, start, stop, dtype=dtype, device=device, progress=progress
        )
    return symmetrised(matrix)._replace(product_error=squares**0.5)


def symmetrised(matrix: Tensor) -> Dense:
    """The symmetric part of ``matrix`` (d, d), in place, with what was not symmetric measured first.

    The norm of the antisymmetric part is that of thirty steps of power iteration on its square.
    """
    dimension = len(matrix)
    draw = torch.randn(dimension, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(matrix)
    rounding = 0.0
    for _ in range(30):
        length = torch.linalg.vector_norm(draw)
        if not float(length) > 0:
            break
        draw = draw / length
        draw = (matrix @ draw - matrix.T @ draw) / 2
        rounding = max(rounding, float(torch.linalg.vector_norm(draw)))
    asymmetry = 0.0
    for start in range(0, dimension, BLOCK):
        rows = matrix[start : start + BLOCK, start:]
        columns = matrix[start:, start : start + BLOCK].T
        asymmetry = max(asymmetry, float((rows - columns).abs().max()))
        mean = (rows + columns) / 2
        matrix[start : start + BLOCK, start:] = mean
        matrix[start:, start : start + BLOCK] = mean.T
    return Dense(matrix, asymmetry, rounding)


def exact_spectrum(matrix: Tensor, *, with_vectors: bool = False) -> Spectrum:
    """All eigenvalues of a symmetric ``matrix`` (d, d) by LAPACK, and on request their vectors as rows."""
    if with_vectors:
        values, columns = torch.linalg.eigh(matrix)
        return Spectrum(values.double().cpu().numpy(), columns.T)
    return Spectrum(torch.linalg.eigvalsh(matrix).double().cpu().numpy(), None)


def stated_error(dense: Dense, values: np.ndarray, *, product_error: float = 0.0) -> float:
    """How far each eigenvalue may be from that of the true H: a bound ‖δH‖₂ on its error (Weyl).

    The sum of twice the antisymmetric part's norm (rounding is as large in the symmetric part, which no
    comparison shows), max(d, 100) ε ‖H‖₂ for LAPACK (Golub and Van Loan 2013, section 8.1) and products
    that are rounded at all, ε of the matrix's dtype, what is known of the products, and ``product_error``, what
    else is of ‖δH‖₂.
    """
    norm = float(np.abs(values).max(initial=0.0))
    solver = max(len(values), 100) * torch.finfo(dense.matrix.dtype).eps * norm
    return 2 * dense.rounding + solver + dense.product_error + product_error


def error_at(gradient_norm: float, tolerance: float = STATIONARY) -> float:
    """What ‖∇F‖ adds to the error of a Hessian's eigenvalues when their signs are counted at a critical point.

    F is constant along the orbit of a symmetry θ(t), so θ̇ᵀHθ̇ = −∇F·θ̈: at a point that is critical but for a small
    gradient, a flat direction bends by as much. Where ‖∇F‖ > ``tolerance`` no point is critical, and the signs
    are those of the matrix alone.
    """
    return gradient_norm if gradient_norm <= tolerance else 0.0


def inertia(values: np.ndarray, error: float) -> Inertia:
    """The signs of eigenvalues (d,) each known to ± ``error``: those within it of zero count as zero.

    Raises BadInput for an error that is negative or no number.
    """
    if not 0 <= error < np.inf:
        raise BadInput(f"an error of {error} in the eigenvalues", "a finite number of at least 0")

    def counts(threshold: float) -> tuple[int, int, int]:
        negative, positive = int((values < -threshold).sum()), int((values > threshold).sum())
        return negative, len(values) - negative - positive, positive

    return Inertia(*counts(error), error, counts(error / 10), counts(10 * error))


def verdict(inertia: Inertia, gradient_norm: float, *, tolerance: float, scale: float = 1.0) -> str:
    """What kind of point this is, in words; "not stationary" where ‖∇F‖ > ``tolerance`` · ``scale``.

    With eigenvalues that are zero to their error no second-order test decides between a minimum and a
    degenerate saddle: that is said, and how many flat directions there are. One negative eigenvalue
    and a small gradient make a saddle or a maximum whatever the rest. ``scale`` has the units of ∇F,
    for example the gradient norm at the start of training.
    """
    if not gradient_norm <= tolerance * scale:
        return f"not stationary: ‖∇F‖ = {gradient_norm:.3g}"
    negative, zero, positive = inertia[:3]
    flat = f"degenerate: {zero} flat direction{'' if zero == 1 else 's'}"
    if negative and positive:
        kind = f"saddle of index {negative}" + (f", {flat}" if zero else "")
    elif negative or positive:
        other = "no positive eigenvalue" if negative else "no negative eigenvalue"
        whole = "local maximum" if negative else "local minimum"
        kind = f"{flat}, {other}" if zero else whole
    else:
        kind = f"{flat}, the Hessian is zero"
    if inertia.is_robust:
        return kind
    fewest, most = inertia.just_above, inertia.just_below
    return (
        f"{kind} (with ten times and a tenth of the threshold {fewest[0]} and {most[0]} negative, "
        f"{fewest[1]} and {most[1]} flat)"
    )
