"""The spectral density of a symmetric operator by stochastic Lanczos quadrature, with its error bars."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape.errors import BadInput
from landscape.numerics.spectra.krylov import Operator
from landscape.numerics.spectra.quadrature import Recurrence, mass_beyond
from landscape.numerics.spectra.trace import deflated_probe, known_pairs, student_factor

# Where probes are drawn until the number of negative eigenvalues is known: to this share of all, with so many
# products at most, from so many probes on.
INDEX_ERROR = 0.02
MAX_PRODUCTS = 1000
FEWEST_PROBES = 2
# What doubling the steps is believed to lower their error by at least, as long as that could be enough.
LEAST_GAIN = 2**0.75


class Share(NamedTuple):
    """A share of all eigenvalues, with the parts of its standard error.

    sampling    the chance in the probes
    resolution  what few nodes leave open
    products    what the stated error of the products leaves open
    """

    value: float
    sampling: float
    resolution: float
    products: float

    @property
    def error(self) -> float:
        """All parts together, of which ±1.96 make a 95 % interval."""
        return math.hypot(self.sampling, self.resolution, self.products)

    @property
    def largest_part(self) -> str:
        """The name of the part that decides the error."""
        return max(self._fields[1:], key=lambda name: getattr(self, name))


class Density(NamedTuple):
    """The spectrum as a probability measure: per probe, nodes and weights, plus what is known exactly.

    nodes, weights  (probe, node): quadrature of the part not deflated; padded with weight 0
    deflated        (k,): eigenvalues known beforehand, each of weight ``deflated_weight`` = 1/d, so that
                    the weights of every probe and of the deflated add up to 1
    band            what "near zero" means: |λ| ≤ band
    below_zero, near_zero   shares of all d eigenvalues
    last            (d,): the vector that the last probe began with; none where nothing is left to probe
    recurrences     (α, β) of every probe, as many of each as it has steps; the last β leads out
    product_error   of a product with a unit vector, as the errors contain it
    """

    nodes: np.ndarray
    weights: np.ndarray
    deflated: np.ndarray
    deflated_weight: float
    num_products: int
    band: float
    below_zero: Share
    near_zero: Share
    last: Tensor | None = None
    recurrences: tuple[tuple[np.ndarray, np.ndarray], ...] = ()
    product_error: float = 0.0

    @property
    def mass_below_zero(self) -> float:
        return self.below_zero.value

    @property
    def mass_below_zero_error(self) -> float:
        return self.below_zero.error

    @property
    def mass_near_zero(self) -> float:
        return self.near_zero.value

    @property
    def mass_near_zero_error(self) -> float:
        return self.near_zero.error


def spectral_density(
    operator: Operator,
    dimension: int,
    *,
    values: np.ndarray | None = None,
    vectors: Tensor | None = None,
    num_probes: int | None = 4,
    num_steps: int = 20,
    band: float | None = None,
    index_error: float = INDEX_ERROR,
    max_products: int = MAX_PRODUCTS,
    memory_limit: float = 2.0**31,
    product_error: Callable[[], float] = lambda: 0.0,
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

    ``below_zero`` counts λ < 0, ``near_zero`` |λ| ≤ ``band`` (None: 1e-3 of the largest |λ| met). Their
    errors join three: the spread of the probes, known beforehand, as the mass p of a random direction
    of n dimensions inside an eigenspace is Beta distributed, of variance 2 p (1 − p) / (n + 2); what few
    nodes leave open (:func:`~landscape.numerics.spectra.quadrature.mass_beyond`), which is large where many
    eigenvalues crowd at 0 and ``num_steps`` do not resolve their sign, or ``band``; and, as no eigenvalue
    moves by more than the ``product_error`` ε of a product with a unit vector (Weyl), half of what lies
    within ε of the edge.

    ``num_probes`` None: as many as bring the error of ``below_zero`` to ``index_error``. Two begin; while
    it is the nodes that leave too much open, the steps of both are doubled, their bases within
    ``memory_limit`` bytes; then so many more are drawn as the chance in them needs. It ends where
    ``max_products`` are spent, and before where, at the rate seen, they could not be enough.

    Raises BadInput for fewer than one probe or step, a negative band, or shapes that do not match;
    NotFinite for a product that is not finite.
    """
    if (num_probes is not None and num_probes < 1) or num_steps < 1 or not (band is None or band >= 0):
        raise BadInput(
            f"{num_probes} probes of {num_steps} steps, band {band}",
            "at least 1 of each, and a band of 0 or more",
        )
    known, basis = known_pairs(dimension, values, vectors, dtype, device)
    num_left = dimension - len(basis)
    begin = FEWEST_PROBES if num_probes is None else num_probes
    probes = _Probes(operator, basis, known, generator, progress, min(num_steps, num_left))
    probes.add(begin if num_left else 0, is_kept=num_probes is None)

    def shares(steps: int) -> tuple[Share, Share, float]:
        return _shares(probes.drawn, known, dimension, band, product_error(), steps)

    if num_probes is None and num_left:
        room = int(memory_limit // (FEWEST_PROBES * dimension * basis.element_size()))
        _until(probes, lambda steps: shares(steps)[0], index_error, max_products, min(num_left, room))
    off = product_error()
    below, near, width = _shares(probes.drawn, known, dimension, band, off, probes.num_steps)
    nodes, weights = np.zeros((2, max(len(probes.drawn), begin), max(probes.num_steps, 1)))
    for i, one in enumerate(probes.drawn):
        found, mass = one.nodes_and_weights()
        nodes[i] = np.pad(found, (0, nodes.shape[1] - len(found)), mode="edge")
        weights[i, : len(mass)] = mass * num_left / dimension
    drawn = tuple((np.array(one.alphas), np.array(one.betas)) for one in probes.drawn)
    about = (probes.num_products, width, below, near, probes.last, drawn, off)
    return Density(nodes, weights, known, 1 / dimension, *about)


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


class _Probes:
    """Recurrences from random vectors off ``basis``, all of ``num_steps`` steps; their products are counted."""

    def __init__(
        self,
        operator: Operator,
        basis: Tensor,
        known: np.ndarray,
        generator: torch.Generator,
        progress: Callable[[int, int], None],
        num_steps: int,
    ):
        self.basis, self.generator, self.num_steps = basis, generator, num_steps
        self.drawn: list[Recurrence] = []
        self.last: Tensor | None = None
        self.num_products = self._planned = 0
        self._scale = float(np.abs(known).max(initial=0.0))

        def product(v: Tensor) -> Tensor:
            image = operator(v)
            self.num_products += 1
            progress(self.num_products, self._planned)
            return image

        self._product = product

    def add(self, count: int, *, is_kept: bool = False) -> None:
        """``count`` more; with ``is_kept`` they may be taken further."""
        self._planned = self.num_products + count * self.num_steps
        for _ in range(count):
            self.last = deflated_probe(self.basis, self.generator)
            one = Recurrence(self._product, self.last, self.basis, self._scale)
            one.extend(self.num_steps)
            if not is_kept:
                one.forget()
            self.drawn.append(one)

    def deepen(self, num_steps: int) -> None:
        """All of them, to ``num_steps`` steps each."""
        self._planned = self.num_products + len(self.drawn) * (num_steps - self.num_steps)
        for one in self.drawn:
            one.extend(num_steps)
        self.num_steps = num_steps

    def forget(self) -> None:
        for one in self.drawn:
            one.forget()


def _until(
    probes: _Probes,
    below_zero: Callable[[int], Share],
    wanted: float,
    max_products: int,
    most_steps: int,
) -> None:
    """More steps, then more probes, until the error of the share ``below_zero`` (of so many steps) is ``wanted``.

    What is decided hangs on sizes of errors, hardly on the estimate itself, so that stopping does not move it.
    """
    count = len(probes.drawn)
    while True:
        share, steps = below_zero(probes.num_steps), probes.num_steps
        most = min(most_steps, (max_products - probes.num_products) // count + steps)
        # Half of the squared error is left to the chance in the probes.
        is_fine = share.resolution <= wanted / 2**0.5 or share.products > wanted
        if is_fine or most <= steps:
            break
        # By so much has the last doubling of the steps lowered it, and by chance it may look like less.
        gain = max(LEAST_GAIN, below_zero(max(1, steps // 2)).resolution / share.resolution)
        if math.log2(share.resolution * 2**0.5 / wanted) > math.log2(gain) * math.log2(most / steps):
            break
        probes.deepen(min(2 * steps, most))
    probes.forget()
    while share.error > wanted > math.hypot(share.resolution, share.products):
        room = wanted**2 - share.resolution**2 - share.products**2
        more = max(1, math.ceil(len(probes.drawn) * (share.sampling**2 / room - 1)))
        longest = max(one.num_steps for one in probes.drawn)
        more = min(more, (max_products - probes.num_products) // longest)
        if more < 1:
            break
        probes.add(more)
        share = below_zero(probes.num_steps)


def _shares(
    drawn: Sequence[Recurrence],
    known: np.ndarray,
    dimension: int,
    band: float | None,
    product_error: float,
    steps: int,
) -> tuple[Share, Share, float]:
    """The shares below and near zero of ``dimension`` eigenvalues, ``known`` ones among them, and the band.

    As if the probes had gone ``steps`` steps and no further.
    """
    num_left = dimension - len(known)
    nodes = [float(np.abs(one.nodes_and_weights()[0]).max()) for one in drawn]
    scale = max([float(np.abs(known).max(initial=0.0)), *nodes])
    band = 1e-3 * scale if band is None else band

    def beyond(edge: float, sign: int = -1) -> tuple[float, float]:
        return mass_beyond(drawn, edge, scale, sign, steps)

    def carried(edge: float) -> float:
        """The share of eigenvalues that products of such an error may carry across ``edge``."""
        low, high = (beyond(edge + side)[0] for side in (-product_error, product_error))
        count = num_left * max(high - low, 0.0) + int((np.abs(known - edge) <= product_error).sum())
        return count / dimension

    def share(mass: float, resolution: float, of_known: np.ndarray, edges: Sequence[float]) -> Share:
        mass = min(max(mass, 0.0), 1.0)
        sampling = (2 * mass * (1 - mass) / (num_left + 2) / max(len(drawn), 1)) ** 0.5
        return Share(
            (num_left * mass + int(of_known.sum())) / dimension,
            num_left / dimension * sampling,
            num_left / dimension * resolution,
            sum(map(carried, edges)) / 2 if product_error else 0.0,
        )

    below, unsure = beyond(0.0)
    (low, unsure_low), (high, unsure_high) = beyond(-band), beyond(band, 1)
    near = share(1 - low - high, math.hypot(unsure_low, unsure_high), np.abs(known) <= band, (-band, band))
    return share(below, unsure, known < 0, (0.0,)), near, band
