"""The proofs of estimates: trace and density from what was drawn, against one another and against all eigenvalues."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from landscape.curvature.share_proofs import SAME, Recurrences, share_error, share_of
from landscape.numerics.spectra.krylov import Operator
from landscape.numerics.spectra.quadrature import COINCIDENT
from landscape.result import Check, largest_gap

# A correct estimate fails a check about once in so many results.
SELDOM = 1e6
# What is near zero, over the largest |λ|.
BAND = 1e-3


@dataclass(frozen=True)
class Stated:
    """What a result says of one point: arrays as they are stored, None where it was not asked for.

    ``known`` (k,) are the Ritz values, ``nodes`` and ``weights`` (probe, node), ``spectrum`` (d,).
    """

    dimension: int
    known: np.ndarray
    trace: float | None = None
    trace_error: float | None = None
    nodes: np.ndarray | None = None
    weights: np.ndarray | None = None
    mass: float | None = None
    mass_error: float | None = None
    index_estimate: float | None = None
    index_error: float | None = None
    spectrum: np.ndarray | None = None
    index: int | None = None
    nullity: int | None = None
    threshold: float = 0.0
    near: float | None = None
    near_error: float | None = None
    band: float | None = None
    nearby: np.ndarray | None = None
    recurrences: Recurrences = ()
    product_error: float = 0.0


def sampling_error(num_probes: int, frobenius: float, spectral: float) -> float:
    """What the mean of zᵀAz over so many probes z of random signs is off by, but for once in :data:`SELDOM`.

    For symmetric A (Cortinovis and Kressner 2021, theorem 2; with ‖A‖ for ‖A − diag A‖, twice for the spectral norm).
    """
    x = np.log(2 * SELDOM) / num_probes
    linear = 8 * x * spectral
    return float(linear + np.sqrt(linear**2 + 8 * x * frobenius**2))


def trace_checks(
    said: Stated, forms: np.ndarray, is_sum: bool, product_error: float, dimension: int
) -> list[Check]:
    """The trace from ``forms`` (m,), zᵀHz of every probe, and its standard error by Student's interval.

    ``is_sum``: the forms are of all unit vectors instead, and are added up. ``product_error`` is that of products
    along unit vectors, which an error contains √d times.
    """
    assert said.trace is not None
    assert said.trace_error is not None
    base = float(said.known.sum())
    size = float(np.abs(said.known).sum() + np.abs(forms).sum()) or 1.0
    count = len(forms)
    value, error = base + float(forms.sum()), 0.0
    if count and not is_sum:
        value = base + float(forms.sum()) / count
        error = (
            student(count) * float(((forms - forms.sum() / count) ** 2).sum() / (count - 1) / count) ** 0.5
        )
    error = float(np.hypot(error, dimension**0.5 * product_error))
    return [
        Check(
            "trace",
            abs(said.trace - value) / size,
            1e-10,
            "tr H against Σ λ of the pairs + mean of the probes",
        ),
        Check(
            "trace error",
            abs(said.trace_error - error) / max(error, 1e-10 * size),
            1e-8,
            "its standard error against Student's 95 % interval of the probes, relative",
        ),
    ]


def density_checks(said: Stated) -> list[Check]:
    """Weights of every probe of sum 1, and the share below zero within what nodes and weights allow."""
    nodes, weights = _drawn(said)
    d, left = said.dimension, said.dimension - len(said.known)
    if not len(nodes):
        return []
    assert said.mass is not None
    assert said.mass_error is not None
    sums = np.abs(weights.sum(1) + len(said.known) / d - 1).max()
    # What lies so near to zero counts as lying on it.
    least, most = below_zero(said, COINCIDENT * float(np.abs(nodes).max()))
    outside = largest_gap(0.0, least - said.mass, said.mass - most)
    share = np.clip((said.mass * d - (said.known < 0).sum()) / left, 0, 1)
    sampling = left / d * (2 * share * (1 - share) / (left + 2) / len(nodes)) ** 0.5
    pairs = [(said.index_estimate, said.mass), (said.index_error, said.mass_error)]
    off = largest_gap(
        *(abs(count - d * mass) / max(d * mass, 1e-300) for count, mass in pairs if count is not None)
    )
    near = [] if said.near is None else [_near_check(said, nodes)]
    errors = [_errors_check(said, nodes)] if said.recurrences else []
    return [
        *near,
        *errors,
        Check(
            "density weights",
            float(sums),
            1e-10,
            "weights of each probe and 1/d of each Ritz value, of sum 1",
        ),
        Check(
            "density below zero",
            float(largest_gap(outside, (sampling - said.mass_error) / max(sampling, 1e-300), off)),
            1e-10,
            "share below zero outside what nodes and weights allow, or its error below that of the sampling",
        ),
    ]


def _errors_check(said: Stated, nodes: np.ndarray) -> Check:
    """Both shares, and their errors against all of their parts, from the recurrences."""
    d, left = said.dimension, said.dimension - len(said.known)
    largest = max(float(np.abs(nodes).max()), float(np.abs(said.known).max(initial=0.0)))
    worst = 0.0
    for share, error, edges, inside in (
        (said.mass, said.mass_error, (0.0,), said.known < 0),
        (said.near, said.near_error, (-(said.band or 0.0), said.band or 0.0), None),
    ):
        if share is None or error is None:
            continue
        inside = np.abs(said.known) <= (said.band or 0.0) if inside is None else inside
        beside = float(np.clip((share * d - inside.sum()) / left, 0, 1))
        about = (said.recurrences, said.known, d, edges, beside, largest, said.product_error)
        wanted = share_error(*about)
        # Of shares that are known as good as exactly, the errors are those of rounding.
        worst = largest_gap(worst, abs(error - wanted) / (wanted + SAME))
        worst = largest_gap(worst, abs(share - share_of(said.recurrences, said.known, d, edges, largest)))
    meaning = (
        "shares below and near zero by orthogonal polynomials, and their errors against sampling, what few nodes "
        "leave open, and products, relative"
    )
    return Check("density errors", worst, SAME, meaning)


def _near_check(said: Stated, nodes: np.ndarray) -> Check:
    """The band, the share within it by what nodes and weights allow below its ends, and the least error of that."""
    assert said.near is not None
    assert said.near_error is not None
    assert said.band is not None
    largest = max(float(np.abs(nodes).max()), float(np.abs(said.known).max(initial=0.0)))
    slack = COINCIDENT * largest
    (low, high), (lower, upper) = (below(said, edge, slack) for edge in (said.band, -said.band))
    d, left = said.dimension, said.dimension - len(said.known)
    outside = largest_gap(0.0, (low - upper) - said.near, said.near - (high - lower))
    share = np.clip((said.near * d - (np.abs(said.known) <= said.band).sum()) / left, 0, 1)
    sampling = left / d * (2 * share * (1 - share) / (left + 2) / len(nodes)) ** 0.5
    gaps = [
        outside,
        abs(said.band - BAND * largest) / max(said.band, 1e-300),
        (sampling - said.near_error) / max(sampling, 1e-300),
    ]
    meaning = (
        f"the band against {BAND:g} of the largest |λ|, and the share within it outside what nodes and weights allow, "
        "or its error below that of the sampling"
    )
    return Check("density near zero", float(largest_gap(*gaps)), 1e-10, meaning)


def below_zero(said: Stated, threshold: float) -> tuple[float, float]:
    """:func:`below` zero, with either sign within ``threshold`` of it."""
    return below(said, 0.0, threshold)


def below(said: Stated, edge: float, slack: float) -> tuple[float, float]:
    """Between which shares of all eigenvalues the probes' means lie below ``edge`` (Chebyshev, Markov, Stieltjes).

    Gauss nodes x₁ < x₂ < …: the mass below xₖ is at least that of the nodes before, and with xₖ at most. What lies
    within ``slack`` of the edge may count on either side.
    """
    nodes, weights = _drawn(said)
    least = most = 0.0
    for row, mass in zip(nodes, weights, strict=True):
        order = np.argsort(row[mass > 0])
        row, mass = row[mass > 0][order], mass[mass > 0][order]
        least += mass[: max(0, int((row < edge - slack).sum()) - 1)].sum() / len(nodes)
        most += mass[: int((row <= edge + slack).sum()) + 1].sum() / len(nodes)
    return (
        least + float((said.known < edge - slack).sum()) / said.dimension,
        most + float((said.known <= edge + slack).sum()) / said.dimension,
    )


def between_checks(said: Stated, num_probes: int, precision: float) -> list[Check]:
    """Trace, density and all eigenvalues against one another, as far as they are there.

    ``num_probes`` are those of the trace, 0 where it is a sum. What was drawn may be off by
    :func:`sampling_error` of what the pairs leave; its Frobenius norm is that of the eigenvalues, or of the density.
    To this comes d times ``precision``, the rounding of a product over the largest |λ|.
    """
    d, (nodes, weights) = said.dimension, _drawn(said)
    exact = said.spectrum
    if exact is None and not len(nodes):
        return []
    scale = max(
        float(np.abs(one).max(initial=0.0)) for one in (said.known, nodes, [0.0] if exact is None else exact)
    )
    if exact is not None:
        beside = exact
        for value in said.known:
            beside = np.delete(beside, np.abs(beside - value).argmin())
        squares, largest = float((beside**2).sum()), float(np.abs(beside).max(initial=0.0))
        truth = float(exact.sum())
    else:
        # Of the density itself, and so with some room.
        squares, largest = 2 * d * float((weights * nodes**2).sum(1).mean()), 2 * float(np.abs(nodes).max())
        truth = float("nan")
    rounding, rest = d * precision * scale, squares**0.5
    off_trace = sampling_error(num_probes, rest, largest) if num_probes else 0.0
    found = []
    moment = d * float((weights * nodes).sum(1).mean()) + said.known.sum() if len(nodes) else float("nan")
    off_moment = sampling_error(len(nodes), rest, largest) if len(nodes) else 0.0
    if exact is not None:
        for name, value, off in (("trace", said.trace, off_trace), ("first moment", moment, off_moment)):
            if value is not None and not np.isnan(value):
                found.append(_between(f"{name} and spectrum", value, truth, off + rounding))
        if len(nodes):
            found.append(_signs(said, len(nodes)))
    elif said.trace is not None:
        found.append(_between("trace and density", said.trace, moment, off_trace + off_moment + rounding))
    return found


def _between(name: str, value: float, truth: float, bound: float) -> Check:
    return Check(name, abs(value - truth), bound, "difference of both, which sampling exceeds once in 1e6")


def _signs(said: Stated, count: int) -> Check:
    assert said.spectrum is not None
    d, zero = said.dimension, said.threshold
    least, most = below_zero(said, zero)
    surely, perhaps = float((said.spectrum < -zero).sum()) / d, float((said.spectrum <= zero).sum()) / d
    rank = d * min(perhaps, 1 - surely)
    off = sampling_error(count, rank**0.5, 1.0) / d
    beyond = largest_gap(0.0, least - perhaps, surely - most)
    meaning = (
        "share of negative eigenvalues outside what the density allows, which sampling exceeds once in 1e6"
    )
    return Check("density and index", beyond, off + 1e-10, meaning)


def dense_checks(
    matrix: Tensor, values: np.ndarray, product: Operator, error: float, precision: float, seed: int
) -> list[Check]:
    """The dense ``matrix`` (d, d) against a product of its own with a random vector, and its eigenvalues against it.

    ``error``: what is known of ‖δH‖ of the matrix; ``precision`` the rounding of a product, relative.
    """
    generator = torch.Generator().manual_seed(seed + 1)
    draw = torch.randn(len(matrix), generator=generator, dtype=torch.float64)
    vector = (draw / torch.linalg.vector_norm(draw)).to(matrix)
    scale = max(float(np.abs(values).max(initial=0.0)), 1e-300)
    gap = float(torch.linalg.vector_norm((matrix @ vector).double() - product(vector).to(matrix).double()))
    eps = torch.finfo(matrix.dtype).eps
    squares = float((values**2).sum())
    off = largest_gap(
        abs(float(values.sum()) - float(matrix.diagonal().double().sum())) / (np.abs(values).sum() or 1.0),
        abs(squares - float(matrix.double().square().sum())) / (squares or 1.0),
    )
    return [
        Check(
            "dense matrix",
            gap / scale,
            max(precision, error / scale),
            "its product with a random unit vector against one of its own, over the largest |λ|",
        ),
        Check(
            "eigenvalues",
            float(off),
            100 * len(values) * eps,
            "Σ λ and Σ λ² against trace and Frobenius norm of the matrix, relative",
        ),
    ]


def count_check(said: Stated) -> Check:
    """Index and nullity counted again from the stored eigenvalues."""
    assert said.spectrum is not None
    signs = [sum(1 for one in said.spectrum if one < -said.threshold)]
    signs.append(sum(1 for one in said.spectrum if abs(one) <= said.threshold))
    off = abs(signs[0] - (said.index or 0)) + abs(signs[1] - (said.nullity or 0))
    for part, counts in zip((0.1, 10.0), [] if said.nearby is None else said.nearby.tolist(), strict=False):
        edge = part * said.threshold
        # What rounding of the edge moves counts on either side.
        off += sum(one < -edge * (1 + 1e-12) for one in said.spectrum) > counts[0]
        off += sum(one < -edge * (1 - 1e-12) for one in said.spectrum) < counts[0]
        off += sum(one > edge * (1 + 1e-12) for one in said.spectrum) > counts[2]
        off += sum(one > edge * (1 - 1e-12) for one in said.spectrum) < counts[2]
        off += abs(sum(counts) - len(said.spectrum))
    meaning = "negative and zero eigenvalues counted from the stored ones, at a tenth of the threshold and ten times"
    return Check("index", float(off), 0.0, meaning)


def _drawn(said: Stated) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of the probes that are there."""
    if said.nodes is None or said.weights is None:
        return np.zeros((0, 1)), np.zeros((0, 1))
    there = (said.weights != 0).any(1)
    return said.nodes[there], said.weights[there]


def student(count: int) -> float:
    """Student's factor by the incomplete beta function: P(|T| > t) = I(ν/2, ½; ν/(ν + t²))."""
    from scipy.special import betaincinv

    free = count - 1
    share = float(betaincinv(free / 2, 0.5, 0.05))
    return (free * (1 / share - 1)) ** 0.5 / 1.959964
