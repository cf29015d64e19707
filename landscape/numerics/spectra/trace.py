"""The trace of a symmetric operator from products alone: exact on a known subspace, random probes on the rest."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape.errors import BadInput, NotFinite
from landscape.numerics.spectra.krylov import Operator
from landscape.numerics.spectra.rows import orthogonalised
from landscape.numerics.vectors import signs, unit

# Below this many probes their own spread says too little about their error.
FEWEST_PROBES = 8
# A larger relative error would stop at the first trace that looks different from zero.
LARGEST_RELATIVE_ERROR = 0.25
NORMAL_QUANTILE = 1.959964


class Trace(NamedTuple):
    """An estimate of tr H: ``value`` ± 1.96 ``standard_error`` contains the truth 95 times in 100.

    The error is that of the probes' mean times Student's factor for their number, so it may be read
    like that of a normal variable however few there were; it is infinite for one probe, and 0 where
    the sum is exact to rounding. ``converged``: the error is within what was asked. ``forms`` (m,) are zᵀHz of
    every probe, or with ``is_sum`` of all unit vectors off the known ones, which are added up; ``last`` (d,) is the
    last such z.
    """

    value: float
    standard_error: float
    num_products: int
    converged: bool
    forms: np.ndarray
    is_sum: bool
    last: Tensor

    def product_error(self, known: float, rounding: float) -> float:
        """What products along unit vectors are off by: as is ``known``, of a sum by a ``rounding`` at least.

        Beside the error of a sample rounding is nothing; a sum has no other.
        """
        return max(known, rounding) if self.is_sum else known


def trace_estimate(
    operator: Operator,
    dimension: int,
    *,
    values: np.ndarray | None = None,
    vectors: Tensor | None = None,
    relative_error: float = 0.01,
    max_products: int = 1000,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Trace:
    """tr H = Σ θᵢ + tr (I − QᵀQ) H (I − QᵀQ), for Rayleigh quotients θ (k,) of orthonormal rows Q (k, d).

    ``operator`` maps (d,) to (d,). The rows ``vectors`` need not be eigenvectors: the identity holds
    for θᵢ = qᵢᵀ H qᵢ; eigenvectors of the largest |λ| make the remainder small. Its trace is Hutchinson's
    (1990) mean of zᵀ H z over signs z projected off Q, drawn until the standard error is at most
    ``relative_error`` |trace| (at least 8 probes; above 0.25 counts as 0.25), or the products run out.
    Looking after every probe costs the 95 % intervals about two points of their coverage, no more, as
    the error carries Student's factor. Where as many probes as there are dimensions would be needed,
    the sum over unit vectors is taken instead, which is exact.

    On a remainder whose head is deflated this beats Hutch++ and XTrace at equal products (they spend
    half and more of them on finding a head: Meyer et al. 2021; Epperly, Tropp and Webber 2024); with
    nothing deflated and a decaying spectrum it needs many times more than they do.

    Raises BadInput for fewer than one product or an error that is not positive, NotFinite for a
    product that is not finite.
    """
    if max_products < 1:
        raise BadInput(f"max_products = {max_products}", "at least 1")
    if not relative_error > 0:
        raise BadInput(f"relative_error = {relative_error}", "a positive number")
    known, basis = known_pairs(dimension, values, vectors, dtype, device)
    base, size = float(known.sum()), float(np.abs(known).sum())
    num_left = dimension - len(basis)
    if num_left == 0:
        return Trace(base, 0.0, 0, True, np.zeros(0), True, basis.new_zeros(dimension))
    relative_error = min(relative_error, LARGEST_RELATIVE_ERROR)
    precision = torch.finfo(dtype).eps
    samples: list[float] = []
    value, error, is_enough = base, np.inf, False
    probe = basis.new_zeros(dimension)
    # All d unit vectors: at once where there are few, later when sampling turns out to need as many.
    is_exact = dimension <= min(FEWEST_PROBES, max_products)
    while not (is_exact or is_enough or len(samples) == max_products):
        probe = deflated_probe(basis, generator)
        samples.append(_quadratic_form(operator, probe))
        progress(len(samples), max_products)
        count = len(samples)
        value = base + float(np.mean(samples))
        if count < 2:
            continue
        error = student_factor(count) * float(np.std(samples, ddof=1)) / count**0.5
        wanted = max(relative_error * abs(value), precision * (size + float(np.mean(np.abs(samples)))))
        if count >= min(FEWEST_PROBES, max_products):
            is_enough = error <= wanted
            num_wanted = count * (error / wanted) ** 2 if wanted > 0 else 0.0
            is_exact = not is_enough and dimension <= min(num_wanted, max_products) - count
    num_products = len(samples)
    if is_exact:
        value, error, is_enough, samples = base, 0.0, True, []
        for probe in _projected_axes(basis):
            samples.append(_quadratic_form(operator, probe))
            value += samples[-1]
            num_products += 1
            progress(num_products, max_products)
    return Trace(value, error, num_products, is_enough, np.array(samples), is_exact, probe)


def known_pairs(
    dimension: int,
    values: np.ndarray | None,
    vectors: Tensor | None,
    dtype: torch.dtype,
    device: torch.device | str,
) -> tuple[np.ndarray, Tensor]:
    """What is known of the spectrum as arrays (k,) and (k, d); None means nothing, k = 0.

    Raises BadInput where the shapes do not belong together.
    """
    known = np.zeros(0) if values is None else np.asarray(values, dtype=np.float64)
    basis = torch.zeros((0, dimension), dtype=dtype, device=device) if vectors is None else vectors
    if known.ndim != 1 or basis.shape != (len(known), dimension):
        raise BadInput(
            f"{known.size} known values with vectors of shape {tuple(basis.shape)}",
            f"vectors of shape ({known.size}, {dimension}), one a row",
        )
    return known, basis.to(device, dtype)


def deflated_probe(basis: Tensor, generator: torch.Generator) -> Tensor:
    """d random signs, projected off the orthonormal rows of ``basis`` (k, d).

    Drawn on the CPU: one seed gives the same signs on every device and for every dtype.
    """
    return orthogonalised(signs(basis, generator).to(basis), basis)


def student_factor(count: int) -> float:
    """What makes 1.96 standard errors of a mean of ``count`` draws a 95 % interval; infinite for one."""
    from scipy.special import stdtrit

    return float(stdtrit(count - 1, 0.975)) / NORMAL_QUANTILE if count > 1 else np.inf


def _projected_axes(basis: Tensor) -> Iterator[Tensor]:
    for i in range(basis.shape[1]):
        yield orthogonalised(unit(basis, i), basis)


def _quadratic_form(operator: Operator, probe: Tensor) -> float:
    form = float(torch.dot(probe.double(), operator(probe).double()))
    if not np.isfinite(form):
        raise NotFinite(f"a probe gave zᵀHz = {form}", "finite products")
    return form
