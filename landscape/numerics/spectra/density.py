"""The spectral density of a symmetric operator by stochastic Lanczos quadrature, with its error bars."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from torch import Tensor

from landscape.errors import BadInput, NotFinite
from landscape.numerics.spectra.krylov import Operator, orthogonalised
from landscape.numerics.spectra.trace import deflated_probe, known_pairs, student_factor

# Eigenvalues this close to a point, relative to the largest, count as lying on it.
COINCIDENT = 1e-7
# Lanczos' tridiagonal matrix: its diagonal (m,) and what stands beside it (m,), the last of which leads out.
Recurrence = tuple[np.ndarray, np.ndarray]


class Density(NamedTuple):
    """The spectrum as a probability measure: per probe, nodes and weights, plus what is known exactly.

    nodes, weights  (probe, node): quadrature of the part not deflated; padded with weight 0
    deflated        (k,): eigenvalues known beforehand, each of weight ``deflated_weight`` = 1/d, so that
                    the weights of every probe and of the deflated add up to 1
    band            what "near zero" means: |λ| ≤ band
    mass_…          shares of all d eigenvalues, each with a standard error
    """

    nodes: np.ndarray
    weights: np.ndarray
    deflated: np.ndarray
    deflated_weight: float
    num_products: int
    band: float
    mass_below_zero: float
    mass_below_zero_error: float
    mass_near_zero: float
    mass_near_zero_error: float


def spectral_density(
    operator: Operator,
    dimension: int,
    *,
    values: np.ndarray | None = None,
    vectors: Tensor | None = None,
    num_probes: int = 4,
    num_steps: int = 20,
    band: float | None = None,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Density:
    """Stochastic Lanczos quadrature (Ubaru, Chen and Saad 2017) off the known eigenpairs (k,), (k, d).

    ``operator`` maps (d,) to (d,). Each probe, random signs projected off the known vectors, starts a
    recurrence of ``num_steps`` products with full reorthogonalisation (against the known vectors too),
    whose Ritz values and squared first components are the Gauss quadrature of the measure of that
    probe: its moments up to 2 num_steps − 1 are exact. A Krylov space that closes earlier gives fewer
    nodes, and the measure itself.

    ``mass_below_zero`` counts λ < 0, ``mass_near_zero`` |λ| ≤ ``band`` (None: 1e-3 of the largest
    |λ| met). Their errors, of which ±1.96 make a 95 % interval, join two: the spread of the probes,
    known beforehand, as the mass p of a random direction of n dimensions inside an eigenspace is Beta
    distributed, of variance 2 p (1 − p) / (n + 2); and what few nodes leave open (:func:`_mass_beyond`),
    which is large where many eigenvalues crowd at 0 and ``num_steps`` do not resolve their sign, or ``band``.

    Raises BadInput for fewer than one probe or step, a negative band, or shapes that do not match;
    NotFinite for a product that is not finite.
    """
    if num_probes < 1 or num_steps < 1 or not (band is None or band >= 0):
        raise BadInput(
            f"{num_probes} probes of {num_steps} steps, band {band}",
            "at least 1 of each, and a band of 0 or more",
        )
    known, basis = known_pairs(dimension, values, vectors, dtype, device)
    num_left = dimension - len(basis)
    num_steps = min(num_steps, num_left)
    nodes, weights = np.zeros((2, num_probes, max(num_steps, 1)))
    scale = float(np.abs(known).max(initial=0.0))
    recurrences: list[Recurrence] = []
    spent = 0

    def product(v: Tensor) -> Tensor:
        nonlocal spent
        image = operator(v)
        spent += 1
        progress(spent, num_probes * num_steps)
        return image

    for probe in range(num_probes if num_left else 0):
        one = _recurrence(product, deflated_probe(basis, generator), basis, num_steps, scale)
        recurrences.append(one)
        found, mass = _quadrature(one[0], one[1][:-1])
        nodes[probe] = np.pad(found, (0, num_steps - len(found)), mode="edge")
        weights[probe, : len(mass)] = mass * num_left / dimension
    scale = max(scale, float(np.abs(nodes).max()))
    band = 1e-3 * scale if band is None else band

    below, unsure = _mass_beyond(recurrences, 0.0, scale, -1)
    low, unsure_low = _mass_beyond(recurrences, -band, scale, -1)
    high, unsure_high = _mass_beyond(recurrences, band, scale, 1)

    def share(mass: float, quadrature_error: float, of_known: np.ndarray) -> tuple[float, float]:
        mass = min(max(mass, 0.0), 1.0)
        sampling = 2 * mass * (1 - mass) / (num_left + 2) / num_probes
        error = float(np.hypot(sampling**0.5, quadrature_error))
        return (num_left * mass + int(of_known.sum())) / dimension, num_left * error / dimension

    negative, negative_error = share(below, unsure, known < 0)
    near, near_error = share(1 - low - high, float(np.hypot(unsure_low, unsure_high)), np.abs(known) <= band)
    return Density(
        nodes=nodes,
        weights=weights,
        deflated=known,
        deflated_weight=1 / dimension,
        num_products=spent,
        band=band,
        mass_below_zero=negative,
        mass_below_zero_error=negative_error,
        mass_near_zero=near,
        mass_near_zero_error=near_error,
    )


def moment(density: Density, power: int) -> tuple[float, float]:
    """tr(Hᵖ)/d and its standard error over the probes (infinite for one), p ≤ 2 num_steps − 1.

    ±1.96 errors are a 95 % interval. For p ≥ 2 the deflated must be eigenpairs, not just Rayleigh quotients.
    """
    known = density.deflated_weight * float((density.deflated**power).sum())
    each = known + (density.weights * density.nodes**power).sum(axis=1)
    return float(each.mean()), float(_error_over_probes(each)) if density.weights.any() else 0.0


def _error_over_probes(each: np.ndarray) -> np.ndarray:
    count = len(each)
    if count < 2:
        return np.full(each.shape[1:], np.inf)
    return np.asarray(student_factor(count) * np.std(each, axis=0, ddof=1) / count**0.5)


def _recurrence(operator: Operator, start: Tensor, known: Tensor, num_steps: int, scale: float) -> Recurrence:
    """At most ``num_steps`` steps of Lanczos from ``start`` (d,) in the complement of the rows ``known``."""
    first, tiny = len(known), torch.finfo(known.dtype).eps
    basis = torch.cat([known, known.new_empty((num_steps, known.shape[1]))])
    alphas: list[float] = []
    betas: list[float] = []
    vector = start / torch.linalg.vector_norm(start)
    for step in range(1, num_steps + 1):
        basis[first + step - 1] = vector
        image = operator(vector)
        alphas.append(float(torch.dot(image.double(), vector.double())))
        length = float(torch.linalg.vector_norm(image.double()))
        image = orthogonalised(image, basis[: first + step])
        beta = float(torch.linalg.vector_norm(image.double()))
        if not np.isfinite(beta):
            raise NotFinite(f"product {step} of a probe has the norm {length}", "finite products")
        scale = max(scale, abs(alphas[-1]), beta)
        is_closed = beta <= 10 * tiny * scale or first + step == known.shape[1]
        betas.append(0.0 if is_closed else beta)
        if is_closed:
            break
        vector = image / beta
        if beta < 0.1 * length:  # what cancellation leaves is not orthogonal to rounding yet
            vector = orthogonalised(vector, basis[: first + step])
            vector = vector / torch.linalg.vector_norm(vector)
    return np.array(alphas), np.array(betas)


def _quadrature(alphas: np.ndarray, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gauss quadrature of a Jacobi matrix: nodes, ascending, and weights of sum 1 (Golub and Welsch 1969)."""
    pair = eigh_tridiagonal(alphas, betas)
    weights = np.asarray(pair[1])[0] ** 2
    return np.asarray(pair[0]), weights / weights.sum()


def _around(recurrence: Recurrence, point: float, steps: int, scale: float) -> tuple[float, float]:
    """What moments prove of one probe's mass below ``point``: it lies in [first, first + second].

    The quadrature with a node prescribed at ``point`` has the largest mass there that the moments
    allow (Chebyshev, Markov, Stieltjes; Golub 1973 for the modified matrix).
    """
    steps = min(steps, len(recurrence[0]))
    if steps == 0:
        return 0.0, 1.0
    alphas, betas = recurrence[0][:steps], recurrence[1][:steps]
    tiny = 1e-8 * max(scale, 1e-300)
    pivot = 1.0
    for i in range(steps):
        pivot = alphas[i] - point - (betas[i - 1] ** 2 / pivot if i else 0.0)
        if abs(pivot) < 1e-8 * tiny:
            pivot = 1e-8 * tiny
    last = point + float(np.clip(betas[-1] ** 2 / pivot, -scale / 1e-8, scale / 1e-8))
    nodes, weights = _quadrature(np.r_[alphas, last], betas)
    distance = nodes - point
    here = np.abs(distance) <= max(COINCIDENT * scale, np.abs(distance).min())
    return float(weights[(distance < 0) & ~here].sum()), float(weights[here].sum())


def _mass_beyond(recurrences: list[Recurrence], point: float, scale: float, sign: int) -> tuple[float, float]:
    """The probes' mean mass below ``point`` (above for sign 1), and the error that few nodes leave in it.

    A smooth density has half of what is undecided at ``point`` below it, and that amount shrinks like
    1/steps. What does not shrink from half the steps to all is an atom at or next to ``point``: taken to
    lie on it, and half of it stated as error, as it may lie beside it. To this comes the change of the
    estimate from half the steps to all.
    """
    if not recurrences:
        return 0.0, 0.0
    steps = max(len(alphas) for alphas, _ in recurrences)
    half = steps // 2
    whole = np.array([_around(one, point, steps, scale) for one in recurrences]).mean(axis=0)
    halved = np.array([_around(one, point, half, scale) for one in recurrences]).mean(axis=0)
    atom = float(np.clip((steps * whole[1] - half * halved[1]) / (steps - half), 0, whole[1]))

    def estimate(bounds: np.ndarray) -> float:
        start = 1 - bounds.sum() if sign > 0 else bounds[0]
        return float(start + max(bounds[1] - atom, 0.0) / 2)

    if all(betas[-1] == 0 for _, betas in recurrences):  # the measures of the probes themselves
        return float(1 - whole.sum() if sign > 0 else whole[0]), 0.0
    return estimate(whole), float(np.hypot(atom / 2, estimate(whole) - estimate(halved)))
