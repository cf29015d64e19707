"""Lanczos with full reorthogonalisation: extreme eigenpairs of a symmetric operator, each with its bounds."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape.numerics.spectra.krylov import Krylov, Operator, capacity, has_room
from landscape.numerics.spectra.search import CHANCE, Growth, Wanted, error_estimates, outer_gaps, wanted
from landscape.numerics.vectors import add_each, combined, gram, share_held, turn, turned

# Share of the tolerance that the search leaves to the rounding of products.
LEFT = 0.5
# Share of the tolerance below which what rounding leaves of it is not worth a search.
LEAST = 0.02
# Times the rounding: what lies no farther apart is not kept apart by it.
NEAR = 10.0


class Trial(NamedTuple):
    """The product ``image`` (d,) with Σ wᵢvᵢ of Ritz vectors, and what theirs are off by as far as two such tell.

    ``difference`` is the larger of those to what the search says of them. ``is_of_these``: the search did not go on.
    """

    weights: np.ndarray
    image: Tensor
    difference: float
    rounding: float
    is_of_these: bool


class Eigenpairs(NamedTuple):
    """Ritz pairs, best first (for ``both``: the largest, descending, then the smallest, ascending).

    ``residuals`` are ‖Hv − λv‖ of a fresh product and prove that some eigenvalue lies within them;
    ``estimated`` are the recurrence's own. ``errors`` = min(r, r²/gap) hold if no eigenvalue was missed.
    ``trial`` is the product of all pairs at once that tells the rounding of the others, None without one.
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
    trial: "Trial | None"
    asymmetry: float
    num_products: int
    num_restarts: int
    orthogonality: float
    is_searched: bool
    is_interrupted: bool


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
    trial_error: Callable[[], float] = lambda: 0.0,
    start: Tensor | None = None,
    partial: bool = False,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
    like: Tensor | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Eigenpairs:
    """The k largest eigenpairs of ``operator`` (d,) -> (d,), and the ``bottom`` smallest, from one basis.

    ``which``: ``largest``, ``smallest``, ``both`` or ``magnitude``. The basis grows until the wanted
    values have an error below ``tol`` times the largest |Ritz value|, the error being estimated as
    min(r, r²/gap) from the residuals of the recurrence (Parlett 1998, theorem 11.7.1); when it would not fit
    ``memory_limit`` bytes it is restarted from its best Ritz vectors (Wu and Simon 2000).

    One Krylov space holds one vector of each eigenspace, so it cannot see that an eigenvalue is multiple. With
    ``search`` a second start, off the whole basis, excludes that but for a small chance (:class:`Growth`). Where it
    does not, another space begins in the complement of what was found, until its best pair is known to be no better;
    what is better is added, and the complement searched again.

    One Rayleigh–Ritz step with a product per pair ends it. It is made with ``certificate``, the same
    operator in float64, if given: an error of ε in the vectors leaves one of ε² in the values, so the
    search then goes on until r itself is below ``tol`` times the largest |Ritz value|. With ``trial``, the same
    operator in another way, there are no such products where one with a combination of all pairs shows that the
    search has been precise enough: see :func:`_tried`. ``product_error`` and ``trial_error`` give the
    norm of what the last product of that step, or the trial, may be off by, which r then contains. At most
    ``max_products`` products go into the search (default: max(20 (k + bottom), 300)), which begins near ``start`` (d,),
    for example the sum of eigenvectors of an operator nearby. With ``partial`` a KeyboardInterrupt ends the search and
    returns what there is. ``like``: one (d,) that lies as all are to. Raises BadInput for too small a memory limit.
    """
    aim = wanted(which, k, bottom, dimension)
    limit = max(20 * aim.total, 300) if max_products is None else max(1, max_products)
    values, estimated, gaps = np.empty(0), np.empty(0), np.empty(0)
    found = (torch.empty(0) if like is None else like).new_empty((0, dimension), dtype=dtype, device=device)
    memory_limit *= share_held(found)
    scale, asymmetry, spent, restarts, is_searched, is_interrupted = 0.0, 0.0, 0, 0, False, False
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
        space = growth = None  # a basis goes before the next one comes
        is_first = not len(found)
        space = Krylov(
            operator, found, min(room, limit - spent), generator, scale, start if is_first else None
        )
        growth = Growth(
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
            pairs = _tried(growth, trial, trial_error, generator)
            if pairs.converged.all() or certificate is None:
                return pairs._replace(is_searched=is_searched)
        restarts, spent = restarts + growth.num_restarts, spent + space.num_products
        asymmetry = max(asymmetry, space.asymmetry)
        ritz, weights, residuals = space.ritz()
        scale = max(scale, float(np.abs(ritz).max()))
        new = _new(space, aim, values, 0.5 * tol * scale)
        found = _joined(found, space.vectors(weights[:, new]))
        values, estimated = np.concatenate([values, ritz[new]]), np.concatenate([estimated, residuals[new]])
        is_alone = len(new) == len(ritz) and not space.is_invariant
        gaps = np.concatenate([gaps, np.zeros(len(new)) if is_alone else outer_gaps(ritz, residuals, new)])
        is_searched |= growth.is_settled and (len(new) == 0 or len(found) == dimension)
        if not search and len(values) >= aim.total:
            break
    # The basis is of no more use, and its room may be what the certificate needs.
    space = growth = None
    chosen = aim.among(values)
    block = _with_copies(values, chosen, NEAR * tol * scale)
    gaps = np.minimum(gaps[block], outer_gaps(values, estimated, block))
    found = found[torch.from_numpy(block).to(found.device)]
    # Ritz values come out in ascending order, whose gaps are those of the values before, in that order.
    gaps = gaps[np.argsort(values[block], kind="stable")]
    pairs = _each(certificate or operator, found, gaps, certificate is not None, product_error, aim)
    return pairs._replace(
        estimated=estimated[chosen],
        converged=pairs.errors <= tol * scale,
        scale=scale,
        asymmetry=asymmetry,
        num_products=spent + len(block),
        num_restarts=restarts,
        is_searched=is_searched,
        is_interrupted=is_interrupted,
    )


def _new(space: Krylov, aim: Wanted, values: np.ndarray, least: float) -> np.ndarray:
    """The positions of the Ritz values that are better than the known ``values`` by more than ``least``."""
    ritz, _, _ = space.ritz()
    if len(values) < aim.total and space.is_invariant:
        # All pairs of an invariant space are exact, and some may be wanted beside later ones.
        return np.arange(len(ritz))
    best = aim.among(ritz)
    return best[aim.excess(ritz[best], values) > least]


def _joined(found: Tensor, more: Tensor) -> Tensor:
    return torch.cat([found, more]) if len(found) else more


def _with_copies(values: np.ndarray, chosen: np.ndarray, within: float) -> np.ndarray:
    """``chosen`` and what lies beside them: copies of the worst are of one block, whose gap is that to the others."""
    is_near = np.abs(values[:, None] - values[chosen]).min(axis=1, initial=np.inf) <= within
    return np.concatenate([chosen, np.setdiff1d(np.flatnonzero(is_near), chosen)])


def _each(
    operator: Operator,
    found: Tensor,
    gaps: np.ndarray,
    in_float64: bool,
    product_error: Callable[[], float],
    aim: Wanted,
) -> Eigenpairs:
    """The pairs in the span of ``found`` (k, d) by a product of each; what it does not tell is left open."""
    quotients, vectors, residuals, known = _rayleigh_ritz(operator, found, in_float64, product_error)
    order = aim.among(quotients)
    errors = error_estimates(quotients, residuals, gaps)
    return Eigenpairs(
        values=quotients[order],
        vectors=vectors[torch.from_numpy(order).to(vectors.device)],
        residuals=residuals[order],
        estimated=residuals[order],
        errors=np.minimum(residuals, errors + known)[order],
        converged=np.zeros(len(order), dtype=bool),
        scale=0.0,
        trial=None,
        asymmetry=0.0,
        num_products=len(order),
        num_restarts=0,
        orthogonality=_orthogonality(vectors),
        is_searched=False,
        is_interrupted=False,
    )


def _tried(
    growth: Growth, operator: Operator, product_error: Callable[[], float], generator: torch.Generator
) -> Eigenpairs:
    """The pairs as the recurrence gives them, tried by two products more, with their errors.

    For k pairs and random signs s the product with the unit vector Σ sᵢvᵢ/√k differs by e from what the recurrence
    says of it: by E Σ sᵢvᵢ/√k, if E is what its operator is off by. √k times the part of e in the span bounds every
    |vᵢᵀEvᵢ|, the first order of the error of a value, where rounding keeps the pairs apart, unless the rest of E
    hides them; likewise √k ‖e‖ bounds the ‖E vᵢ‖, which add to the residuals. What hides a pair from one draw lies
    between it and one other as a rule, so the second has the sign of every other pair changed, which shows it; the
    larger of both is taken. Where that leaves little of the tolerance, the search goes on.
    """
    found = _as_found(growth)
    count = len(found.values)
    signs = torch.randint(2, (count,), generator=generator).double().mul_(2).sub_(1).to(found.vectors.device)
    signs *= signs[0] / count**0.5
    changed = 1 - 2 * (torch.arange(count, device=signs.device) % 2)
    factors = torch.from_numpy(found.values).to(signs)
    image, inside, whole, difference, draws = None, 0.0, 0.0, 0.0, (signs, signs * changed)[: min(count, 2)]
    for drawn in draws:
        # Rounded as the pairs are. A single one is itself.
        along = combined(drawn, found.vectors).to(found.vectors.dtype) if count > 1 else found.vectors[0]
        now = operator(along).double()
        del along
        # What an operator gives may be kept by it, and stays.
        image = now.to(found.vectors.dtype) if image is None else image
        off = now.clone()
        add_each(off, -drawn * factors, found.vectors)
        found.add_outside(off, -drawn)
        difference = max(difference, _length(off))
        inside = max(inside, count**0.5 * (_length(gram(found.vectors, off[None])) + product_error()))
        whole = max(whole, count**0.5 * (_length(off) + product_error()))
    assert image is not None
    # Rounding is of every product for itself, and two may happen to show less of it than there is.
    least = torch.finfo(found.vectors.dtype).eps * found.scale
    inside, whole = max(inside, least), max(whole, least)
    trial = Trial(signs.cpu().numpy(), image, difference, whole, True)
    if count > 1 and np.diff(np.sort(found.values)).min() <= NEAR * inside:
        # Rounding turns them into each other: it is that of a plane that counts.
        inside *= 2**0.5
    asked, left = growth.tol * found.scale, growth.tol * found.scale - inside
    if found.errors.max() > left > LEAST * asked:
        growth.tol = LEFT * left / found.scale
        growth.run()
        found, trial = _as_found(growth), trial._replace(is_of_these=False)
    residuals = found.estimated + whole
    errors = np.minimum(residuals, found.errors + inside)
    return Eigenpairs(
        values=found.values,
        vectors=found.vectors,
        residuals=residuals,
        estimated=found.estimated,
        errors=errors,
        converged=errors <= asked,
        scale=found.scale,
        trial=trial,
        asymmetry=growth.space.asymmetry,
        num_products=growth.space.num_products + len(draws),
        num_restarts=growth.num_restarts,
        orthogonality=_orthogonality(found.vectors),
        is_searched=False,
        is_interrupted=growth.is_interrupted,
    )


class _Found(NamedTuple):
    """Wanted Ritz pairs (k,), (k, d) by the recurrence, the norms of Hv − λv, errors of the values.

    ``add_outside(total, w)`` adds Hv − λv of Σ wᵢvᵢ to a float64 vector (d,).
    """

    values: np.ndarray
    vectors: Tensor
    add_outside: Callable[[Tensor, Tensor], None]
    estimated: np.ndarray
    errors: np.ndarray
    scale: float


def _as_found(growth: Growth) -> _Found:
    values, weights, residuals = growth.space.ritz()
    best = growth.aim.among(values)
    space, weights = growth.space, weights[:, best]
    return _Found(
        values[best],
        space.vectors(weights),
        lambda total, drawn: space.add_outside(total, weights @ drawn.cpu().numpy()),
        residuals[best],
        error_estimates(values[best], residuals[best], outer_gaps(values, residuals, best)),
        max(growth.scale, float(np.abs(values).max())),
    )


def _length(vector: Tensor) -> float:
    return float(torch.linalg.vector_norm(vector))


def _orthogonality(vectors: Tensor) -> float:
    """The largest entry of VᵀV − I."""
    products = gram(vectors, vectors)
    return float((products - torch.eye(len(products)).to(products)).abs().max())


def _rayleigh_ritz(
    operator: Operator, vectors: Tensor, in_float64: bool, product_error: Callable[[], float]
) -> tuple[np.ndarray, Tensor, np.ndarray, np.ndarray]:
    """Ritz values, vectors, residual norms in the span of ``vectors`` (k, d), with a product each, and its error.

    A residual contains the error, which is that of the Ritz value too. Ritz vectors take the place of ``vectors``, or
    of a copy of them in float64, as at d = 1e9 every further one counts.
    """
    vectors = vectors.double() if in_float64 else vectors
    if in_float64 and len(vectors):
        # They are orthogonal but for the rounding of float32, where this is as good as a QR and makes no copies.
        turn(vectors, torch.linalg.inv(torch.linalg.cholesky(gram(vectors, vectors))))
    images, errors = torch.empty_like(vectors), np.zeros(len(vectors))
    for number, vector in enumerate(vectors):
        images[number] = operator(vector)
        errors[number] = product_error()
    projected = gram(vectors, images).cpu().numpy()
    values, rotation = np.linalg.eigh((projected + projected.T) / 2)
    by = torch.from_numpy(rotation.T.copy()).to(vectors.device)
    residuals = turned(vectors, images, by, torch.from_numpy(values).to(vectors.device))
    known = np.abs(rotation.T) @ errors
    return values, vectors, residuals.cpu().numpy() + known, known
