"""Lanczos with full reorthogonalisation: extreme eigenpairs of a symmetric operator, each with its bounds."""

from collections.abc import Callable
from typing import NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from landscape.choices import Which
from landscape.numerics.spectra.krylov import Krylov, Operator, capacity, has_room

WHICH = get_args(Which)
# The eigenproblem of the projected matrix is solved at sizes that grow like this, lest it cost more than the products.
TEST_GROWTH = 1.03
# A chance below which an eigenvalue counts as not hidden.
CHANCE = 1e-2
# Share of the tolerance that the search leaves to the rounding of products.
LEFT = 0.5


class Eigenpairs(NamedTuple):
    """Ritz pairs, best first (for ``both``: the largest, descending, then the smallest, ascending).

    ``residuals`` are ‖Hv − λv‖ of a fresh product and prove that some eigenvalue lies within them;
    ``estimated`` are the recurrence's own. ``errors`` = min(r, r²/gap) hold if no eigenvalue was missed.
    ``rounding`` is what the products are off by, as far as a trial of all pairs at once tells, None without one.
    ``asymmetry`` is the largest difference of entries across the diagonal of the projected matrix.
    ``is_searched``: the complement of the pairs was searched to the end for others as good.
    """

    values: np.ndarray
    vectors: Tensor
    residuals: np.ndarray
    estimated: np.ndarray
    errors: np.ndarray
    converged: np.ndarray
    scale: float
    rounding: float | None
    asymmetry: float
    num_products: int
    num_restarts: int
    orthogonality: float
    is_searched: bool
    is_interrupted: bool


class Wanted(NamedTuple):
    """Which eigenvalues are looked for: so many at the top and at the bottom, or of largest magnitude."""

    top: int
    bottom: int
    by_magnitude: bool = False

    @property
    def total(self) -> int:
        return self.top + self.bottom

    def widened(self, count: int) -> "Wanted":
        """The same ends, with ``count`` values in all."""
        bottom = round(count * self.bottom / self.total)
        return Wanted(count - bottom, bottom, self.by_magnitude)

    def among(self, values: np.ndarray) -> np.ndarray:
        """Positions of the wanted values, best first, each once."""
        if self.by_magnitude:
            return np.argsort(-np.abs(values), kind="stable")[: self.top]
        order = np.argsort(-values, kind="stable")
        top = order[: self.top]
        bottom = order[::-1][: min(self.bottom, len(values) - len(top))]
        return np.concatenate([top, bottom]).astype(int)

    def ends(self, values: np.ndarray) -> np.ndarray:
        """The worst of the wanted ``values`` at each end."""
        if self.by_magnitude:
            least = np.abs(values).min()
            return np.array([least, -least])
        top, bottom = values[: self.top], values[self.top :]
        return np.array([one.min() for one in (top,) if len(one)] + [one.max() for one in (bottom,) if len(one)])

    def excess(self, values: np.ndarray, known: np.ndarray) -> np.ndarray:
        """By how much each value beats the worst of the known ones at its end; infinite while one is lacking."""
        if self.by_magnitude:
            merit = np.abs(known)
            return np.abs(values) - (np.sort(merit)[-self.top] if len(known) >= self.top else -np.inf)
        if len(known) < self.total:
            return np.full(len(values), np.inf)
        over = values - np.sort(known)[-self.top] if self.top else np.full(len(values), -np.inf)
        under = np.sort(known)[self.bottom - 1] - values if self.bottom else np.full(len(values), -np.inf)
        return np.maximum(over, under)


def wanted(which: str, k: int, bottom: int, dimension: int) -> Wanted:
    """``which`` and the counts as what to look for; never more than there are dimensions."""
    top, low = {
        "largest": (k, bottom),
        "magnitude": (k, 0),
        "smallest": (0, max(k, bottom)),
        "both": (k, bottom or k),
    }[which]
    top = min(top, dimension)
    return Wanted(top, min(low, dimension - top), which == "magnitude")


def top_eigenpairs(
    operator: Operator,
    dimension: int,
    k: int,
    *,
    bottom: int = 0,
    which: str = "largest",
    tol: float = 1e-6,
    max_products: int | None = None,
    memory_limit: float = 2**31,
    search: bool = True,
    certificate: Operator | None = None,
    trial: Operator | None = None,
    product_error: Callable[[], float] = lambda: 0.0,
    start: Tensor | None = None,
    partial: bool = False,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Eigenpairs:
    """The k largest eigenpairs of ``operator`` (d,) -> (d,), and the ``bottom`` smallest, from one basis.

    ``which``: ``largest``, ``smallest``, ``both`` or ``magnitude``. The basis grows until the wanted
    values have an error below ``tol`` times the largest |Ritz value|, the error being estimated as
    min(r, r²/gap) from the residuals of the recurrence (Parlett 1998, theorem 11.7.1); when it would not fit
    ``memory_limit`` bytes it is restarted from its best Ritz vectors (Wu and Simon 2000).

    One Krylov space holds one vector of each eigenspace, so it cannot see that an eigenvalue is
    multiple. With ``search``, another one therefore starts at random in the complement of what was
    found, until its best pair is known to be no better; what is better is added, and the complement
    searched again.

    One Rayleigh–Ritz step with a product per pair ends it. It is made with ``certificate``, the same
    operator in float64, if given: an error of ε in the vectors leaves one of ε² in the values, so the
    search then goes on until r itself is below ``tol`` times the largest |Ritz value|. With ``trial``, the same
    operator in another way, there are no such products where one with a combination of all pairs shows that the
    search has been precise enough: see :func:`_tried`. ``product_error`` gives the
    norm of what the last product of that step may be off by, which r then contains. At most
    ``max_products`` products go into the search (default: max(20 (k + bottom), 300)), which begins near ``start`` (d,),
    for example at the sum of the eigenvectors of an operator nearby. With
    ``partial`` an interruption (KeyboardInterrupt) ends the search, and what there is, if any, is returned.
    Raises BadInput for a memory limit that is too small.
    """
    aim = wanted(which, k, bottom, dimension)
    limit = max(20 * aim.total, 300) if max_products is None else max(1, max_products)
    values, estimated, gaps = np.empty(0), np.empty(0), np.empty(0)
    found = torch.empty((0, dimension), dtype=dtype, device=device)
    scale, spent, restarts, is_searched, is_interrupted = 0.0, 0, 0, False, False
    asymmetry = 0.0
    while spent < limit and len(found) < dimension and not (is_searched or is_interrupted):
        least = aim.total + 3
        if len(found) and not has_room(dimension, dtype, memory_limit, least, len(found)):
            # What is worse than the wanted ones is never taken for new, so it need not stay deflated.
            best = aim.among(values)
            found = found[torch.from_numpy(best).to(found.device)]
            values, estimated, gaps = values[best], estimated[best], gaps[best]
            if not has_room(dimension, dtype, memory_limit, least, len(found)):
                break
        room = capacity(dimension, dtype, memory_limit, least, len(found))
        is_first = not len(found)
        space = Krylov(
            operator, found, min(room, limit - spent), generator, scale, start if is_first else None
        )
        growth = _Growth(
            space,
            aim,
            values,
            scale,
            tol,
            limit - spent,
            by_residual=certificate is not None and trial is None,
            excludes=search and is_first,
            progress=lambda n, s=spent: progress(s + n, limit),
        )
        growth.run()
        is_interrupted = growth.is_interrupted
        if is_interrupted and not (partial and (space.size or len(found))):
            raise KeyboardInterrupt
        if space.size == 0:
            break
        is_searched = growth.is_settled and growth.chance <= CHANCE
        if trial is not None and is_first and growth.is_settled and (is_searched or not search):
            pairs = _tried(growth, trial, product_error, generator)
            if pairs.converged.all() or certificate is None:
                return pairs._replace(is_searched=is_searched)
        restarts += growth.num_restarts
        spent += space.num_products
        asymmetry = max(asymmetry, space.asymmetry)
        ritz, weights, residuals = space.ritz()
        scale = max(scale, float(np.abs(ritz).max()))
        best = aim.among(ritz)
        new = best[aim.excess(ritz[best], values) > 0.5 * tol * scale]
        if len(values) < aim.total and space.is_invariant:
            # All pairs of an invariant space are exact, and some may be wanted beside later ones.
            new = np.arange(len(ritz))
        found = torch.cat([found, space.vectors(weights[:, new])])
        values, estimated = np.concatenate([values, ritz[new]]), np.concatenate([estimated, residuals[new]])
        is_alone = len(new) == len(ritz) and not space.is_invariant
        gaps = np.concatenate([gaps, np.zeros(len(new)) if is_alone else outer_gaps(ritz, residuals, new)])
        is_searched |= growth.is_settled and (len(new) == 0 or len(found) == dimension)
        if not search and len(values) >= aim.total:
            break
    chosen = aim.among(values)
    gaps = np.minimum(gaps[chosen], outer_gaps(values, estimated, chosen))
    quotients, vectors, residuals, known = _rayleigh_ritz(
        certificate or operator,
        found[torch.from_numpy(chosen).to(found.device)],
        certificate is not None,
        product_error,
    )
    order = aim.among(quotients)
    # Ritz values come out in ascending order, whose gaps are those of the values before, in that order.
    errors = error_estimates(quotients, residuals, gaps[np.argsort(values[chosen], kind="stable")])
    errors = np.minimum(residuals, errors + known)[order]
    return Eigenpairs(
        values=quotients[order],
        vectors=vectors[torch.from_numpy(order).to(vectors.device)],
        residuals=residuals[order],
        estimated=estimated[chosen],
        errors=errors,
        converged=errors <= tol * scale,
        scale=scale,
        rounding=None,
        asymmetry=asymmetry,
        num_products=spent + len(vectors),
        num_restarts=restarts,
        orthogonality=_orthogonality(vectors),
        is_searched=is_searched,
        is_interrupted=is_interrupted,
    )


def _tried(
    growth: "_Growth", trial: Operator, product_error: Callable[[], float], generator: torch.Generator
) -> Eigenpairs:
    """The pairs as the recurrence gives them, tried by one product more, with their errors.

    For k pairs and random signs s the product with the unit vector Σ sᵢvᵢ/√k differs by e from what the recurrence
    says of it: by E Σ sᵢvᵢ/√k, if E is what its operator is off by. √k times the part of e in the span bounds every
    |vᵢᵀEvᵢ|, the first order of the error of a value, where rounding keeps the pairs apart, and with a chance of
    one half at least whatever E may be; likewise √k ‖e‖ bounds the ‖E vᵢ‖, which add to the residuals. Where
    that leaves little of the tolerance, the search goes on first.
    """
    space, aim = growth.space, growth.aim
    along = whole = 0.0
    for is_last in (False, True):
        ritz, weights, estimated = space.ritz()
        best = aim.among(ritz)
        vectors, values = space.vectors(weights[:, best]), ritz[best]
        scale = max(growth.scale, float(np.abs(ritz).max()))
        errors = error_estimates(values, estimated[best], outer_gaps(ritz, estimated, best))
        if is_last:
            break
        count = len(best)
        signs = torch.randint(2, (count,), generator=generator).double().mul_(2).sub_(1).to(vectors.device)
        mixed = (signs / count**0.5) @ vectors.double()
        terms = torch.from_numpy(values).to(mixed)[:, None] * vectors.double()
        terms += space.outside(weights[:, best])
        image = trial(mixed).to(mixed)
        off = image - (signs / count**0.5) @ terms
        stated = product_error()
        along = count**0.5 * (float(torch.linalg.vector_norm(vectors.double() @ off)) + stated)
        whole = count**0.5 * (float(torch.linalg.vector_norm(off)) + stated)
        left = growth.tol * scale - along
        if errors.max() <= left or left < 0.1 * growth.tol * scale:
            break
        growth.tol = LEFT * left / scale
        growth.run()
    residuals = estimated[best] + whole
    errors = np.minimum(residuals, errors + along)
    return Eigenpairs(
        values=values,
        vectors=vectors,
        residuals=residuals,
        estimated=estimated[best],
        errors=errors,
        converged=errors <= growth.asked * scale,
        scale=scale,
        rounding=whole,
        asymmetry=space.asymmetry,
        num_products=space.num_products + 1,
        num_restarts=growth.num_restarts,
        orthogonality=_orthogonality(vectors),
        is_searched=False,
        is_interrupted=growth.is_interrupted,
    )


def _orthogonality(vectors: Tensor) -> float:
    """The largest entry of VᵀV − I."""
    wide = vectors.double()
    return float((wide @ wide.T - torch.eye(len(wide)).to(wide)).abs().max())


def error_estimates(values: np.ndarray, residuals: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """min(r, r²/gap) for Ritz values (k,): the distance to an eigenvalue if none was missed.

    ``gaps`` (k,) are the distances to values outside the set. Those inside count where the residuals tell
    them apart; a cluster that they do not is one block, whose error its outer gap decides; without any other value
    there is no gap to go by (Parlett 1998, theorems 11.7.1 and 11.7.2).
    """
    distances = np.abs(values[:, None] - values)
    is_apart = distances > residuals[:, None] + residuals
    inner = np.where(is_apart, distances - residuals, np.inf).min(axis=1, initial=np.inf)
    gap = np.minimum(gaps, inner)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        is_known = (gap > residuals) & np.isfinite(gap)
        return np.where(is_known, residuals * (residuals / gap), residuals)


def outer_gaps(values: np.ndarray, residuals: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The distance of each value at the positions ``inside`` to the others, less the residual of each; or infinity."""
    outside = np.setdiff1d(np.arange(len(values)), inside)
    distances = np.abs(values[inside][:, None] - values[outside]) - residuals[outside]
    return distances.min(axis=1, initial=np.inf)


class _Growth:
    """``space`` growing until what is wanted in it has settled, or nothing in it can beat what is ``known``.

    With ``excludes`` it then begins again at random, until ``chance`` bounds what an eigenvector as good as the wanted
    ones had to be hidden from both starts: an eigenspace of several dimensions shows the first one of them, and
    the second start, off the whole first basis, sees another as one random unit vector sees another.
    """

    is_settled = is_interrupted = False
    num_restarts = 0
    chance = np.inf

    def __init__(
        self,
        space: Krylov,
        aim: Wanted,
        known: np.ndarray,
        scale: float,
        tol: float,
        budget: int,
        *,
        by_residual: bool,
        excludes: bool,
        progress: Callable[[int], None],
    ):
        self.space, self.aim, self.known, self.scale, self.budget = space, aim, known, scale, budget
        self.tol = self.asked = tol
        self.by_residual, self.excludes, self.progress = by_residual, excludes, progress

    def run(self) -> None:
        """Until it is settled, spent or interrupted."""
        self.is_settled = False
        try:
            self._settle()
            if self.excludes and self.is_settled and self.space.second is None:
                self._exclude()
                # What has shown of others has to settle too, and may lie near.
                self.is_settled = self.space.is_invariant or self._is_settled()
                if not self.is_settled:
                    self._settle()
        except KeyboardInterrupt:
            self.is_interrupted = True

    def _settle(self) -> None:
        space, test_at = self.space, self.aim.total
        while space.num_products < self.budget:
            if space.is_full:
                values = space.ritz()[0]
                kept = max(self.aim.total + 1, min(space.capacity // 2, space.capacity - 2))
                space.restart(self.aim.widened(kept).among(values))
                self.num_restarts, test_at = self.num_restarts + 1, 0
            self._extend()
            if space.is_invariant:
                self.is_settled = True
                return
            is_spent = space.num_products == self.budget
            if space.size >= max(test_at, self.aim.total) or is_spent:
                test_at = max(space.size + 1, int(TEST_GROWTH * space.size))
                if self._is_settled():
                    self.is_settled = True
                    return

    def _exclude(self) -> None:
        """First as many products as the first start needs to see whatever is as good, then those of the second.

        Given up where there is something as good, and after as many products as it took to settle.
        """
        space, likely = self.space, (2 * self.space.dimension / np.pi) ** 0.5
        most = min(2 * space.size, space.capacity, space.size + self.budget - space.num_products)
        while True:
            values = space.ritz()[0]
            best = self.aim.among(values)
            at = self.aim.ends(values[best])
            if self.num_restarts or space.is_invariant or len(values) < self.aim.total or space.size >= most:
                return
            first = likely * space.seen(at, found=best)
            if first <= CHANCE / 2:
                break
            self._extend()
        space.begin_again()
        while space.size < most:
            self._extend(newest=True)
            seen = space.seen(at, space.second)
            if space.is_invariant or not np.isfinite(seen):
                return
            self.chance = first + likely * seen
            if self.chance <= CHANCE:
                return

    def _extend(self, newest: bool = False) -> None:
        self.space.extend(newest)
        self.progress(self.space.num_products)

    def _is_settled(self) -> bool:
        return _is_settled(self.space, self.aim, self.known, self.scale, self.tol, self.by_residual)


def _is_settled(
    space: Krylov, aim: Wanted, known: np.ndarray, scale: float, tol: float, by_residual: bool
) -> bool:
    values, _, residuals = space.ritz()
    if len(values) < aim.total:
        return False
    scale = max(scale, float(np.abs(values).max()))
    best = aim.among(values)
    errors = residuals[best]
    # Without other values there is no gap to go by.
    if not by_residual and len(values) > len(best):
        errors = error_estimates(values[best], errors, outer_gaps(values, residuals, best))
    is_open = aim.excess(values[best], known) + residuals[best] > 0.5 * tol * scale
    accuracy = np.full(len(best), 0.5 * tol * scale)
    if len(known):
        # A pair hidden from the first steps shows before the best of the others settles.
        ends = [0] if aim.by_magnitude or not (aim.top and aim.bottom) else [0, aim.top]
        for end in ends:
            if not is_open[end]:
                is_open[end], accuracy[end] = True, 0.5 * tol**0.5 * scale
                errors[end] = residuals[best][end]
    return bool(np.all(errors[is_open] <= accuracy[is_open]))


def _rayleigh_ritz(
    operator: Operator, vectors: Tensor, in_float64: bool, product_error: Callable[[], float]
) -> tuple[np.ndarray, Tensor, np.ndarray, np.ndarray]:
    """Ritz values, vectors, residual norms in the span of ``vectors`` (k, d), with a product each, and its error.

    A residual contains the error, which is that of the Ritz value too.
    """
    if in_float64:
        vectors = torch.linalg.qr(vectors.double().T).Q.T.contiguous()
    wide = vectors.double()
    rows, errors = [], np.zeros(len(vectors))
    for number, vector in enumerate(vectors):
        rows.append(operator(vector))
        errors[number] = product_error()
    images = torch.stack(rows).double() if rows else wide
    projected = (wide @ images.T).cpu().numpy()
    values, rotation = np.linalg.eigh((projected + projected.T) / 2)
    turn = torch.from_numpy(rotation.T.copy()).to(wide)
    wide, images = turn @ wide, turn @ images
    residuals = torch.linalg.vector_norm(images - torch.from_numpy(values).to(wide)[:, None] * wide, dim=1)
    known = np.abs(rotation.T) @ errors
    return values, wide.to(vectors.dtype), residuals.cpu().numpy() + known, known
