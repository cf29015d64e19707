"""Whether a critical point without negative eigenvalues, but with some that are zero, is a minimum."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

# Radii of the balls over ‖θ‖, in which the loss is followed along the null space; and those within these, one after
# another as long as a change of it would be seen there.
RADII = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3)
WITHIN = (3e-4, 1e-4, 3e-5, 1e-5)
# Directions besides those along the axes of the null space, axes at most, and steps of the search on each sphere.
DRAWS, AXES, STEPS = 24, 32, 30
# Steps back to the valley, by the curvature of the other directions.
CORRECTIONS = 4
# So many times that at the end.
DEEPER = 3
# A change of at most the first order is looked for at the next smaller radius; one that is not there is of a higher
# order than the second, or none of the point.
USUAL_ORDER, HIGHEST_ORDER = 6, 12
# ε of the loss, and of what bends on the way, within which a change of it is none.
ROUNDING = 64.0
# Points beside θ, in its last digits, by whose F it is seen how far rounding moves F.
UNSTEADY = 8
# (K, d) ↦ F (K,) and ∇F (K, d), float64.
Slopes = Callable[[Tensor], tuple[Tensor, Tensor]]


class Valley(NamedTuple):
    """The loss along the null space of H: F there less F here, lowest on spheres of some radii.

    radii       of the spheres, in θ
    changes     the lowest F − F(θ) that was found on each, in the bottom of the valley above it
    roundings   what such a change may be by rounding and ‖∇F‖ alone
    order       the power of the radius with which it changes, NaN where it does not
    num_flat    dimension of the directions along which it does not change, as far as these were tried
    verdict     ``local minimum``, ``local minimum, flat along K directions (setwise)``, ``not a minimum: …`` or
                ``undecided``
    """

    radii: tuple[float, ...]
    changes: tuple[float, ...]
    roundings: tuple[float, ...]
    order: float
    num_flat: int
    verdict: str


def valley(
    slopes: Slopes, theta: Tensor, eigenvalues: Tensor, vectors: Tensor, threshold: float, *, seed: int = 0
) -> Valley:
    """What the loss does along the null space of a Hessian at a critical point ``theta`` (d,), float64.

    ``eigenvalues`` (d,) and ``vectors`` (d, d), one a column, are those of H, none below −``threshold``; those
    within it span the null space, z. The loss there is F(θ + Nz + c(z)), where c(z), orthogonal to it, is led back to
    the bottom of the valley by c ← c − H⁺∇F, whose first step is −½H⁺∇³F[Nz, Nz]: to the fourth order in z what
    H leaves open is decided by that function alone. It is minimised on spheres ‖z‖ = r from ± the axes and random
    directions by projected gradients. A fall counts as one of the point where it is seen at two radii and not
    contradicted at a smaller one, so that the radii go on while one could be. That nothing lower was found is evidence
    and no proof.
    """
    is_null = eigenvalues.abs() <= threshold
    null, rest, bends = vectors[:, is_null], vectors[:, ~is_null], eigenvalues[~is_null]
    value, slope = (one[0] for one in slopes(theta[None]))
    norm, length = float(torch.linalg.vector_norm(slope)), float(torch.linalg.vector_norm(theta))
    way = _Way(slopes, theta, null, rest, bends)
    begin = _directions(null.shape[1], seed).to(theta)
    unit, curvature = (length if length > 1e-6 else 1.0), float(eigenvalues.abs().max())
    eps = ROUNDING * torch.finfo(theta.dtype).eps
    unsteady = ROUNDING * _unsteady(slopes, theta, value, seed)

    def followed(radii: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Where the loss is low on spheres of some radii (R,), from every direction, its change there, and rounding."""
        z = (radii[:, None, None] * begin).reshape(-1, begin.shape[1])
        z, values, first = _lowest(way, z, radii.repeat_interleave(len(begin)))
        size = torch.nan_to_num(first - value, posinf=0.0).abs().reshape(len(radii), -1).amax(1)
        roundings = eps * (float(value.abs()) + curvature * radii**2 + size) + 2 * norm * radii + unsteady
        return z.reshape(len(radii), len(begin), -1), (values - value).reshape(len(radii), -1), roundings

    radii = unit * theta.new_tensor(RADII)
    z, changes, roundings = followed(radii)
    num_flat, is_least = _flat(way, begin, z[2], changes[2], value, radii[2], roundings[2])
    lowest = _least(changes)
    for share in WITHIN:
        if not _is_due(lowest, roundings):
            break
        radius = unit * theta.new_tensor([share])
        _, changes, rounding = followed(radius)
        radii, lowest = torch.cat([radii, radius]), torch.cat([lowest, _least(changes)])
        roundings = torch.cat([roundings, rounding])
    order, verdict = _decided(
        radii.tolist(), lowest.tolist(), roundings.tolist(), _counted(num_flat, is_least)
    )
    return Valley(
        tuple(radii.tolist()), tuple(lowest.tolist()), tuple(roundings.tolist()), order, num_flat, verdict
    )


class _Way(NamedTuple):
    """F above rows z of the null space, in the bottom of the valley."""

    slopes: Slopes
    theta: Tensor
    null: Tensor
    rest: Tensor
    bends: Tensor

    def at(self, z: Tensor, aside: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """F (K,), its gradient in z (K, k), and the correction (K, m) that begins at ``aside``."""
        for _ in range(CORRECTIONS if len(self.bends) else 0):
            _, slope = self.slopes(self.theta + z @ self.null.T + aside @ self.rest.T)
            aside = aside - (slope @ self.rest) / self.bends
        value, slope = self.slopes(self.theta + z @ self.null.T + aside @ self.rest.T)
        # Far aside it is another valley.
        is_near = torch.linalg.vector_norm(aside, dim=1) <= torch.linalg.vector_norm(z, dim=1)
        value = torch.where(is_near & torch.isfinite(value), value, float("inf"))
        return value, torch.nan_to_num(slope @ self.null), torch.nan_to_num(aside)

    def bottom(self, z: Tensor, aside: Tensor) -> Tensor:
        """F (K,), nearer to the bottom of the valley: a way that is not there yet looks like a rise."""
        for _ in range(DEEPER - 1):
            _, _, aside = self.at(z, aside)
        return self.at(z, aside)[0]


def _least(changes: Tensor) -> Tensor:
    """The lowest of every row (R, K)."""
    return torch.nan_to_num(changes, nan=float("inf")).amin(1)


def _unsteady(slopes: Slopes, theta: Tensor, value: Tensor, seed: int) -> float:
    """How much F changes as θ does in its last digits: |F| does not tell of terms that cancel inside."""
    draws = torch.randn((UNSTEADY, len(theta)), generator=torch.Generator().manual_seed(seed)).to(theta)
    beside = theta + 4 * torch.finfo(theta.dtype).eps * theta.abs() * draws
    return float((slopes(beside)[0] - value).abs().max())


def _is_due(lowest: Tensor, roundings: Tensor) -> bool:
    """Whether the change at the last radius would be seen at one a third of it."""
    return float(lowest[-1].abs()) * 0.3**USUAL_ORDER > 4 * float(roundings[-1])


def _directions(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    axes = torch.eye(count, dtype=torch.float64)[:AXES]
    draws = torch.randn(DRAWS, count, generator=generator, dtype=torch.float64)
    draws = draws / torch.linalg.vector_norm(draws, dim=1, keepdim=True)
    return torch.cat([axes, -axes, draws]) if count > 1 else torch.cat([axes, -axes])


def _lowest(way: _Way, z: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows z (K, k) moved on their spheres ‖z‖ = ``sizes`` to lower F, F there, and F where they began."""
    aside = z.new_zeros(len(z), len(way.bends))
    value, slope, aside = way.at(z, aside)
    first = value
    if z.shape[1] == 1:
        return z, way.bottom(z, aside), first
    stride = torch.full_like(sizes, 0.5)
    for _ in range(STEPS):
        across = slope - (slope * z).sum(1, keepdim=True) * z / sizes[:, None] ** 2
        steep = torch.linalg.vector_norm(across, dim=1).clamp_min(1e-300)
        trial = z - (stride * sizes / steep)[:, None] * across
        trial = trial * (sizes / torch.linalg.vector_norm(trial, dim=1))[:, None]
        new, new_slope, new_aside = way.at(trial, aside)
        is_lower = new < value
        stride = torch.where(is_lower, 1.3 * stride, 0.3 * stride)
        z, slope = torch.where(is_lower[:, None], trial, z), torch.where(is_lower[:, None], new_slope, slope)
        value, aside = torch.where(is_lower, new, value), torch.where(is_lower[:, None], new_aside, aside)
    return z, way.bottom(z, aside), first


def _flat(
    way: _Way, begin: Tensor, ends: Tensor, changes: Tensor, value: Tensor, radius: Tensor, rounding: Tensor
) -> tuple[int, bool]:
    """How many directions F does not change along at a radius, and whether there may be more than were tried.

    Where it is flat along axes and directions drawn at random, not led anywhere, it is along all: an analytic function
    that changes does so along almost every one. Else the ends of the searches tell, as many as there are.
    """
    unled = way.bottom(radius * begin, begin.new_zeros(len(begin), len(way.bends))) - value
    if bool((unled.abs() <= rounding).all()):
        return begin.shape[1], False
    num_flat = _rank(ends[changes.abs() <= rounding] / radius)
    return num_flat, begin.shape[1] > AXES + DRAWS


def _counted(num_flat: int, is_least: bool) -> str:
    """The number of flat directions in words, none for 0."""
    if not num_flat:
        return ""
    return f"{'at least ' if is_least else ''}{num_flat} direction{'s' * (num_flat > 1)}"


def _rank(directions: Tensor) -> int:
    if not len(directions):
        return 0
    values = torch.linalg.svdvals(directions)
    return int((values > 0.05 * values.max()).sum())


def _decided(
    radii: list[float], changes: list[float], roundings: list[float], flat: str
) -> tuple[float, str]:
    """The order of the change and the verdict; ``radii`` fall, ``flat`` are the directions without a change."""
    falls = [change < -rounding for change, rounding in zip(changes, roundings, strict=True)]
    last = max((i for i, fell in enumerate(falls) if fell), default=None)
    if last is not None:
        is_seen = sum(falls[: last + 1]) > 1
        if not _is_gone(radii, changes, roundings, last):
            if not is_seen:
                return float("nan"), "undecided"
            order = _power(
                radii, [-change for change in changes], [i for i, fell in enumerate(falls) if fell]
            )
            return order, f"not a minimum: the loss falls by {-changes[last]:.3g} at radius {radii[last]:.3g}"
        # Lower loss lies farther off: what counts is within.
        radii, changes, roundings = (one[last + 1 :] for one in (radii, changes, roundings))
    rises = [i for i, change in enumerate(changes) if change > roundings[i]]
    while rises and _is_gone(radii, changes, roundings, rises[-1]):
        # So far off that the bottom of the valley was not reached.
        radii, changes, roundings = (one[rises[-1] + 1 :] for one in (radii, changes, roundings))
        rises = [i for i, change in enumerate(changes) if change > roundings[i]]
    if len(rises) >= 2:
        return _power(radii, changes, rises), "local minimum"
    if len(radii) >= 2 and not rises and flat:
        return float("nan"), f"local minimum, flat along {flat} (setwise)"
    return float("nan"), "undecided"


def _is_gone(radii: list[float], changes: list[float], roundings: list[float], place: int) -> bool:
    """Whether a change at a radius is none of the point's: it is the other way round at a smaller one, or would be
    seen at the next one, which shows none.
    """
    if place + 1 == len(radii):
        return False
    sign = 1 if changes[place] > 0 else -1
    if any(-sign * changes[i] > roundings[i] for i in range(place + 1, len(radii))):
        return True
    expected = abs(changes[place]) * (radii[place + 1] / radii[place]) ** HIGHEST_ORDER
    return expected > 4 * roundings[place + 1]


def _power(radii: list[float], changes: list[float], places: list[int]) -> float:
    """The power of the radius between the smallest two of ``places``."""
    i, j = places[-2], places[-1]
    ratio = torch.tensor([changes[i] / changes[j], radii[i] / radii[j]], dtype=torch.float64).log()
    return float(ratio[0] / ratio[1])
